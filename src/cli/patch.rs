//! `freshet patch products 85123A '{"price":100}' --increment stock=-1`

use bigdecimal::BigDecimal;

use super::{Error, Output, ServerArgs, put};
use crate::{
    client,
    protocol::Code,
    record::{Patch, patch::Members},
};

/// The most digits an amount may have before or behind the point; the server's own bound.
const EXPONENT_MAX: i64 = 256;

/// What to change.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freshet patch products 85123A '{\"price\":100}'
  freshet patch products 85123A --increment stock=-1 --return
  freshet patch products 85123A --increment stock=-1 --idempotency-key order-7214

A record that does not exist is created, unless there is something to add to. Two increments at once are both done.")]
pub struct Args {
    /// The collection, which is a tracked table's name, such as products.
    collection: String,
    /// The key.
    key: String,
    /// Members to set, as a JSON object (RFC 7396); `-` reads it from stdin.
    #[arg(required_unless_present = "increments")]
    value: Option<String>,
    /// An amount to add to a numeric column, such as stock=-1. Can be given more than once.
    #[arg(long = "increment", value_name = "COLUMN=AMOUNT", value_parser = increment)]
    increments: Vec<(String, BigDecimal)>,
    #[command(flatten)]
    condition: put::Condition,
    /// Print the record's new value.
    #[arg(long = "return")]
    returns_value: bool,
}

/// Changes the record and prints its new stamp.
///
/// # Errors
/// A conflict is exit code 4; an increment of a record that does not exist is 3.
pub async fn run(args: Args, server: &ServerArgs, output: &mut Output) -> Result<(), Error> {
    let merge = args.value.map(put::value).transpose()?.map(|text| merge(&text)).transpose()?.unwrap_or_default();
    let increments = !args.increments.is_empty();
    let patch = Patch { merge, increment: args.increments.into_iter().collect() };
    let options = args.condition.options().returns_value(args.returns_value);
    let client = server.connect().await?;
    let written = client.patch(&args.collection, &args.key, &patch, options).await;
    let is_absent = match &written {
        Err(client::Error::Rpc(refusal)) if increments && refusal.kind() == Some(Code::InvalidValue) => {
            client.get(&args.collection, &args.key).await.is_ok_and(|record| record.value.is_none())
        }
        _ => false,
    };
    client.close().await;
    match is_absent {
        true => Err(Error::Absent(format!(
            "{}/{}, so there is nothing to add to; create it with `freshet put`",
            args.collection, args.key
        ))),
        false => output.written("patched", &written?),
    }
}

fn merge(text: &str) -> Result<Members, Error> {
    Members::of_value(text).map_err(|error| Error::Usage(format!("the value cannot be merged: {error}")))
}

fn increment(text: &str) -> Result<(String, BigDecimal), String> {
    let (column, amount) = text.split_once('=').ok_or("write it as COLUMN=AMOUNT, such as stock=-1")?;
    let amount: BigDecimal = amount.parse().map_err(|_| format!("{amount:?} is no number"))?;
    if amount.as_bigint_and_exponent().1.abs() > EXPONENT_MAX {
        return Err("the amount is beyond any usual size".into());
    }
    Ok((column.to_owned(), amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        let (column, amount) = increment("price=-0.10").expect("an increment");
        assert_eq!((&*column, amount.to_plain_string()), ("price", "-0.10".into()));
        for text in ["price", "price=", "price=x", "price=1e999999999"] {
            assert!(increment(text).is_err(), "{text} was taken");
        }
    }
}
