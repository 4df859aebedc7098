//! A write that is refused costs itself: its neighbours commit in the same transaction as if it had not been there.

use super::{is_refused, node_with_products, patch_all};
use crate::harness::TestDatabase;

/// What a client may do wrong, and what the table must have for it.
const POISONS: [(&str, &str); 5] = [
    ("", r#"{"stock": -1}"#),
    ("", r#"{"name": null}"#),
    ("", r#"{"price": "free"}"#),
    ("", r#"{"price": 99999999999999999999}"#),
    (
        "CREATE FUNCTION no_bad() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN IF NEW.name = 'bad' THEN RAISE 'bad'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER no_bad BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION no_bad();",
        r#"{"name": "bad"}"#,
    ),
];

async fn transactions(database: &TestDatabase) -> i64 {
    database.value("SELECT count(DISTINCT xid) FROM feed.outbox").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn neighbours_of_a_refused_write_commit_as_if_it_were_not_there() {
    for shards in [1, 64] {
        for (schema, poison) in POISONS {
            let (node, database) = node_with_products(shards, 256).await;
            node.stop().await;
            database.run(schema).await;
            let node = crate::harness::Node::over(&database.url(), crate::harness::node::config()).await;
            let good = |n: u32| format!(r#"{{"stock": {n}}}"#);
            let all_good: Vec<_> = (0..256).map(|n| (format!("k{n}"), good(n))).collect();
            assert!(patch_all(node.service(), &all_good).await.iter().all(Result::is_ok));
            let before = transactions(&database).await;
            let some_bad = |offset: u32| -> Vec<_> {
                (0..256)
                    .map(|n| (format!("k{n}"), if n % 50 == 7 { poison.to_owned() } else { good(n + offset) }))
                    .collect()
            };
            for offset in [1_000, 2_000] {
                let written = patch_all(node.service(), &some_bad(offset)).await;
                for (n, written) in written.iter().enumerate() {
                    assert_eq!(is_refused(written), n % 50 == 7, "{poison} {n}: {written:?}");
                    assert!(written.is_ok() || n % 50 == 7, "{poison} {n}: {written:?}");
                }
                let stands = format!("SELECT count(*) FROM products WHERE stock = {offset} + substr(sku, 2)::int");
                assert_eq!(database.value::<i64>(&stands).await, 251, "{poison}, {shards} shards");
            }
            // As many transactions as without the poison, give or take how the writes arrived.
            let after = transactions(&database).await - before;
            assert!(after <= 2 * before + 4, "{poison}, {shards} shards: {after} transactions, {before} without");
            node.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_constraint_that_is_looked_at_in_the_commit_refuses_its_own_write() {
    let (node, database) = node_with_products(64, 40).await;
    node.stop().await;
    database
        .run(
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF NEW.name = 'bad' THEN RAISE 'bad, and late'; END IF; RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON products DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION late();",
        )
        .await;
    let node = crate::harness::Node::over(&database.url(), crate::harness::node::config()).await;
    let patches: Vec<_> = (0..40)
        .map(|n| {
            (format!("k{n}"), if n == 7 { r#"{"name": "bad"}"#.to_owned() } else { format!(r#"{{"stock": {n}}}"#) })
        })
        .collect();
    for (n, written) in patch_all(node.service(), &patches).await.iter().enumerate() {
        assert_eq!(written.is_ok(), n != 7, "{n}: {written:?}");
    }
    assert_eq!(database.value::<i64>("SELECT count(*) FROM products WHERE stock < 1000").await, 39);
    node.stop().await;
}
