//! What a response tells HTTP caches.

use std::{fmt::Write as _, time::Duration};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

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

/// All but the unreserved characters.
///
/// # Source
/// RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Says of what `answers` show how long it may be kept, where it came from, and how old it may be.
pub(super) fn describe(headers: &mut HeaderMap, cache: &CacheControl, answers: &[&Answer]) {
    let stale = answers.iter().filter_map(|answer| answer.stale).max();
    headers.insert(header::CACHE_CONTROL, text(&cache_control(cache, stale)));
    headers.insert(header::CACHE_STATUS, text(&cache_status(answers, stale)));
    if let Some(age) = stale {
        headers.insert(STALE_MS, HeaderValue::from(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
    }
}

/// Says of a list that caches must ask each time, whatever is configured: it is as old as the replicas that were asked.
pub(super) fn describe_list(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CACHE_STATUS, HeaderValue::from_static("freshet; fwd=miss"));
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

/// A value whose freshness is not proven must be asked for again, whatever is configured. Where no use past `max_age` is
/// configured, `must-revalidate` says so: without it a cache that is cut off may go on with what it has.
///
/// # Source
/// RFC 9111, sections 4.2.4 and 5.2.2; RFC 5861.
fn cache_control(cache: &CacheControl, stale: Option<Duration>) -> String {
    let [max_age, revalidate, error] =
        [cache.max_age, cache.stale_while_revalidate, cache.stale_if_error].map(|limit| limit.as_secs());
    match (max_age, revalidate, error) {
        (0, 0, 0) => "no-cache".into(),
        _ if stale.is_some() => "no-cache".into(),
        (_, 0, 0) => format!("max-age={max_age}, must-revalidate"),
        (_, 0, _) => format!("max-age={max_age}, stale-if-error={error}"),
        (_, _, 0) => format!("max-age={max_age}, stale-while-revalidate={revalidate}"),
        _ => format!("max-age={max_age}, stale-while-revalidate={revalidate}, stale-if-error={error}"),
    }
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
fn escaped(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
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

    const LONGER: CacheControl = CacheControl {
        max_age: Duration::from_secs(2),
        stale_while_revalidate: Duration::from_secs(5),
        stale_if_error: Duration::from_secs(60),
    };

    fn described(answers: &[Answer]) -> (String, String) {
        let mut headers = HeaderMap::new();
        describe(&mut headers, &LONGER, &answers.iter().collect::<Vec<_>>());
        let shown = |name| headers[name].to_str().expect("ASCII").to_owned();
        (shown(header::CACHE_STATUS), shown(header::CACHE_CONTROL))
    }

    #[test]
    fn the_source_and_the_age_are_told() {
        let fresh = "max-age=2, stale-while-revalidate=5, stale-if-error=60";
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
    fn caches_ask_each_time_unless_more_is_configured() {
        let told = |max_age: &str, while_revalidate: &str, if_error: &str| {
            let text = format!(
                "max_age = \"{max_age}\"\nstale_while_revalidate = \"{while_revalidate}\"\nstale_if_error = \"{if_error}\""
            );
            cache_control(&toml::from_str(&text).expect("a configuration"), None)
        };
        assert_eq!(cache_control(&CacheControl::default(), None), "no-cache");
        // HTTP counts whole seconds.
        assert_eq!(told("0s", "900ms", "0s"), "no-cache");
        assert_eq!(told("3s", "0s", "0s"), "max-age=3, must-revalidate");
        assert_eq!(told("3s", "1s", "0s"), "max-age=3, stale-while-revalidate=1");
        assert_eq!(told("0s", "0s", "1m"), "max-age=0, stale-if-error=60");
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
