//! The client against a server of a few lines that does exactly what a test tells it to.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    testing::{Peer, Server},
    *,
};

const LIMIT: Duration = Duration::from_secs(5);

fn state(key: &str, generation: u32, version: u64) -> Value {
    json!({"key": key, "version": version, "stamp": format!("{generation}.{version}"), "value": {"n": version}})
}

fn quick() -> Options {
    Options::new().backoff_base(Duration::from_millis(20)).request_timeout(LIMIT)
}

async fn connected() -> (Server, Client, Peer) {
    let (server, url) = Server::start().await;
    let (client, peer) = tokio::join!(Client::connect(&url, quick()), server.accept());
    (server, client.expect("a connection"), peer)
}

async fn next(subscription: &mut Subscription) -> Record {
    timeout(LIMIT, subscription.next()).await.expect("a state in time").expect("a live subscription")
}

/// Subscribes to `keys` and has `peer` call each subscription by its key and `suffix`.
async fn subscribed(client: &Client, peer: &mut Peer, keys: &[&str], suffix: &str) -> Subscription {
    let serve = async {
        for key in keys {
            let (request, params) = peer.expect("subscribe").await;
            assert_eq!(params, json!({"collection": "c", "key": key}));
            peer.answer(request, json!(format!("{key}{suffix}"))).await;
        }
    };
    let (subscription, ()) = tokio::join!(client.subscribe("c", keys, []), serve);
    subscription.expect("subscribed")
}

#[tokio::test]
async fn requests_are_pipelined_and_answers_find_their_callers() {
    let (_server, client, mut peer) = connected().await;
    let serve = async {
        let (first, params) = peer.expect("get").await;
        assert_eq!(params, json!({"collection": "c", "key": "a"}));
        let (second, _) = peer.expect("get").await;
        peer.answer(second, state("b", 1, 2)).await;
        peer.answer(first, json!({"key": "a", "version": 0, "stamp": "1.0", "value": null})).await;
    };
    let (a, b, ()) = tokio::join!(client.get("c", "a"), client.get("c", "b"), serve);
    let (a, b) = (a.expect("answered"), b.expect("answered"));
    assert!(a.value.is_none() && b.key == "b" && b.stamp == Stamp::new(1, 2));
}

#[tokio::test]
async fn refusals_are_typed() {
    let (_server, client, mut peer) = connected().await;
    let serve = async {
        let (id, params) = peer.expect("put").await;
        assert_eq!(params["if_stamp"], "0");
        peer.refuse(id, -32006, json!({"reason": "version_conflict", "stamp": "1.9"})).await;
    };
    let options = WriteOptions::new().if_stamp(Stamp::ABSENT);
    let (written, ()) = tokio::join!(client.put("c", "a", "{}", options), serve);
    let error = written.expect_err("a conflict");
    let refusal = error.refusal().expect("the server's");
    assert_eq!((&*refusal.reason, refusal.data["stamp"].as_str()), ("version_conflict", Some("1.9")));
}

#[tokio::test]
async fn nobody_there_is_an_error_at_once() {
    let (server, url) = Server::start().await;
    drop(server);
    assert!(matches!(Client::connect(&url, quick()).await, Err(Error::Connect { .. })));
}

#[tokio::test]
async fn a_lost_connection_is_resumed_from_the_last_stamps() {
    let (server, client, mut peer) = connected().await;
    let mut subscription = subscribed(&client, &mut peer, &["a", "b"], "1").await;
    for (id, pushed) in [("a1", state("a", 1, 5)), ("b1", state("b", 1, 3)), ("a1", state("a", 1, 7))] {
        peer.push(id, pushed).await;
    }
    // How many states are skipped depends on who is faster; which one is last does not.
    let all = [("a".to_owned(), Stamp::new(1, 7)), ("b".to_owned(), Stamp::new(1, 3))].into();
    while subscription.stamps() != all {
        next(&mut subscription).await;
    }
    drop(peer);

    let mut peer = server.accept().await;
    for (key, stamp) in [("a", "1.7"), ("b", "1.3")] {
        let (id, params) = peer.expect("subscribe").await;
        assert_eq!(params, json!({"collection": "c", "key": key, "since": {key: stamp}}));
        peer.answer(id, json!(format!("{key}9"))).await;
    }
    // The old id and older states are of no consequence on the new connection.
    peer.push("a1", state("a", 1, 99)).await;
    peer.push("a9", state("a", 1, 6)).await;
    peer.push("a9", state("a", 1, 7)).await;
    peer.push("a9", state("a", 1, 8)).await;
    assert_eq!(next(&mut subscription).await.stamp, Stamp::new(1, 8));
    let mut reset = state("b", 2, 1);
    reset["reset"] = json!(true);
    peer.push("b9", reset).await;
    let reset = next(&mut subscription).await;
    assert!(reset.reset && reset.stamp == Stamp::new(2, 1));
}

