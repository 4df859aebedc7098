//! Many writers on few keys: no screen goes back, and all end on the last state.

use freshet::service::Conditions;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use sqlx::{AssertSqlSafe, Executor as _};

use super::keys;
use crate::harness::{Kind, Node, TestDatabase, Watcher};

const KEYS: usize = 6;
const STEPS: usize = 150;

/// A psql session that deletes, inserts, updates and replaces the keys, some of it in longer transactions.
async fn psql(database: &TestDatabase, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut session = database.connect().await;
    for _ in 0..STEPS {
        let key = random.random_range(0..KEYS);
        let sql = match random.random_range(0..6) {
            0 => format!("DELETE FROM products WHERE sku = 'k{key}'"),
            1 => format!(
                "INSERT INTO products (sku, name, price) VALUES ('k{key}', 'psql', {seed}) ON CONFLICT DO NOTHING"
            ),
            2 => format!("UPDATE products SET stock = stock + 1 WHERE sku = 'k{key}'"),
            3 => format!(
                "INSERT INTO products (sku, name, price) VALUES ('k{key}', 'psql', {seed}) \
                 ON CONFLICT (sku) DO UPDATE SET price = products.price + 1"
            ),
            4 => format!(
                "BEGIN; DELETE FROM products WHERE sku = 'k{key}'; \
                 INSERT INTO products (sku, name, price) VALUES ('k{key}', 'again', {seed}) ON CONFLICT DO NOTHING; COMMIT"
            ),
            _ => format!(
                "BEGIN; UPDATE products SET stock = stock + 1 WHERE sku = 'k{key}'; SELECT pg_sleep(0.005); COMMIT"
            ),
        };
        // A transaction that met a deadlock or a conflict has changed nothing, which is as good.
        if session.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.is_err() {
            let _ = session.execute("ROLLBACK").await;
        }
    }
}

/// A client of the node that writes the same keys.
async fn own(node: &Node, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    for step in 0..STEPS {
        let key = format!("k{}", random.random_range(0..KEYS));
        let id = node.service().record("products", &key).expect("a key");
        let written = if random.random_range(0..3) == 0 {
            node.service().delete(id, Conditions::default()).await
        } else {
            let value = format!(r#"{{"name": "own", "price": {step}}}"#);
            node.service().put(id, &value, Conditions::default()).await
        };
        written.expect("a write of a key that many write");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn screens_follow_racing_writers_in_order_and_end_on_the_last_state() {
    let node = Node::start(Kind::Postgres).await;
    let other = Node::over(&node.database().url(), crate::harness::node::config()).await;
    let database = node.database();
    let mut watchers = Vec::new();
    for node in [&node, &other, &node] {
        watchers.push(Watcher::of(node, &keys("k", KEYS)).await);
    }
    let writing = async {
        tokio::join!(
            psql(database, 1),
            psql(database, 2),
            psql(database, 3),
            own(&node, 4),
            own(&node, 5),
            own(&other, 6)
        );
        // The end mark: the watchers look for it, and every key is left with a change of its own.
        database.run("DELETE FROM products WHERE sku IN ('k1', 'k4'); UPDATE products SET stock = stock + 1").await;
    };
    let (first, rest) = watchers.split_first_mut().expect("three watchers");
    let (second, rest) = rest.split_first_mut().expect("three watchers");
    let third = &mut rest[0];
    // Watching goes on while the writers write, so that order is looked at under way.
    let mut written = Box::pin(writing);
    loop {
        tokio::select! {
            () = &mut written => break,
            _ = first.push() => {}
            _ = second.push() => {}
            _ = third.push() => {}
        }
    }
    drop(written);
    for watcher in [first, second, third] {
        watcher.until_true_to(database).await;
        assert!(watcher.pushes > 50, "only {} pushes", watcher.pushes);
    }
    other.stop().await;
    node.stop().await;
}
