//! Shards as an operator writes them: `0-7`, or `5` for one.

use std::{fmt, fmt::Write as _, ops::RangeInclusive, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor},
};

/// Consecutive shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct ShardRange(RangeInclusive<u32>);

impl ShardRange {
    /// The numbers of the shards.
    pub fn numbers(&self) -> RangeInclusive<u32> {
        self.0.clone()
    }
}

impl From<RangeInclusive<u32>> for ShardRange {
    fn from(numbers: RangeInclusive<u32>) -> Self {
        ShardRange(numbers)
    }
}

impl FromStr for ShardRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(ShardRange(first..=last)),
            _ => Err(format!("\"{text}\" names no shards; write \"0-7\", \"5\" for one, or leave it out")),
        }
    }
}

impl<'de> Deserialize<'de> for ShardRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text)
    }
}

/// Reads the text, and tells a count of shards where it belongs.
struct Text;

impl Visitor<'_> for Text {
    type Value = ShardRange;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shards as text, such as \"0-7\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ShardRange, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<ShardRange, E> {
        Err(E::custom(format!(
            "`shards = {count}`, the number of logical shards, belongs at the top of the file, above the first [[database]]; \
             here `shards` says which of them this database begins with, such as \"0-7\", and may be left out"
        )))
    }
}

impl From<ShardRange> for String {
    fn from(range: ShardRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for ShardRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.start() == self.0.end() {
            return self.0.start().fmt(f);
        }
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

/// Ascending numbers with their runs drawn together: `0-3, 7, 9-12`.
pub fn ranges(numbers: impl IntoIterator<Item = u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let mut text = String::new();
    for (first, last) in runs {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a String does not fail.
        let _ = match first == last {
            true => write!(text, "{separator}{first}"),
            false => write!(text, "{separator}{first}-{last}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_as_they_are_written_and_nothing_else_reads() {
        for text in ["0-7", "5", "0-0"] {
            let range: ShardRange = text.parse().expect(text);
            assert_eq!(range.to_string(), text.trim_end_matches("-0"));
        }
        assert_eq!("8 - 15".parse::<ShardRange>().expect("spaces").numbers(), 8..=15);
        for text in ["", "-", "7-0", "a", "0-", "1,2", "-1"] {
            assert!(text.parse::<ShardRange>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn runs_are_drawn_together() {
        assert_eq!(ranges([0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
        assert_eq!(ranges([]), "");
    }
}
