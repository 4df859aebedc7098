//! Two nodes over one database: what is written on one is read and pushed on the other.

use serde_json::json;

use crate::harness::{Node, Socket, database, node::config};

fn product(price: u64) -> serde_json::Value {
    json!({"name": "n", "price": price})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_on_one_node_is_read_with_its_stamp_on_another_at_once() {
    let database = database().await;
    let (a, b) = (Node::over(&database.url(), config()).await, Node::over(&database.url(), config()).await);
    let (mut writer, mut reader) = (Socket::open(&a).await, Socket::open(&b).await);
    let mut watcher = Socket::open(&b).await;
    watcher.ok("subscribe", json!(["products", "k"])).await;
    watcher.push().await;
    for price in 1..100 {
        // In B's cache, so that only min_stamp makes it look again.
        reader.ok("get", json!(["products", "k"])).await;
        let written = writer.ok("put", json!(["products", "k", product(price)])).await;
        let read = reader.ok("get", json!({"collection": "products", "key": "k", "min_stamp": written["stamp"]})).await;
        assert_eq!((&read["stamp"], &read["value"]["price"]), (&written["stamp"], &json!(price)));
        let many = json!({"collection": "products", "keys": ["k"], "min_stamp": written["stamp"]});
        assert_eq!(reader.ok("get_many", many).await["records"][0]["stamp"], written["stamp"]);
    }
    let deleted = writer.ok("delete", json!(["products", "k"])).await;
    let read = reader.ok("get", json!({"collection": "products", "key": "k", "min_stamp": deleted["stamp"]})).await;
    assert_eq!((&read["stamp"], &read["value"]), (&deleted["stamp"], &json!(null)));
    let mut last = 0;
    loop {
        let pushed = watcher.push().await;
        let version = pushed["version"].as_u64().expect("a version");
        assert!(version > last, "{version} after {last}");
        last = version;
        if pushed["stamp"] == deleted["stamp"] {
            break;
        }
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_of_every_node_end_on_the_same_state_while_all_nodes_write() {
    let database = database().await;
    let (a, b) = (Node::over(&database.url(), config()).await, Node::over(&database.url(), config()).await);
    let nodes = [&a, &b];
    Socket::open(&a).await.ok("put", json!(["products", "k", product(1)])).await;
    let writers = (0..10).map(|at| async move {
        let mut socket = Socket::open(nodes[at % 2]).await;
        for _ in 0..20 {
            socket.ok("patch", json!({"collection": "products", "key": "k", "increment": {"stock": 1}})).await;
        }
    });
    let watchers = (0..10).map(|at| async move {
        let mut socket = Socket::open(nodes[at % 2]).await;
        socket.ok("subscribe", json!(["products", "k"])).await;
        let mut last = (0, 0);
        while last.1 < 200 {
            let pushed = socket.push().await;
            let next = (pushed["version"].as_u64().expect("a version"), pushed["value"]["stock"].as_u64().expect("n"));
            assert!(next.0 > last.0 && next.1 >= last.1, "{next:?} after {last:?}");
            last = next;
        }
        last
    });
    let (_, ends) = tokio::join!(futures_util::future::join_all(writers), futures_util::future::join_all(watchers));
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
    a.stop().await;
    b.stop().await;
}
