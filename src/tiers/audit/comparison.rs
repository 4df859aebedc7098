//! What a tier holds beside what the primary has.

use crate::record::State;

/// How the two stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// They are one state.
    Same,
    /// The tier holds an older one.
    Older,
    /// The tier holds a newer one.
    Newer,
    /// One stamp, and two contents.
    Differs,
    /// They are of different generations: history was lost in between.
    Incomparable,
}

/// Compares what a tier holds with what the primary has.
///
/// An absence at version 0 is the same as any other: a tombstone is forgotten after the retention, and then reads as 0.
pub(super) fn compare(held: &State, read: &State) -> Comparison {
    match () {
        () if held.stamp.generation != read.stamp.generation => Comparison::Incomparable,
        () if is_absence_of_any_age(held, read) => Comparison::Same,
        () if held.stamp < read.stamp => Comparison::Older,
        () if held.stamp > read.stamp => Comparison::Newer,
        () if held.value == read.value => Comparison::Same,
        () => Comparison::Differs,
    }
}

fn is_absence_of_any_age(held: &State, read: &State) -> bool {
    let are_absent = held.value.is_none() && read.value.is_none();
    are_absent && (held.stamp.version == 0 || read.stamp.version == 0)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::record::Stamp;

    #[test]
    fn states_compare_by_stamp_and_of_one_stamp_by_content() {
        let state = |generation, version, value: Option<&'static str>| State {
            stamp: Stamp::new(generation, version),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        };
        for (held, read, expected) in [
            (state(1, 7, Some("a")), state(1, 7, Some("a")), Comparison::Same),
            (state(1, 7, Some("a")), state(1, 7, Some("b")), Comparison::Differs),
            (state(1, 7, Some("a")), state(1, 7, None), Comparison::Differs),
            (state(1, 6, Some("a")), state(1, 7, Some("a")), Comparison::Older),
            (state(1, 0, None), state(1, 7, Some("a")), Comparison::Older),
            (state(1, 8, Some("a")), state(1, 7, Some("a")), Comparison::Newer),
            (state(1, 8, Some("a")), state(1, 0, None), Comparison::Newer),
            (state(1, 8, None), state(1, 0, None), Comparison::Same),
            (state(1, 0, None), state(1, 8, None), Comparison::Same),
            (state(1, 9, None), state(1, 8, None), Comparison::Newer),
            (state(1, 8, Some("a")), state(2, 9, Some("a")), Comparison::Incomparable),
            (state(2, 8, None), state(1, 9, None), Comparison::Incomparable),
        ] {
            assert_eq!(compare(&held, &read), expected, "{held:?} {read:?}");
        }
    }
}
