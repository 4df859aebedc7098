//! The field that tells one write from another.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
};

use serde_json::{Value, value::RawValue};

use super::history::Content;
use crate::cli::{Error, template::Template};

/// A number that stands in no template by itself.
const SAMPLE: u64 = 987_654_321;

/// A column, and the text around the number in it.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    before: String,
    after: String,
    /// The columns that are written, this one among them.
    pub(super) columns: Vec<String>,
}

impl Field {
    /// The field `name` of records like `template`.
    ///
    /// # Errors
    /// [`Error::Usage`] when the number does not stand in it.
    pub(super) fn of(template: &Template, name: &str) -> Result<Self, Error> {
        let value: Value = serde_json::from_str(&template.text(SAMPLE)).unwrap_or_default();
        let text = text(&value[name]).unwrap_or_default();
        let sample = SAMPLE.to_string();
        let (before, after) =
            text.split_once(&sample).filter(|(_, after)| !after.contains(&sample)).ok_or_else(|| {
                Error::Usage(format!(
                    "the record has no %n in the field {name}, so its writes could not be told apart\n  \
                 put %n there, as in --record '{{\"{name}\":%n}}', or name another one with --field"
                ))
            })?;
        let columns = value.as_object().map(|value| value.keys().cloned().collect()).unwrap_or_default();
        Ok(Field { name: name.to_owned(), before: before.to_owned(), after: after.to_owned(), columns })
    }

    /// The number in a column's text.
    pub(super) fn number(&self, text: &str) -> Option<u64> {
        text.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?.parse().ok()
    }

    /// What `value` holds in the columns that are written. Others may come and go with a migration, without a new version.
    pub(super) fn content(&self, value: &RawValue) -> Content {
        let value: Value = serde_json::from_str(value.get()).unwrap_or_default();
        let number = text(&value[&self.name]).and_then(|text| self.number(&text));
        let mut digest = DefaultHasher::new();
        self.columns.iter().for_each(|column| value[column].to_string().hash(&mut digest));
        Content { number, digest: Some(digest.finish()) }
    }
}

/// A scalar as a column's text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::parse(text).expect("a template")
    }

    #[test]
    fn the_number_is_found_in_numbers_and_texts() {
        for record in [r#"{"x":%n,"y":1}"#, r#"{"y":1,"x":"no. %n!"}"#] {
            let template = template(record);
            let field = Field::of(&template, "x").expect("a field");
            let value = RawValue::from_string(template.text(17)).expect("JSON");
            assert_eq!(field.content(&value).number, Some(17), "{record}");
        }
    }

    #[test]
    fn a_field_without_the_number_is_refused() {
        for record in [r#"{"x":1,"y":%n}"#, r#"{"y":%n}"#, r#"{"x":[%n]}"#] {
            assert!(Field::of(&template(record), "x").is_err(), "{record}");
        }
    }
}
