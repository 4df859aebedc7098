//! What stands behind the question mark.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::refusal::Refusal;

/// Reads `name=value&...`; what is named twice comes twice.
///
/// # Errors
/// 400 where the decoded text is no UTF-8: replacing the broken part, as the crate `form_urlencoded` does, would ask for
/// another key.
///
/// # Source
/// URL Standard, section 5.1 (application/x-www-form-urlencoded parsing).
pub(super) fn pairs(query: Option<&str>) -> Result<Vec<(String, String)>, Refusal> {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// Refuses a parameter that nobody knows.
pub(super) fn unknown(name: &str, known: &str) -> Refusal {
    let name: String = name.chars().take(64).collect();
    Refusal::bad_request("query", format!("unknown parameter {name:?}; there are {known}"))
}

fn decode(text: &str) -> Result<String, Refusal> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned);
    decoded.map_err(|_| Refusal::bad_request("query", "the query is no UTF-8 once it is decoded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let pairs = pairs(Some("key=a%2Fb&key=%C3%A9+%2B&&x&y=%zz=1%")).expect("UTF-8");
        let expected = [("key", "a/b"), ("key", "é +"), ("x", ""), ("y", "%zz=1%")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn broken_text_is_refused_rather_than_replaced() {
        assert!(pairs(Some("key=%ff")).is_err());
    }
}
