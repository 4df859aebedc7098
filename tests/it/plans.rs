//! Plans are made once, often while the tables are empty, and kept: what they read must not grow with the tables.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Node, Socket, TestDatabase, blank_database, node::config, until};

/// A plain table, so that all records are in one, and the feed's tables as they are after a quiet night. Nothing may
/// analyze them later: plans would be made anew, by luck for tables that have grown.
const EMPTY: &str = "
    CREATE TABLE orders (id text PRIMARY KEY, customer text NOT NULL, status text NOT NULL DEFAULT 'new');
    SELECT freshet.track('orders');
    ALTER TABLE orders SET (autovacuum_enabled = false);
    ALTER TABLE feed.outbox SET (autovacuum_enabled = false);
    ALTER TABLE feed.idempotency SET (autovacuum_enabled = false);
    ALTER TABLE feed.tomb SET (autovacuum_enabled = false);";

const CLIENTS: usize = 8;
/// Records that each client writes, one after the other: as many statements meet the tables while they grow.
const RECORDS: usize = 300;

/// A client of two nodes; the second has neither filter nor any record in L1, so each get goes to the database.
struct Shopper {
    writer: Socket,
    reader: Socket,
}

impl Shopper {
    async fn open(writes: &Node, reads: &Node) -> Self {
        Shopper { writer: Socket::open(writes).await, reader: Socket::open(reads).await }
    }

    async fn write(&mut self, method: &str, key: &str, value: Option<Value>, token: Option<&str>) {
        let mut params = json!({"collection": "orders", "key": key});
        params["value"] = value.unwrap_or_default();
        params["idempotency_key"] = token.into();
        params.as_object_mut().expect("an object").retain(|_, member| !member.is_null());
        self.writer.ok(method, params).await;
    }

    /// Every kind of write and a get, of one record. Returns how many writes changed it.
    async fn shop(&mut self, key: &str, has_tokens: bool, is_cancelled: bool) -> i64 {
        let token = |text| has_tokens.then_some(text);
        self.write("put", key, Some(json!({"customer": "C"})), token("made")).await;
        self.write("patch", key, Some(json!({"status": "paid"})), token("paid")).await;
        let read = self.reader.ok("get", json!(["orders", key])).await;
        assert_eq!(read["value"]["customer"], "C");
        if is_cancelled {
            self.write("delete", key, None, token("cancelled")).await;
        }
        2 + i64::from(is_cancelled)
    }
}

/// What statements read of a table: rows by scans of the whole of it, and entries and rows by its indexes.
async fn read(database: &TestDatabase, table: &str) -> (i64, i64) {
    let sql = "SELECT seq_tup_read, idx_tup_fetch + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes i
                                                      WHERE i.relid = t.relid)::bigint
                 FROM pg_stat_user_tables t WHERE relid = $1::regclass";
    sqlx::query_as(sql).bind(table).fetch_one(database.pool()).await.expect("a table's statistics")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_made_on_empty_tables_stay_cheap() {
    let database = blank_database().await;
    database.run("SELECT freshet.create_shards('products', 1, ARRAY[0])").await;
    database.run(EMPTY).await;
    database.run("VACUUM ANALYZE").await;
    let mut unfiltered = config();
    unfiltered.tiers.filter.enabled = false;
    let (a, b) = (Node::over(&database.url(), config()).await, Node::over(&database.url(), unfiltered).await);
    // Building it reads the whole of each table, once.
    let orders = a.service().catalogue().find("orders").expect("orders").id;
    until("the filter is built", async || a.tiers().is_filtered(orders)).await;

    // Every statement is planned here, on tables that are empty or all but.
    let mut first = Shopper::open(&a, &b).await;
    first.reader.ok("get", json!(["orders", "never"])).await;
    first.write("delete", "never", None, Some("nothing")).await;
    let mut writes = first.shop("first", false, true).await + first.shop("second", true, true).await;

    let clients = (0..CLIENTS).map(|client| {
        let (a, b) = (&a, &b);
        async move {
            let mut shopper = Shopper::open(a, b).await;
            let mut writes = 0;
            for n in 0..RECORDS {
                writes += shopper.shop(&format!("{client}-{n}"), n % 2 == 0, n % 5 == 0).await;
            }
            writes
        }
    });
    writes += join_all(clients).await.into_iter().sum::<i64>();

    // A session that ends leaves its statistics behind; those of PostgreSQL 14 arrive later.
    a.stop().await;
    b.stop().await;
    let sessions = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name LIKE 'freshet %'";
    until("the nodes' sessions end", async || database.value::<i64>(sessions).await == 0).await;
    let logged = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relid = 'feed.outbox'::regclass";
    until("every write is in the statistics", async || database.value::<i64>(logged).await >= writes).await;
    let mut faults = Vec::new();
    for table in ["orders", "feed.outbox", "feed.idempotency", "feed.tomb"] {
        let (scanned, looked_up) = read(&database, table).await;
        if scanned > 0 || looked_up > 20 * writes {
            faults.push(format!("{table}: {scanned} rows by scans of the whole of it, {looked_up} by its indexes"));
        }
    }
    assert!(faults.is_empty(), "read for {writes} writes: {faults:#?}");
}
