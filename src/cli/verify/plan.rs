//! What all tasks of a run share: what is written, and where it is noted.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Map, Value, json};

use super::{field::Field, history::State, recorder::Recorder};
use crate::{
    cli::{ServerArgs, template::Template},
    client::{Description, Record},
    record::Stamp,
};

/// A run.
pub(super) struct Plan {
    pub(super) collection: String,
    pub(super) key_column: String,
    pub(super) template: Template,
    pub(super) field: Field,
    pub(super) server: ServerArgs,
    pub(super) recorder: Recorder,
    /// What idempotency keys begin with.
    pub(super) word: String,
    /// The keys, by their places.
    pub(super) keys: Vec<String>,
    places: HashMap<String, u32>,
    written: AtomicU64,
}

impl Plan {
    /// A run on `described`'s collection with `keys` of its own.
    pub(super) fn new(
        described: &Description,
        template: Template,
        field: Field,
        server: ServerArgs,
        word: String,
        keys: Vec<String>,
    ) -> Self {
        let places = (0..).zip(&keys).map(|(place, key)| (key.clone(), place)).collect();
        let (collection, key_column) = (described.collection.clone(), described.key_column.clone());
        let (recorder, written) = (Recorder::new(keys.clone()), AtomicU64::new(0));
        Plan { collection, key_column, template, field, server, recorder, word, keys, places, written }
    }

    /// The key's name.
    pub(super) fn key(&self, place: u32) -> &str {
        &self.keys[place as usize]
    }

    pub(super) fn place(&self, key: &str) -> Option<u32> {
        self.places.get(key).copied()
    }

    /// A number that no other write of the run has.
    pub(super) fn number(&self) -> u64 {
        self.written.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The record that a write of `number` makes.
    pub(super) fn value(&self, number: u64) -> Value {
        serde_json::from_str(&self.template.text(number)).unwrap_or_default()
    }

    /// The columns that a write sets, but for the key's.
    pub(super) fn columns(&self) -> Vec<String> {
        let mut columns = self.field.columns.clone();
        columns.retain(|column| *column != self.key_column);
        columns
    }

    /// A record as it is judged.
    pub(super) fn state(&self, record: &Record) -> State {
        let content = record.value.as_deref().map(|value| self.field.content(value));
        // A version that is not the stamp's has no content of ours.
        let content = content.map(|content| match record.version == record.stamp.version {
            true => content,
            false => super::history::Content { number: None, ..content },
        });
        State { stamp: record.stamp, content, stale_ms: record.stale_ms }
    }

    /// The params of a subscription to keys, each with the stamp that is known.
    pub(super) fn subscription(&self, keys: &[(u32, Option<Stamp>)]) -> Value {
        let names: Vec<&str> = keys.iter().map(|(key, _)| self.key(*key)).collect();
        let since = keys.iter().filter_map(|(key, since)| Some((*key, (*since)?)));
        let since: Map<String, Value> =
            since.map(|(key, stamp)| (self.key(key).to_owned(), stamp.to_string().into())).collect();
        json!({"collection": self.collection, "keys": names, "since": since})
    }
}
