//! What a program said last, for an error to quote.

/// How much of the end of a program's output an error quotes.
const QUOTE_BYTES: usize = 2000;

/// The last lines of what a program printed.
pub fn end_of(output: &[u8]) -> String {
    let start = output.len().saturating_sub(QUOTE_BYTES);
    String::from_utf8_lossy(&output[start..]).trim().to_owned()
}
