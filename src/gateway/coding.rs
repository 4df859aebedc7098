//! Content codings: texts that stay the same are sent compressed to clients that take it.
//!
//! Leaves alone what changes. Records, lists and their batches have entity tags of their own and are mostly small; events
//! would wait in a compressor; a WebSocket's text would tell its secrets by its length. A proxy may compress records.

use std::io::Write as _;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// `body` in gzip, where that saves a tenth or more.
///
/// # Source
/// RFC 1952.
pub(super) fn gzip(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).expect("memory takes all");
    let packed = encoder.finish().expect("memory takes all");
    (packed.len() < body.len() / 10 * 9).then(|| packed.into())
}

/// Whether a client takes gzip. A client that does not say so gets texts as they are.
///
/// # Source
/// RFC 9110, sections 8.4.1.3 and 12.5.3.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    let (mut named, mut any) = (None, None);
    for (coding, is_taken) in values.flat_map(|value| value.split(',')).map(parse) {
        match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => named = Some(is_taken),
            "*" => any = Some(is_taken),
            _ => {}
        }
    }
    named.or(any).unwrap_or(false)
}

/// A coding, and whether its weight is more than 0.
fn parse(element: &str) -> (&str, bool) {
    let mut parts = element.split(';').map(str::trim);
    let coding = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (coding, weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_clients_that_take_it() {
        let takes = |values: &[&str]| {
            let given = values.iter().map(|value| (header::ACCEPT_ENCODING, value.parse().expect("a value")));
            takes_gzip(&given.collect())
        };
        for yes in [&["gzip"][..], &["deflate, GZIP;q=0.5, br"], &["br", "x-gzip"], &["*"], &["*;q=0, gzip"]] {
            assert!(takes(yes), "{yes:?}");
        }
        for no in
            [&[][..], &[""], &["identity"], &["br, gzip;q=0"], &["gzip; q=0.000, *"], &["*;q=0"], &["gzip;q=much"]]
        {
            assert!(!takes(no), "{no:?}");
        }
    }

    #[test]
    fn what_gzip_hardly_shortens_stays_as_it_is() {
        let noise: Vec<u8> = std::iter::repeat_with(rand::random).take(5_000).collect();
        assert_eq!(gzip(&noise), None);
        assert_eq!(gzip(b"short"), None);
        assert!(gzip(&[b'a'; 5_000]).expect("shorter").len() < 100);
    }
}
