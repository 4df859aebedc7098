//! What the memory store promises, one claim a test, and a simple model it is held against.

use std::{collections::BTreeMap, task::Poll, time::Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    record::{Patch, RecordId, ShardId, Stamp, patch::Members},
    store::{self, Operation, Token},
};

const COUNTERS: CollectionId = CollectionId(0);

fn memory(changes_max: usize) -> Memory {
    let schema = r#"
        name = "counters"
        key = "id"
        columns = [
            { name = "id", type = "text" },
            { name = "n", type = "int8", min = 0, constraint = "counters_n_not_negative" },
            { name = "note", type = "json", default = "{}" },
        ]"#;
    let schema = toml::from_str(schema).expect("a schema");
    Memory::with_log(vec![schema], 64, changes_max.try_into().expect("not zero")).expect("a store")
}

fn key(text: &str) -> Key {
    Key::from_database(text)
}

fn write(key_text: &str, operation: Operation) -> Write {
    Write { id: RecordId::new(COUNTERS, key(key_text)), operation, if_stamp: None, token: None, is_likely_new: false }
}

fn put(key_text: &str, members: &str) -> Write {
    write(key_text, Operation::Put(Members::parse(members).expect("an object")))
}

fn increment(key_text: &str, amount: i64) -> Write {
    let patch = Patch { merge: Members::default(), increment: BTreeMap::from([("n".into(), amount.into())]) };
    write(key_text, Operation::Patch(patch))
}

fn delete(key_text: &str) -> Write {
    write(key_text, Operation::Delete)
}

fn with_token(write: Write, key: &str, fingerprint: &str) -> Write {
    Write { token: Some(Token { key: key.into(), fingerprint: fingerprint.into() }), ..write }
}

fn version(memory: &Memory, write: &Write) -> u64 {
    memory.write(write).expect("a write").stamp.version
}

fn read(memory: &Memory, key_text: &str) -> (u64, Option<Bytes>) {
    let row = memory.read(ShardId(0), COUNTERS, &[key(key_text)]).rows.remove(0);
    (row.version, row.value)
}

fn changes(poll: &store::Poll) -> Vec<(&str, u64, bool)> {
    poll.changes.iter().map(|change| (change.key.as_str(), change.version, change.deleted)).collect()
}

