//! Arguments that allow no run are refused before anything of others is touched.

use super::{rows, verify};
use crate::harness::{Kind, Node, database, node::config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_exists_is_neither_overwritten_nor_deleted() {
    let database = database().await;
    database
        .run("CREATE TABLE tiny (id int2 PRIMARY KEY, n int) PARTITION BY HASH (id); SELECT freshet.track('tiny')")
        .await;
    database.run("SELECT freshet.create_shards('tiny', 64, ARRAY(SELECT generate_series(0, 63)))").await;
    // All of the keys that a run may choose, but for those of the first half.
    database.run("INSERT INTO tiny SELECT g, -1 FROM generate_series(20000, 32767) g").await;
    let node = Node::over(&database.url(), config()).await;
    let (url, base) = (node.url(), database.url());
    let record = ["--collection", "tiny", "--record", r#"{"n":%n}"#, "--field", "n", "--keys", "10000"];
    let ran = verify(&[&record[..], &[&url, "--database-url", &base]].concat()).await;
    ran.says(1, &["exists already, and is left as it is"]);
    assert_eq!(database.value::<i64>("SELECT count(*) FROM tiny").await, 12_768);
    assert_eq!(database.value::<i64>("SELECT count(*) FROM tiny WHERE n = -1").await, 12_768);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_that_allow_no_run_name_the_cure() {
    let (database, other) = (database().await, database().await);
    let node = Node::over(&database.url(), config()).await;
    let (url, theirs) = (node.url(), other.url());
    let refused = r#"{"name":"n","price":-1,"stock":%n}"#;
    for (words, code, parts) in [
        (&["--collection", "nothing"][..], 1, &["no collection \"nothing\"", "products"][..]),
        (&["--collection", "readings"], 2, &["--record", "id, label, body, amount, at"]),
        (&["--record", "[%n]"], 2, &["--record must be a JSON object"]),
        (&["--record", refused], 2, &["products refuses the record", "products_price_not_negative", "--record"]),
        (&["--field", "name"], 2, &["no %n in the field name", "--field"]),
        (&["--keys", "0"], 2, &["--keys"]),
        (&["--rate", "0"], 2, &["--rate", "above 0"]),
        (&["--rate", "10000", "--seconds", "3600"], 2, &["lower --seconds or --rate"]),
        (&["--database-url", &theirs], 2, &["does not hold the records of the nodes", "--no-sql"]),
        (&["--database-url", "shop"], 2, &["postgres://user:password@host:5432/database"]),
    ] {
        verify(&[words, &[&*url]].concat()).await.says(code, parts);
    }
    let (alien, record) = (Node::start(Kind::Memory).await.url(), "--no-sql");
    verify(&[&*url, &alien, record]).await.says(2, &["does not serve the records of", "one deployment"]);
    verify(&["ws://127.0.0.1:9/v1/ws"]).await.says(69, &["ws://127.0.0.1:9/v1/ws", "is it running?"]);
    assert_eq!(rows(&database).await, 0);
}