#[tokio::test]
async fn subscriptions_share_their_keys_on_the_wire() {
    let (_server, client, mut peer) = connected().await;
    let mut first = subscribed(&client, &mut peer, &["a"], "1").await;
    peer.push("a1", state("a", 1, 5)).await;
    assert_eq!(next(&mut first).await.version, 5);
    // Only `b` is asked for; `a` is known.
    let serve = async {
        let (id, params) = peer.expect("subscribe").await;
        assert_eq!(params["key"], "b");
        peer.answer(id, json!("b1")).await;
    };
    let (second, ()) = tokio::join!(client.subscribe("c", &["a", "b"], []), serve);
    let mut second = second.expect("subscribed");
    assert_eq!(next(&mut second).await.version, 5);
    drop(first);
    peer.push("a1", state("a", 1, 6)).await;
    assert_eq!(next(&mut second).await.version, 6);
    let (read, ()) = tokio::join!(client.get("c", "a"), async {
        let (id, _) = peer.expect("get").await;
        peer.answer(id, state("a", 1, 4)).await;
    });
    assert_eq!(read.expect("answered").version, 6, "an answer is not older than what was handed over");
    drop(second);
    for id in ["a1", "b1"] {
        assert_eq!(peer.expect("unsubscribe").await.1, json!({"id": id}));
    }
}

