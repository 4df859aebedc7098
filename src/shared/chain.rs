//! How far Redis is known to have applied the changes of a slice.
//!
//! # Source
//! docs/coherence.md, section 5b.

use std::{fmt, str::FromStr};

use crate::record::Position;

/// Which life of a chain a slot was written in. A chain whose history is in doubt begins another, and the slots of the one
/// before count no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incarnation(pub u64);

/// What the last keeper wrote last: it changes with each step, so that a keeper which was overtaken is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail(pub u64);

/// The state of a slice. Each slot of its incarnation reflects every change that is visible at mark `applied`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The life that it is in.
    pub incarnation: Incarnation,
    /// Its last step.
    pub tail: Tail,
    /// The mark whose changes have all been applied.
    pub applied: Position,
}

/// What is in a chain's place: a chain, nothing, or what somebody else put there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChain(pub(super) Vec<u8>);

impl StoredChain {
    /// The chain, if it is one.
    pub fn chain(&self) -> Option<Chain> {
        std::str::from_utf8(&self.0).ok()?.parse().ok()
    }
}

impl Incarnation {
    /// One that was never used.
    pub fn random() -> Self {
        Incarnation(rand::random())
    }
}

impl Tail {
    /// One that was never used.
    pub fn random() -> Self {
        Tail(rand::random())
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.incarnation, self.tail, self.applied.0)
    }
}

impl FromStr for Chain {
    type Err = ();

    /// # Errors
    /// The text was not written by this module.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(' ');
        let mut hex =
            || parts.next().filter(|part| part.len() == 16).and_then(|part| u64::from_str_radix(part, 16).ok());
        let (incarnation, tail) = (hex().ok_or(())?, hex().ok_or(())?);
        let applied = parts.next().and_then(|part| part.parse().ok()).ok_or(())?;
        let chain = Chain { incarnation: Incarnation(incarnation), tail: Tail(tail), applied: Position(applied) };
        parts.next().is_none().then_some(chain).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_nothing_else_is_read() {
        let chain = Chain { incarnation: Incarnation(7), tail: Tail(u64::MAX), applied: Position(1 << 33) };
        assert_eq!(chain.to_string().parse(), Ok(chain));
        for text in ["", "7 8 9", "0000000000000007 ffffffffffffffff", "0000000000000007 ffffffffffffffff x"] {
            assert_eq!(text.parse::<Chain>(), Err(()), "{text}");
        }
        assert_eq!(format!("{chain} 1").parse::<Chain>(), Err(()));
    }
}
