//! A record as L1 holds it: its state, and the text that answers it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::era::Era;
use crate::{
    protocol::codec,
    record::{RecordId, RecordRef, State},
};

/// Where a record object has its key: behind `{"key":"`.
const KEY_AT: usize = 8;

/// An entry of L1. The record object is written once, when the entry is made; the state's value is a part of it, so
/// the value's bytes are held once.
#[derive(Debug)]
pub struct Entry {
    id: RecordId,
    /// The text shows the key as it is, without escapes.
    is_plain: bool,
    state: State,
    /// The record object as JSON text, but for what [`codec::record_tail`] adds.
    text: Bytes,
    /// When the entry is past its lifetime.
    expires: Instant,
    era: Era,
}

impl Entry {
    /// The entry of `id` in `state`, to be served until `expires`, or the end of its shard's `era`.
    pub fn new(id: RecordId, state: State, expires: Instant, era: Era) -> Self {
        let (key, value_len) = (id.key.as_str(), state.value.as_ref().map_or(0, Bytes::len));
        let mut text = Vec::with_capacity(codec::RECORD_HEAD_BYTES_MAX + key.len() + value_len);
        codec::record_head(&mut text, key, &state);
        text.shrink_to_fit();
        let text = Bytes::from(text);
        let value = state.value.map(|value| text.slice(text.len() - value.len()..));
        let is_plain = text[KEY_AT..].starts_with(key.as_bytes()) && text[KEY_AT + key.len()] == b'"';
        Entry { id, is_plain, state: State { stamp: state.stamp, value }, text, expires, era }
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// When the entry is past its lifetime.
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// The era of its shard in which it was made.
    pub fn era(&self) -> Era {
        self.era
    }

    /// Whether this is the entry of `record`.
    pub fn is_of(&self, record: &RecordRef<'_>) -> bool {
        let key = &self.id.key;
        // Compared in the text, which is read for the answer anyway; the key itself lies elsewhere.
        let is_key = if self.is_plain {
            key.as_str().len() == record.key.len() && self.text[KEY_AT..].starts_with(record.key.as_bytes())
        } else {
            key.as_str() == record.key
        };
        is_key && self.id.collection == record.collection
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Entry>() + self.id.key.as_str().len() + self.text.len()
    }

    /// Writes the record object, as an answer that may be `stale` old or is proven to be fresh.
    pub fn write(&self, out: &mut Vec<u8>, stale: Option<Duration>) {
        out.extend_from_slice(&self.text);
        codec::record_tail(out, stale, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{CollectionId, Key, ShardId, Stamp},
        tiers::era::Eras,
    };

    fn era() -> Era {
        Eras::new(1).of(ShardId(0))
    }

    #[test]
    fn an_entry_writes_what_the_codec_writes_and_holds_the_value_once() {
        for value in [Some(Bytes::from_static(br#"{"price":2.50}"#)), None] {
            let state = State { stamp: Stamp::new(3, 17), value };
            let id = RecordId::new(CollectionId(0), Key::from_database("a\"b"));
            let entry = Entry::new(id, state.clone(), Instant::now(), era());
            assert_eq!(entry.state(), &state);
            assert!(!entry.is_plain);
            for stale in [None, Some(Duration::from_millis(1_500))] {
                let (mut written, mut expected) = (Vec::new(), Vec::new());
                entry.write(&mut written, stale);
                codec::record(&mut expected, "a\"b", &state, stale, false);
                assert_eq!(written, expected);
            }
            if let Some(value) = &entry.state().value {
                assert!(entry.text.as_ptr_range().contains(&value.as_ptr()), "the value was copied");
            }
        }
    }

    #[test]
    fn an_entry_is_of_its_own_record_only() {
        let keys = ["a", "ab", "a\"b", "a\\", "\\", "\\\\", "\"", "é", "e", "a\n", "\\n"];
        for key in keys {
            let id = RecordId::new(CollectionId(1), Key::from_database(key));
            let entry = Entry::new(id, State::absent(Stamp::new(1, 1)), Instant::now(), era());
            assert_eq!(entry.is_plain, !key.contains(['"', '\\', '\n']), "{key:?}");
            for other in keys {
                let is_of = |collection| entry.is_of(&RecordRef { collection: CollectionId(collection), key: other });
                assert_eq!(is_of(1), key == other, "{key:?} and {other:?}");
                assert!(!is_of(0));
            }
        }
    }
}
