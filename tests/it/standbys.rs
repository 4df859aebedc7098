//! The servers that the tests of replicas stand on: standbys follow their primary, lag when told to, and replace it.

use std::{fs, time::Duration};

use freshet::store::postgres::server::{Error, Options, PrivateServer};
use sqlx::PgConnection;
use tokio::time::timeout;

use crate::harness::{Replicated, folder};

async fn put(connection: &mut PgConnection, key: &str) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO products (sku, name, price) VALUES ($1, 'x', 1)";
    sqlx::query(insert).bind(key).execute(connection).await.map(drop)
}

async fn keys(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar("SELECT sku FROM products ORDER BY sku").fetch_all(connection).await.expect("keys")
}

#[tokio::test]
async fn a_standby_shows_what_its_primary_committed_and_takes_no_writes() {
    let servers = Replicated::start(2, &[]).await;
    put(&mut servers.connect_primary().await, "a").await.expect("put");
    for standby in 0..2 {
        servers.wait_for_replay(standby).await;
        let mut connection = servers.connect_standby(standby).await;
        assert_eq!(keys(&mut connection).await, ["a"]);
        let refused = put(&mut connection, "b").await.expect_err("read-only");
        assert!(refused.to_string().contains("read-only"), "{refused}");
    }
    servers.stop().await;
}

#[tokio::test]
async fn a_paused_standby_shows_what_it_had() {
    let servers = Replicated::start(1, &[]).await;
    let (mut primary, mut standby) = (servers.connect_primary().await, servers.connect_standby(0).await);
    servers.wait_for_replay(0).await;
    servers.pause_replay(0).await;
    // Such commits wait until the standby has them on its disk; it does not apply them.
    servers.set_synchronous(true).await;
    put(&mut primary, "a").await.expect("put");
    assert_eq!(keys(&mut standby).await, Vec::<String>::new());
    servers.resume_replay(0).await;
    servers.wait_for_replay(0).await;
    assert_eq!(keys(&mut standby).await, ["a"]);
    servers.stop().await;
}

#[tokio::test]
async fn a_standby_that_was_away_follows_again() {
    let mut servers = Replicated::start(1, &[]).await;
    let mut primary = servers.connect_primary().await;
    servers.stop_standby(0).await;
    put(&mut primary, "a").await.expect("put");
    servers.start_standby(0).await;
    servers.wait_for_replay(0).await;
    servers.kill_standby(0).await;
    put(&mut primary, "b").await.expect("put");
    servers.start_standby(0).await;
    servers.wait_for_replay(0).await;
    assert_eq!(keys(&mut servers.connect_standby(0).await).await, ["a", "b"]);
    servers.stop().await;
}

#[tokio::test]
async fn a_standby_answers_while_its_primary_is_down_and_follows_it_again() {
    let mut servers = Replicated::start(1, &[]).await;
    put(&mut servers.connect_primary().await, "a").await.expect("put");
    servers.wait_for_replay(0).await;
    servers.kill_primary().await;
    assert_eq!(keys(&mut servers.connect_standby(0).await).await, ["a"]);
    // It needs no primary to start, either.
    servers.stop_standby(0).await;
    servers.start_standby(0).await;
    assert_eq!(keys(&mut servers.connect_standby(0).await).await, ["a"]);
    servers.start_primary().await;
    put(&mut servers.connect_primary().await, "b").await.expect("put");
    servers.wait_for_replay(0).await;
    assert_eq!(keys(&mut servers.connect_standby(0).await).await, ["a", "b"]);
    servers.stop().await;
}

