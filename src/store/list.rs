//! A part of a collection in the order of its keys, and how the parts of several databases become one.

use crate::record::{Key, KeyKind, State};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Range {
    /// Keys beyond this one only.
    pub after: Option<Key>,
    /// Keys that begin with it only; for collections whose keys are text. Empty: all.
    pub prefix: String,
    /// The most records, at least one.
    pub limit: usize,
    /// What they may take together, in bytes; the first is there in any case.
    pub bytes_max: usize,
}

impl Range {
    /// What a record counts towards [`Self::bytes_max`].
    pub fn bytes_of(key: &Key, state: &State) -> usize {
        key.as_str().len() + state.value.as_ref().map_or(0, bytes::Bytes::len)
    }
}

/// Records that follow each other in the order of their keys ([`KeyKind::order`]).
#[derive(Clone, Debug, Default)]
pub struct Stretch {
    /// Their keys and states, none absent.
    pub records: Vec<(Key, State)>,
    /// The key up to which the collection has no others, if it may have some beyond.
    pub end: Option<Key>,
}

impl Stretch {
    /// The records of `parts`, which have no key in common, as far as all parts reach and `range` allows.
    pub fn merge(kind: KeyKind, parts: Vec<Stretch>, range: &Range) -> Self {
        let ends = parts.iter().filter_map(|part| part.end.as_ref());
        let end = ends.min_by(|one, other| kind.order(one, other)).cloned();
        let within = |key: &Key| end.as_ref().is_none_or(|end| kind.order(key, end).is_le());
        let mut records: Vec<_> = parts.into_iter().flat_map(|part| part.records).collect();
        records.retain(|(key, _)| within(key));
        // Each part is a sorted run, which the sort finds and merges.
        records.sort_by(|(one, _), (other, _)| kind.order(one, other));
        Stretch { records, end }.cut(range)
    }

    /// What `range` allows of it.
    fn cut(mut self, range: &Range) -> Self {
        let mut bytes = 0;
        let fitting = self.records.iter().take(range.limit).take_while(|(key, state)| {
            bytes += Range::bytes_of(key, state);
            bytes <= range.bytes_max
        });
        let kept = fitting.count().max(1);
        if kept < self.records.len() {
            self.records.truncate(kept);
            self.end = self.records.last().map(|(key, _)| key.clone());
        }
        self
    }
}

/// The lowest text, by its bytes, that is above every text that begins with `prefix`; `None` if every text above it begins so.
pub fn beyond(prefix: &str) -> Option<String> {
    let mut kept = prefix.to_owned();
    while let Some(last) = kept.pop() {
        // The code points between the two are surrogates, of which a text has none.
        let next = if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            kept.push(next);
            return Some(kept);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::record::Stamp;

    fn record(key: &str, bytes: usize) -> (Key, State) {
        let value = Some(Bytes::from(vec![b' '; bytes]));
        (Key::from_database(key), State { stamp: Stamp::new(1, 1), value })
    }

    fn keys(stretch: &Stretch) -> Vec<i64> {
        stretch.records.iter().map(|(key, _)| key.as_str().parse().expect("a number")).collect()
    }

    fn range(limit: usize, bytes_max: usize) -> Range {
        Range { after: None, prefix: String::new(), limit, bytes_max }
    }

    /// The part of one database, of which a statement brings so many records at most.
    fn part(keys: &[i64], after: i64, limit: usize) -> Stretch {
        let beyond: Vec<i64> = keys.iter().copied().filter(|key| *key > after).collect();
        let records: Vec<_> = beyond.iter().take(limit).map(|key| record(&key.to_string(), 10)).collect();
        let end = (beyond.len() >= limit).then(|| records.last().expect("as many as the limit").0.clone());
        Stretch { records, end }
    }

    proptest! {
        #[test]
        fn pages_over_several_databases_bring_each_key_once_and_in_order(
            placed in prop::collection::btree_map(-500..500_i64, 0..3_usize, 0..120), limit in 1..9_usize, bytes_max in 1..90_usize,
        ) {
            let placed: BTreeMap<i64, usize> = placed;
            let databases: Vec<Vec<i64>> =
                (0..3).map(|at| placed.iter().filter(|(_, place)| **place == at).map(|(key, _)| *key).collect()).collect();
            let (mut found, mut after) = (Vec::new(), i64::MIN);
            for _ in 0..=placed.len() {
                let parts = databases.iter().map(|keys| part(keys, after, limit + 1)).collect();
                let page = Stretch::merge(KeyKind::Int8, parts, &range(limit, bytes_max));
                prop_assert!(page.records.len() <= limit);
                found.extend(keys(&page));
                match page.end {
                    Some(end) => after = end.as_str().parse().expect("a number"),
                    None => break,
                }
            }
            prop_assert_eq!(found, placed.keys().copied().collect::<Vec<_>>());
        }

        #[test]
        fn what_begins_with_a_prefix_lies_between_it_and_the_text_beyond(prefix in any::<String>(), text in any::<String>()) {
            let is_between = text >= prefix && beyond(&prefix).is_none_or(|beyond| text < beyond);
            prop_assert_eq!(is_between, text.starts_with(&prefix));
            let longer = format!("{prefix}{text}");
            prop_assert!(longer >= prefix && beyond(&prefix).is_none_or(|beyond| longer < beyond));
        }
    }

    #[test]
    fn a_prefix_without_a_successor_ends_at_the_one_before() {
        for (prefix, expected) in [
            ("85", Some("86")),
            ("", None),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}\u{10ffff}", None),
            ("\u{d7ff}", Some("\u{e000}")),
            ("a%", Some("a&")),
        ] {
            assert_eq!(beyond(prefix).as_deref(), expected, "{prefix:?}");
        }
    }

    #[test]
    fn a_record_that_is_larger_than_a_page_is_a_page() {
        let records = vec![record("1", 100), record("2", 100)];
        let page = Stretch::merge(KeyKind::Int8, vec![Stretch { records, end: None }], &range(10, 50));
        assert_eq!((keys(&page), page.end), (vec![1], Some(Key::from_database("1"))));
    }
}
