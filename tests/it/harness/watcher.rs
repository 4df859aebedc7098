//! A watcher that holds every push to the rules of a subscription.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Node, Socket, TestDatabase, within};

/// A stamp as it is compared: generation, version.
pub type Stamp = (u32, u64);

/// A subscription to keys of products, with what it has shown.
pub struct Watcher {
    socket: Socket,
    seen: HashMap<String, (Stamp, Value)>,
    /// Notifications so far, snapshots not counted.
    pub pushes: usize,
}

impl Watcher {
    /// Watches `keys` of products; returns when every snapshot has come.
    pub async fn of<K: AsRef<str>>(node: &Node, keys: &[K]) -> Self {
        let mut watcher = Watcher { socket: Socket::open(node).await, seen: HashMap::new(), pushes: 0 };
        let keys: Vec<&str> = keys.iter().map(AsRef::as_ref).collect();
        watcher.socket.ok("subscribe", json!({"collection": "products", "keys": keys})).await;
        while watcher.seen.len() < keys.len() {
            watcher.push().await;
        }
        watcher.pushes = 0;
        watcher
    }

    /// The next record pushed, after checking that its stamp is above every earlier one of its key.
    pub async fn push(&mut self) -> Value {
        let record = self.socket.push().await;
        let key = record["key"].as_str().expect("a key").to_owned();
        let stamp = stamp(&record);
        if let Some((before, _)) = self.seen.get(&key) {
            assert!(stamp > *before, "{key} went from {before:?} to {record}");
            assert_eq!(record.get("reset").is_some(), stamp.0 > before.0, "{record} after {before:?}");
        }
        self.seen.insert(key, (stamp, record["value"].clone()));
        self.pushes += 1;
        record
    }

    /// Takes pushes until each watched key shows what stands in the database.
    pub async fn until_true_to(&mut self, database: &TestDatabase) {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT sku, freshet_version FROM products").fetch_all(database.pool()).await.expect("rows");
        let rows: HashMap<String, i64> = rows.into_iter().collect();
        within("every watched key shows its row", async {
            while let Some(behind) = self.behind(&rows) {
                tracing::trace!(behind, "waits");
                self.push().await;
            }
        })
        .await;
    }

    fn behind(&self, rows: &HashMap<String, i64>) -> Option<&str> {
        let behind = self.seen.iter().find(|(key, ((_, version), value))| match rows.get(*key) {
            Some(row) => *version != row.unsigned_abs(),
            None => !value.is_null(),
        });
        behind.map(|(key, _)| key.as_str())
    }

    /// The last stamp shown of a key.
    pub fn stamp(&self, key: &str) -> Stamp {
        self.seen[key].0
    }

    /// The last value shown of a key.
    pub fn value(&self, key: &str) -> &Value {
        &self.seen[key].1
    }
}

/// A record's stamp in parts.
pub fn stamp(record: &Value) -> Stamp {
    let stamp = record["stamp"].as_str().and_then(|stamp| stamp.split_once('.')).expect("a stamp");
    (stamp.0.parse().expect("a generation"), stamp.1.parse().expect("a version"))
}
