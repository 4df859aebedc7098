//! JSON's tokens, read where they stand: what [`scan`](super::scan) is made of.
//!
//! Promises: what is read is JSON, and is borrowed from the text. Leaves to others: every text that is not plain, be it
//! wrong or, as one with an escape in a string, right.
//!
//! # Source
//! RFC 8259, sections 2, 4, 6 and 7.

/// A place in a text. Every method moves past what it read, or returns `None`, after which the lexer is not used again.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    /// Begins at the first byte of `text`.
    #[inline(always)]
    pub(super) fn new(text: &'a str) -> Self {
        Lexer { text, at: 0 }
    }

    /// The next byte.
    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes over whitespace.
    #[inline(always)]
    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Passes over `expected`, and whitespace before it.
    #[inline(always)]
    pub(super) fn byte(&mut self, expected: u8) -> Option<()> {
        self.space();
        (self.peek()? == expected).then(|| self.at += 1)
    }

    /// An object of at least one member, each handed to `member` when its value is next.
    #[inline(always)]
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.byte(b'{')?;
        loop {
            let name = self.string()?;
            self.byte(b':')?;
            member(self, name)?;
            self.space();
            let next = self.peek()?;
            self.at += 1;
            match next {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// A string without escapes: its content.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Option<&'a str> {
        self.byte(b'"')?;
        let start = self.at;
        let rest = self.text.as_bytes().get(start..)?;
        let len = unusual(rest)?;
        if rest[len] != b'"' {
            return None;
        }
        self.at = start + len + 1;
        self.text.get(start..start + len)
    }

    /// A string or an integer: its JSON text.
    #[inline(always)]
    pub(super) fn string_or_integer(&mut self) -> Option<&'a str> {
        self.space();
        let start = self.at;
        if self.peek()? == b'"' {
            self.string()?;
        } else {
            self.integer()?;
        }
        self.text.get(start..self.at)
    }

    /// Digits without a leading zero, perhaps negative. A fraction or exponent stays behind, where only `,`, `}`
    /// or whitespace is accepted.
    #[inline(always)]
    fn integer(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        let start = self.at;
        while self.peek()?.is_ascii_digit() {
            self.at += 1;
        }
        let digits = &self.text.as_bytes()[start..self.at];
        (digits.len() == 1 || digits.first().is_some_and(|&first| first != b'0')).then_some(())
    }

    /// Nothing but whitespace is left.
    #[inline(always)]
    pub(super) fn end(mut self) -> Option<()> {
        self.space();
        (self.at == self.text.len()).then_some(())
    }
}

/// Where the first byte stands that ends a string or may not stand in it. Eight bytes at a time, since most names
/// and keys fit into one or two steps.
///
/// # Source
/// S. E. Anderson, "Bit Twiddling Hacks": "determine if a word has a zero byte", "... a byte less than n". A
/// borrow can only mark bytes above the first true one, and the first is all that is asked for.
#[inline(always)]
fn unusual(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, least: u64| word.wrapping_sub(ONES * least) & !word;
    let equal = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let found = (below(word, 0x20) | equal(word, b'"') | equal(word, b'\\')) & HIGHS;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    bytes[at..].iter().position(|&byte| super::json::must_escape(byte)).map(|tail| at + tail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn unusual_finds_the_first_byte_to_escape(bytes in prop::collection::vec(prop_oneof![
            any::<u8>(), prop::sample::select(vec![0, 0x1f, 0x20, 0x21, b'"', b'#', b'\\', b']', 0x7f, 0x80, 0xa2, 0xff]),
        ], 0..24)) {
            let expected = bytes.iter().position(|&byte| crate::protocol::json::must_escape(byte));
            prop_assert_eq!(unusual(&bytes), expected);
        }
    }
}
