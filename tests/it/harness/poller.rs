//! A reader of the outbox by the relay's rule (coherence, section 3), with its own checks.

use std::collections::{HashMap, HashSet};

use sqlx::{Connection, PgConnection, Row};

use super::TestDatabase;

/// One row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub collection: String,
    pub key: String,
    pub version: i64,
    /// `U` or `D`.
    pub op: char,
}

/// Reads, in each poll, exactly the rows that the poll before could not see.
pub struct Poller {
    connection: PgConnection,
    seen: Option<(String, Vec<String>)>,
    /// Every event so far, poll by poll.
    pub polls: Vec<Vec<Event>>,
}

impl Poller {
    /// Starts after everything that is visible now.
    pub async fn start(database: &TestDatabase) -> Self {
        let mut poller = Self { connection: database.connect().await, seen: None, polls: Vec::new() };
        poller.poll().await;
        poller.polls.clear();
        poller
    }

    /// The rows that became visible since the poll before.
    pub async fn poll(&mut self) -> &[Event] {
        let mut transaction =
            self.connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.expect("begin");
        let snapshot = sqlx::query(
            "SELECT pg_snapshot_xmax(s)::text, ARRAY(SELECT x::text FROM pg_snapshot_xip(s) x) FROM pg_current_snapshot() s",
        );
        let snapshot = snapshot.fetch_one(&mut *transaction).await.expect("snapshot");
        let rows = match self.seen.replace((snapshot.get(0), snapshot.get(1))) {
            None => Vec::new(),
            Some((xmax, in_progress)) => sqlx::query(
                "SELECT collection, key, version, op::text FROM feed.outbox \
                      WHERE xid >= $1::xid8 OR xid = ANY ($2::xid8[]) ORDER BY version",
            )
            .bind(xmax)
            .bind(in_progress)
            .fetch_all(&mut *transaction)
            .await
            .expect("outbox"),
        };
        transaction.commit().await.expect("commit");
        let events = rows.iter().map(|row| Event {
            collection: row.get(0),
            key: row.get(1),
            version: row.get(2),
            op: row.get::<String, _>(3).chars().next().expect("an op"),
        });
        self.polls.push(events.collect());
        self.polls.last().expect("just pushed")
    }

    /// Every event so far.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.polls.iter().flatten()
    }

    /// The newest event of each key.
    pub fn newest(&self) -> HashMap<&str, &Event> {
        let mut newest: HashMap<&str, &Event> = HashMap::new();
        for event in self.events() {
            let held = newest.entry(&event.key).or_insert(event);
            if held.version < event.version {
                *held = event;
            }
        }
        newest
    }

    /// Panics if an event came twice.
    pub fn assert_each_once(&self) {
        let mut versions = HashSet::new();
        for event in self.events() {
            assert!(versions.insert(event.version), "twice: {event:?}");
        }
    }

    /// How many events came in a later poll than a higher version of their key, and how many keys' newest
    /// event does not match `rows`, the versions that stand.
    pub fn inversions(&self, rows: &HashMap<String, i64>) -> usize {
        let mut highest: HashMap<&str, i64> = HashMap::new();
        let mut late = 0;
        for poll in &self.polls {
            late += poll.iter().filter(|e| highest.get(e.key.as_str()).is_some_and(|&h| h > e.version)).count();
            for event in poll {
                let held = highest.entry(&event.key).or_default();
                *held = event.version.max(*held);
            }
        }
        let newest = self.newest();
        let is_standing = |e: &Event| {
            if e.op == 'U' { rows.get(&e.key) == Some(&e.version) } else { !rows.contains_key(&e.key) }
        };
        let unlogged = rows.keys().filter(|key| !newest.contains_key(key.as_str())).count();
        late + unlogged + newest.values().filter(|e| !is_standing(e)).count()
    }
}
