//! `list`: a collection page by page in the order of its keys, over all databases, beside everything else.

mod away;
mod bystanders;
mod client;
mod export;
mod input;
mod order;
mod paging;
mod replicas;

use serde_json::{Value, json};

use crate::harness::{Node, Socket, until};

/// A page: its records, and where the list goes on.
async fn page(socket: &mut Socket, params: Value) -> (Vec<Value>, Option<String>) {
    let mut page = socket.ok("list", params).await;
    let cursor = page["cursor"].as_str().map(str::to_owned);
    match page["records"].take() {
        Value::Array(records) => (records, cursor),
        other => panic!("no records but {other}"),
    }
}

/// The records of all pages of so many at most.
async fn whole(socket: &mut Socket, collection: &str, prefix: Option<&str>, limit: usize) -> Vec<Value> {
    let (mut records, mut cursor) = (Vec::new(), None);
    loop {
        let params = json!({"collection": collection, "prefix": prefix, "limit": limit, "cursor": cursor});
        let (page, next) = page(socket, params).await;
        assert!(page.len() <= limit, "{} records", page.len());
        records.extend(page);
        match next {
            Some(next) => cursor = Some(next),
            None => return records,
        }
    }
}

/// Asks for so many lists, each on a socket of its own, that two run, sixteen wait, and the node takes no more.
async fn all_places_taken(node: &Node) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for id in 0..18 {
        let mut socket = Socket::open(node).await;
        socket.send(json!({"jsonrpc": "2.0", "id": id, "method": "list", "params": ["products"]}).to_string()).await;
        sockets.push(socket);
    }
    until("all places are taken", async || node.metric("freshet_service_lists").await == 18.0).await;
    sockets
}

fn keys(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["key"].as_str().expect("a key")).collect()
}
