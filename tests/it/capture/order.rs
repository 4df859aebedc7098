//! For one key, version order equals commit order, deletes and re-inserts included (coherence, I1).

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinSet;

use super::{assert_faithful, product_versions};
use crate::harness::{self, Poller, TestDatabase};

const SESSIONS: u64 = 8;
const TRANSACTIONS: usize = 800;

/// Holds an INSERT between its version and its key for as long as the advisory lock 1 is taken.
const GATE: &str = "CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS \
    'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END'; \
    CREATE TRIGGER zzz_gate BEFORE INSERT ON products FOR EACH ROW EXECUTE FUNCTION gate()";

/// The trigger function as it would be without its second look.
const NO_GUARD: &str = "CREATE OR REPLACE FUNCTION feed.products_inserted() RETURNS trigger LANGUAGE plpgsql \
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS \
    'BEGIN INSERT INTO feed.outbox (collection, key, version, op) \
     SELECT ''products'', sku, freshet_version, ''U'' FROM n; RETURN NULL; END'";

const INSERT: &str = "INSERT INTO products (sku, name, price) VALUES ('k', 'n', 1)";

#[tokio::test]
async fn racing_deletes_and_inserts_are_polled_in_commit_order() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    let written = race(&database, &mut poller).await;
    assert!(written > 2000, "only {written} transactions wrote");
    assert_faithful(&database, &poller).await;
}

/// What the test above is worth: on two cores this race showed 30 to 40 inversions in 1400 writes.
#[tokio::test]
async fn without_the_insert_guard_the_race_shows_inversions() {
    let database = harness::database().await;
    database.run(NO_GUARD).await;
    let mut poller = Poller::start(&database).await;
    race(&database, &mut poller).await;
    poller.assert_each_once();
    assert!(poller.inversions(&product_versions(&database).await) > 0);
}

/// Many sessions at a handful of keys, polled all the while; returns how many transactions wrote.
async fn race(database: &TestDatabase, poller: &mut Poller) -> usize {
    let mut sessions = JoinSet::new();
    for seed in 0..SESSIONS {
        let mut connection = database.connect().await;
        connection.execute("SET deadlock_timeout = '5ms'").await.expect("set");
        sessions.spawn(write_at_random(connection, SmallRng::seed_from_u64(seed)));
    }
    let mut written = 0;
    while !sessions.is_empty() {
        poller.poll().await;
        while let Some(session) = sessions.try_join_next() {
            written += session.expect("a session");
        }
    }
    poller.poll().await;
    written
}

async fn write_at_random(mut connection: PgConnection, mut random: SmallRng) -> usize {
    let mut written = 0;
    for _ in 0..TRANSACTIONS {
        let level = ["READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"][random.random_range(0..4)];
        let begin = format!("BEGIN ISOLATION LEVEL {level}");
        let mut transaction = connection.begin_with(AssertSqlSafe(begin)).await.expect("begin");
        let mut outcome = Ok(0);
        for _ in 0..random.random_range(1..=2) {
            if outcome.is_ok() {
                let done = transaction.execute(AssertSqlSafe(statement(&mut random))).await;
                outcome = done.and_then(|done| outcome.map(|sum| sum + done.rows_affected()));
            }
        }
        // Deadlocks, serialisation failures and duplicate keys are part of the game.
        let is_commit = outcome.is_ok_and(|rows| rows > 0) && random.random_ratio(9, 10);
        if is_commit && transaction.commit().await.is_ok() {
            written += 1;
        }
    }
    written
}

fn statement(random: &mut SmallRng) -> String {
    let (key, other) = (random.random_range(0..4), random.random_range(4..6));
    match random.random_range(0..6) {
        0 | 1 => format!("DELETE FROM products WHERE sku = 'k{key}'"),
        2 => format!(
            "INSERT INTO products (sku, name, price) VALUES ('k{key}', 'n', 1), ('k{other}', 'n', 1) ON CONFLICT DO NOTHING"
        ),
        3 => format!("INSERT INTO products (sku, name, price) VALUES ('k{key}', 'n', 1)"),
        4 => format!(
            "INSERT INTO products (sku, name, price) VALUES ('k{key}', 'n', 1) ON CONFLICT (sku) DO UPDATE SET price = products.price + 1"
        ),
        _ => format!("UPDATE products SET price = price + 1 WHERE sku IN ('k{key}', 'k{other}')"),
    }
}

/// An INSERT that took its version, then waited while the key was deleted; returns the inversions seen.
async fn overtaken_insert(database: &TestDatabase, level: &str) -> usize {
    database.run(INSERT).await;
    database.run(GATE).await;
    let mut poller = Poller::start(database).await;
    let mut keeper = database.connect().await;
    keeper.execute("SELECT pg_advisory_lock(1)").await.expect("lock");
    let mut inserter = database.connect().await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut inserter).await.expect("pid");
    let begin = format!("BEGIN ISOLATION LEVEL {level}");
    let inserting = tokio::spawn(async move {
        let mut transaction = inserter.begin_with(AssertSqlSafe(begin)).await.expect("begin");
        transaction.execute(INSERT).await.expect("insert");
        transaction.commit().await.expect("commit");
    });
    wait_until_blocked(database, pid).await;
    database.run("DELETE FROM products WHERE sku = 'k'").await;
    poller.poll().await;
    keeper.execute("SELECT pg_advisory_unlock(1)").await.expect("unlock");
    inserting.await.expect("the inserting session");
    poller.poll().await;
    poller.assert_each_once();
    poller.inversions(&product_versions(database).await)
}

/// Asks until the server says that the session waits for another, 10 s at most.
async fn wait_until_blocked(database: &TestDatabase, pid: i32) {
    let until = Instant::now() + Duration::from_secs(10);
    let ask = format!("SELECT cardinality(pg_blocking_pids({pid})) > 0");
    while !database.value::<bool>(&ask).await {
        assert!(Instant::now() < until, "session {pid} never waited");
    }
}

#[tokio::test]
async fn an_insert_overtaken_by_a_delete_gets_a_later_version() {
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let database = harness::database().await;
        assert_eq!(overtaken_insert(&database, level).await, 0, "{level}");
    }
}

#[tokio::test]
async fn without_the_insert_guard_an_overtaken_insert_is_inverted() {
    let database = harness::database().await;
    database.run(NO_GUARD).await;
    assert!(overtaken_insert(&database, "READ COMMITTED").await > 0);
}

#[tokio::test]
async fn tombstones_of_other_keys_make_no_row_be_stamped_twice() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    database.run(INSERT).await;
    poller.poll().await;
    let newer_tombstone = "WITH gone AS (DELETE FROM products WHERE sku = 'k') \
                           INSERT INTO products (sku, name, price) SELECT 'x' || i, 'n', 1 FROM generate_series(1, 3) i";
    database.run(newer_tombstone).await;
    assert_eq!(poller.poll().await.len(), 4);
    assert_faithful(&database, &poller).await;
}

#[tokio::test]
async fn a_repeatable_read_insert_after_a_hidden_delete_gets_a_later_version() {
    let database = harness::database().await;
    database.run(INSERT).await;
    let mut poller = Poller::start(&database).await;
    let mut old = database.connect().await;
    let mut transaction = old.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await.expect("begin");
    transaction.execute("SELECT count(*) FROM feed.tomb").await.expect("take the snapshot");
    database.run("DELETE FROM products WHERE sku = 'k'").await;
    transaction.execute(INSERT).await.expect("insert over a delete the snapshot does not show");
    transaction.commit().await.expect("commit");
    poller.poll().await;
    assert_faithful(&database, &poller).await;
}
