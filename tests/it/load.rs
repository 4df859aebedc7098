//! `load`, as the real binary on a real database: killed, interrupted and gone on with.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use sqlx::Executor as _;

use crate::harness::{Kind, Node, TestDatabase, folder, terminal::freshet, until, within};

const ROWS: usize = 600;
/// The row that somebody holds, so that no load gets past it.
const HELD: usize = 300;

/// A gzip file of CSV with `ROWS` rows.
fn source(folder: &Path) -> PathBuf {
    let mut text = String::from("sku,price,stock,name,attributes\n");
    (0..ROWS)
        .for_each(|n| text.push_str(&format!("k{n},{n},7,\"a \"\"name\"\",\nof two lines\",\"{{\"\"n\"\":{n}}}\"\n")));
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(text.as_bytes()).expect("memory");
    let path = folder.join("products.csv.gz");
    fs::write(&path, packer.finish().expect("memory")).expect("written");
    path
}

fn start(node: &Node, source: &Path) -> Child {
    let mut command = freshet(&["load", "products", &source.display().to_string(), "--url", &node.url()]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start freshet")
}

async fn ended(child: Child) -> (Option<i32>, String) {
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().expect("ended"));
    let ran = within("the load ends", ended).await.expect("ran");
    (ran.status.code(), format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)))
}

/// Waits until the load has settled the rows before the held one, noted that, and written those behind it.
async fn stuck(database: &TestDatabase, source: &Path) {
    let journal = format!("{}.products.progress", source.display());
    until("the rows before the held one are settled", async || {
        let noted: Option<Value> = fs::read_to_string(&journal).ok().and_then(|text| serde_json::from_str(&text).ok());
        noted.is_some_and(|noted| noted["progress"]["rows"] == HELD)
    })
    .await;
    let others = (ROWS - 1) as i64;
    until("all others are written", async || database.value::<i64>("SELECT count(*) FROM products").await == others)
        .await;
}

#[tokio::test]
async fn a_killed_load_goes_on_and_writes_no_row_twice() {
    let node = Node::start(Kind::Postgres).await;
    let database = node.database();
    let folder = folder();
    let source = source(folder.path());
    let mut holder = database.connect().await;
    let held = format!("BEGIN; INSERT INTO products (sku, name, price) VALUES ('k{HELD}', 'held', 1)");
    holder.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(held))).await.expect("held");

    let mut child = start(&node, &source);
    stuck(database, &source).await;
    child.kill().expect("killed");
    ended(child).await;
    holder.execute("ROLLBACK").await.expect("let go");
    // Somebody writes a row that the killed load has written and had not noted: a second put would undo that.
    database.run("UPDATE products SET stock = 1 WHERE sku = 'k500'").await;

    let (code, said) = ended(start(&node, &source)).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("going on after line ") && said.contains("loaded 600 records into products"), "{said}");
    let whole = "SELECT count(*) FROM products WHERE price = substr(sku, 2)::int AND (attributes->>'n')::int = price
        AND name = E'a \"name\",\\nof two lines' AND stock = CASE sku WHEN 'k500' THEN 1 ELSE 7 END";
    assert_eq!(database.value::<i64>(whole).await, ROWS as i64);
    assert!(!folder.path().join("products.csv.gz.products.progress").exists());
    node.stop().await;
}

#[tokio::test]
async fn an_interrupted_load_says_how_to_go_on() {
    let node = Node::start(Kind::Postgres).await;
    let folder = folder();
    let source = source(folder.path());
    let mut holder = node.database().connect().await;
    let held = format!("BEGIN; INSERT INTO products (sku, name, price) VALUES ('k{HELD}', 'held', 1)");
    holder.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(held))).await.expect("held");
    let child = start(&node, &source);
    stuck(node.database(), &source).await;
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("signal");
    let (code, said) = ended(child).await;
    assert_eq!(code, Some(1), "{said}");
    // The row before the held one begins in this line: a header, and two lines a row.
    let line = 2 + (HELD - 1) * 2;
    assert!(said.contains(&format!("the same command goes on after line {line} of ")), "{said}");
    holder.execute("ROLLBACK").await.expect("let go");
    let (code, said) = ended(start(&node, &source)).await;
    assert_eq!(code, Some(0), "{said}");
    node.stop().await;
}

#[tokio::test]
async fn rows_that_the_database_refuses_are_written_down_with_line_and_column() {
    let node = Node::start(Kind::Postgres).await;
    let folder = folder();
    let path = folder.path().join("p.tsv");
    fs::write(&path, "sku\tname\tprice\nok\tn\t12\nbad\tn\ttwelve\nlow\tn\t-1\nnull\t\\N\t1\n").expect("written");
    let (code, said) = ended({
        let arguments = ["load", "products", &path.display().to_string(), "--null", "\\N", "--url", &node.url()];
        let mut command = freshet(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start freshet")
    })
    .await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("line 3, column price: ") && said.contains("3 of 4 rows were rejected"), "{said}");
    let text = fs::read_to_string(folder.path().join("p.tsv.products.rejected")).expect("written down");
    let rejected: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rejected.iter().map(|row| row["line"].as_u64()).collect::<Vec<_>>(), [3, 4, 5].map(Some));
    assert_eq!(rejected[2]["column"], "name");
    // A mended row can be loaded as it stands there.
    let mended = folder.path().join("mended.jsonl");
    fs::write(&mended, rejected[0]["row"].to_string().replace("twelve", "12")).expect("written");
    let (code, said) = ended(start(&node, &mended)).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(node.database().value::<i64>("SELECT sum(price)::int8 FROM products").await, 24);
    node.stop().await;
}
