//! A partial write: RFC 7396 merge and exact increments, applied to a record's JSON text.

mod members;

use std::{collections::BTreeMap, str::FromStr};

use serde_json::value::RawValue;

pub use self::members::{Members, ValueError};
use super::{Collection, ColumnKind};
pub use bigdecimal::BigDecimal;

/// Levels of objects that a patch is merged through.
const MERGE_DEPTH_MAX: usize = 128;
/// The largest power of ten in an increment, either way: `numeric` holds more, no price or stock does, and exact
/// arithmetic writes every digit out.
const EXPONENT_MAX: u64 = 1_000;

/// What a `patch` asks for. Merging comes first, then the increments.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// Members to set. `null` sets a column to NULL; an object given for a `json` or `jsonb` column is merged
    /// into what stands there.
    pub merge: Members,
    /// Amounts to add to numeric columns, exactly.
    pub increment: BTreeMap<String, BigDecimal>,
}

/// Why a patch cannot be applied to the record as it stands.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatchError {
    /// An increment of a member that holds no number.
    #[error("column \"{column}\" holds no number to increment")]
    NotANumber {
        /// The column.
        column: String,
    },
    /// An increment, or the number it is added to, that is beyond 10^1000 or below 10^-1000.
    #[error("the increment of column \"{column}\" is out of range")]
    OutOfRange {
        /// The column.
        column: String,
    },
    /// The current text or the patch is no JSON object: the store broke its promise.
    #[error("the record's value is no JSON object")]
    NotAnObject,
}

impl Patch {
    /// Changes nothing.
    pub fn new() -> Self {
        Patch::default()
    }

    /// Sets `members`, instead of those of earlier calls.
    pub fn merge(self, members: Members) -> Self {
        Patch { merge: members, ..self }
    }

    /// Adds `amount` to a numeric column, exactly.
    pub fn increment(mut self, column: impl Into<String>, amount: impl Into<BigDecimal>) -> Self {
        self.increment.insert(column.into(), amount.into());
        self
    }

    /// Checks that no amount is beyond what exact arithmetic writes out.
    ///
    /// # Errors
    /// [`PatchError::OutOfRange`].
    pub fn check_amounts(&self) -> Result<(), PatchError> {
        match self.increment.iter().find(|(_, amount)| is_out_of_range(amount)) {
            None => Ok(()),
            Some((column, _)) => Err(PatchError::OutOfRange { column: column.clone() }),
        }
    }

    /// The whole value that results from applying this to `current`, the value as it stands; `None` for an
    /// absent record, which is patched as an empty object (RFC 7396, section 2).
    ///
    /// Text that the patch does not touch is carried over byte for byte.
    ///
    /// # Errors
    /// [`PatchError`], naming the column.
    pub fn apply(&self, collection: &Collection, current: Option<&str>) -> Result<Members, PatchError> {
        let mut value = match current {
            Some(text) => Members::parse(text).map_err(|_| PatchError::NotAnObject)?,
            None => Members::default(),
        };
        value.retain(|name| collection.column(name).is_none_or(|c| c.kind != ColumnKind::Generated));
        for (name, patch) in self.merge.raw() {
            let merged =
                if is_mergeable(collection, name) { merge(value.get(name), patch, 0) } else { patch.to_owned() };
            value.set(name, merged);
        }
        for (name, amount) in &self.increment {
            let refused = || PatchError::NotANumber { column: name.clone() };
            let held = value.get(name).and_then(|text| BigDecimal::from_str(text).ok()).ok_or_else(refused)?;
            if [&held, amount].into_iter().any(is_out_of_range) {
                return Err(PatchError::OutOfRange { column: name.clone() });
            }
            let sum = (held + amount).to_plain_string();
            value.set(name, RawValue::from_string(sum).map_err(|_| refused())?);
        }
        Ok(value)
    }
}

fn is_out_of_range(number: &BigDecimal) -> bool {
    number.fractional_digit_count().unsigned_abs() > EXPONENT_MAX
}

