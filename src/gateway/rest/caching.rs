//! What a response tells HTTP caches.

use std::{fmt::Write as _, time::Duration};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    gateway::CacheControl,
    tiers::{Answer, Source},
};

/// By what a record is purged from caches in front of a node.
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// How old the value may be, where it is not proven to be fresh.
const STALE_MS: HeaderName = HeaderName::from_static("freshet-stale-ms");
/// The longest `Surrogate-Key` that is sent.
///
/// # Source
/// Fastly's documentation, "Working with surrogate keys": 16,384 bytes.
const SURROGATE_KEY_BYTES_MAX: usize = 16_384;

/// Says of what `answers` show how long it may be kept, where it came from, and how old it may be.
pub(super) fn describe(headers: &mut HeaderMap, cache: &CacheControl, answers: &[&Answer]) {
    let stale = answers.iter().filter_map(|answer| answer.stale).max();
    headers.insert(header::CACHE_CONTROL, text(&cache_control(cache, stale)));
    headers.insert(header::CACHE_STATUS, text(&cache_status(answers, stale)));
    if let Some(age) = stale {
        headers.insert(STALE_MS, HeaderValue::from(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
    }
}

/// Names the collection and the records; the collection alone where the list would be too long.
pub(super) fn name<'a>(headers: &mut HeaderMap, collection: &str, keys: impl Iterator<Item = &'a str>) {
    let collection = escaped(collection);
    let mut names = collection.clone();
    for key in keys {
        let _ = write!(names, " {collection}/{}", escaped(key));
        if names.len() > SURROGATE_KEY_BYTES_MAX {
            names.truncate(collection.len());
            break;
        }
    }
    headers.insert(SURROGATE_KEY, text(&names));
}

/// A value whose freshness is not proven must be asked for again.
///
/// # Source
/// RFC 9111, section 5.2.2; RFC 5861.
fn cache_control(cache: &CacheControl, stale: Option<Duration>) -> String {
    if stale.is_some() {
        return "no-cache".into();
    }
    let mut directives = format!("max-age={}", cache.max_age.as_secs());
    for (name, limit) in
        [("stale-while-revalidate", cache.stale_while_revalidate), ("stale-if-error", cache.stale_if_error)]
    {
        if !limit.is_zero() {
            let _ = write!(directives, ", {name}={}", limit.as_secs());
        }
    }
    directives
}

/// Whether this node's memory answered. A negative `ttl` says by how much the answer is past its freshness.
///
/// # Source
/// RFC 9211, section 2.
fn cache_status(answers: &[&Answer], stale: Option<Duration>) -> String {
    let any = |source| answers.iter().any(|answer| answer.source == source);
    let all = |source| answers.iter().all(|answer| answer.source == source);
    match stale {
        _ if any(Source::Store) => "freshet; fwd=miss".into(),
        Some(age) => {
            let detail = if any(Source::Stale) { "; detail=store-unavailable" } else { "" };
            format!("freshet; hit; ttl=-{}{detail}", age.as_millis().div_ceil(1_000))
        }
        None if all(Source::Filter) => "freshet; hit; detail=filter".into(),
        None => "freshet; hit".into(),
    }
}

/// `text` with everything but unreserved characters percent-encoded, so that it is one name.
///
/// # Source
/// RFC 3986, section 2.3.
fn escaped(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    name
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("made of printable ASCII above")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Stamp, State};

    fn answer(source: Source, stale_ms: Option<u64>) -> Answer {
        let stale = stale_ms.map(Duration::from_millis);
        Answer { state: State::absent(Stamp::new(1, 2)), stale, source }
    }

    fn described(answers: &[Answer]) -> (String, String) {
        let mut headers = HeaderMap::new();
        describe(&mut headers, &CacheControl::default(), &answers.iter().collect::<Vec<_>>());
        let shown = |name| headers[name].to_str().expect("ASCII").to_owned();
        (shown(header::CACHE_STATUS), shown(header::CACHE_CONTROL))
    }

    #[test]
    fn the_source_and_the_age_are_told() {
        let fresh = "max-age=0, stale-while-revalidate=5, stale-if-error=60";
        for (answers, status, control) in [
            (vec![answer(Source::Local, None)], "freshet; hit", fresh),
            (vec![answer(Source::Filter, None)], "freshet; hit; detail=filter", fresh),
            (vec![answer(Source::Store, None)], "freshet; fwd=miss", fresh),
            (vec![answer(Source::Local, Some(3_200))], "freshet; hit; ttl=-4", "no-cache"),
            (vec![answer(Source::Stale, Some(9_000))], "freshet; hit; ttl=-9; detail=store-unavailable", "no-cache"),
            (vec![answer(Source::Local, None), answer(Source::Store, None)], "freshet; fwd=miss", fresh),
            (vec![answer(Source::Local, None), answer(Source::Filter, None)], "freshet; hit", fresh),
        ] {
            assert_eq!(described(&answers), (status.to_owned(), control.to_owned()));
        }
    }

    #[test]
    fn surrogate_keys_are_single_words_and_bounded() {
        let mut headers = HeaderMap::new();
        name(&mut headers, "products", ["a b\n", "é"].into_iter());
        assert_eq!(headers[SURROGATE_KEY], "products products/a%20b%0A products/%C3%A9");
        name(&mut headers, "products", std::iter::repeat_n("0123456789", 1_000));
        assert_eq!(headers[SURROGATE_KEY], "products");
    }
}
