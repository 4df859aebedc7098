//! Each fault that a proxy plants is caught, by the promise that it breaks.

use std::time::Duration;

use super::{RUN, rows, verify};
use crate::harness::{
    Link, Node, Proxy, database,
    node::config,
    tampering::{Lie, Tampering},
};

/// A run through a proxy that lies breaks each claim of `surely`, and may break those of `perhaps`; one at least of all.
async fn caught(lie: Lie, surely: &[&str], perhaps: &[&str]) {
    let database = database().await;
    let node = Node::over(&database.url(), config()).await;
    let proxy = Tampering::with(&node, lie).await;
    let (url, base) = (proxy.url(), database.url());
    let ran = verify(&[&RUN[..], &[&url, "--database-url", &base, "--settle", "2s"]].concat()).await;
    let violated = ran.violated();
    assert!(!violated.is_empty(), "{lie:?}: {}", ran.said);
    assert!(surely.iter().all(|claim| violated.contains(claim)), "{lie:?}: {violated:?}\n{}", ran.said);
    let expected = [surely, perhaps].concat();
    assert!(violated.iter().all(|claim| expected.contains(claim)), "{lie:?}: {violated:?}\n{:#}", ran.report);
    assert_eq!(ran.code, 1, "{lie:?}: {}", ran.said);
    assert_eq!(rows(&database).await, 0, "{lie:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_changes_nothing_is_not_blamed() {
    let database = database().await;
    let node = Node::over(&database.url(), config()).await;
    let proxy = Tampering::with(&node, Lie::Nothing).await;
    verify(&[&RUN[..], &[&proxy.url(), "--no-sql"]].concat()).await.is_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reordered_pushes_are_caught() {
    caught(Lie::ReorderPushes, &["rising"], &["ends"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_pushes_are_caught() {
    caught(Lie::RepeatPushes, &["rising"], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_last_pushes_are_caught() {
    caught(Lie::DropPushesAfter(60), &["ends"], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_answers_are_caught() {
    // Each claim by itself would have found it.
    caught(Lie::AnswerOldStates, &["stamps", "sessions", "ages"], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_snapshots_are_caught() {
    caught(Lie::OldSnapshots, &["ages"], &["rising", "ends", "phantoms"]).await;
}

/// A node whose database says nothing answers with old states, and says so; the proxy keeps that back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ages_that_are_kept_back_are_caught() {
    let database = database().await;
    let link = Proxy::to(&database.url()).await;
    let (cut_off, healthy) = (Node::over(&link.url(), config()).await, Node::over(&database.url(), config()).await);
    let [honest, lying] =
        [Tampering::with(&cut_off, Lie::Nothing).await, Tampering::with(&cut_off, Lie::HideAges).await];
    let (url, other) = (database.url(), healthy.url());
    for (proxy, violated) in [(honest, &[][..]), (lying, &["ages"])] {
        let first = proxy.url();
        let run = ["--seconds", "10", "--keys", "8", &first, &other, "--database-url", &url];
        let silence = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            link.set(Link::BlackHole);
            tokio::time::sleep(Duration::from_secs(7)).await;
            link.set(Link::Pass);
        };
        let (ran, ()) = tokio::join!(verify(&run), silence);
        assert_eq!(ran.violated(), violated, "{:#}", ran.report);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swallowed_writes_are_caught() {
    let others = ["stamps", "sessions", "ages", "contents"];
    caught(Lie::SwallowWrites { ahead: 1 << 40 }, &["acknowledged"], &others).await;
    // A stamp that the next write of the key is soon above: what is asked for until then tells which promise it breaks.
    caught(Lie::SwallowWrites { ahead: 1 }, &[], &[&others[..], &["acknowledged"]].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_contents_are_caught() {
    caught(Lie::MixContents, &["contents"], &["phantoms", "ends"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invented_contents_are_caught() {
    caught(Lie::InventContents, &["phantoms"], &["contents", "ends"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_happen_and_are_denied_are_caught() {
    caught(Lie::DenyWrites, &["phantoms"], &[]).await;
}
