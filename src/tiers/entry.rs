//! A record as L1 holds it: its state, and the text that answers it.

use std::time::Instant;

use bytes::Bytes;

use crate::{
    protocol::codec,
    record::{RecordId, RecordRef, State},
};

/// An entry of L1. The record object is written once, when the entry is made; the state's value is a part of it, so
/// the value's bytes are held once.
#[derive(Debug)]
pub struct Entry {
    id: RecordId,
    state: State,
    /// The record object as JSON text, but for what [`codec::record_tail`] adds.
    text: Bytes,
    /// When the entry is past its lifetime.
    expires: Instant,
}

impl Entry {
    /// The entry of `id` in `state`, to be served until `expires`.
    pub fn new(id: RecordId, state: State, expires: Instant) -> Self {
        let (key, value_len) = (id.key.as_str(), state.value.as_ref().map_or(0, Bytes::len));
        let mut text = Vec::with_capacity(codec::RECORD_HEAD_BYTES_MAX + key.len() + value_len);
        codec::record_head(&mut text, key, &state);
        text.shrink_to_fit();
        let text = Bytes::from(text);
        let value = state.value.map(|value| text.slice(text.len() - value.len()..));
        Entry { id, state: State { stamp: state.stamp, value }, text, expires }
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// When the entry is past its lifetime.
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// Whether this is the entry of `record`.
    pub fn is_of(&self, record: &RecordRef<'_>) -> bool {
        self.id.as_ref() == *record
    }

    /// Memory held by the text and the key, in bytes.
    pub fn text_bytes(&self) -> usize {
        self.id.key.as_str().len() + self.text.len()
    }

    /// Writes the record object, as an answer that may be `stale_ms` old or is proven to be fresh.
    pub fn write(&self, out: &mut Vec<u8>, stale_ms: Option<u64>) {
        out.extend_from_slice(&self.text);
        codec::record_tail(out, stale_ms, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CollectionId, Key, Stamp};

    #[test]
    fn an_entry_writes_what_the_codec_writes_and_holds_the_value_once() {
        for value in [Some(Bytes::from_static(br#"{"price":2.50}"#)), None] {
            let state = State { stamp: Stamp::new(3, 17), value };
            let id = RecordId::new(CollectionId(0), Key::from_database("a\"b"));
            let entry = Entry::new(id, state.clone(), Instant::now());
            assert_eq!(entry.state(), &state);
            for stale_ms in [None, Some(1_500)] {
                let (mut written, mut expected) = (Vec::new(), Vec::new());
                entry.write(&mut written, stale_ms);
                codec::record(&mut expected, "a\"b", &state, stale_ms, false);
                assert_eq!(written, expected);
            }
            if let Some(value) = &entry.state().value {
                assert!(entry.text.as_ptr_range().contains(&value.as_ptr()), "the value was copied");
            }
        }
    }
}
