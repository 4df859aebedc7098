//! `freshet watch products 85123A 85123B`

use tokio::sync::watch;

use super::{Error, Output, ServerArgs};
use crate::client::{Client, Status, Subscription};

/// What to watch.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The collection.
    collection: String,
    /// The keys.
    #[arg(required = true)]
    keys: Vec<String>,
    /// Stop after that many states.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Prints each key's present state and then every newer one, until interrupted. Goes on over lost connections and says
/// so on stderr.
///
/// # Errors
/// [`Error::Ended`] when the server will not have us back.
pub async fn run(args: Args, server: &ServerArgs, output: &mut Output) -> Result<(), Error> {
    let client = server.connect().await?;
    let watched = tokio::select! {
        watched = follow(&client, &args, output) => watched,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    client.close().await;
    watched
}

async fn follow(client: &Client, args: &Args, output: &mut Output) -> Result<(), Error> {
    let mut status = client.status();
    status.mark_unchanged();
    let mut subscription = client.subscribe(&args.collection, &args.keys, []).await?;
    let mut left = args.count.unwrap_or(u64::MAX);
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
        client::tests::{Peer, Server},
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
        let args = Args { collection: "c".into(), keys: vec!["a".into()], count: Some(2) };
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
