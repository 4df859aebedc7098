//! Lists: a collection page by page, in the order of its keys.
//!
//! Promises: a key that is there from the first page to the last is on exactly one of them, whatever is inserted and deleted
//! meanwhile; each record's state was committed, and has its stamp. Not more: a page is no snapshot of all shards, it passes by
//! the tiers in both directions, and so a state may be older than one that this node has answered otherwise.
//! (`tests/it/list`)
//!
//! Lists are for people and exports, and cost a database more than a point read. So [`RUNNING_MAX`] of them run at once on a
//! node, [`WAITING_MAX`] more wait their turn, and further ones are refused.

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Charge, Error, Service};
use crate::{
    digest,
    protocol::codec::{self, RECORD_HEAD_BYTES_MAX},
    record::{Collection, Key, KeyKind, State},
    resilience::Deadline,
    store::Range,
    telemetry::Telemetry,
};

/// Records of a page, unless the request says.
pub const LIMIT_DEFAULT: usize = 100;
/// Lists under way.
const RUNNING_MAX: usize = 2;
/// Lists that wait for those.
const WAITING_MAX: usize = 16;
/// What the records of a page take, about; a larger one is a page by itself.
const BYTES_MAX: usize = 4 << 20;
/// Characters of a cursor before its key.
const SEAL_LEN: usize = 8;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListRequest<'a> {
    /// The collection's name.
    pub collection: &'a str,
    /// What keys begin with; of text keys.
    pub prefix: Option<&'a str>,
    /// The most records of the page.
    pub limit: Option<usize>,
    /// Where to go on.
    pub cursor: Option<&'a str>,
}

/// Records in the order of their keys.
pub struct Page {
    records: Vec<(Key, State)>,
    cursor: Option<String>,
}

impl Page {
    /// Writes it as `{"records":[..],"cursor":".."}`, the cursor only where there may be more.
    pub fn write(&self, out: &mut Vec<u8>) {
        codec::page(out, &self.records, self.cursor.as_deref(), |out, (key, state)| {
            codec::record(out, key.as_str(), state, None, false);
        });
    }

    /// The keys of its records.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.records.iter().map(|(key, _)| key.as_str())
    }

    /// What it takes at most, unless keys are full of characters that JSON escapes.
    fn bytes(&self) -> usize {
        let records = self.records.iter().map(|(key, state)| RECORD_HEAD_BYTES_MAX + Range::bytes_of(key, state));
        records.sum::<usize>() + self.cursor.as_ref().map_or(0, String::len)
    }
}

/// The turns of lists. Cheap to clone.
#[derive(Clone)]
pub(super) struct Turns(Arc<Inner>);

struct Inner {
    places: Semaphore,
    running: Semaphore,
    gauge: IntGauge,
}

/// A list that waits or runs.
struct Place<'t> {
    gauge: &'t IntGauge,
    _permit: SemaphorePermit<'t>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl Turns {
    pub(super) fn new(telemetry: &Telemetry) -> Self {
        let places = Semaphore::new(RUNNING_MAX + WAITING_MAX);
        let gauge = telemetry.gauge("freshet_service_lists", "Lists under way, and those that wait for their turn.");
        let help = "What freshet_service_lists may come to; further lists are refused.";
        telemetry.limit("freshet_service_lists_max", help, RUNNING_MAX + WAITING_MAX);
        Turns(Arc::new(Inner { places, running: Semaphore::new(RUNNING_MAX), gauge }))
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`Error::ListsOverloaded`] when too many wait, or the turn does not come by the deadline.
    async fn acquire(&self, deadline: Deadline) -> Result<(SemaphorePermit<'_>, Place<'_>), Error> {
        let Inner { places, running, gauge } = &*self.0;
        let permit = places.try_acquire().map_err(|_| Error::ListsOverloaded)?;
        gauge.inc();
        let place = Place { gauge, _permit: permit };
        match deadline.limit(running.acquire()).await {
            Ok(Ok(turn)) => Ok((turn, place)),
            _ => Err(Error::ListsOverloaded),
        }
    }
}

