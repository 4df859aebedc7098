//! Entity tags: a record's stamp in quotes, and the lists of them that conditional requests carry.
//!
//! The crate `headers` reads such lists as well, but answers only whether one given tag is among them; here each tag is a
//! state that a write may be meant for.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::refusal::Refusal;
use crate::{digest, protocol::Code, record::Stamp};

/// What `If-Match` or `If-None-Match` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// `*`: whatever there is.
    Any,
    /// These.
    Listed(Vec<Tag>),
}

/// One entity tag as a client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    weak: bool,
    text: String,
}

impl Tags {
    /// Reads the header `name`; `None` when it is not there.
    ///
    /// # Errors
    /// 400 for anything but `*` or a list of quoted tags.
    ///
    /// # Source
    /// RFC 9110, sections 8.8.3, 13.1.1 and 13.1.2.
    pub(super) fn read(headers: &HeaderMap, name: HeaderName) -> Result<Option<Self>, Refusal> {
        let mut listed = Vec::new();
        let mut values = headers.get_all(&name).into_iter().peekable();
        if values.peek().is_none() {
            return Ok(None);
        }
        for value in values {
            let text = String::from_utf8_lossy(value.as_bytes());
            if text.trim() == "*" {
                return Ok(Some(Tags::Any));
            }
            listed.extend(parse(&text).ok_or_else(|| malformed(&name))?);
        }
        Ok(Some(Tags::Listed(listed)))
    }

    /// Whether one of the tags is `etag`, weakness aside: good enough to say "not modified".
    ///
    /// # Source
    /// RFC 9110, section 8.8.3.2, weak comparison.
    pub(super) fn match_weakly(&self, etag: &HeaderValue) -> bool {
        let own = etag.to_str().unwrap_or_default().trim_matches('"');
        match self {
            Tags::Any => true,
            Tags::Listed(tags) => tags.iter().any(|tag| tag.text == own),
        }
    }

    /// The stamps that the listed tags name strongly; a tag of another form names no state there ever was.
    pub(super) fn stamps(tags: &[Tag]) -> Vec<Stamp> {
        tags.iter().filter(|tag| !tag.weak).filter_map(|tag| tag.text.parse().ok()).collect()
    }
}

fn malformed(name: &HeaderName) -> Refusal {
    let message = format!("\"{name}\" must be * or a list of entity tags in quotes, such as \"1.17\"");
    Refusal::new(StatusCode::BAD_REQUEST, Code::InvalidRequest, "entity_tag", message)
}

/// Reads a list of entity tags; a comma within quotes belongs to the tag.
fn parse(text: &str) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |quoted| (true, quoted));
        let (tag, behind) = quoted.strip_prefix('"')?.split_once('"')?;
        tags.push(Tag { weak, text: tag.to_owned() });
        rest = behind.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if rest.is_empty() => {}
            None => return None,
        }
    }
    Some(tags)
}

/// The ETag of a state.
pub(super) fn of_stamp(stamp: Stamp) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{stamp}\"")).expect("digits and a dot are fit for a header")
}

/// The ETag of bytes that have no stamp.
pub(super) fn of_bytes(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{}\"", digest::of(bytes))).expect("hexadecimal digits are fit for a header")
}

/// Whether the client has what `etag` names already.
///
/// # Errors
/// 400 for a malformed `If-None-Match`.
pub(super) fn is_current(headers: &HeaderMap, etag: &HeaderValue) -> Result<bool, Refusal> {
    Ok(Tags::read(headers, header::IF_NONE_MATCH)?.is_some_and(|tags| tags.match_weakly(etag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<Tags> {
        let given = values.iter().map(|value| (header::IF_MATCH, value.parse().expect("a value")));
        Tags::read(&given.collect(), header::IF_MATCH).expect("well-formed")
    }

    #[test]
    fn lists_are_read_as_rfc_9110_writes_them() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[" * "]), Some(Tags::Any));
        let Some(Tags::Listed(tags)) = read(&[r#""a,b" , W/"1.17","""#, r#""2.3""#]) else { panic!("a list") };
        let texts: Vec<_> = tags.iter().map(|tag| (tag.weak, tag.text.as_str())).collect();
        assert_eq!(texts, [(false, "a,b"), (true, "1.17"), (false, ""), (false, "2.3")]);
        assert_eq!(Tags::stamps(&tags), [Stamp::new(2, 3)]);
        assert!(Tags::Listed(tags).match_weakly(&of_stamp(Stamp::new(1, 17))));
    }

    #[test]
    fn unquoted_tags_are_refused() {
        for text in ["1.17", "\"1.17", "\"1.17\" \"1.18\"", "w/\"1\""] {
            let headers = HeaderMap::from_iter([(header::IF_MATCH, text.parse().expect("a value"))]);
            assert!(Tags::read(&headers, header::IF_MATCH).is_err(), "{text}");
        }
    }
}