fn is_mergeable(collection: &Collection, column: &str) -> bool {
    collection.column(column).is_some_and(|column| matches!(column.kind, ColumnKind::Json | ColumnKind::Jsonb))
}

/// RFC 7396, section 2, on texts: an object patch merges, anything else replaces. Below [`MERGE_DEPTH_MAX`] even an
/// object replaces: a client's nesting must not decide how deep this process recurses.
fn merge(target: Option<&str>, patch: &RawValue, depth: usize) -> Box<RawValue> {
    let changes = match Members::parse(patch.get()) {
        Ok(changes) if depth < MERGE_DEPTH_MAX => changes,
        _ => return patch.to_owned(),
    };
    let mut members = target.and_then(|text| Members::parse(text).ok()).unwrap_or_default();
    for (name, change) in changes.raw() {
        if change.get() == "null" {
            members.retain(|member| member != name);
        } else {
            let merged = merge(members.get(name), change, depth + 1);
            members.set(name, merged);
        }
    }
    RawValue::from_string(members.to_text()).unwrap_or_else(|_| patch.to_owned())
}

/// `text` as a JSON string, quotes included.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CollectionId, Column, KeyKind};

    fn collection() -> Collection {
        let column = |name: &str, kind| Column { name: name.into(), kind, sql: "text".into(), is_nullable: true };
        Collection {
            id: CollectionId(0),
            name: "things".into(),
            key_column: "id".into(),
            key_kind: KeyKind::Text,
            modulus: 64,
            columns: vec![
                column("id", ColumnKind::Plain),
                column("n", ColumnKind::Plain),
                column("doc", ColumnKind::Json),
                column("made", ColumnKind::Generated),
            ],
        }
    }

    fn patch(merge: &str, increment: &[(&str, &str)]) -> Patch {
        Patch {
            merge: Members::parse(merge).expect("an object"),
            increment: increment.iter().map(|(c, n)| ((*c).into(), n.parse().expect("a number"))).collect(),
        }
    }

    #[test]
    fn untouched_text_is_carried_over_byte_for_byte() {
        let current =
            r#"{"id":"a","n":0.10,"doc":{"big":123456789012345678901234567890123456789012345,"s":"\u00e9"},"made":1}"#;
        let value = patch(r#"{"doc":{"x":[1, 2]}}"#, &[]).apply(&collection(), Some(current)).expect("applies");
        let expected = r#"{"id":"a","n":0.10,"doc":{"big":123456789012345678901234567890123456789012345,"s":"\u00e9","x":[1, 2]}}"#;
        assert_eq!(value.to_text(), expected);
    }

    #[test]
    fn merge_follows_the_examples_of_rfc_7396() {
        // RFC 7396, appendix A.
        for (target, change, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            let change = RawValue::from_string(change.into()).expect("valid");
            assert_eq!(merge(Some(target), &change, 0).get(), result, "{target} patched with {change}");
        }
    }

    #[test]
    fn hostile_patches_cost_no_more_than_their_length() {
        let nested = format!("{{\"doc\":{}1{}}}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
        if let Ok(merge) = Members::parse(&nested) {
            let value = Patch { merge, increment: BTreeMap::new() }.apply(&collection(), Some("{}")).expect("applies");
            assert!(value.to_text().len() > 20_000);
        }
        let huge = patch("{}", &[("n", "1e10000000")]).apply(&collection(), Some(r#"{"n":1}"#));
        assert_eq!(huge.err(), Some(PatchError::OutOfRange { column: "n".into() }));
    }

    #[test]
    fn increments_are_exact_and_name_what_they_cannot_add_to() {
        let value = patch("{}", &[("n", "-0.3")]).apply(&collection(), Some(r#"{"n":0.1}"#)).expect("applies");
        assert_eq!(value.to_text(), r#"{"n":-0.2}"#);
        let refused = patch("{}", &[("n", "1")]).apply(&collection(), None);
        assert_eq!(refused.err(), Some(PatchError::NotANumber { column: "n".into() }));
    }
}
