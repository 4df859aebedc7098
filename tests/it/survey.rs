//! `freshet shards` over several databases, all there or one of them away.

use std::time::{Duration, Instant};

use crate::harness::{
    Link, Proxy, TestDatabase, blank_database,
    command::{Configuration, Ran},
};

/// Eight shards on two databases, the second one behind a link.
async fn behind_a_link() -> ([TestDatabase; 2], Proxy, Configuration) {
    let pair = [blank_database().await, blank_database().await];
    pair[0].run("SELECT freshet.create_shards('products', 8, '{0,1,2,3}')").await;
    pair[1].run("SELECT freshet.create_shards('products', 8, '{4,5,6,7}')").await;
    let proxy = Proxy::to(&pair[1].url()).await;
    let configuration = Configuration::of(8).with("low", &pair[0].url(), "0-3").with("high", &proxy.url(), "4-7");
    (pair, proxy, configuration)
}

/// The fields of the line that begins with `shards`.
#[track_caller]
fn line(ran: &Ran, shards: &str) -> Vec<String> {
    let lines = ran.out.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let mut found = lines.filter(|line| line.first().is_some_and(|first| first == shards));
    found.next().unwrap_or_else(|| panic!("no line of {shards} in:\n{}", ran.out))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_table_shows_the_shards_of_all_databases() {
    let (pair, proxy, configuration) = behind_a_link().await;
    for number in 0..2_000 {
        let insert = format!("INSERT INTO products (sku, name, price) VALUES ('k{number}', 'x', 1)");
        // Each row is taken by one of the two.
        let taken = [pair[0].try_run(&insert).await.is_ok(), pair[1].try_run(&insert).await.is_ok()];
        assert!(taken[0] != taken[1], "{taken:?}");
    }
    let counted: i64 = pair[0].value("SELECT count(*) FROM products").await;
    let ran = configuration.run(&["shards", "--exact"]);
    ran.says(0, &["8 shards, 2,000 rows", "on 2 databases", "owned by no database: none   owned by two: none"]);
    assert_eq!(line(&ran, "0-3")[2..6], ["low", "active", "1", "1"]);
    assert_eq!(line(&ran, "4-7")[1..3], [proxy.url().split(['@', '/']).nth(3).expect("an address"), "high"]);
    assert_eq!(line(&ran, "0-3")[6], format!("{},{:03}", counted / 1_000, counted % 1_000).trim_start_matches("0,"));
    let all = configuration.run(&["shards", "--all"]);
    assert_eq!((line(&all, "3")[2].as_str(), line(&all, "4")[2].as_str()), ("low", "high"));
    let report = configuration.run(&["shards", "--exact", "--format", "json"]).json();
    assert_eq!(report["databases"][1]["collections"][0]["shards"][4]["partition"], "products_004");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_named_and_the_others_are_shown() {
    let (_pair, proxy, configuration) = behind_a_link().await;
    for link in [Link::Cut, Link::BlackHole] {
        proxy.set(link);
        let began = Instant::now();
        let ran = configuration.run(&["shards"]);
        assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
        ran.says(
            1,
            &[
                "high cannot be asked\n  failed to connect to",
                "the configuration places shards 4-7 there",
                "not seen: products 4-7",
                "1 of 2 databases cannot be asked",
            ],
        );
        assert_eq!(line(&ran, "0-3")[3], "active");
        assert_eq!(line(&ran, "4-7")[2..4], ["high", "away"]);
    }
    let report = configuration.run(&["shards", "--format", "json"]).json();
    assert_eq!((&report["databases"][1]["initial"], &report["not_seen"][0]["shards"][0]), (&"4-7".into(), &4.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_left_without_arriving_is_missing() {
    let (pair, _proxy, configuration) = behind_a_link().await;
    pair[0].run("UPDATE feed.shard_state SET state = 'moved', epoch = 2 WHERE shard = 3").await;
    pair[1].run("DROP TABLE products_006").await;
    let ran = configuration.run(&["shards"]);
    ran.says(1, &["owned by no database: products 3, 6"]);
    assert_eq!(line(&ran, "3")[3..5], ["moved", "2"]);
    assert_eq!(line(&ran, "6")[2..4], ["high", "missing"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shard_of_names_the_database_that_has_the_shard() {
    let (pair, _proxy, configuration) = behind_a_link().await;
    let keys: Vec<String> = (0..50).map(|number| format!("k{number}")).collect();
    let mut command = vec!["shard-of", "products", "--format", "json"];
    command.extend(keys.iter().map(String::as_str));
    let ran = configuration.run(&command);
    ran.says(0, &[]);
    for line in ran.out.lines() {
        let place: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let high = place["shard"].as_u64().expect("a number") > 3;
        assert_eq!(place["database"], if high { "high" } else { "low" }, "{place}");
        let database = &pair[usize::from(high)];
        let key = place["key"].as_str().expect("a key");
        database.run(&format!("INSERT INTO products (sku, name, price) VALUES ('{key}', 'x', 1)")).await;
        let lies: String =
            database.value(&format!("SELECT tableoid::regclass::text FROM products WHERE sku = '{key}'")).await;
        assert_eq!(place["partition"], lies);
    }
    pair[1].run("DROP TABLE products_004, products_005, products_006, products_007").await;
    configuration.run(&command[..20]).says(0, &["\"partition\":null"]);
}
