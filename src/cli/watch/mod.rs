//! `freshet watch products 85123A 85123B`
//!
//! On a terminal it is a table, redrawn in place; elsewhere, with `--lines` or with `--count`, each state is printed as
//! it comes.

mod board;
mod columns;
mod keys;
mod live;
mod picture;

use std::io::IsTerminal as _;

use tokio::sync::watch;

use self::live::Live;
use super::{Error, Format, Output, ServerArgs};
use crate::client::{Client, Status, Subscription};

/// What to watch.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freshet watch products 85123A 22423                        a table, redrawn in place
  freshet watch products --keys-from keys.txt --field price --field stock
  freshet watch products 85123A --format json | jq .value    a line a state, for programs
  psql -Atc 'SELECT sku FROM products' shop | freshet watch products --keys-from -

Where the table has no room for all columns, those that change come first. An age counts from the
record's change; >5m says that the record has stood so for 5 minutes at least, and was not seen to
change: no state tells when it was made.

Keys of the table: q leaves, s sorts by key or by the latest change, p pauses, the arrows and
PgUp, PgDn, Home, End scroll.")]
pub struct Args {
    /// The collection, which is a tracked table's name, such as products.
    collection: String,
    /// The keys.
    #[arg(required_unless_present = "keys_from")]
    keys: Vec<String>,
    /// A file of further keys, one a line; `-` reads stdin.
    #[arg(long, value_name = "FILE")]
    keys_from: Option<String>,
    /// A member of the value to show in a column of the table, such as price or attributes.colour; may be repeated.
    /// Unless given, every member has a column.
    #[arg(long = "field", value_name = "MEMBER", conflicts_with_all = ["count", "lines"])]
    fields: Vec<String>,
    /// Print each state as it comes, also on a terminal.
    #[arg(long)]
    lines: bool,
    /// Print that many states as they come, then stop.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Shows each key's present state and then every newer one, until interrupted. Goes on over lost connections and says
/// so.
///
/// # Errors
/// [`Error::Ended`] when the server will not have us back; [`Error::Usage`] when there is no key.
pub async fn run(args: Args, server: &ServerArgs, output: &mut Output) -> Result<(), Error> {
    let is_drawn =
        std::io::stdout().is_terminal() && output.format() == Format::Human && !args.lines && args.count.is_none();
    let keys = keys::collect(args.keys, args.keys_from.as_deref()).await?;
    let client = server.connect().await?;
    let watched = match is_drawn {
        true => draw(&client, &args.collection, &keys, args.fields, output).await,
        false => tokio::select! {
            printed = print(&client, &args.collection, &keys, args.count, output) => printed,
            _ = tokio::signal::ctrl_c() => Ok(()),
        },
    };
    client.close().await;
    watched
}

async fn draw(
    client: &Client,
    collection: &str,
    keys: &[String],
    fields: Vec<String>,
    output: &Output,
) -> Result<(), Error> {
    let mut subscription = client.subscribe(collection, keys, []).await?;
    let live = Live::new(collection, keys.len(), fields);
    live.show(&mut subscription, client.status(), output.palette()).await
}

async fn print(
    client: &Client,
    collection: &str,
    keys: &[String],
    count: Option<u64>,
    output: &mut Output,
) -> Result<(), Error> {
    let mut status = client.status();
    status.mark_unchanged();
    let mut subscription = client.subscribe(collection, keys, []).await?;
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        tokio::select! {
            record = subscription.next() => match record {
                Some(record) => {
                    output.record(&record)?;
                    left -= 1;
                }
                None => return Err(ended(&subscription, &status)),
            },
            Ok(()) = status.changed() => tell(&status.borrow_and_update()),
        }
    }
    Ok(())
}

fn ended(subscription: &Subscription, status: &watch::Receiver<Status>) -> Error {
    if let Some(refusal) = subscription.refusal() {
        return Error::Ended(format!("the server refused to resume: {refusal}"));
    }
    match &*status.borrow() {
        Status::Closed { reason } => Error::Ended(reason.clone()),
        _ => Error::Ended("the subscription ended".into()),
    }
}

fn tell(status: &Status) {
    match status {
        Status::Connected => eprintln!("freshet: connected again"),
        Status::Draining(wait) => eprintln!("freshet: the node drains; moving on in {} ms", wait.as_millis()),
        Status::Reconnecting { reason, wait } => {
            eprintln!("freshet: {reason}; trying again in {} ms", wait.as_millis());
        }
        Status::Closed { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        cli::{Format, output::tests::Printed},
        client::testing::{Peer, Server},
    };

    async fn subscribed(node: &Server, id: &str) -> Peer {
        let mut peer = node.accept().await;
        let (request, method, _) = peer.request().await.expect("a request");
        assert_eq!(method, "subscribe");
        peer.answer(request, json!(id)).await;
        peer
    }

    #[tokio::test]
    async fn states_are_printed_over_a_lost_connection() {
        let (node, url) = Server::start().await;
        let (mut output, printed) = Printed::output(Format::Json);
        let args = Args {
            collection: "c".into(),
            keys: vec!["a".into()],
            keys_from: None,
            fields: Vec::new(),
            lines: false,
            count: Some(2),
        };
        let state =
            |version: u64| json!({"key": "a", "version": version, "stamp": format!("1.{version}"), "value": {}});
        let read = printed.clone();
        let serve = async {
            let mut peer = subscribed(&node, "s1").await;
            peer.push("s1", state(1)).await;
            while read.text().is_empty() {
                tokio::task::yield_now().await;
            }
            drop(peer);
            let mut peer = subscribed(&node, "s2").await;
            peer.push("s2", state(2)).await;
            while peer.request().await.is_some() {}
        };
        let server = ServerArgs::at(url);
        let (done, ()) = tokio::join!(run(args, &server, &mut output), serve);
        done.expect("watched");
        let stamps: Vec<_> = printed.text().lines().map(|line| line.contains("\"stamp\":\"1.")).collect();
        assert_eq!(stamps, [true, true]);
    }
}
