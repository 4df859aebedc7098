//! The router's hash against the server's.

use freshet::{record::key::KeyKind, record::shard::shard_of};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use sqlx::AssertSqlSafe;

use crate::harness::{self, TestDatabase};

const KEYS: usize = 100_000;
const MODULUS: u32 = 1_000_003;

/// PostgreSQL's own check is a yes or no, so each key's remainder is ours and the server counts the noes.
async fn disagreements(database: &TestDatabase, kind: KeyKind, sql_type: &str, keys: &[String]) -> i64 {
    database.run(&format!("CREATE TABLE hashed_{sql_type} (k {sql_type}) PARTITION BY HASH (k)")).await;
    let shards: Vec<i32> = keys
        .iter()
        .map(|key| shard_of(kind, key, MODULUS).unwrap_or_else(|| panic!("{key:?} is no {sql_type}")).cast_signed())
        .collect();
    let count = format!(
        "SELECT count(*) FROM unnest($1::text[], $2::integer[]) t (k, r) \
          WHERE NOT satisfies_hash_partition('hashed_{sql_type}'::regclass, {MODULUS}, r, k::{sql_type})"
    );
    let query = sqlx::query_scalar(AssertSqlSafe(count)).bind(keys).bind(shards);
    query.fetch_one(database.pool()).await.expect("the server compares")
}

fn integers(random: &mut SmallRng, bits: u32) -> Vec<String> {
    let (min, max) = (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits));
    let near = [min, min + 1, -1, 0, 1, max - 1, max].into_iter();
    // Shifted, so that short numbers are as common as long ones.
    let far = std::iter::repeat_with(|| random.random_range(min..=max) >> random.random_range(0..bits));
    near.chain(far).take(KEYS).map(|number| number.to_string()).collect()
}

fn texts(random: &mut SmallRng) -> Vec<String> {
    let letter = |random: &mut SmallRng| match random.random_range(0..4) {
        0..=2 => random.random_range('!'..='~'),
        _ => random.random_range('¡'..='\u{10FFFF}'),
    };
    let edges = ["", " ", "  ", "a", "A"].map(str::to_owned).into_iter();
    let mut len = || {
        if random.random_ratio(1, 100) { random.random_range(0..2000) } else { random.random_range(0..40) }
    };
    let lens: Vec<usize> = std::iter::repeat_with(&mut len).take(KEYS - 5).collect();
    edges.chain(lens.into_iter().map(|len| (0..len).map(|_| letter(random)).collect())).collect()
}

#[tokio::test]
async fn routing_agrees_with_the_server_for_every_key_type() {
    let database = harness::blank_database().await;
    let random = &mut SmallRng::seed_from_u64(7);
    let uuids: Vec<_> = (0..KEYS).map(|_| uuid::Uuid::from_u128(random.random()).to_string()).collect();
    let cases = [
        (KeyKind::Text, "text", texts(random)),
        (KeyKind::Uuid, "uuid", uuids),
        (KeyKind::Int2, "int2", integers(random, 16)),
        (KeyKind::Int4, "int4", integers(random, 32)),
        (KeyKind::Int8, "int8", integers(random, 64)),
    ];
    for (kind, sql_type, keys) in cases {
        assert_eq!(disagreements(&database, kind, sql_type, &keys).await, 0, "{sql_type}");
    }
}

#[tokio::test]
async fn a_row_lies_in_the_partition_that_the_router_names() {
    let database = harness::database().await;
    database
        .run("INSERT INTO products (sku, name, price) SELECT 'sku-' || i, 'n', 1 FROM generate_series(1, 5000) i")
        .await;
    let rows: Vec<(String, String)> = sqlx::query_as("SELECT sku, tableoid::regclass::text FROM products")
        .fetch_all(database.pool())
        .await
        .expect("rows");
    for (sku, partition) in rows {
        let shard = shard_of(KeyKind::Text, &sku, harness::MODULUS).expect("any text has a shard");
        assert_eq!(partition, format!("products_{shard:03}"), "{sku}");
    }
}
