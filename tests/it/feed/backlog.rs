//! What becomes visible at once may be of any size: it holds nothing up, is never lost, and is never held whole.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use freshet::{
    record::DatabaseId,
    resilience::Deadline,
    store::{Poll, Postgres, Store, Tail, postgres, postgres::Counters},
    telemetry::Telemetry,
};
use serde_json::json;

use crate::harness::{
    Kind, Node, Socket, TestDatabase, Watcher, database,
    node::LIMIT,
    node::{SOON, config},
    until, within,
};

/// One transaction that changes `count` records, as the feed sees it.
fn giant(prefix: &str, count: u32) -> String {
    format!(
        "INSERT INTO feed.outbox (collection, key, version, op)
         SELECT 'products', '{prefix}' || n, nextval('feed.vseq'), 'U' FROM generate_series(1, {count}) n"
    )
}

const BYSTANDER: &str = "INSERT INTO products (sku, name, price) VALUES ('by', 'stander', 0)
                         ON CONFLICT (sku) DO UPDATE SET price = products.price + 1";

async fn store_of(database: &TestDatabase) -> Store {
    let opened = Postgres::open(
        vec![postgres::Config::at(database.url())],
        &Counters::new(&Telemetry::new()),
        Deadline::after(LIMIT),
    )
    .await;
    Store::Postgres(Arc::new(opened.expect("open")))
}

async fn poll(tail: &mut Tail) -> Poll {
    within("a poll", tail.poll()).await.expect("the database answers")
}

fn has(poll: &Poll, key: &str) -> bool {
    poll.changes.iter().any(|change| change.key.as_str() == key)
}

#[tokio::test]
async fn a_transaction_of_any_size_comes_in_pages_and_nothing_is_proven_before_its_end() {
    let database = database().await;
    let store = store_of(&database).await;
    let mut tail = store.tail(DatabaseId(0));
    assert!(poll(&mut tail).await.proof.is_some());
    // It takes its transaction's number before the next poll, as one does that runs for a while.
    let mut session = database.connect().await;
    let begin = format!("BEGIN; {}", giant("g", 120_000));
    sqlx::raw_sql(sqlx::AssertSqlSafe(begin)).execute(&mut session).await.expect("begin");
    database.run(BYSTANDER).await;
    assert!(has(&poll(&mut tail).await, "by"), "one that runs delays nobody");
    // Two that were in progress, and two of a page and more that began meanwhile, commit between two polls.
    let mut small = database.connect().await;
    sqlx::raw_sql("BEGIN; INSERT INTO products (sku, name, price) VALUES ('small', 'S', 1)")
        .execute(&mut small)
        .await
        .expect("begin");
    database.run(BYSTANDER).await;
    assert!(has(&poll(&mut tail).await, "by"));
    for (session, sql) in [(&mut session, "COMMIT"), (&mut small, "COMMIT")] {
        sqlx::raw_sql(sql).execute(session).await.expect("commit");
    }
    database.run(&giant("h", 30_000)).await;
    database.run(&giant("i", 30_000)).await;
    database.run(BYSTANDER).await;
    let first = poll(&mut tail).await;
    assert!(first.proof.is_none(), "not all of it can have been reported");
    assert!(has(&first, "by") && has(&first, "small"), "what ended with it is in the first poll");
    // A later change comes before the end of the pages, and is proven with it.
    database.run("INSERT INTO products (sku, name, price) VALUES ('later', 'L', 1)").await;
    let (mut keys, mut later) = (HashSet::new(), None);
    let mut polls = vec![first];
    while polls.last().is_some_and(|poll| poll.proof.is_none()) {
        polls.push(poll(&mut tail).await);
    }
    for (n, poll) in polls.iter().enumerate() {
        assert!(poll.complete && poll.changes.len() <= 50_000, "{} changes at once", poll.changes.len());
        keys.extend(poll.changes.iter().map(|change| change.key.clone()));
        later = later.or(has(poll, "later").then_some(n));
    }
    assert!(later.is_some_and(|n| n + 5 < polls.len()), "the later change came in poll {later:?} of {}", polls.len());
    let of = |prefix: &str| keys.iter().filter(|key| key.as_str().starts_with(prefix)).count();
    assert_eq!((of("g"), of("h"), of("i")), (120_000, 30_000, 30_000));
    store.close().await;
}

#[tokio::test]
async fn a_second_one_while_the_first_is_read_is_read_behind_it() {
    let database = database().await;
    let store = store_of(&database).await;
    let mut tail = store.tail(DatabaseId(0));
    poll(&mut tail).await;
    database.run(&giant("g", 100_000)).await;
    assert!(poll(&mut tail).await.proof.is_none());
    database.run(&giant("h", 100_000)).await;
    let mut keys = HashSet::new();
    while keys.len() < 200_000 {
        let poll = poll(&mut tail).await;
        keys.extend(poll.changes.into_iter().map(|change| change.key));
        assert!(poll.proof.is_none() || keys.len() >= 100_000, "proven after {} changes", keys.len());
    }
    until("all of it is proven", async || poll(&mut tail).await.proof.is_some()).await;
    store.close().await;
}

