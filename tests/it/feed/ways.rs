//! Every way of writing reaches its watchers; what changes nothing wakes nobody.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _};

use super::keys;
use crate::harness::{
    Kind, Link, Node, Proxy, Watcher, database,
    node::{SOON, config},
};

#[tokio::test]
async fn every_way_of_writing_ends_on_the_screens_that_watch() {
    let node = Node::start(Kind::Postgres).await;
    let database = node.database();
    let mut watcher = Watcher::of(&node, &keys("k", 20)).await;
    let k3: String = database
        .value(
            "SELECT format('products_%s', lpad(r::text, 3, '0')) FROM generate_series(0, 63) r \
                WHERE satisfies_hash_partition('products'::regclass, 64, r, 'k3'::text)",
        )
        .await;
    for sql in [
        "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'one', n FROM generate_series(0, 9) n".to_owned(),
        "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'two', n FROM generate_series(0, 19) n \
         ON CONFLICT (sku) DO UPDATE SET name = excluded.name"
            .to_owned(),
        "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'no', n FROM generate_series(0, 24) n \
         ON CONFLICT DO NOTHING"
            .to_owned(),
        "UPDATE products SET stock = 3".to_owned(),
        format!("UPDATE {k3} SET stock = 4 WHERE sku = 'k3'"),
        "DELETE FROM products WHERE sku IN ('k1', 'k2')".to_owned(),
        format!("DELETE FROM {k3} WHERE sku = 'k3'; INSERT INTO {k3} (sku, name, price) VALUES ('k3', 'three', 1)"),
        "BEGIN; UPDATE products SET stock = 5; SAVEPOINT s; UPDATE products SET stock = 6; ROLLBACK TO s; COMMIT"
            .to_owned(),
        "CREATE TABLE made AS SELECT * FROM products; DELETE FROM products; \
         MERGE INTO products p USING made m ON p.sku = m.sku \
         WHEN NOT MATCHED THEN INSERT (sku, name, price) VALUES (m.sku, 'merged', 9)"
            .to_owned(),
        "WITH gone AS (DELETE FROM products WHERE sku LIKE 'k1%' RETURNING sku) \
         UPDATE products SET stock = 7 WHERE sku NOT LIKE 'k1%'"
            .to_owned(),
    ] {
        database.run(&sql).await;
        watcher.until_true_to(database).await;
    }
    let mut copy = database.connect().await;
    let mut rows = copy.copy_in_raw("COPY products (sku, name, price) FROM STDIN").await.expect("copy");
    rows.send(b"k10\tcopied\t1\nk11\tcopied\t2\n".as_slice()).await.expect("rows");
    rows.finish().await.expect("copied");
    watcher.until_true_to(database).await;
    assert_eq!(watcher.value("k10")["name"], "copied");
    node.stop().await;
}

#[tokio::test]
async fn what_changes_nothing_or_is_rolled_back_is_not_pushed() {
    let node = Node::start(Kind::Postgres).await;
    let database = node.database();
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1), ('b', 'B', 2)").await;
    let mut watcher = Watcher::of(&node, &["a", "b", "c"]).await;
    for sql in [
        "UPDATE products SET name = name",
        "UPDATE products SET price = 1 WHERE sku = 'a'",
        "BEGIN; UPDATE products SET price = 9; ROLLBACK",
        "BEGIN; DELETE FROM products; INSERT INTO products (sku, name, price) VALUES ('c', 'C', 3); ROLLBACK",
        "BEGIN; INSERT INTO products (sku, name, price) VALUES ('c', 'C', 3); DELETE FROM products WHERE sku = 'c'; \
         UPDATE products SET price = 7 WHERE sku = 'zz'; ROLLBACK",
    ] {
        database.run(sql).await;
    }
    // Changes come in the order of their visibility: when this one is here, the others would have been.
    database.run("UPDATE products SET price = 5 WHERE sku = 'b'").await;
    let pushed = watcher.push().await;
    assert_eq!((&pushed["key"], &pushed["value"]["price"], watcher.pushes), (&"b".into(), &5.into(), 1));
    node.stop().await;
}

