//! Where `freshet migrate` creates shards, over several databases, from whatever machine and configuration it is run.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::harness::{
    Link, Node, Proxy, Socket, TestDatabase,
    command::{Configuration, Ran, on},
    empty_database,
    node::config,
    terminal::Terminal,
    until,
};

/// A second collection, of which nothing is placed yet.
const PRICES: &str =
    "CREATE TABLE prices (id bigint PRIMARY KEY) PARTITION BY HASH (id); SELECT freshet.track('prices')";

async fn blank<const N: usize>() -> [TestDatabase; N] {
    let mut databases = Vec::new();
    for _ in 0..N {
        databases.push(empty_database().await);
    }
    databases.try_into().unwrap_or_else(|_| unreachable!("as many as were made"))
}

/// Eight shards on two databases.
fn halves(low: &str, high: &str) -> Configuration {
    Configuration::of(8).with("low", low, "0-3").with("high", high, "4-7")
}

/// Two databases that were set up with half of the shards each.
async fn pair() -> ([TestDatabase; 2], Configuration) {
    let pair = blank::<2>().await;
    let configuration = halves(&pair[0].url(), &pair[1].url());
    configuration.run(&["migrate", "--demo"]).says(0, &["2 databases are up to date: 16 migrations, 8 partitions"]);
    (pair, configuration)
}

/// The shards of a collection that have a partition, such as `0 1 2 3`.
async fn shards(database: &TestDatabase, collection: &str) -> String {
    let listed = format!(
        "SELECT coalesce(string_agg(shard::text, ' ' ORDER BY shard), '') FROM feed.shard_table WHERE collection = '{collection}'"
    );
    database.value(&listed).await
}

async fn is_blank(database: &TestDatabase) -> bool {
    database.value("SELECT to_regnamespace('feed') IS NULL AND to_regclass('_sqlx_migrations') IS NULL").await
}

#[tokio::test]
async fn blank_databases_get_what_the_configuration_says_and_a_second_run_changes_nothing() {
    let (pair, configuration) = pair().await;
    assert_eq!(shards(&pair[0], "products").await, "0 1 2 3");
    assert_eq!(shards(&pair[1], "products").await, "4 5 6 7");
    configuration.run(&["migrate", "--demo"]).says(0, &["was up to date", "0 migrations, 0 partitions"]);
    configuration
        .run(&["migrate", "--demo", "--check"])
        .says(0, &["is up to date: 8 migrations, 4 of 8 shards of products"]);
}

