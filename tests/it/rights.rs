//! The rights of nodes' role: given by `freshet migrate --grant`, listed by `freshet doctor`, asked for by `freshet serve`.

use serde_json::{Value, json};

use crate::harness::{
    Node, Socket, TestDatabase, Watcher,
    command::{Configuration, Ran, freshet},
    empty_database,
    node::config,
};

const PRICES: &str = "CREATE TABLE prices (sku text PRIMARY KEY, price bigint NOT NULL) PARTITION BY HASH (sku); SELECT freshet.track('prices')";

/// A database of a service with eight shards, and a role that may log in and nothing more. Roles are the cluster's, so they do
/// not go with the database.
struct Shop {
    database: TestDatabase,
    role: String,
}

impl Shop {
    async fn open() -> Self {
        let database = empty_database().await;
        // A name that must be quoted.
        let role: String = database.value("SELECT 'Node of ' || current_database()").await;
        database.run(&format!("CREATE ROLE \"{role}\" LOGIN")).await;
        Shop { database, role }
    }

    fn url(&self) -> String {
        self.on(&self.database)
    }

    /// The role's URL of a database.
    fn on(&self, database: &TestDatabase) -> String {
        database.url().replacen("postgres@", &format!("{}@", self.role.replace(' ', "%20")), 1)
    }

    /// As the owner.
    fn migrate(&self, arguments: &[&str]) -> Ran {
        let configuration = Configuration::of(8).with("shop", &self.database.url(), "");
        configuration.run(&[&["migrate"], arguments].concat())
    }

    fn doctor(&self) -> Ran {
        Configuration::of(8).with("shop", &self.url(), "").run(&["doctor"])
    }

    async fn close(self) {
        self.database.run(&format!("DROP OWNED BY \"{0}\"; DROP ROLE \"{0}\"", self.role)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_with_what_grant_gives_serves_and_what_is_made_later_is_given_as_well() {
    let shop = Shop::open().await;
    shop.migrate(&["--demo", "--grant", &shop.role]).says(0, &["granted  USAGE ON SCHEMA feed", "SEQUENCE feed.vseq"]);
    shop.migrate(&["--demo", "--grant", &shop.role]).says(0, &["is up to date"]);
    shop.doctor().says(0, &["may do what a node does", "0 failures"]);
    let node = Node::over(&shop.url(), config()).await;
    let mut socket = Socket::open(&node).await;
    for n in 0..20 {
        socket.ok("put", json!(["products", format!("k{n}"), {"name": "x", "price": 1}])).await;
    }
    let mut watcher = Watcher::of(&node, &["k0"]).await;
    shop.database.run("UPDATE products SET price = 2 WHERE sku = 'k0'").await;
    assert_eq!(watcher.push().await["value"]["price"], 2);
    node.stop().await;

    shop.database.run(PRICES).await;
    shop.migrate(&["--check"]).says(1, &["to grant  SELECT, INSERT, UPDATE, DELETE ON public.prices"]);
    shop.doctor().says(1, &["FAIL  rights"]);
    shop.migrate(&[]).says(0, &["8 partitions of prices", "granted  SELECT, INSERT, UPDATE, DELETE ON public.prices"]);
    shop.doctor().says(0, &["may do what a node does"]);
    let node = Node::over(&shop.url(), config()).await;
    let mut socket = Socket::open(&node).await;
    socket.ok("put", json!(["prices", "a", {"price": 1}])).await;
    node.stop().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_gets_its_rights_in_every_database_or_in_none() {
    let (first, second) = (Shop::open().await, empty_database().await);
    let configuration = |at_first: &str, at_second: &str| {
        Configuration::of(8).with("first", at_first, "0-3").with("second", at_second, "4-7")
    };
    let of_owner = configuration(&first.database.url(), &second.url());
    let of_nodes = configuration(&first.url(), &first.on(&second));
    of_owner.run(&["migrate", "--demo"]).says(0, &["2 databases are up to date"]);
    let rights = |ran: &Ran| -> Vec<usize> {
        let plans = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        plans.map(|plan| plan["rights"].as_array().expect("a list").len()).collect()
    };
    let planned = of_owner.run(&["migrate", "--check", "--grant", &first.role, "--format", "json"]);
    assert!(rights(&planned).iter().all(|missing| *missing > 5), "{}{}", planned.out, planned.err);
    let away = configuration(&first.database.url(), "postgres://nobody@127.0.0.1:1/none");
    away.run(&["migrate", "--grant", &first.role]).says(69, &["second", "nothing was changed in any database"]);
    of_nodes.run(&["doctor"]).says(1, &["first", "second", "FAIL  rights"]);

    of_owner.run(&["migrate", "--grant", &first.role]).says(0, &["2 databases are up to date", "grants"]);
    of_nodes.run(&["doctor", "--all"]).says(0, &["may do what a node does", "0 failures"]);
    // What is made in one of them later is given there.
    second.run(PRICES).await;
    first.database.run(PRICES).await;
    of_owner.run(&["migrate"]).says(0, &["4 partitions", "1 grant"]);
    let planned = of_owner.run(&["migrate", "--check", "--format", "json"]);
    assert_eq!((planned.code, rights(&planned)), (0, vec![0, 0]), "{}{}", planned.out, planned.err);
    second.run(&format!("DROP OWNED BY \"{}\"", first.role)).await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_lists_every_right_at_once_as_statements_to_paste() {
    let shop = Shop::open().await;
    shop.migrate(&["--demo"]).says(0, &[]);
    let configuration = Configuration::of(8).with("shop", &shop.url(), "");
    let ran = configuration.run(&["doctor", "--format", "json"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    let report = ran.json();
    let findings = report["findings"].as_array().expect("findings").clone();
    let rights = findings.iter().find(|finding| finding["check"] == "rights").expect("a finding");
    let hint = rights["hint"].as_str().expect("a hint");
    let (command, statements) = hint.split_once('\n').expect("a command, and statements");
    assert!(command.contains(&format!("freshet migrate --grant {}", shop.role)), "{command}");
    let failed: Vec<_> = findings.iter().filter(|finding| finding["verdict"] == "fail").collect();
    assert_eq!(failed.len(), 1, "{failed:#?}");
    shop.database.run(statements).await;
    shop.doctor().says(0, &["may do what a node does", "0 failures"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_is_not_there_is_named_and_nothing_is_changed() {
    let shop = Shop::open().await;
    for arguments in [&["--grant", "nobody here"][..], &["--check", "--grant", "nobody here"]] {
        shop.migrate(arguments).says(1, &["there is no role \"nobody here\"", "CREATE ROLE \"nobody here\" LOGIN"]);
    }
    assert!(
        shop.database.value::<bool>("SELECT to_regclass('_sqlx_migrations') IS NULL").await,
        "something was changed"
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_without_rights_names_the_command_that_gives_them() {
    let shop = Shop::open().await;
    shop.migrate(&["--demo"]).says(0, &[]);
    let ports = ["--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"];
    let url = shop.url();
    let ran = tokio::task::spawn_blocking(move || freshet(&[&["serve", "--database-url", &url], &ports[..]].concat()));
    let ran = ran.await.expect("ran");
    ran.says(1, &["permission denied for schema feed", &format!("run `freshet migrate --grant {}`", shop.role)]);
    shop.close().await;
}
