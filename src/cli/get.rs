//! `freshet get products 85123A`

use std::{num::NonZeroUsize, time::Duration};

use super::{Error, Output, ServerArgs};
use crate::{
    client::{Client, ListOptions, ReadOptions, Record},
    record::Stamp,
};

/// Records of a page, of those that a prefix selects.
const PAGE: usize = 100;
/// How long to go on asking for a page while the server is busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to print.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freshet get products 85123A
  freshet get products 85123A 22423 --format json | jq .value.price
  freshet get products 85123A --min-stamp 1.17        at least the state of that stamp
  freshet get products --prefix 85 --limit 10         the first ten whose keys begin with 85

A record that does not exist is printed as absent, and the exit code is 3.")]
pub struct Args {
    /// The collection, which is a tracked table's name, such as products.
    collection: String,
    /// The keys.
    #[arg(required_unless_present = "prefix")]
    keys: Vec<String>,
    /// All records whose keys begin with it, in the order of their keys; for keys that are text.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["keys", "min_stamp", "max_stale"])]
    prefix: Option<String>,
    /// Of these, not more than so many.
    #[arg(long, value_name = "NUMBER", requires = "prefix", conflicts_with = "keys")]
    limit: Option<NonZeroUsize>,
    /// Nothing older than this stamp; for a single key.
    #[arg(long, value_name = "STAMP")]
    min_stamp: Option<Stamp>,
    /// How long past its freshness a value may be when nothing fresher can answer, such as 5s; for a single key.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_stale: Option<Duration>,
}

/// Prints the records.
///
/// # Errors
/// [`Error::Absent`] naming those that do not exist, after the others were printed.
pub async fn run(args: Args, server: &ServerArgs, output: &mut Output) -> Result<(), Error> {
    let options = ReadOptions::new().min_stamp(args.min_stamp).max_stale(args.max_stale);
    if args.keys.len() > 1 && options != ReadOptions::new() {
        return Err(Error::Usage("--min-stamp and --max-stale go with a single key".into()));
    }
    let client = server.connect().await?;
    if let Some(prefix) = &args.prefix {
        let printed = print_all(&client, &args, prefix, output).await;
        client.close().await;
        return printed;
    }
    let records = records(&client, &args, options).await;
    client.close().await;
    let records = records?;
    for record in &records {
        output.record(record)?;
    }
    let absent: Vec<_> =
        records.iter().filter(|r| r.value.is_none()).map(|r| format!("{}/{}", args.collection, r.key)).collect();
    if absent.is_empty() { Ok(()) } else { Err(Error::Absent(absent.join(", "))) }
}

/// Prints what begins with `prefix`, a page at a time.
async fn print_all(client: &Client, args: &Args, prefix: &str, output: &mut Output) -> Result<(), Error> {
    let mut left = args.limit.map_or(usize::MAX, NonZeroUsize::get);
    let options = ListOptions::new().prefix(prefix).limit(left.min(PAGE));
    let mut records = client.records(&args.collection, options).patience(PATIENCE);
    let mut is_empty = true;
    while left > 0
        && let Some(record) = records.next().await
    {
        output.record(&record?)?;
        is_empty = false;
        left -= 1;
    }
    if is_empty { Err(Error::Absent(format!("{}/{prefix}...", args.collection))) } else { Ok(()) }
}

async fn records(client: &Client, args: &Args, options: ReadOptions) -> Result<Vec<Record>, Error> {
    match &args.keys[..] {
        [key] => Ok(vec![client.get_with(&args.collection, key, options).await?]),
        keys => Ok(client.get_many(&args.collection, keys).await?),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        cli::{Format, output::tests::Printed},
        client::testing::Server,
    };

    #[tokio::test]
    async fn an_absent_record_is_printed_and_is_exit_code_3() {
        let (node, url) = Server::start().await;
        let (mut output, printed) = Printed::output(Format::Json);
        let args = Args {
            collection: "c".into(),
            keys: vec!["a".into()],
            prefix: None,
            limit: None,
            min_stamp: None,
            max_stale: None,
        };
        let serve = async {
            let mut peer = node.accept().await;
            let (id, method, _) = peer.request().await.expect("a request");
            assert_eq!(method, "get");
            peer.answer(id, json!({"key": "a", "version": 0, "stamp": "1.0", "value": null})).await;
            assert!(peer.request().await.is_none());
        };
        let server = ServerArgs::at(url);
        let (done, ()) = tokio::join!(run(args, &server, &mut output), serve);
        assert_eq!(done.expect_err("absent").exit_code(), 3);
        assert_eq!(printed.text(), "{\"key\":\"a\",\"version\":0,\"stamp\":\"1.0\",\"value\":null}\n");
    }
}
