//! What a keeper tells of the changes that it has applied: a stream for each slice.
//!
//! Promises of the stream, which other programs may read as well: each change of a tracked record is told at least once, by the
//! step that moves the chain past it. Of one record a lower stamp may follow a higher one, and then is no news. Where
//! `incarnation` differs from the entry before, the reader's last entry is no longer there, or an entry says `more`, changes may be
//! missing, and a reader should read what it holds again. More than a thousand changes at once, as of a bulk load, are not told one
//! by one.
//!
//! Nodes use the stream to look sooner, and for nothing else: what is lost, doubled, late or wrong in it costs them the time to
//! their next poll.
//!
//! # Source
//! docs/coherence.md, section 5c.

use std::time::Duration;

use redis::streams::{StreamId, StreamReadReply};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Error, Slice, chain::Incarnation, connection::Connection, link::Link};
use crate::record::Stamp;

/// How long a reader waits for the next entry; entries come four times a second at least.
const BLOCK: Duration = Duration::from_millis(500);
/// The most entries that are taken at once.
const ENTRIES_AT_ONCE_MAX: usize = 64;

/// A change, as the stream tells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ToldChange {
    /// The record's collection.
    pub collection: String,
    /// The record's key.
    pub key: String,
    /// What the record has reached, as `generation.version`.
    #[serde(with = "stamp_text")]
    pub stamp: Stamp,
    /// Whether it was deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
}

mod stamp_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::record::Stamp;

    pub(super) fn serialize<S: Serializer>(stamp: &Stamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(stamp)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Stamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// An entry of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Its place among the slices that the reader asked for.
    pub slice: usize,
    /// The chain's life.
    pub incarnation: Incarnation,
    /// What has changed; often nothing.
    pub changes: Vec<ToldChange>,
    /// Whether more has changed, which is not told: it was too much.
    pub is_partial: bool,
}

/// Changes as an entry has them.
pub(super) fn changes_text(changes: &[&ToldChange]) -> String {
    serde_json::to_string(changes).expect("changes have no maps with keys that are no text")
}

/// Reads the streams of some slices that one server has, from now on.
pub struct Hints {
    link: Link,
    streams: Vec<String>,
    /// The last entry of each that was read; `None` before the first look.
    seen: Option<Vec<String>>,
    /// Its reads block, so it has a connection of its own.
    connection: Option<Connection>,
}

impl Hints {
    pub(super) fn new(link: Link, slices: &[Slice]) -> Self {
        Hints { link, streams: slices.iter().map(Slice::changes).collect(), seen: None, connection: None }
    }

    /// How many slices it is about.
    pub fn slices(&self) -> usize {
        self.streams.len()
    }

    /// Passes over what has come so far.
    pub fn skip(&mut self) {
        self.seen = None;
    }

    /// The entries that have come since; none if that takes half a second. What is no entry is passed over.
    ///
    /// # Errors
    /// [`Error::Away`], [`Error::Failed`]: the next call begins with another connection.
    ///
    /// # Cancel safety
    /// Entries of a reply that had not arrived are read by the next call.
    pub async fn next(&mut self) -> Result<Vec<Hint>, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.link.open_another().await?,
        };
        let read = timeout(BLOCK * 4, self.read(&mut connection)).await;
        let hints = read.map_err(|_| Error::Failed { reason: "no answer".into() })?;
        let hints = hints.map_err(|error| Error::Failed { reason: error.to_string() })?;
        self.connection = Some(connection);
        if hints.is_empty() {
            // Where the streams were lost, the numbers of their entries may begin again.
            self.seen = None;
        }
        Ok(hints)
    }

    async fn read(&mut self, connection: &mut Connection) -> Result<Vec<Hint>, redis::RedisError> {
        let seen = match &mut self.seen {
            Some(seen) => seen,
            None => self.seen.insert(newest(connection, &self.streams).await?),
        };
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(ENTRIES_AT_ONCE_MAX).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        command.arg("STREAMS").arg(&self.streams).arg(&*seen);
        let reply: Option<StreamReadReply> = command.query_async(connection).await?;
        let mut hints = Vec::new();
        for stream in reply.into_iter().flat_map(|reply| reply.keys) {
            let Some(slice) = self.streams.iter().position(|name| *name == stream.key) else { continue };
            hints.extend(stream.ids.iter().filter_map(|entry| hint(slice, entry)));
            if let Some(last) = stream.ids.last() {
                seen[slice].clone_from(&last.id);
            }
        }
        Ok(hints)
    }
}

/// The newest entry of each stream.
async fn newest(connection: &mut Connection, streams: &[String]) -> Result<Vec<String>, redis::RedisError> {
    let mut newest = Vec::with_capacity(streams.len());
    for stream in streams {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
        let entries: redis::streams::StreamRangeReply = command.query_async(connection).await?;
        newest.push(entries.ids.into_iter().next().map_or_else(|| "0".to_owned(), |entry| entry.id));
    }
    Ok(newest)
}

fn hint(slice: usize, entry: &StreamId) -> Option<Hint> {
    let field = |name| entry.get::<String>(name);
    let incarnation = Incarnation(u64::from_str_radix(&field("incarnation")?, 16).ok()?);
    let changes = serde_json::from_str(&field("changes")?).ok()?;
    Some(Hint { slice, incarnation, changes, is_partial: field("more").is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_read_as_they_were_told() {
        let change = |key: &str, deleted| ToldChange {
            collection: "products".into(),
            key: key.into(),
            stamp: Stamp::new(1, 7),
            deleted,
        };
        let changes = [change("a\"b", false), change("c", true)];
        let text = changes_text(&changes.each_ref());
        assert_eq!(
            text,
            r#"[{"collection":"products","key":"a\"b","stamp":"1.7"},{"collection":"products","key":"c","stamp":"1.7","deleted":true}]"#
        );
        assert_eq!(serde_json::from_str::<Vec<ToldChange>>(&text).expect("changes"), changes);
    }
}
