//! `freshet put products 85123A '{"name": ...}'`

use std::io::{self, Read};

use serde_json::value::RawValue;

use super::{Error, Output, ServerArgs};
use crate::{client::WriteOptions, record::Stamp};

/// What to write.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freshet put products 85123A '{\"name\":\"HEART\",\"price\":295}'
  freshet put products 85123A - < heart.json
  freshet put products 85123A '{\"name\":\"HEART\",\"price\":295}' --if-stamp 1.17

A column left out takes its default. When the record is not at --if-stamp, nothing is written and
the exit code is 4.")]
pub struct Args {
    /// The collection, which is a tracked table's name, such as products.
    collection: String,
    /// The key.
    key: String,
    /// The whole new value, a JSON object; `-` reads it from stdin.
    value: String,
    #[command(flatten)]
    condition: Condition,
    /// Only if there is no such record.
    #[arg(long, conflicts_with = "if_stamp")]
    if_absent: bool,
}

/// Under which condition, and under which name, a write is done.
#[derive(Debug, clap::Args)]
pub(super) struct Condition {
    /// Only if the record is at this stamp.
    #[arg(long, value_name = "STAMP")]
    if_stamp: Option<Stamp>,
    /// A name for this write of 1 to 255 bytes: repeating it under the same name does nothing.
    #[arg(long, value_name = "NAME")]
    idempotency_key: Option<String>,
}

impl Condition {
    pub(super) fn options(self) -> WriteOptions {
        let options = WriteOptions::new().if_stamp(self.if_stamp);
        match self.idempotency_key {
            Some(key) => options.idempotency_key(key),
            None => options,
        }
    }
}

/// Replaces the record and prints its new stamp.
///
/// # Errors
/// A conflict is exit code 4.
pub async fn run(args: Args, server: &ServerArgs, output: &mut Output) -> Result<(), Error> {
    let value = value(args.value)?;
    serde_json::from_str::<&RawValue>(&value)
        .map_err(|error| Error::Usage(format!("the value is no JSON: {error}")))?;
    let options = args.condition.options();
    let options = if args.if_absent { options.if_stamp(Stamp::ABSENT) } else { options };
    let client = server.connect().await?;
    let written = client.put(&args.collection, &args.key, &value, options).await;
    client.close().await;
    output.written("put", &written?)
}

/// The value given, or stdin's content for `-`.
pub(super) fn value(given: String) -> Result<String, Error> {
    if given != "-" {
        return Ok(given);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|source| Error::Input { path: "stdin".into(), source })?;
    Ok(text)
}