#[tokio::test]
async fn a_new_collection_goes_where_the_shards_are_whatever_the_configuration_says() {
    let (pair, _) = pair().await;
    // Shard 3 has moved.
    pair[0].run("UPDATE feed.shard_state SET state = 'moved' WHERE shard = 3; DROP TABLE products_003").await;
    pair[1].run("SELECT freshet.create_shards('products', 8, '{3}')").await;
    for database in &pair {
        database.run(PRICES).await;
    }
    let swapped = Configuration::of(8).with("low", &pair[0].url(), "4-7").with("high", &pair[1].url(), "0-3");
    swapped.run(&["migrate", "--demo", "--check"]).says(1, &["prices: shards 0-2 of 8", "prices: shards 3-7 of 8"]);
    swapped.run(&["migrate", "--demo"]).says(0, &["8 partitions"]);
    for collection in ["products", "prices"] {
        assert_eq!(shards(&pair[0], collection).await, "0 1 2");
        assert_eq!(shards(&pair[1], collection).await, "3 4 5 6 7");
    }
    swapped.run(&["shards"]).says(0, &["owned by no database: none   owned by two: none"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_comes_back_blank_is_not_filled_with_empty_shards_unless_that_is_asked_for() {
    let (pair, configuration) = pair().await;
    let named = |name: &str, database: &TestDatabase| freshet::store::postgres::Config {
        name: name.to_owned(),
        ..freshet::store::postgres::Config::at(database.url())
    };
    let node = Node::over_all(vec![named("low", &pair[0]), named("high", &pair[1])], config()).await;
    until("a node leads", async || pair[0].value::<bool>("SELECT term > 0 FROM feed.leader").await).await;
    node.stop().await;
    configuration.run(&["migrate", "--demo"]).says(0, &["0 migrations, 0 partitions"]);
    let [lost] = blank().await;
    let after_loss = halves(&pair[0].url(), &lost.url());
    for arguments in [&["migrate", "--demo"][..], &["migrate", "--demo", "--check"]] {
        after_loss.run(arguments).says(1, &["failed to place shards 4-7 on high: it is blank", "--rebuild"]);
    }
    assert!(is_blank(&lost).await, "something was changed");
    after_loss.run(&["migrate", "--demo", "--rebuild"]).says(0, &["4 partitions"]);
    assert_eq!(shards(&lost, "products").await, "4 5 6 7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_added_takes_no_shard_from_another() {
    let [old, new] = blank().await;
    Configuration::of(8).with("old", &old.url(), "").run(&["migrate", "--demo"]).says(0, &["8 partitions of products"]);
    let greedy = Configuration::of(8).with("old", &old.url(), "0-3").with("new", &new.url(), "4-7");
    for arguments in [&["migrate", "--demo"][..], &["migrate", "--demo", "--check"]] {
        greedy
            .run(arguments)
            .says(1, &["failed to place shards 4-7 on new: old owns them", "leave `shards` out of the entry of new"]);
    }
    assert!(is_blank(&new).await, "something was changed");
    let cured = Configuration::of(8).with("old", &old.url(), "0-7").with("new", &new.url(), "");
    cured.run(&["migrate", "--demo"]).says(0, &["2 databases are up to date"]);
    assert_eq!(shards(&new, "products").await, "");
    cured.run(&["migrate", "--demo", "--check"]).says(0, &["0 of 8 shards of products"]);

    // It is served, and takes what comes to it without a restart.
    let named = |name: &str, database: &TestDatabase| freshet::store::postgres::Config {
        name: name.to_owned(),
        ..freshet::store::postgres::Config::at(database.url())
    };
    let node = Node::over_all(vec![named("old", &old), named("new", &new)], config()).await;
    let mut socket = Socket::open(&node).await;
    for n in 0..20 {
        socket.ok("put", json!(["products", format!("k{n}"), {"name": "x", "price": 1}])).await;
    }
    until("it is ready", async || {
        let answer = reqwest::get(format!("http://{}/readyz", node.operations())).await.expect("an answer");
        answer.text().await.expect("text") == "ready\n"
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn a_configuration_that_misses_a_database_creates_no_twins() {
    let (pair, _) = pair().await;
    let expected = ["failed to place shards 4-7 on", "it was set up without them", "is a [[database]] missing"];
    on_eight(&pair[0], &["migrate", "--demo"]).says(1, &expected);
    let new = empty_database().await;
    let stale = Configuration::of(8).with("low", &pair[0].url(), "0-7").with("new", &new.url(), "");
    stale.run(&["migrate", "--demo"]).says(1, &["failed to place shards 4-7 on low", "on no other database here"]);
    assert_eq!(shards(&pair[0], "products").await, "0 1 2 3");
    // With the default of 64 shards it is not even that.
    on(&pair[0], &["migrate", "--demo"]).says(1, &["place 64 shards: this database has 8"]);
}

fn on_eight(database: &TestDatabase, arguments: &[&str]) -> Ran {
    Configuration::of(8).with("only", &database.url(), "").run(arguments)
}

#[tokio::test]
async fn shards_that_two_databases_own_are_not_placed_any_further() {
    let (pair, configuration) = pair().await;
    pair[1].run("SELECT freshet.create_shards('products', 8, '{2,3}')").await;
    pair[0].run(PRICES).await;
    pair[1].run(PRICES).await;
    configuration
        .run(&["migrate", "--demo"])
        .says(1, &["low and high both own shards 2-3", "state = 'moved'", "shard IN (2, 3)"]);
    configuration.run(&["shards"]).says(1, &["owned by two: products 2-3"]);
    assert_eq!(shards(&pair[0], "prices").await, "");
    pair[0].run("UPDATE feed.shard_state SET state = 'moved', epoch = epoch + 1 WHERE shard IN (2, 3)").await;
    configuration.run(&["migrate", "--demo"]).says(0, &["8 partitions"]);
    assert_eq!(shards(&pair[1], "prices").await, "2 3 4 5 6 7");
}

#[tokio::test]
async fn runs_from_several_machines_at_once_place_every_shard_once() {
    for _ in 0..3 {
        let pair = blank::<2>().await;
        let [low, high] = [pair[0].url(), pair[1].url()];
        // The databases in either order, and one machine that would place them the other way round.
        let machines = [
            halves(&low, &high),
            Configuration::of(8).with("high", &high, "4-7").with("low", &low, "0-3"),
            Configuration::of(8).with("low", &high, "0-3").with("high", &low, "4-7"),
        ];
        let runs: Vec<Ran> = thread::scope(|scope| {
            let begun: Vec<_> = machines
                .iter()
                .map(|machine| scope.spawn(|| machine.run(&["migrate", "--demo", "--format", "json"])))
                .collect();
            begun.into_iter().map(|run| run.join().expect("a run")).collect()
        });
        let mut created = 0;
        for run in &runs {
            run.says(0, &[]);
            let lines = run.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
            created += lines.map(|line| line["created"][0]["partitions"].as_i64().expect("a count")).sum::<i64>();
        }
        assert_eq!(created, 8, "each partition was created by one run");
        machines[0].run(&["shards"]).says(0, &["owned by no database: none   owned by two: none"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_database_is_away_nothing_is_changed_anywhere() {
    let pair = blank::<2>().await;
    let proxy = Proxy::to(&pair[1].url()).await;
    let configuration = halves(&pair[0].url(), &proxy.url());
    for link in [Link::Cut, Link::BlackHole] {
        proxy.set(link);
        let began = Instant::now();
        configuration
            .run(&["migrate", "--demo"])
            .says(69, &["high: failed to connect to", "nothing was changed in any database"]);
        assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
        assert!(is_blank(&pair[0]).await, "something was changed");
    }
    let address = |name: &str| format!("postgres://postgres@127.0.0.1:1/{name}");
    let both = Configuration::of(8).with("low", &address("low"), "0-3").with("high", &address("high"), "4-7");
    both.run(&["migrate", "--demo"]).says(69, &["low: failed to connect", "high: failed to connect"]);
    proxy.set(Link::Pass);
    configuration.run(&["migrate", "--demo"]).says(0, &["2 databases are up to date"]);
}

#[tokio::test]
async fn a_migration_that_fails_in_one_database_is_named_and_the_others_are_done() {
    let pair = blank::<2>().await;
    // The third migration meets a table of its name.
    pair[1].run("CREATE TABLE products ()").await;
    let ran = halves(&pair[0].url(), &pair[1].url()).run(&["migrate", "--demo"]);
    ran.says(1, &["high: failed to run migration 0003", "1 of 2 databases are up to date"]);
    assert!(!ran.err.contains("nothing was changed"), "{}", ran.err);
    assert_eq!(shards(&pair[0], "products").await, "0 1 2 3");
    pair[1].run("DROP TABLE products").await;
    halves(&pair[0].url(), &pair[1].url()).run(&["migrate", "--demo"]).says(0, &["6 migrations, 4 partitions"]);
}

#[tokio::test]
async fn entries_that_cannot_be_told_apart_or_chosen_among_are_refused() {
    let [one, other] = blank().await;
    let twice = halves(&one.url(), &one.url().replacen("postgres@", "postgres:any@", 1));
    twice.run(&["migrate", "--demo"]).says(2, &["failed to tell low from high: both name the same database"]);
    let configuration = halves(&one.url(), &other.url());
    let chosen = configuration.run(&["migrate", "--demo", "--database-url", &one.url()]);
    chosen.says(2, &["works on all configured databases", "leave --database-url"]);
    assert!(is_blank(&one).await, "something was changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_what_is_done_and_programs_the_result_alone() {
    let pair = blank::<2>().await;
    let configuration = halves(&pair[0].url(), &pair[1].url());
    // Another run holds the second one.
    let mut other = pair[1].connect().await;
    sqlx::query("SELECT pg_advisory_lock(x'006672657368656d'::bit(64)::bigint)")
        .execute(&mut other)
        .await
        .expect("lock");
    let path = configuration.write();
    let mut terminal = Terminal::start(&["migrate", "--demo", "--config", &path]);
    terminal.shows("waiting    for another `freshet migrate`").await;
    assert!(is_blank(&pair[0]).await, "it did not wait");
    sqlx::Connection::close(other).await.expect("close");
    terminal.shows("2 databases are up to date: 16 migrations, 8 partitions").await;
    assert!(terminal.ended().await.success());

    pair[0].run("DROP TABLE products_000").await;
    let plain = configuration.run(&["migrate", "--demo"]);
    plain.says(
        0,
        &["low: creating 1 partition\n", "low: done 0 migrations, 1 partition\n", "high: done was up to date\n"],
    );
    let programs = configuration.run(&["migrate", "--demo", "--format", "json"]);
    assert_eq!((programs.out.lines().count(), &*programs.err), (2, ""));
}
