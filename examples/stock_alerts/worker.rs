//! Reads what keepers tell of changes, as a member of a consumer group, and says which products run out.
//!
//! Promises: each change that is told is looked at, at least once, also when a worker is killed between two steps: an entry is
//! acknowledged after its alerts were given. Where changes may have been missed, that is said. What the stream tells is where
//! to look; the stock is read from a node, which answers no older than the change.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
};

use freshet_client::{Client, ReadOptions, Stamp};
use redis::{
    AsyncCommands as _,
    aio::MultiplexedConnection,
    streams::{StreamId, StreamInfoGroupsReply, StreamInfoStreamReply, StreamReadOptions, StreamReadReply},
};
use serde::Deserialize;

/// How long the worker waits for entries, in milliseconds, before it looks for streams that have come since.
const BLOCK_MS: usize = 1_000;
const ENTRIES_AT_ONCE: usize = 64;

/// What a worker has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alert {
    /// A product is below the limit since `stamp`.
    Low { sku: String, stock: i64, stamp: Stamp },
    /// It is not, any more.
    Restocked { sku: String, stock: i64 },
    /// Changes may be missing before this: every product should be looked at.
    Missed,
}

/// One member of the group.
pub struct Worker {
    pub redis: MultiplexedConnection,
    pub client: Client,
    pub group: String,
    /// The member's name: what it had not acknowledged when it ended, it is given again.
    pub name: String,
    pub below: i64,
    /// Products that it has given an alert of.
    pub low: BTreeSet<String>,
    /// The life of each stream's chain, when it was read last.
    pub lives: BTreeMap<String, String>,
}

/// A change, as an entry tells it. Members that are not known are passed over.
#[derive(Deserialize)]
struct Change {
    collection: String,
    key: String,
    stamp: String,
}

impl Worker {
    /// Works until something fails.
    pub async fn run(&mut self, mut alert: impl FnMut(Alert)) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut streams = self.join(&mut alert).await?;
        let mut from = "0";
        loop {
            let ids = vec![from; streams.len()];
            let options = StreamReadOptions::default().group(&self.group, &self.name).count(ENTRIES_AT_ONCE);
            let options = if from == ">" { options.block(BLOCK_MS) } else { options };
            let read: Option<StreamReadReply> = match streams.is_empty() {
                true => None,
                false => self.redis.xread_options(&streams, &ids, &options).await?,
            };
            let read = read.map_or(Vec::new(), |read| read.keys);
            let is_done = read.iter().all(|stream| stream.ids.is_empty());
            for stream in read {
                for entry in &stream.ids {
                    self.look(&stream.key, entry, &mut alert).await?;
                    let _acknowledged: usize = self.redis.xack(&stream.key, &self.group, &[&entry.id]).await?;
                }
            }
            if is_done {
                // First what was not acknowledged before, then what is new.
                from = ">";
                streams = self.join(&mut alert).await?;
            }
        }
    }

    /// Finds the streams, and joins the group of each.
    async fn join(&mut self, alert: &mut impl FnMut(Alert)) -> Result<Vec<String>, redis::RedisError> {
        let mut streams = Vec::new();
        let mut found = self.redis.scan_match::<_, String>("freshet1:*:changes").await?;
        while let Some(stream) = found.next_item().await {
            streams.push(stream?);
        }
        drop(found);
        streams.sort_unstable();
        for stream in &streams {
            let joined: Result<(), _> = self.redis.xgroup_create(stream, &self.group, "0").await;
            match joined {
                Ok(()) => {}
                Err(error) if error.code() == Some("BUSYGROUP") => self.look_for_gap(stream, alert).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(streams)
    }

    /// A group that was away for long finds the entries after its last one gone.
    async fn look_for_gap(&mut self, stream: &str, alert: &mut impl FnMut(Alert)) -> Result<(), redis::RedisError> {
        let groups: StreamInfoGroupsReply = self.redis.xinfo_groups(stream).await?;
        let info: StreamInfoStreamReply = self.redis.xinfo_stream(stream).await?;
        let delivered = groups.groups.into_iter().find(|group| group.name == self.group);
        let delivered = delivered.map(|group| group.last_delivered_id).unwrap_or_default();
        if delivered != "0-0" && order(&delivered) < order(&info.first_entry.id) {
            alert(Alert::Missed);
            let _: () = self.redis.xgroup_setid(stream, &self.group, "0").await?;
        }
        Ok(())
    }

    async fn look(
        &mut self,
        stream: &str,
        entry: &StreamId,
        alert: &mut impl FnMut(Alert),
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let field = |name| entry.get::<String>(name).unwrap_or_default();
        let before = self.lives.insert(stream.to_owned(), field("incarnation"));
        if field("more") == "1" || before.is_some_and(|before| before != field("incarnation")) {
            alert(Alert::Missed);
        }
        let changes: Vec<Change> = serde_json::from_str(&field("changes")).unwrap_or_default();
        for change in changes.into_iter().filter(|change| change.collection == "products") {
            self.look_at(change, alert).await?;
        }
        Ok(())
    }

    async fn look_at(
        &mut self,
        change: Change,
        alert: &mut impl FnMut(Alert),
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let options = ReadOptions::new().min_stamp(change.stamp.parse::<Stamp>()?);
        let record = self.client.get_with("products", &change.key, options).await?;
        let value = record.value.map(|value| serde_json::from_str::<serde_json::Value>(value.get())).transpose()?;
        let Some(stock) = value.and_then(|value| value["stock"].as_i64()) else { return Ok(()) };
        let sku = change.key;
        if stock < self.below && self.low.insert(sku.clone()) {
            alert(Alert::Low { sku, stock, stamp: record.stamp });
        } else if stock >= self.below && self.low.remove(&sku) {
            alert(Alert::Restocked { sku, stock });
        }
        Ok(())
    }
}

/// An entry's number, `milliseconds-count`.
fn order(id: &str) -> (u64, u64) {
    let (millis, count) = id.split_once('-').unwrap_or((id, "0"));
    (millis.parse().unwrap_or(0), count.parse().unwrap_or(0))
}