#[tokio::test]
async fn an_interrupted_write_is_never_repeated_by_itself() {
    let (server, client, mut peer) = connected().await;
    let keyed = WriteOptions::new().idempotency_key("k1");
    let serve = async {
        for _ in 0..3 {
            peer.request().await.expect("a request");
        }
        drop(peer);
        let mut peer = server.accept().await;
        let (get, _) = peer.expect("get").await;
        let (put, params) = peer.expect("put").await;
        assert_eq!(params["idempotency_key"], "k1");
        peer.answer(get, state("a", 1, 1)).await;
        peer.answer(put, json!({"key": "b", "version": 4, "stamp": "1.4"})).await;
        peer
    };
    let (get, once, repeated, _peer) = tokio::join!(
        client.get("c", "a"),
        client.delete("c", "a", WriteOptions::new()),
        client.put("c", "b", "{}", keyed),
        serve
    );
    assert_eq!(get.expect("read again").version, 1);
    assert!(matches!(once, Err(Error::OutcomeUnknown)));
    assert_eq!(repeated.expect("written again").version, 4);
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_one_never_sent_is_not() {
    let (server, url) = Server::start().await;
    let options = quick().request_timeout(Duration::from_millis(150));
    let (client, mut peer) = tokio::join!(Client::connect(&url, options), server.accept());
    let client = client.expect("a connection");
    let (sent, _) = tokio::join!(client.put("c", "a", "{}", WriteOptions::new()), peer.expect("put"));
    assert!(matches!(sent, Err(Error::OutcomeUnknown)));
    drop((server, peer));
    let mut status = client.status();
    let lost = status.wait_for(|status| matches!(status, Status::Reconnecting { .. }));
    timeout(LIMIT, lost).await.expect("noticed").expect("alive");
    let unsent = client.put("c", "a", "{}", WriteOptions::new()).await;
    assert!(matches!(unsent, Err(Error::Timeout)));
}

#[tokio::test]
async fn a_drain_is_honoured_after_the_answers_under_way() {
    let (server, client, mut peer) = connected().await;
    let mut subscription = subscribed(&client, &mut peer, &["a"], "1").await;
    let began = tokio::time::Instant::now();
    let serve = async {
        let (under_way, _) = peer.expect("get").await;
        peer.say(json!({"jsonrpc": "2.0", "method": "freshet_drain", "params": {"reconnect_in_ms": 100}})).await;
        sleep(Duration::from_millis(200)).await;
        peer.answer(under_way, state("b", 1, 1)).await;
        assert!(peer.request().await.is_none(), "the client takes its leave");
        let mut peer = server.accept().await;
        let (id, _) = peer.expect("subscribe").await;
        peer.answer(id, json!("a2")).await;
        peer.push("a2", state("a", 1, 2)).await;
        peer
    };
    let (got, _peer) = tokio::join!(client.get("c", "b"), serve);
    assert_eq!(got.expect("answered before the leave").version, 1);
    assert_eq!(next(&mut subscription).await.version, 2);
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_close_during_a_drain_keeps_to_the_spread() {
    let (server, _client, mut peer) = connected().await;
    let began = tokio::time::Instant::now();
    peer.say(json!({"jsonrpc": "2.0", "method": "freshet_drain", "params": {"reconnect_in_ms": 300}})).await;
    peer.close(1001).await;
    let _peer = server.accept().await;
    assert!(began.elapsed() >= Duration::from_millis(290), "came back after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_refused_resumption_ends_the_subscription_and_a_passing_one_is_retried() {
    let (server, client, mut peer) = connected().await;
    let mut kept = subscribed(&client, &mut peer, &["a"], "1").await;
    let mut ended = subscribed(&client, &mut peer, &["b"], "1").await;
    peer.close(1012).await;
    let mut peer = server.accept().await;
    let (first, _) = peer.expect("subscribe").await;
    let (second, _) = peer.expect("subscribe").await;
    peer.refuse(first, -32009, json!({"reason": "overloaded", "retry_after_ms": 20})).await;
    peer.refuse(second, -32002, json!({"reason": "forbidden"})).await;
    assert!(timeout(LIMIT, ended.next()).await.expect("told").is_none());
    assert_eq!(ended.refusal().map(|refusal| refusal.reason), Some("forbidden".into()));
    let (again, params) = peer.expect("subscribe").await;
    assert_eq!(params["key"], "a");
    peer.answer(again, json!("s3")).await;
    peer.push("s3", state("a", 1, 1)).await;
    assert_eq!(next(&mut kept).await.version, 1);
}

#[tokio::test]
async fn a_dropped_subscription_ends_on_the_server() {
    let (_server, client, mut peer) = connected().await;
    drop(subscribed(&client, &mut peer, &["a"], "1").await);
    let (_, params) = peer.expect("unsubscribe").await;
    assert_eq!(params, json!({"id": "a1"}));
}

#[tokio::test]
async fn a_subscription_is_a_stream_that_loses_nothing_to_a_dropped_read_and_ends_once() {
    let (_server, client, mut peer) = connected().await;
    let mut states = subscribed(&client, &mut peer, &["a", "b"], "1").await.map(|record| (record.key, record.version));
    assert!(states.next().now_or_never().is_none());
    // Another task waits for what the first one has given up.
    let waiting = tokio::spawn(async move { (states.next().await, states) });
    peer.push("a1", state("a", 1, 5)).await;
    let (first, mut states) = timeout(LIMIT, waiting).await.expect("woken").expect("no panic");
    assert_eq!(first, Some(("a".into(), 5)));
    for pushed in [("a1", state("a", 1, 6)), ("b1", state("b", 1, 3))] {
        peer.push(pushed.0, pushed.1).await;
    }
    let both = async {
        let mut read = Vec::new();
        while read.len() < 2 {
            read.extend(states.next().now_or_never().flatten());
            tokio::task::yield_now().await;
        }
        read
    };
    assert_eq!(timeout(LIMIT, both).await.expect("read"), [("a".into(), 6), ("b".into(), 3)]);
    peer.push("b1", state("b", 1, 4)).await;
    // The answer comes behind the push: what had arrived before the end is still handed out.
    let (read, ()) = tokio::join!(client.get("c", "x"), async {
        let (id, _) = peer.expect("get").await;
        peer.answer(id, state("x", 1, 1)).await;
    });
    read.expect("answered");
    let ((), ()) = tokio::join!(client.close(), async { assert!(peer.request().await.is_none()) });
    assert_eq!(timeout(LIMIT, states.next()).await.expect("told"), Some(("b".into(), 4)));
    assert_eq!(states.next().await, None);
    assert_eq!(states.next().await, None);
}

#[tokio::test]
async fn an_expired_token_closes_for_good() {
    let (_server, client, mut peer) = connected().await;
    let mut subscription = subscribed(&client, &mut peer, &["a"], "1").await;
    peer.close(4401).await;
    assert!(timeout(LIMIT, subscription.next()).await.expect("told").is_none());
    assert!(matches!(client.get("c", "a").await, Err(Error::Disconnected)));
    assert!(matches!(&*client.status().borrow(), Status::Closed { reason } if reason.contains("4401")));
}

#[tokio::test]
async fn every_task_ends_with_the_last_clone() {
    let (_server, client, mut peer) = connected().await;
    let mut subscription = subscribed(&client, &mut peer, &["a"], "1").await;
    let tasks = client.inner.tasks.clone();
    drop(client.clone());
    assert!(!tasks.is_empty());
    drop(client);
    assert!(peer.request().await.is_none(), "the close arrives");
    assert!(timeout(LIMIT, subscription.next()).await.expect("told").is_none());
    timeout(LIMIT, tasks.wait()).await.expect("no task is left");
}

#[tokio::test]
async fn waiting_to_reconnect_ends_with_the_client() {
    let (server, client, peer) = connected().await;
    drop((server, peer));
    let mut status = client.status();
    let lost = status.wait_for(|status| matches!(status, Status::Reconnecting { .. }));
    timeout(LIMIT, lost).await.expect("noticed").expect("alive");
    timeout(LIMIT, client.close()).await.expect("closed");
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let (server, url) = Server::start().await;
    let soon = Duration::from_millis(40);
    let options = quick().heartbeat(soon).heartbeat_timeout(soon);
    let (client, _mute) = tokio::join!(Client::connect(&url, options), server.accept());
    let client = client.expect("a connection");
    let _peer = server.accept().await;
    drop(client);
}
