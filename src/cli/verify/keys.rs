//! The keys of a run: its own, of the kind that the collection has.

use rand::Rng as _;

use crate::record::KeyKind;

/// So many keys that no record is likely to have. `None` when the kind has not so many.
///
/// Integers are a row of neighbours in the upper half of the kind's range, where sequences seldom are.
pub(super) fn own(kind: KeyKind, word: &str, count: u32) -> Option<Vec<String>> {
    let most = match kind {
        KeyKind::Text => return Some((0..count).map(|n| format!("verify-{word}-{n}")).collect()),
        KeyKind::Uuid => return Some((0..count).map(|_| uuid::Uuid::new_v4().to_string()).collect()),
        KeyKind::Int2 => i64::from(i16::MAX),
        KeyKind::Int4 => i64::from(i32::MAX),
        // Programs that read keys as numbers of JavaScript keep them exactly.
        KeyKind::Int8 => (1 << 53) - 1,
    };
    let (least, last) = (most / 2, most - i64::from(count));
    let first = (least <= last).then(|| rand::rng().random_range(least..=last))?;
    Some((first..first + i64::from(count)).map(|key| key.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{cli::run_word::run_word, record::Key};

    #[test]
    fn keys_are_valid_and_differ_for_every_kind() {
        for kind in [KeyKind::Text, KeyKind::Uuid, KeyKind::Int2, KeyKind::Int4, KeyKind::Int8] {
            let keys = own(kind, &run_word(), 500).expect("keys");
            let distinct: HashSet<_> = keys.iter().collect();
            assert_eq!(distinct.len(), 500, "{kind:?}");
            for key in &keys {
                assert_eq!(Key::parse(kind, key).expect("a key").as_str(), key);
            }
        }
    }

    #[test]
    fn a_kind_without_so_many_keys_has_none() {
        assert_eq!(own(KeyKind::Int2, "w", 20_000), None);
    }
}