#[tokio::test]
async fn a_transaction_that_commits_late_delays_nobody_else() {
    let node = Node::start(Kind::Postgres).await;
    let database = node.database();
    let mut watcher = Watcher::of(&node, &["early", "late"]).await;
    let mut session = database.connect().await;
    let mut open = session.begin().await.expect("begin");
    open.execute("INSERT INTO products (sku, name, price) VALUES ('late', 'L', 1)").await.expect("insert");
    for price in 0..20 {
        let sql = format!(
            "INSERT INTO products (sku, name, price) VALUES ('early', 'E', {price}) \
             ON CONFLICT (sku) DO UPDATE SET price = excluded.price"
        );
        database.run(&sql).await;
        let pushed = watcher.push().await;
        assert_eq!((&pushed["key"], &pushed["value"]["price"]), (&"early".into(), &price.into()));
    }
    open.commit().await.expect("commit");
    let pushed = watcher.push().await;
    assert_eq!((&pushed["key"], &pushed["value"]["price"]), (&"late".into(), &1.into()));
    assert!(watcher.stamp("late") < watcher.stamp("early"), "its version is older than those before it");
    node.stop().await;
}

#[tokio::test]
async fn a_statement_of_a_hundred_thousand_rows_reaches_the_few_that_are_watched() {
    let node = Node::start(Kind::Postgres).await;
    let database = node.database();
    let watched: Vec<String> = (0..100).map(|n| format!("k{}", n * 1_000)).collect();
    let mut watcher = Watcher::of(&node, &watched).await;
    for sql in [
        "INSERT INTO products (sku, name, price) SELECT 'k' || n, 'many', n FROM generate_series(0, 99999) n",
        "UPDATE products SET stock = 1",
        "DELETE FROM products WHERE price % 2000 = 0",
    ] {
        database.run(sql).await;
        watcher.until_true_to(database).await;
    }
    let superfluous = node.metric("freshet_hub_published_total").await;
    assert!(superfluous <= 260.0, "{superfluous} states were published for 250 changes of watched keys");
    node.stop().await;
}

#[tokio::test]
async fn a_role_with_rights_on_the_table_alone_reaches_the_screens() {
    let node = Node::start(Kind::Postgres).await;
    let database = node.database();
    let role = database.value::<String>("SELECT 'feed_clerk_' || current_database()").await;
    database.run(&format!("CREATE ROLE {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON products TO {role}")).await;
    let mut watcher = Watcher::of(&node, &["a"]).await;
    for sql in [
        "INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1)",
        "UPDATE products SET price = 2",
        "DELETE FROM products",
        "INSERT INTO products (sku, name, price) VALUES ('a', 'A', 3)",
    ] {
        database.run(&format!("BEGIN; SET LOCAL ROLE {role}; {sql}; COMMIT")).await;
        watcher.until_true_to(database).await;
    }
    assert_eq!(watcher.value("a")["price"], 3);
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    node.stop().await;
}

#[tokio::test]
async fn a_locked_partition_holds_up_its_own_records_only() {
    let database = database().await;
    let proxy = Proxy::to(&database.url()).await;
    let node = Node::over(&proxy.url(), config()).await;
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'k' || n, 'x', 1 FROM generate_series(1, 999) n")
        .await;
    let key = "SELECT min(sku) FROM products_";
    let locked: String = database.value(&format!("{key}017")).await;
    let free: String = database.value(&format!("{key}018")).await;
    let mut watcher = Watcher::of(&node, &[&locked, &free]).await;
    let mut session = database.connect().await;
    // The node hears of the change late, when the lock is held already and the row can not be read.
    proxy.set_for("tail", Link::Delay(Duration::from_millis(200)));
    let lock = format!(
        "BEGIN; UPDATE products SET stock = 1 WHERE sku = '{locked}'; COMMIT; \
         BEGIN; LOCK TABLE products_017 IN ACCESS EXCLUSIVE MODE"
    );
    session.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(lock))).await.expect("lock");
    for stock in 1..4 {
        database.run(&format!("UPDATE products_018 SET stock = {stock} WHERE sku = '{free}'")).await;
        let begun = Instant::now();
        let pushed = watcher.push().await;
        assert_eq!((pushed["key"].as_str(), &pushed["value"]["stock"]), (Some(&*free), &stock.into()));
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    }
    session.execute("COMMIT").await.expect("unlock");
    let pushed = watcher.push().await;
    assert_eq!((pushed["key"].as_str(), &pushed["value"]["stock"]), (Some(&*locked), &1.into()));
    node.stop().await;
}