#[tokio::test]
async fn many_small_transactions_are_taken_in_pages_without_a_backlog() {
    let database = database().await;
    let store = store_of(&database).await;
    let mut tail = store.tail(DatabaseId(0));
    poll(&mut tail).await;
    let small = "DO $$ BEGIN FOR n IN 1..25 LOOP
                     INSERT INTO feed.outbox (collection, key, version, op)
                     SELECT 'products', format('s%s-%s', n, m), nextval('feed.vseq'), 'U' FROM generate_series(1, 1000) m;
                     COMMIT;
                 END LOOP; END $$";
    database.run(small).await;
    let taken = poll(&mut tail).await;
    assert_eq!((taken.changes.len(), taken.proof.is_some(), taken.backlog), (25_000, true, None));
    store.close().await;
}

#[tokio::test]
async fn a_backlog_whose_connection_is_killed_is_read_to_its_end() {
    let database = database().await;
    let store = store_of(&database).await;
    let mut tail = store.tail(DatabaseId(0));
    poll(&mut tail).await;
    database.run(&giant("g", 100_000)).await;
    let mut keys = HashSet::new();
    for _ in 0..3 {
        keys.extend(poll(&mut tail).await.changes.into_iter().map(|change| change.key));
    }
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'freshet backlog'";
    assert_eq!(database.value::<i64>(kill).await, 1);
    loop {
        let poll = poll(&mut tail).await;
        keys.extend(poll.changes.into_iter().map(|change| change.key));
        if poll.proof.is_some() {
            break;
        }
    }
    assert_eq!(keys.len(), 100_000);
    store.close().await;
}

#[tokio::test]
async fn a_backlog_that_was_pruned_before_it_was_read_is_said_to_be_lost() {
    let database = database().await;
    let store = store_of(&database).await;
    let mut lead = store.lead(DatabaseId(0)).await.expect("the database answers").expect("nobody else leads");
    lead.mark().await.expect("mark");
    let mut tail = store.tail(DatabaseId(0));
    poll(&mut tail).await;
    database.run(&giant("g", 50_000)).await;
    lead.mark().await.expect("mark");
    let first = poll(&mut tail).await;
    assert!(first.complete && first.proof.is_none());
    // The mark where the backlog begins is gone before its cursor stands open.
    database.run("DELETE FROM feed.mark WHERE n = 1").await;
    let mut lost = poll(&mut tail).await;
    while lost.complete {
        assert!(lost.proof.is_none() && lost.backlog.is_none(), "nothing holds of what was lost");
        lost = poll(&mut tail).await;
    }
    assert!(lost.changes.is_empty() && lost.proof.is_some() && lost.generations.is_some());
    database.run(BYSTANDER).await;
    let after = poll(&mut tail).await;
    assert!(after.complete && has(&after, "by"));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_takes_longer_than_a_statement_may_neither_stops_the_feed_nor_delays_others() {
    let mut settings = postgres::Config::at("");
    settings.statement_limit = Duration::from_secs(1);
    let node = Node::with_database(settings, config()).await;
    let database = node.database();
    database.run(BYSTANDER).await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('g150000', 'in the middle', 1)").await;
    let mut watcher = Watcher::of(&node, &["by", "g150000"]).await;
    let before = node.tiers().applied(DatabaseId(0));
    let mut session = database.connect().await;
    let update = "UPDATE products SET price = 2 WHERE sku = 'g150000'";
    let sql = format!("BEGIN; {}; {update}; COMMIT", giant("g", 400_000));
    let writing = tokio::spawn(async move {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut session).await.expect("write");
    });
    // Before it commits, while it is read, and after.
    let (mut longest, mut middle) = (Duration::ZERO, false);
    let mut rounds = 0;
    while rounds < 20 || !middle {
        database.run(BYSTANDER).await;
        let begun = Instant::now();
        loop {
            let pushed = watcher.push().await;
            if pushed["key"] == "by" {
                break;
            }
            middle |= pushed["value"]["price"] == 2;
        }
        longest = longest.max(begun.elapsed());
        rounds += usize::from(writing.is_finished());
    }
    writing.await.expect("joins");
    assert!(longest < SOON, "a bystander waited for {longest:?}");
    until("all of it is applied", async || node.metric("freshet_changes_applied_total").await >= 400_000.0).await;
    until("the position moves on", async || node.tiers().applied(DatabaseId(0)) > before).await;
    assert_eq!(node.metric("freshet_changes_resyncs_total").await, 0.0, "nothing was lost");
    // Reads go on: the base stands where the backlog was read.
    let mut client = Socket::open(&node).await;
    assert_eq!(client.ok("get", json!(["products", "g150000"])).await["value"]["price"], 2);
    assert!(node.metric("freshet_tiers_floors").await < 60_000.0, "a backlog takes no floors");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gathered_in_an_outage_is_read_while_new_changes_reach_their_screens() {
    let node = Node::start(Kind::Postgres).await;
    let database = node.database();
    database.run(BYSTANDER).await;
    let mut watcher = Watcher::of(&node, &["by"]).await;
    // Changes of many transactions, none of which the node can see before the lock is gone.
    let mut lock = database.connect().await;
    let locking = "BEGIN; LOCK TABLE feed.shard_state IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(locking).execute(&mut lock).await.expect("lock");
    for n in 0..20 {
        database.run(&giant(&format!("g{n}-"), 10_001)).await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut lock).await.expect("unlock");
    for _ in 0..5 {
        let begun = Instant::now();
        database.run(BYSTANDER).await;
        assert_eq!(watcher.push().await["key"], "by");
        assert!(begun.elapsed() < SOON, "a push took {:?}", begun.elapsed());
    }
    until("all of it is applied", async || node.metric("freshet_changes_applied_total").await >= 200_020.0).await;
    assert_eq!(node.metric("freshet_changes_resyncs_total").await, 0.0);
    node.stop().await;
}
