//! What stands behind the question mark.

use super::refusal::Refusal;

/// Reads `name=value&...`; what is named twice comes twice.
///
/// # Errors
/// 400 where the decoded text is no UTF-8: replacing the broken part would ask for another key.
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
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = if byte == b'%' { behind.get(..2).and_then(hex) } else { None };
        rest = if escaped.is_some() { &behind[2..] } else { behind };
        bytes.push(escaped.unwrap_or(if byte == b'+' { b' ' } else { byte }));
    }
    String::from_utf8(bytes).map_err(|_| Refusal::bad_request("query", "the query is no UTF-8 once it is decoded"))
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
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