#[tokio::test]
async fn a_promoted_standby_takes_writes_and_the_former_primary_is_rebuilt_to_follow_it() {
    let mut servers = Replicated::start(1, &[]).await;
    put(&mut servers.connect_primary().await, "a").await.expect("put");
    servers.wait_for_replay(0).await;
    let (former, follower) = (servers.url(), servers.standby_url(0));
    servers.kill_primary().await;
    servers.promote(0).await;
    assert_eq!((servers.standby_url(0), servers.url()), (former, follower));
    put(&mut servers.connect_primary().await, "b").await.expect("a primary takes writes");
    // Started again it is still a primary: its data says so.
    servers.stop_primary().await;
    servers.start_primary().await;
    put(&mut servers.connect_primary().await, "c").await.expect("a primary takes writes");
    servers.rebuild_standby(0).await;
    put(&mut servers.connect_primary().await, "d").await.expect("put");
    servers.wait_for_replay(0).await;
    let mut standby = servers.connect_standby(0).await;
    assert_eq!(keys(&mut standby).await, ["a", "b", "c", "d"]);
    assert!(put(&mut standby, "e").await.is_err(), "it follows");
    servers.stop().await;
}

#[tokio::test]
async fn a_commit_of_a_synchronous_primary_waits_for_its_standby() {
    let mut servers = Replicated::start(1, &[]).await;
    servers.set_synchronous(true).await;
    let mut primary = servers.connect_primary().await;
    put(&mut primary, "a").await.expect("the standby has it");
    servers.freeze_standby(0);
    let mut waiting = std::pin::pin!(put(&mut primary, "b"));
    let is_early = timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(is_early.is_err(), "{is_early:?}");
    servers.thaw_standby(0);
    waiting.await.expect("the standby has it");
    // What is promoted commits alone, though its data is a copy of the primary's.
    servers.rebuild_standby(0).await;
    servers.kill_primary().await;
    servers.promote(0).await;
    put(&mut servers.connect_primary().await, "c").await.expect("put");
    servers.stop().await;
}

#[tokio::test]
async fn a_frozen_primary_keeps_its_sessions_and_goes_on() {
    let servers = Replicated::start(1, &[]).await;
    let mut primary = servers.connect_primary().await;
    servers.freeze_primary();
    let mut waiting = std::pin::pin!(put(&mut primary, "a"));
    let is_early = timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(is_early.is_err(), "{is_early:?}");
    servers.thaw_primary();
    waiting.await.expect("put");
    servers.wait_for_replay(0).await;
    assert_eq!(keys(&mut servers.connect_standby(0).await).await, ["a"]);
    servers.stop().await;
}

#[tokio::test]
async fn a_standby_of_a_primary_that_is_down_or_refuses_it_says_so_and_leaves_nothing() {
    let folder = folder();
    let mut options = Options::new(folder.path().join("primary"));
    options.sync = false;
    options.settings = vec![("max_wal_senders".to_owned(), "1".to_owned())];
    let primary = PrivateServer::start(options).await.expect("start");
    let mut options = Options::new(folder.path().join("standby"));
    options.primary = Some(primary.as_primary());
    let error = PrivateServer::start(options.clone()).await.expect_err("one sender is not enough");
    assert!(matches!(&error, Error::Copy { output, .. } if output.contains("max_wal_senders")), "{error}");
    primary.stop().await;
    let error = PrivateServer::start(options).await.expect_err("nothing to copy");
    assert!(matches!(&error, Error::Copy { output, .. } if output.contains("Is the server running")), "{error}");
    assert!(error.to_string().contains("is the primary running"), "{error}");
    assert_eq!(fs::read_dir(folder.path().join("standby")).expect("read").count(), 0);
}

#[tokio::test]
async fn a_standby_with_too_few_connections_names_the_setting() {
    let folder = folder();
    let mut options = Options::new(folder.path().join("primary"));
    options.sync = false;
    options.settings = vec![("max_connections".to_owned(), "120".to_owned())];
    let primary = PrivateServer::start(options).await.expect("start");
    let mut options = Options::new(folder.path().join("standby"));
    (options.sync, options.primary) = (false, Some(primary.as_primary()));
    let error = PrivateServer::start(options).await.expect_err("100 connections");
    assert!(matches!(&error, Error::Ended { output, .. } if output.contains("max_connections")), "{error}");
    primary.stop().await;
}