impl Service {
    /// Reads a page. What it takes in an answer is charged.
    ///
    /// # Errors
    /// [`Error::BadPrefix`], [`Error::BadCursor`], [`Error::TooLarge`], [`Error::ListsOverloaded`]; [`Error::Store`] with the
    /// database that did not answer; those of [`Charge::take`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connections on which databases were asked.
    pub async fn list(&self, request: &ListRequest<'_>, charge: &Charge) -> Result<Page, Error> {
        let collection = self.collection(request.collection)?;
        let range = self.range(collection, request)?;
        let deadline = self.deadline();
        let turn = self.turns.acquire(deadline).await?;
        let listed = self.store.list(collection.id, &range, deadline).await;
        drop(turn);
        self.failures.note(&listed);
        let stretch = listed?;
        let cursor = stretch.end.map(|end| cursor(collection, &range.prefix, &end));
        let page = Page { records: stretch.records, cursor };
        charge.take(page.bytes())?;
        Ok(page)
    }

    fn range(&self, collection: &Collection, request: &ListRequest<'_>) -> Result<Range, Error> {
        let (limit, limit_max) = (request.limit.unwrap_or(LIMIT_DEFAULT), self.config.keys_max);
        if limit > limit_max && request.limit.is_some() {
            return Err(Error::TooLarge { what: "records of a page", len: limit, limit: limit_max });
        }
        let prefix = request.prefix.unwrap_or_default();
        if !prefix.is_empty() {
            if collection.key_kind != KeyKind::Text {
                return Err(Error::BadPrefix { key_type: collection.key_kind.name() });
            }
            collection.key(prefix)?;
        }
        let after = request.cursor.map(|text| key_of(text, collection, prefix).ok_or(Error::BadCursor)).transpose()?;
        Ok(Range {
            after,
            prefix: prefix.to_owned(),
            limit: limit.min(limit_max).max(1),
            bytes_max: BYTES_MAX.min(self.config.answer_bytes_max()),
        })
    }
}

/// The last key of a page as a text that means nothing to clients, sealed so that one of another list is told.
fn cursor(collection: &Collection, prefix: &str, key: &Key) -> String {
    format!("{}{}", seal(collection, prefix, key.as_str()), hex::encode(key.as_str()))
}

fn key_of(cursor: &str, collection: &Collection, prefix: &str) -> Option<Key> {
    let (sealed, key) = cursor.split_at_checked(SEAL_LEN)?;
    let key = String::from_utf8(hex::decode(key).ok()?).ok()?;
    let is_ours = sealed == seal(collection, prefix, &key);
    collection.key(&key).ok().filter(|_| is_ours)
}

fn seal(collection: &Collection, prefix: &str, key: &str) -> String {
    let mut digest = digest::of(format!("{}\0{prefix}\0{key}", collection.name));
    digest.truncate(SEAL_LEN);
    digest
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::CollectionId;

    fn collection(name: &str, key_kind: KeyKind) -> Collection {
        Collection {
            id: CollectionId(0),
            name: name.into(),
            key_column: "k".into(),
            key_kind,
            modulus: 64,
            columns: Vec::new(),
        }
    }

    #[test]
    fn a_cursor_is_good_for_the_list_that_it_came_from_only() {
        let products = collection("products", KeyKind::Text);
        let key = Key::from_database("85é%");
        let text = cursor(&products, "85", &key);
        assert_eq!(key_of(&text, &products, "85"), Some(key));
        assert_eq!(key_of(&text, &products, ""), None);
        assert_eq!(key_of(&text, &collection("prices", KeyKind::Text), "85"), None);
        for broken in ["", "x", "ééééé", &text[1..], &text[..text.len() - 2], &format!("{text}00")] {
            assert_eq!(key_of(broken, &products, "85"), None, "{broken:?}");
        }
        let readings = collection("readings", KeyKind::Int4);
        let odd = cursor(&readings, "", &Key::from_database("no number"));
        assert_eq!(key_of(&odd, &readings, ""), None);
    }

    #[tokio::test(start_paused = true)]
    async fn lists_wait_for_two_and_those_beyond_are_refused_at_once() {
        let turns = Turns::new(&Telemetry::new());
        let deadline = Deadline::after(Duration::from_secs(5));
        let first = [turns.acquire(deadline).await.expect("free"), turns.acquire(deadline).await.expect("free")];
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(turns.acquire(deadline))).collect();
        for waiting in &mut waiting {
            assert!(futures_util::poll!(waiting).is_pending());
        }
        let began = tokio::time::Instant::now();
        assert!(matches!(turns.acquire(deadline).await, Err(Error::ListsOverloaded)));
        assert_eq!(began.elapsed(), Duration::ZERO);
        drop(first);
        let turn = waiting.remove(0).await.expect("the first in line");
        drop(turn);
        drop(waiting);
        drop(turns.acquire(deadline).await.expect("free"));
    }
}
