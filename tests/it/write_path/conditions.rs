//! A write on the condition that the record is at a stamp follows that state, and no other.

use std::{sync::Mutex, time::Duration};

use freshet::{
    record::Stamp,
    service::{Conditions, Error},
    store,
};
use futures_util::future::join_all;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use sqlx::{AssertSqlSafe, Executor as _};

use super::{parse, sharded};
use crate::harness::{Link, Node, Proxy, TestDatabase, node::config, until};

const KEYS: usize = 4;
/// Writes of each client, and of the long form.
const STEPS: usize = 60;
const STEPS_LONG: usize = 5_000;

/// Groups that have looked at their records, and not gone on.
const LOOKED: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'freshet writes'
                      AND state = 'idle in transaction' AND query LIKE '%MATERIALIZED%' AND datname = current_database()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletions_stamp_is_over_when_the_record_came_and_went() {
    let database = sharded(64).await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    let service = node.service();
    let id = || service.record("products", "k").expect("a key");
    let put = |if_stamp| {
        let conditions = Conditions { if_stamp, ..Conditions::default() };
        service.put(id(), r#"{"name": "n", "price": 1}"#, conditions)
    };
    put(None).await.expect("a put");
    let deleted = service.delete(id(), Conditions::default()).await.expect("a deletion").stamp;
    // The look at the record and the insert after it are a round trip apart, which takes long on this link.
    proxy.set_for("writes", Link::Delay(Duration::from_millis(500)));
    let conditional = async { put(Some(deleted)).await };
    let foreign = async {
        until("the group has looked", async || database.value::<i64>(LOOKED).await > 0).await;
        database.run("INSERT INTO products (sku, name, price) VALUES ('k', 'theirs', 2)").await;
        database.run("DELETE FROM products WHERE sku = 'k'").await;
    };
    let (written, ()) = tokio::join!(conditional, foreign);
    proxy.set(Link::Pass);
    let newest: i64 = database.value("SELECT max(version) FROM feed.tomb WHERE key = 'k'").await;
    let current = Stamp::new(deleted.generation, newest.unsigned_abs());
    assert!(
        matches!(&written, Err(Error::Store(store::Error::Conflict { current: stamp })) if *stamp == current),
        "{written:?}, and the record was deleted at {current}, not only at {deleted}"
    );
    // The deletion that is the newest is passed by none.
    put(Some(current)).await.expect("a put after the newest deletion");
    node.stop().await;
}

/// What racing writers know of the keys: the newest stamp of each that a write was answered with.
#[derive(Default)]
struct Known(Mutex<[Stamp; KEYS]>);

/// A write that was answered: its key, the state that it named, and the one that it made.
type Passed = (usize, Stamp, Stamp);

/// One client: it writes, deletes, and writes on the condition of what is known, `steps` times.
async fn client(node: &Node, known: &Known, seed: u64, steps: usize) -> Vec<Passed> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut passed = Vec::new();
    for step in 0..steps {
        let key = random.random_range(0..KEYS);
        let id = node.service().record("products", &format!("k{key}")).expect("a key");
        let named = known.0.lock().expect("not poisoned")[key];
        let if_stamp = (named.version > 0 && random.random_range(0..3) > 0).then_some(named);
        let idempotency_key = random.random_ratio(1, 4).then(|| format!("{seed}-{step}"));
        let conditions = Conditions { if_stamp, idempotency_key };
        let value = format!(r#"{{"name": "n", "price": {step}}}"#);
        let written = match random.random_range(0..4) {
            0 => node.service().delete(id, conditions).await,
            1 => node.service().patch(id, parse(r#"{"name": "n"}"#, &[("stock", 1)]), conditions).await,
            _ => node.service().put(id, &value, conditions).await,
        };
        // Refused, or its connection was cut.
        let Ok(written) = written else { continue };
        let newest = &mut known.0.lock().expect("not poisoned")[key];
        *newest = written.stamp.max(*newest);
        passed.extend(if_stamp.map(|named| (key, named, written.stamp)));
    }
    passed
}

/// A psql session that changes the keys, inserts and deletes them.
async fn psql(database: &TestDatabase, seed: u64, steps: usize) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut session = database.connect().await;
    for _ in 0..steps {
        let key = random.random_range(0..KEYS);
        let sql = match random.random_range(0..4) {
            0 => format!("DELETE FROM products WHERE sku = 'k{key}'"),
            1 => format!("INSERT INTO products (sku, name, price) VALUES ('k{key}', 'p', 1) ON CONFLICT DO NOTHING"),
            2 => format!("UPDATE products SET stock = stock + 1 WHERE sku = 'k{key}'"),
            _ => format!(
                "BEGIN; UPDATE products SET stock = stock + 1 WHERE sku = 'k{key}'; SELECT pg_sleep(0.004); COMMIT"
            ),
        };
        session.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.expect("a write");
    }
}

/// Whether no state of the record lies between the one that was named and the one that was made: the outbox has a row for
/// each state that was committed.
async fn passed_over(database: &TestDatabase, (key, named, made): Passed) -> Vec<i64> {
    let between = "SELECT version FROM feed.outbox WHERE key = $1 AND version > $2 AND version < $3 ORDER BY version";
    let between = sqlx::query_scalar(between).bind(format!("k{key}")).bind(named.version.cast_signed());
    between.bind(made.version.cast_signed()).fetch_all(database.pool()).await.expect("the outbox")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conditional_writes_that_race_with_others_and_with_broken_links_pass_over_nothing() {
    race(STEPS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes minutes"]
async fn thousands_of_conditional_writes_pass_over_nothing() {
    race(STEPS_LONG).await;
}

/// Clients of two nodes, one of which loses connections, and two of psql.
async fn race(steps: usize) {
    let database = sharded(64).await;
    let proxy = Proxy::to(&database.url()).await;
    let (a, b) = (Node::over(&proxy.url(), config()).await, Node::over(&database.url(), config()).await);
    let known = Known::default();
    let seed: u64 = rand::random_range(0..1 << 32);
    let clients = join_all((0..16).map(|n| client(if n % 2 == 0 { &a } else { &b }, &known, seed + n, steps)));
    let foreign = join_all((0..2).map(|n| psql(&database, seed + 100 + n, 4 * steps)));
    let cutting = async {
        let mut random = SmallRng::seed_from_u64(seed + 200);
        loop {
            let link = match random.random_range(0..4) {
                0 => Link::CutAtCommit { heard: true },
                1 => Link::CutAtCommit { heard: false },
                2 => Link::Delay(Duration::from_millis(random.random_range(1..20))),
                _ => Link::Cut,
            };
            proxy.set_for("writes", link);
            tokio::time::sleep(Duration::from_millis(if link == Link::Cut { 20 } else { 100 })).await;
            proxy.set_for("writes", Link::Pass);
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    };
    let passed = tokio::select! {
        (passed, _) = async { tokio::join!(clients, foreign) } => passed,
        () = cutting => unreachable!("it goes on"),
    };
    let passed: Vec<Passed> = passed.into_iter().flatten().filter(|(_, named, made)| named < made).collect();
    assert!(passed.len() > steps / 2, "only {} conditional writes", passed.len());
    let mut faults = Vec::new();
    for write in passed {
        let between = passed_over(&database, write).await;
        if !between.is_empty() {
            faults.push((write, between));
        }
    }
    assert!(faults.is_empty(), "with seed {seed}: {faults:?}");
    proxy.set(Link::Pass);
    a.stop().await;
    b.stop().await;
}
