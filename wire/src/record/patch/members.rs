//! The members of an object, each as the text it came in.

use std::hash::BuildHasher as _;

use foldhash::quality::RandomState;
use hashbrown::{HashTable, hash_table::Entry};
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::quoted;

/// The members of a JSON object in their order, each as the text it came in.
///
/// serde_json's map would re-print numbers; a value's text must survive a patch of its neighbour.
#[derive(Clone, Debug, Default)]
pub struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    /// Reads an object. A member that comes twice keeps its last value, as in PostgreSQL's `jsonb`.
    ///
    /// # Errors
    /// The parser's message when `text` is no JSON object.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<Read>(text).map(|read| read.members)
    }

    /// Reads what a client writes, whose members are columns. One that comes twice is refused: which of the two the client
    /// means cannot be known, and programs between us may take the other one.
    ///
    /// # Errors
    /// [`ValueError`].
    ///
    /// # Source
    /// RFC 8259, section 4: what software makes of names that are not unique is unpredictable.
    pub fn of_value(text: &str) -> Result<Self, ValueError> {
        let Read { members, twice } = serde_json::from_str(text)?;
        match twice {
            None => Ok(members),
            Some(place) => Err(ValueError::Twice { column: members.0[place].0.clone() }),
        }
    }

    /// The members' names and texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.raw().map(|(name, text)| (name, text.get()))
    }

    pub(super) fn raw(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, text)| (name.as_str(), &**text))
    }

    /// The text of the member called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(member, _)| *member == name).map(|(_, text)| text)
    }

    /// These members, with `name` set to the JSON text `value`; unchanged if `value` is no JSON.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if let Ok(value) = RawValue::from_string(value.to_owned()) {
            self.set(name, value);
        }
        self
    }

    pub(super) fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(member, _)| member == name) {
            Some((_, text)) => *text = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Takes members out for which `keep` is false.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The object as compact JSON text.
    pub fn to_text(&self) -> String {
        let mut text = String::from("{");
        for (at, (name, value)) in self.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(&quoted(name));
            text.push(':');
            text.push_str(value);
        }
        text.push('}');
        text
    }
}

/// Why a text cannot be a record's value, or a part of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// It is no JSON object.
    #[error("no JSON object: {0}")]
    NotAnObject(#[from] serde_json::Error),
    /// A column has two values.
    #[error("column \"{column}\" is given twice")]
    Twice {
        /// The column.
        column: String,
    },
}

/// An object, and the place of a member that came twice.
struct Read {
    members: Members,
    twice: Option<usize>,
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Read;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
                let (mut members, mut twice) = (Vec::<(String, Box<RawValue>)>::new(), None);
                let (hasher, mut places) = (RandomState::default(), HashTable::new());
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    let is_it = |&place: &usize| members[place].0 == name;
                    match places.entry(hasher.hash_one(&name), is_it, |&place| hasher.hash_one(&members[place].0)) {
                        Entry::Occupied(place) => {
                            twice = Some(*place.get());
                            members[*place.get()].1 = value;
                        }
                        Entry::Vacant(place) => {
                            place.insert(members.len());
                            members.push((name, value));
                        }
                    }
                }
                Ok(Read { members: Members(members), twice })
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_given_twice_is_named_however_it_is_spelt() {
        for text in
            [r#"{"n":1,"n":2}"#, r#"{"n":1,"m":0,"n":1}"#, r#"{"n":1,"\u006e":null}"#, r#"{"n":{},"n":{},"n":{}}"#]
        {
            let error = Members::of_value(text).expect_err(text);
            assert!(matches!(&error, ValueError::Twice { column } if column == "n"), "{text}: {error}");
        }
        // Within a column's value it is JSON's own affair.
        for text in [r#"{"n":{"a":1,"a":2},"m":[{"n":1,"n":2}]}"#, r#"{"n":1,"N":2}"#, "{}"] {
            assert_eq!(Members::of_value(text).expect(text).to_text(), text);
        }
        for text in ["[]", "7", "{\"a\":}", ""] {
            assert!(matches!(Members::of_value(text), Err(ValueError::NotAnObject(_))), "{text}");
        }
    }

    #[test]
    fn of_a_member_that_comes_twice_the_last_counts() {
        assert_eq!(Members::parse(r#"{"a":1,"b":2,"a":3}"#).expect("an object").to_text(), r#"{"a":3,"b":2}"#);
    }
}
