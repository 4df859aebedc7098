//! The one version of a record: a generation and the version the database gave within it.

use std::{fmt, num::ParseIntError, str::FromStr};

/// The order of a key's committed states: generation first, then version.
///
/// Versions come from the database's sequence and only rise within a generation; the generation rises when
/// history may have been lost. Clients see it as the opaque text `"generation.version"`. Stamps of different
/// keys are not comparable in any useful way.
///
/// # Source
/// docs/coherence.md, section 1; versions stay below 2^53 so that JSON numbers carry them exactly (RFC 8259,
/// section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Raised when the store lost history; 0 only in [`Stamp::ABSENT`].
    pub generation: u32,
    /// The row's (or tombstone's) version within the generation; 0 means no row and no remembered tombstone.
    pub version: u64,
}

impl Stamp {
    /// What a writer names in `if_stamp` to say "must not exist". Below every real stamp.
    pub const ABSENT: Stamp = Stamp { generation: 0, version: 0 };

    /// The stamp of `version` in `generation`.
    pub const fn new(generation: u32, version: u64) -> Self {
        Stamp { generation, version }
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.version)
    }
}

/// Why a text is no stamp.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a stamp is \"generation.version\" as the server sent it, or \"0\"; got {0:?}")]
pub struct StampError(String);

impl FromStr for Stamp {
    type Err = StampError;

    fn from_str(text: &str) -> Result<Self, StampError> {
        if text == "0" {
            return Ok(Stamp::ABSENT);
        }
        let refused = |_: ParseIntError| StampError(text.chars().take(64).collect());
        let (generation, version) = text.split_once('.').ok_or_else(|| StampError(text.chars().take(64).collect()))?;
        Ok(Stamp::new(generation.parse().map_err(refused)?, version.parse().map_err(refused)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let stamp = Stamp::new(3, 9_007_199_254_740_991);
        assert_eq!(stamp.to_string().parse(), Ok(stamp));
        assert_eq!("0".parse(), Ok(Stamp::ABSENT));
    }

    #[test]
    fn a_later_generation_is_newer_whatever_its_version() {
        assert!(Stamp::new(2, 1) > Stamp::new(1, 99));
        assert!(Stamp::new(1, 2) > Stamp::new(1, 1));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "1", "1.", ".1", "1.2.3", "-1.2", "a.b", "1.99999999999999999999"] {
            assert!(text.parse::<Stamp>().is_err(), "{text:?} was taken");
        }
    }
}
