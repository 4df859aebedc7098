//! A reader of Server-Sent Events.

use reqwest::{Client, Response};
use serde_json::Value;

use super::node::{Node, within};

/// A stream of a node's, read block by block.
pub struct Events {
    response: Response,
    text: String,
}

/// What an empty line ends.
#[derive(Debug)]
pub enum Block {
    Event { id: String, record: Value },
    Freshness(Value),
    Retry(u64),
}

impl Events {
    /// Opens `path`, behind the event `last` where there is one.
    pub async fn open(node: &Node, path: &str, last: &str) -> Self {
        let client = Client::builder().no_proxy().build().expect("a client");
        let request = client.get(node.http(path)).header("last-event-id", last).header("accept", "text/event-stream");
        let response = within("the head", request.send()).await.expect("answered");
        assert_eq!(response.status(), 200);
        let mut events = Events { response, text: String::new() };
        assert!(matches!(events.block().await, Some(Block::Retry(2_000))));
        events
    }

    /// The next block; `None` when the stream has ended as a whole. Comments are passed over.
    pub async fn block(&mut self) -> Option<Block> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if block.starts_with(':') {
                    continue;
                }
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                return Some(match (field("event: "), field("id: "), field("data: "), field("retry: ")) {
                    (None, Some(id), Some(data), None) => {
                        Block::Event { id: id.to_owned(), record: serde_json::from_str(data).expect("a record") }
                    }
                    (Some("freshness"), None, Some(data), None) => {
                        Block::Freshness(serde_json::from_str(data).expect("JSON"))
                    }
                    (None, None, None, Some(wait)) => Block::Retry(wait.parse().expect("milliseconds")),
                    _ => panic!("neither event nor retry: {block:?}"),
                });
            }
            match within("a block", self.response.chunk()).await.expect("a stream that ends whole") {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk).expect("UTF-8")),
                None => {
                    assert_eq!(self.text, "", "half an event");
                    return None;
                }
            }
        }
    }

    /// The id and the record of the next plain event. What is told of freshness is passed over.
    pub async fn next(&mut self) -> (String, Value) {
        loop {
            match self.block().await {
                Some(Block::Event { id, record }) => return (id, record),
                Some(Block::Freshness(_)) => {}
                other => panic!("no event but {other:?}"),
            }
        }
    }

    /// What the next event says of freshness.
    pub async fn freshness(&mut self) -> Value {
        match self.block().await {
            Some(Block::Freshness(freshness)) => freshness,
            other => panic!("nothing of freshness but {other:?}"),
        }
    }
}
