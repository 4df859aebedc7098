//! `freshet doctor` over several databases: each is examined, what only all together show is named, and one that is away is one
//! finding.

use std::time::{Duration, Instant};

use freshet::store::postgres;

use crate::harness::{Link, Node, Proxy, TestDatabase, blank_database, command::Configuration, node::config};

async fn with_shards(modulus: u32, shards: &str) -> TestDatabase {
    let database = blank_database().await;
    database.run(&format!("SELECT freshet.create_shards('products', {modulus}, '{{{shards}}}')")).await;
    database
}

async fn pair() -> [TestDatabase; 2] {
    [with_shards(8, "0,1,2,3").await, with_shards(8, "4,5,6,7").await]
}

fn over(low: &str, high: &str) -> Configuration {
    Configuration::of(8).with("low", low, "0-3").with("high", high, "4-7")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_databases_are_told_in_a_line_each() {
    let pair = pair().await;
    let configuration = over(&pair[0].url(), &pair[1].url());
    let named = |name: &str, database: &TestDatabase| postgres::Config {
        name: name.to_owned(),
        ..postgres::Config::at(database.url())
    };
    let node = Node::over_all(vec![named("low", &pair[0]), named("high", &pair[1])], config()).await;
    let ran = configuration.run(&["doctor", "--deep"]);
    let parts = [
        "2 databases describe their collections alike",
        "each shard has one",
        "a node takes up to 54, for 2 databases; 1 running node up to 54",
        "in all databases",
        " 0 failures",
    ];
    ran.says(0, &parts);
    assert!(!ran.out.contains("primary") && !ran.out.contains("no node"), "{}", ran.out);
    configuration.run(&["doctor", "--all"]).says(0, &["primary", "1 node connected", "all present and enabled"]);
    node.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_one_database_is_named_with_it() {
    let pair = pair().await;
    let configuration = over(&pair[0].url(), &pair[1].url());
    pair[1].run("ALTER TABLE products_005 DISABLE TRIGGER freshet_inserted").await;
    pair[1].run("ALTER SEQUENCE feed.vseq CACHE 20").await;
    pair[0]
        .run(
            "INSERT INTO feed.mark (n, term, snap, at) VALUES (1, 1, pg_current_snapshot(), now() - interval '1 h'),
                 (2, 1, pg_current_snapshot(), now())",
        )
        .await;
    let ran = configuration.run(&["doctor"]);
    ran.says(
        1,
        &[
            "freshet_inserted on public.products_005 is disabled\n                     in high",
            "FAIL  sequence",
            "pruning lags: the oldest mark is 60 min old, to keep are 15 min\n                     in low",
            "2 failures to mend",
        ],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_one_finding_and_the_others_are_examined() {
    let pair = pair().await;
    let proxy = Proxy::to(&pair[1].url()).await;
    let configuration = over(&pair[0].url(), &proxy.url());
    pair[0].run("ALTER SEQUENCE feed.vseq CACHE 20").await;
    for link in [Link::Cut, Link::BlackHole] {
        proxy.set(link);
        let began = Instant::now();
        let ran = configuration.run(&["doctor"]);
        assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
        ran.says(1, &["FAIL  reach", "in high", "FAIL  sequence", "not seen: products 4-7", "3 failures to mend"]);
    }
    let lines = configuration.run(&["doctor", "--format", "json"]).out;
    let away: serde_json::Value = serde_json::from_str(lines.lines().nth(1).expect("a line each")).expect("JSON");
    assert_eq!((&away["name"], away["findings"].as_array().map(Vec::len)), (&"high".into(), Some(1)));
    let nowhere = "postgres://postgres@127.0.0.1:1/nothing";
    over(nowhere, "postgres://postgres:any@127.0.0.1:1/nothing")
        .run(&["doctor"])
        .says(69, &["in all databases", "failed to connect to nothing"]);
}

#[tokio::test]
async fn what_databases_disagree_on_is_named() {
    let databases = [with_shards(8, "0,1,2").await, with_shards(8, "3,4,5").await, with_shards(8, "6,7").await];
    let all = Configuration::of(8).with("a", &databases[0].url(), "0-2").with("b", &databases[1].url(), "3-5").with(
        "c",
        &databases[2].url(),
        "6-7",
    );
    all.run(&["doctor"]).says(0, &["3 databases describe their collections alike"]);
    let odd = &databases[1];
    let audit = |event: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER audit AFTER {event} ON products FOR EACH ROW EXECUTE FUNCTION audit()"
        )
    };
    odd.run(&audit("INSERT")).await;
    all.run(&["doctor"]).says(0, &["warn  agreement", "b: its collection \"products\" has a trigger \"audit\" that"]);
    databases[0].run(&audit("UPDATE")).await;
    databases[2].run(&audit("UPDATE")).await;
    all.run(&["doctor"]).says(0, &["b: its trigger \"audit\" of \"products\" differs", "AFTER UPDATE"]);
    for (change, part) in [
        ("ALTER TABLE products ADD color text", "b: its collection \"products\" has a column \"color\""),
        ("ALTER TABLE products ALTER name TYPE varchar(20)", "of type character varying where the others have text"),
        ("ALTER TABLE products DROP name", "b: its collection \"products\" has no column \"name\""),
        ("CREATE TABLE more (id int PRIMARY KEY) PARTITION BY HASH (id); SELECT freshet.track('more')", "\"more\""),
    ] {
        odd.run(change).await;
        let ran = all.run(&["doctor"]);
        ran.says(1, &["FAIL  agreement", part]);
        assert!(!ran.out.contains("  a: it") && !ran.out.contains("  c: it"), "{}", ran.out);
    }
    let other = with_shards(4, "0,1,2,3").await;
    over(&databases[0].url(), &other.url())
        .run(&["doctor"])
        .says(1, &["4 logical shards, where the configuration says 8", "has 4 shards where the others have 8"]);
}

#[tokio::test]
async fn shards_without_one_owner_and_entries_that_ask_for_others_are_named() {
    let pair = pair().await;
    pair[1].run("SELECT freshet.create_shards('products', 8, '{2,3}'); DROP TABLE products_006").await;
    over(&pair[0].url(), &pair[1].url())
        .run(&["doctor"])
        .says(1, &["owned by no database: products 6", "owned by two databases: products 2-3"]);
    let (whole, new) = (with_shards(8, "0,1,2,3,4,5,6,7").await, with_shards(8, "").await);
    over(&whole.url(), &new.url())
        .run(&["doctor"])
        .says(1, &["`freshet migrate` refuses to place shards 4-7 on high: low owns them", "leave `shards` out"]);
    let cured = Configuration::of(8).with("low", &whole.url(), "0-7").with("high", &new.url(), "");
    cured.run(&["doctor"]).says(0, &["each shard has one"]);
}

#[tokio::test]
async fn the_sessions_of_all_databases_on_a_server_are_added_up() {
    let pair = pair().await;
    let configuration = Configuration::of(8)
        .with("low", &pair[0].url(), "0-3")
        .and("read_connections = 190")
        .with("high", &pair[1].url(), "4-7")
        .and("read_connections = 190");
    // 208 for each of them, where the server has 397 for both.
    configuration.run(&["doctor"]).says(1, &["FAIL  connections", "397 allowed", "up to 416, for 2 databases"]);
    let alone = Configuration::of(8).with("low", &pair[0].url(), "").and("read_connections = 190");
    let ran = alone.run(&["doctor"]);
    assert!(!ran.out.contains("FAIL  connections") && ran.out.contains("a node takes up to 208\n"), "{}", ran.out);
}
