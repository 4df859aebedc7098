//! What a key of Redis holds: a state or a lease, in a form that shows when it is not what was written.
//!
//! A slot is text up to its payload, so that scripts compare it and an operator can read it:
//!
//! ```text
//! incarnation 16 hex | generation 8 hex | version 16 hex | kind 1 | checksum or token 16 hex | payload
//! ```
//!
//! The kind is `v` for a value, `a` for an absence, `l` for a lease. The checksum covers the key's name and everything else, so a
//! slot that was cut, altered, or copied from another key is recognised.

use bytes::Bytes;
use crc::{CRC_64_XZ, Crc, Table};

use super::chain::Incarnation;
use crate::record::{Stamp, State};

/// # Source
/// CRC-64/XZ of the catalogue of parametrised CRC algorithms (reveng.sourceforge.io): it finds every burst of up to 64 bits.
const CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

/// Where the parts end.
const INCARNATION: usize = 16;
const STAMP: usize = INCARNATION + 24;
const KIND: usize = STAMP + 1;
/// The bytes before the payload.
pub const HEAD: usize = KIND + 16;

/// A state with the incarnation of the chain that vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Whose slot it is.
    pub incarnation: Incarnation,
    /// What it holds.
    pub state: State,
}

/// A stamp as slots and scripts have it: it compares as text.
pub fn stamp_text(stamp: Stamp) -> String {
    format!("{:08x}{:016x}", stamp.generation, stamp.version)
}

impl Slot {
    /// The slot, as it is stored under `name`.
    pub fn encode(&self, name: &str) -> Vec<u8> {
        let head = self.head();
        let payload = self.state.value.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEAD + payload.len());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(checksum(name, head.as_bytes(), payload).as_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    /// What `stored` under `name` says; `None` for a lease, and for what this module did not write.
    pub fn decode(name: &str, stored: Vec<u8>) -> Option<Slot> {
        let text = std::str::from_utf8(stored.get(..HEAD)?).ok().filter(|text| text.is_ascii())?;
        let (head, payload) = (&text[..KIND], &stored[HEAD..]);
        let is_live = match &head[STAMP..] {
            "v" => true,
            "a" if payload.is_empty() => false,
            _ => return None,
        };
        let incarnation = Incarnation(number(&head[..INCARNATION])?);
        let stamp = stamp(head)?;
        if text[KIND..] != checksum(name, head.as_bytes(), payload) {
            return None;
        }
        let value = is_live.then(|| Bytes::from(stored).slice(HEAD..));
        Some(Slot { incarnation, state: State { stamp, value } })
    }

    /// The lowest stamp that fills a leased slot; `None` if `stored` is not a lease.
    pub fn leased(stored: &[u8]) -> Option<Stamp> {
        let text = std::str::from_utf8(stored.get(..HEAD)?).ok().filter(|text| text.is_ascii())?;
        (&text[STAMP..KIND] == "l").then(|| stamp(text)).flatten()
    }

    fn head(&self) -> String {
        let kind = if self.state.value.is_some() { 'v' } else { 'a' };
        format!("{}{}{kind}", self.incarnation, stamp_text(self.state.stamp))
    }
}

fn stamp(head: &str) -> Option<Stamp> {
    let generation = u32::from_str_radix(&head[INCARNATION..INCARNATION + 8], 16).ok()?;
    Some(Stamp::new(generation, number(&head[INCARNATION + 8..STAMP])?))
}

fn number(hex: &str) -> Option<u64> {
    u64::from_str_radix(hex, 16).ok()
}

fn checksum(name: &str, head: &[u8], payload: &[u8]) -> String {
    let mut digest = CRC.digest();
    // The length keeps the name apart from what follows.
    digest.update(&(name.len() as u64).to_le_bytes());
    [name.as_bytes(), head, payload].into_iter().for_each(|part| digest.update(part));
    format!("{:016x}", digest.finalize())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(generation: u32, version: u64, value: Option<Vec<u8>>) -> Slot {
        let state = State { stamp: Stamp::new(generation, version), value: value.map(Bytes::from) };
        Slot { incarnation: Incarnation(0xfe), state }
    }

    proptest! {
        #[test]
        fn a_slot_reads_as_it_was_written(
            name in ".{0,40}", generation in any::<u32>(), version in any::<u64>(),
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
        ) {
            let slot = slot(generation, version, value);
            prop_assert_eq!(Slot::decode(&name, slot.encode(&name)), Some(slot));
        }

        #[test]
        fn a_slot_that_was_altered_or_cut_or_is_of_another_key_is_none(
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)),
            at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let written = slot(1, 7, value).encode("key");
            let mut altered = written.clone();
            let at = at.index(altered.len());
            altered[at] ^= 1 << bit;
            prop_assert_eq!(Slot::decode("key", altered), None);
            prop_assert_eq!(Slot::decode("key", written[..at].to_vec()), None);
            prop_assert_eq!(Slot::decode("kez", written), None);
        }
    }

    #[test]
    fn stamps_compare_as_text() {
        let stamps = [(1, 9), (1, 10), (1, u64::MAX), (2, 0), (10, 0), (u32::MAX, 0)];
        let texts = stamps.map(|(generation, version)| stamp_text(Stamp::new(generation, version)));
        assert!(texts.is_sorted(), "{texts:?}");
    }

    #[test]
    fn what_others_wrote_is_no_slot() {
        let lease = format!("{:016x}{}l{:016x}", 1, stamp_text(Stamp::new(1, 7)), 5);
        for stored in [lease.as_str(), "", "OK", &"€".repeat(HEAD), &"0".repeat(HEAD)] {
            assert_eq!(Slot::decode("key", stored.as_bytes().to_vec()), None, "{stored}");
        }
    }
}
