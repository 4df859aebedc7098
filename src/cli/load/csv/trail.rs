//! Where a row begins, and that it ends.

use std::{
    cell::RefCell,
    io::{self, Read},
    rc::Rc,
};

use super::invalid;

/// The longest row, in bytes. One that does not end within it has an open quote, most likely.
pub(super) const ROW_BYTES_MAX: u64 = 16 << 20;

/// The bytes that were read and belong to no row before the last one. The reader's own count of lines is off after
/// blank lines and where lines end with CRLF.
pub(super) struct Trail {
    bytes: Vec<u8>,
    /// Where in the source they begin, and in which line.
    offset: u64,
    line: u64,
    /// How many more may be read for one row.
    left: u64,
}

impl Trail {
    /// As many bytes may be read again as the longest row has.
    pub(super) fn begin_row(&mut self) {
        self.left = ROW_BYTES_MAX;
    }

    /// Whether the row at hand, which ends at `end`, has a field whose quote is not closed.
    ///
    /// # Source
    /// RFC 4180, section 2: a quote opens a field only at its beginning, and two of them inside are one.
    pub(super) fn has_open_quote(&self, end: u64, delimiter: u8) -> bool {
        let end = usize::try_from(end - self.offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let (mut begins, mut is_open) = (true, false);
        for byte in &self.bytes[..end] {
            match (byte, is_open) {
                (b'"', true) => is_open = false,
                (b'"', false) => is_open = begins,
                _ => {}
            }
            // After a quote that closed, another opens again: it was one of two.
            begins = !is_open && (matches!(byte, b'\r' | b'\n' | b'"') || *byte == delimiter);
        }
        is_open
    }

    /// The line of the row that begins at `offset`, or behind line ends that stand there. What is before it is let go.
    pub(super) fn line_at(&mut self, offset: u64) -> u64 {
        let from = usize::try_from(offset - self.offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let ends = self.bytes[from..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = self.bytes.drain(..from + ends);
        self.line += passed.filter(|byte| *byte == b'\n').count() as u64;
        self.offset += (from + ends) as u64;
        self.line
    }
}

/// A source whose bytes leave a trail.
pub(super) struct Trailed<R> {
    source: R,
    trail: Rc<RefCell<Trail>>,
}

impl<R> Trailed<R> {
    /// `source`, read from its first line on.
    pub(super) fn new(source: R) -> (Self, Rc<RefCell<Trail>>) {
        let trail = Trail { bytes: Vec::new(), offset: 0, line: 1, left: ROW_BYTES_MAX };
        let trail = Rc::new(RefCell::new(trail));
        (Trailed { source, trail: trail.clone() }, trail)
    }
}

impl<R: Read> Read for Trailed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut trail = self.trail.borrow_mut();
        if trail.left == 0 {
            return Err(invalid(format!("does not end within {ROW_BYTES_MAX} bytes: is a quote left open?")));
        }
        let read = self.source.read(into)?;
        trail.left = trail.left.saturating_sub(read as u64);
        trail.bytes.extend_from_slice(&into[..read]);
        Ok(read)
    }
}
