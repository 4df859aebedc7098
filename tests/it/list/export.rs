//! `freshet export` and `freshet get --prefix`, as the real binary.

use std::fs;

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::page;
use crate::harness::{
    Kind, Node, Socket,
    command::{Ran, freshet},
    folder,
};

/// Rows with everything that CSV has to quote, and texts that are empty or look like NULL.
const FILL: &str = r#"
    INSERT INTO products (sku, name, price, stock, attributes)
    SELECT 'k' || n, (ARRAY['plain', '', 'a "quoted" one', E'two\nlines', 'semi;colon, comma', '\N', ' é 日 '])[1 + n % 7],
           n, n % 50, CASE n % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{"colour": "red", "tags": ["a", "b"]}' ELSE '[1.50, "x"]' END::json
      FROM generate_series(1, 2500) n"#;

async fn run(node: &Node, arguments: &[&str]) -> Ran {
    let mut arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    arguments.extend(["--url".to_owned(), node.url()]);
    let run = move || freshet(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    spawn_blocking(run).await.expect("ran")
}

async fn copy(node: &Node, options: &str) -> String {
    let mut connection = node.database().connect().await;
    let sql = format!(
        "COPY (SELECT sku, name, currency, price, stock, attributes FROM products ORDER BY sku COLLATE \"C\") TO STDOUT (FORMAT csv, HEADER, {options})"
    );
    let chunks = connection.copy_out_raw(&sql).await.expect("copy");
    let chunks: Vec<_> = chunks.try_collect().await.expect("rows");
    String::from_utf8(chunks.concat()).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_as_csv_is_what_copy_writes_and_can_be_loaded() {
    let node = Node::start(Kind::Postgres).await;
    node.database().run(FILL).await;
    let folder = folder();
    for (name, arguments, options) in
        [("p.csv", &[][..], "NULL ''"), ("p.tsv", &["--null", "\\N"], "DELIMITER E'\\t', NULL '\\N'")]
    {
        let path = folder.path().join(name).display().to_string();
        let ran = run(&node, &[&["export", "products", &path], arguments].concat()).await;
        ran.says(0, &["exported 2,500 records of products"]);
        assert!(fs::read_to_string(&path).expect("written") == copy(&node, options).await, "{name} differs");
        assert!(!folder.path().join(format!("{name}.progress")).exists());
        run(&node, &["export", "products", &path]).await.says(2, &["is there already", "--restart"]);
    }
    let path = folder.path().join("p.jsonl").display().to_string();
    run(&node, &["export", "products", &path, "--page", "7"]).await.says(0, &["2,500 records"]);
    let fingerprint = "SELECT md5(string_agg(to_jsonb(p)::text || attributes::text, '' ORDER BY sku)) FROM
                       (SELECT sku, name, currency, price, stock, attributes FROM products) p";
    let before: String = node.database().value(fingerprint).await;
    node.database().run("DELETE FROM products").await;
    run(&node, &["load", "products", &path]).await.says(0, &["loaded 2,500 records"]);
    assert_eq!(node.database().value::<String>(fingerprint).await, before);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_export_goes_on_behind_what_was_noted() {
    let node = Node::start(Kind::Postgres).await;
    node.database().run(FILL).await;
    let folder = folder();
    let path = folder.path().join("p.jsonl");
    let shown = path.display().to_string();
    run(&node, &["export", "products", &shown]).await.says(0, &[]);
    let whole = fs::read_to_string(&path).expect("written");
    // As a crash leaves it: a note of the first 700, and a part of what followed.
    let mut socket = Socket::open(&node).await;
    let (_, cursor) = page(&mut socket, json!({"collection": "products", "limit": 700})).await;
    let bytes: usize = whole.split_inclusive('\n').take(700).map(str::len).sum();
    fs::write(&path, &whole.as_bytes()[..bytes + 30]).expect("written");
    let note = folder.path().join("p.jsonl.progress");
    let noted = json!({"what": "products \"\" jsonl", "cursor": cursor, "records": 700, "bytes": bytes});
    fs::write(&note, noted.to_string()).expect("written");
    run(&node, &["export", "products", &shown, "--prefix", "k1"])
        .await
        .says(2, &["begun by another export", "--restart"]);
    run(&node, &["export", "products", &shown])
        .await
        .says(0, &["going on after 700 records", "exported 1,800 records"]);
    assert!(fs::read_to_string(&path).expect("written") == whole);
    assert!(!note.exists());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_prints_what_begins_with_a_prefix_and_stdout_takes_an_export() {
    let node = Node::start(Kind::Memory).await;
    let mut socket = Socket::open(&node).await;
    for n in 0..250 {
        socket.ok("put", json!(["products", format!("k{n:03}"), {"name": "x", "price": n}])).await;
    }
    let ran = run(&node, &["get", "products", "--prefix", "k1", "--format", "json"]).await;
    ran.says(0, &[]);
    let printed: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(super::keys(&printed), (100..200).map(|n| format!("k{n}")).collect::<Vec<_>>());
    let ran = run(&node, &["get", "products", "--prefix", "", "--limit", "120", "--format", "json"]).await;
    assert_eq!(ran.out.lines().count(), 120);
    run(&node, &["get", "products", "--prefix", "z"]).await.says(3, &["no such record: products/z..."]);
    run(&node, &["get", "readings", "--prefix", "1"]).await.says(1, &["keys are int8"]);
    let ran = run(&node, &["export", "products", "--prefix", "k2"]).await;
    ran.says(0, &["exported 50 records of products"]);
    assert_eq!(ran.out.lines().count(), 50);
    assert!(ran.out.starts_with("{\"sku\":\"k200\",\"name\":\"x\""), "{}", ran.out);
    let away = freshet(&["export", "products", "--url", "ws://127.0.0.1:1/v1/ws"]);
    away.says(69, &[]);
    node.stop().await;
}