#[test]
fn a_write_that_changes_nothing_keeps_its_version_and_wakes_nobody() {
    let memory = memory(10);
    let mut tail = memory.tail();
    tail.take();
    let first = version(&memory, &put("a", r#"{"n":1}"#));
    assert_eq!(changes(&tail.take()), [("a", first, false)]);
    let newest = memory.shared.newest.subscribe();
    assert_eq!(version(&memory, &put("a", r#"{"note":{},"n":1,"id":"a"}"#)), first);
    assert_eq!(version(&memory, &increment("a", 0)), first);
    assert!(!newest.has_changed().expect("open"));
    assert_eq!(changes(&tail.take()), []);
}

#[test]
fn a_delete_leaves_a_tombstone_and_a_re_insert_rises_above_it() {
    let memory = memory(10);
    let first = version(&memory, &put("a", r#"{"n":1}"#));
    let gone = version(&memory, &delete("a"));
    assert!(gone > first);
    assert_eq!(read(&memory, "a"), (gone, None));
    assert_eq!(version(&memory, &delete("a")), gone, "a second delete has nothing to do");
    assert!(version(&memory, &put("a", r#"{"n":1}"#)) > gone);
    assert_eq!(read(&memory, "never").0, 0);
}

#[test]
fn if_stamp_is_compared_with_the_state_and_names_it_when_it_differs() {
    let memory = memory(10);
    let if_stamp = |write: Write, stamp| Write { if_stamp: Some(stamp), ..write };
    let first = memory.write(&if_stamp(put("a", r#"{"n":1}"#), Stamp::ABSENT)).expect("absent").stamp;
    let refused = memory.write(&if_stamp(put("a", r#"{"n":2}"#), Stamp::ABSENT));
    assert!(matches!(refused, Err(Error::Conflict { current }) if current == first), "{refused:?}");
    let gone = memory.write(&if_stamp(delete("a"), first)).expect("current").stamp;
    let refused = memory.write(&if_stamp(increment("a", 1), first));
    assert!(matches!(refused, Err(Error::Conflict { current }) if current == gone), "{refused:?}");
    assert!(memory.write(&if_stamp(put("a", r#"{"n":3}"#), gone)).is_ok());
}

#[test]
fn a_refused_write_changes_nothing_and_names_column_and_constraint() {
    let memory = memory(10);
    let first = version(&memory, &put("a", r#"{"n":1}"#));
    let refused = memory.write(&with_token(increment("a", -2), "t", "f"));
    let Err(Error::InvalidValue { column, constraint, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((column.as_deref(), constraint.as_deref()), (Some("n"), Some("counters_n_not_negative")));
    assert_eq!(read(&memory, "a"), (first, Some(r#"{"id":"a","n":1,"note":{}}"#.into())));
    assert!(memory.write(&with_token(increment("a", 2), "t", "g")).is_ok(), "a refused write leaves no token");
}

#[test]
fn a_repeated_token_happens_once() {
    let memory = memory(10);
    version(&memory, &put("a", r#"{"n":1}"#));
    let once = memory.write(&with_token(increment("a", 1), "t", "f")).expect("a write");
    let again = memory.write(&with_token(increment("a", 1), "t", "f")).expect("a repetition");
    assert_eq!(again.stamp, once.stamp);
    assert_eq!(again.installed.and_then(|(value, _)| value), Some(r#"{"id":"a","n":2,"note":{}}"#.into()));
    assert!(matches!(memory.write(&with_token(increment("a", 2), "t", "g")), Err(Error::TokenReused)));
    version(&memory, &increment("a", 1));
    let late = memory.write(&with_token(increment("a", 1), "t", "f")).expect("a repetition");
    assert_eq!((late.stamp, late.installed), (once.stamp, None), "the state of then is not known now");
}

#[test]
fn a_tail_reports_from_its_first_poll_on_each_key_once() {
    let memory = memory(10);
    version(&memory, &put("before", r#"{"n":1}"#));
    let mut tail = memory.tail();
    assert_eq!(changes(&tail.take()), []);
    version(&memory, &put("a", r#"{"n":1}"#));
    let b = version(&memory, &put("b", r#"{"n":1}"#));
    let a = version(&memory, &delete("a"));
    let poll = tail.take();
    assert!(poll.complete);
    assert_eq!(changes(&poll), [("b", b, false), ("a", a, true)]);
}

#[test]
fn a_tail_behind_the_log_is_told_and_takes_up_from_there() {
    let memory = memory(2);
    let (mut behind, mut beside) = (memory.tail(), memory.tail());
    let start = behind.take().position;
    beside.take();
    for n in 1..=3 {
        version(&memory, &put(&n.to_string(), r#"{"n":1}"#));
        assert!(beside.take().complete);
    }
    let poll = behind.take();
    assert!(!poll.complete && poll.position > start);
    let next = version(&memory, &put("4", r#"{"n":1}"#));
    let poll = behind.take();
    assert_eq!((poll.complete, changes(&poll)), (true, vec![("4", next, false)]));
}

#[test]
fn tombstones_are_bounded_by_the_log() {
    let memory = memory(2);
    version(&memory, &put("a", r#"{"n":1}"#));
    let gone = version(&memory, &delete("a"));
    version(&memory, &put("b", r#"{"n":1}"#));
    assert_eq!(read(&memory, "a"), (gone, None));
    version(&memory, &put("b", r#"{"n":2}"#));
    assert_eq!(read(&memory, "a"), (0, None));
    assert!(version(&memory, &put("a", r#"{"n":1}"#)) > gone, "versions rise even where none is remembered");
}

#[test]
fn a_read_at_a_position_reflects_what_was_polled_up_to_it() {
    let memory = memory(10);
    let mut tail = memory.tail();
    let before = memory.read(ShardId(0), COUNTERS, &[key("a")]).position;
    let base = tail.take().position;
    assert!(before < base, "a read taken before a tail began stands before it");
    let written = version(&memory, &put("a", r#"{"n":1}"#));
    let polled = tail.take().position;
    let fetched = memory.read(ShardId(0), COUNTERS, &[key("a")]);
    assert!(fetched.position >= polled);
    assert_eq!(fetched.rows[0].version, written);
}

#[tokio::test]
async fn an_idle_poll_ends_soon_and_the_position_counts_up() {
    let memory = memory(10);
    let mut tail = memory.tail();
    let first = tail.poll().await;
    let asked = Instant::now();
    let second = tail.poll().await;
    assert!(second.position > first.position && second.proof.is_some_and(|proof| proof.begun >= asked));
    assert!(second.complete && second.changes.is_empty());
}

#[tokio::test]
async fn a_change_wakes_a_waiting_poll() {
    let memory = memory(10);
    let mut tail = memory.tail();
    tail.poll().await;
    let mut poll = std::pin::pin!(tail.poll());
    assert!(futures_util::poll!(poll.as_mut()).is_pending());
    let written = version(&memory, &put("a", r#"{"n":1}"#));
    let Poll::Ready(poll) = futures_util::poll!(poll) else { panic!("the poll slept on") };
    assert_eq!(changes(&poll), [("a", written, false)]);
}

#[tokio::test]
async fn a_dropped_poll_loses_nothing() {
    let memory = memory(10);
    let mut tail = memory.tail();
    tail.poll().await;
    {
        let waiting = std::pin::pin!(tail.poll());
        assert!(futures_util::poll!(waiting).is_pending());
    }
    let written = version(&memory, &put("a", r#"{"n":1}"#));
    assert_eq!(changes(&tail.poll().await), [("a", written, false)]);
}

#[test]
fn a_scan_hands_over_every_key_once_in_chunks() {
    let memory = memory(10);
    for n in 0..SCAN_CHUNK_LEN + 5 {
        version(&memory, &put(&n.to_string(), r#"{"n":1}"#));
    }
    version(&memory, &delete("0"));
    let (mut keys, mut chunks) = (Vec::new(), 0);
    memory.scan(COUNTERS, |chunk| {
        keys.extend_from_slice(chunk);
        chunks += 1;
    });
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((keys.len(), chunks), (SCAN_CHUNK_LEN + 4, 2));
    assert_eq!(memory.len(COUNTERS), SCAN_CHUNK_LEN + 4);
    assert_eq!(memory.health(), "in memory; install postgresql to keep data; records: 4100");
}

#[test]
fn versions_of_a_key_rise_with_its_commits_under_contention() {
    const WRITES: u64 = 500;
    let memory = memory(10_000);
    let mut tail = memory.tail();
    tail.take();
    version(&memory, &put("a", r#"{"n":0}"#));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let versions: Vec<_> = (0..WRITES).map(|_| version(&memory, &increment("a", 1))).collect();
                assert!(versions.is_sorted());
            });
        }
    });
    let (newest, value) = read(&memory, "a");
    assert_eq!(newest, 4 * WRITES + 1);
    assert_eq!(value, Some(r#"{"id":"a","n":2000,"note":{}}"#.into()));
    assert_eq!(changes(&tail.take()), [("a", newest, false)]);
}

/// What a write of the model's names in `if_stamp`.
#[derive(Clone, Copy, Debug)]
enum Expects {
    Anything,
    Absent,
    Current,
    Other,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Put(i64),
    Increment(i64),
    Delete,
    Poll,
}

fn action() -> impl Strategy<Value = (u8, Action, Expects)> {
    let action = prop_oneof![
        3 => (-1..4_i64).prop_map(Action::Put),
        3 => (-2..3_i64).prop_map(Action::Increment),
        2 => Just(Action::Delete),
        1 => Just(Action::Poll),
    ];
    let expects = prop_oneof![
        3 => Just(Expects::Anything),
        1 => Just(Expects::Absent),
        2 => Just(Expects::Current),
        1 => Just(Expects::Other),
    ];
    (0..4_u8, action, expects)
}

/// The model: a number and a version for each key, and one counter.
#[derive(Default)]
struct Model {
    records: BTreeMap<u8, (Option<i64>, u64)>,
    versions: u64,
}

impl Model {
    /// The version after a write, or `None` where it is refused.
    fn write(&mut self, key: u8, action: Action, expects: Expects) -> Option<u64> {
        let (current, version) = self.records.get(&key).copied().unwrap_or_default();
        match expects {
            Expects::Absent if current.is_some() => return None,
            Expects::Other => return None,
            _ => {}
        }
        let next = match action {
            Action::Put(n) => Some(n),
            Action::Increment(n) => Some(current? + n),
            Action::Delete | Action::Poll => None,
        };
        if next.is_some_and(|n| n < 0) {
            return None;
        }
        if next != current {
            self.versions += 1;
            self.records.insert(key, (next, self.versions));
            return Some(self.versions);
        }
        Some(version)
    }
}

proptest! {
    #[test]
    fn any_sequence_of_writes_ends_as_the_model_says(actions in prop::collection::vec(action(), 1..60)) {
        let memory = memory(1000);
        let (mut model, mut tail) = (Model::default(), memory.tail());
        let generation = memory.read(ShardId(0), CollectionId(0), &[]).generation;
        let mut cached: BTreeMap<String, u64> = BTreeMap::new();
        tail.take();
        for (key, action, expects) in actions {
            let name = key.to_string();
            let current = Stamp::new(generation, model.records.get(&key).map_or(0, |(_, version)| *version));
            let mut write = match action {
                Action::Put(n) => put(&name, &format!(r#"{{"n":{n}}}"#)),
                Action::Increment(n) => increment(&name, n),
                Action::Delete => delete(&name),
                Action::Poll => {
                    for (key, version, _) in changes(&tail.take()) {
                        let before = cached.insert(key.into(), version);
                        prop_assert!(before < Some(version), "{key} came again or went back");
                    }
                    continue;
                }
            };
            write.if_stamp = match expects {
                Expects::Anything => None,
                Expects::Absent => Some(Stamp::ABSENT),
                Expects::Current => Some(current),
                Expects::Other => Some(Stamp::new(generation, current.version + 1)),
            };
            let written = memory.write(&write);
            let expected = model.write(key, action, expects);
            prop_assert_eq!(written.as_ref().ok().map(|written| written.stamp.version), expected, "{:?}", written);
        }
        cached.extend(changes(&tail.take()).into_iter().map(|(key, version, _)| (key.to_owned(), version)));
        for (key, (n, version)) in &model.records {
            let value = n.map(|n| Bytes::from(format!(r#"{{"id":"{key}","n":{n},"note":{{}}}}"#)));
            prop_assert_eq!(read(&memory, &key.to_string()), (*version, value));
            prop_assert_eq!(cached.get(&key.to_string()), Some(version), "the feed ends where the rows do");
        }
    }
}
