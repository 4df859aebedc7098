//! A method's parameters as raw values, and the readers that give them their types.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{
    Deserializer,
    de::{self, Error},
};
use serde_json::value::RawValue;

use crate::{
    protocol::{RpcError, json},
    record::Stamp,
};

/// The values given for `names`, in that order.
pub(super) struct Fields<'a, const N: usize> {
    names: &'static [&'static str; N],
    values: [Option<&'a RawValue>; N],
}

impl<'a, const N: usize> Fields<'a, N> {
    /// Sorts `params`, an object or an array, into the places of `names`.
    ///
    /// # Errors
    /// -32602 for a parameter that is unknown, comes twice, or stands beyond the last position.
    pub(super) fn read(params: Option<&'a RawValue>, names: &'static [&'static str; N]) -> Result<Self, RpcError> {
        let mut fields = Fields { names, values: [None; N] };
        let Some(params) = params else {
            return Ok(fields);
        };
        let mut problem = None;
        let filler = Filler { fields: &mut fields, problem: &mut problem };
        match serde_json::Deserializer::from_str(params.get()).deserialize_any(filler) {
            Ok(()) => Ok(fields),
            Err(error) => Err(RpcError::invalid_params(problem.unwrap_or_else(|| error.to_string()))),
        }
    }

    /// What was given for `name`; `None` when it was left out.
    pub(super) fn given(&self, name: &str) -> Option<&'a RawValue> {
        let at = self.names.iter().position(|known| *known == name)?;
        self.values[at]
    }

    /// What was given for `name`; `None` also for `null`.
    pub(super) fn optional(&self, name: &str) -> Option<&'a RawValue> {
        self.given(name).filter(|raw| raw.get() != "null")
    }

    /// What was given for `name`, which must be there.
    pub(super) fn required(&self, name: &str) -> Result<&'a RawValue, RpcError> {
        self.given(name).ok_or_else(|| RpcError::invalid_params(format!("\"{name}\" is missing")))
    }

    pub(super) fn text(&self, name: &str) -> Result<Cow<'a, str>, RpcError> {
        text(self.required(name)?, name)
    }

    pub(super) fn optional_text(&self, name: &str) -> Result<Option<Cow<'a, str>>, RpcError> {
        self.optional(name).map(|raw| text(raw, name)).transpose()
    }

    pub(super) fn key(&self, name: &str) -> Result<Cow<'a, str>, RpcError> {
        key(self.required(name)?, name)
    }

    pub(super) fn stamp(&self, name: &str) -> Result<Option<Stamp>, RpcError> {
        self.optional(name).map(|raw| stamp(raw, name)).transpose()
    }

    pub(super) fn millis(&self, name: &str) -> Result<Option<Duration>, RpcError> {
        let millis = |raw: &RawValue| raw.get().parse().map_err(|_| wrong(name, "a whole number of milliseconds"));
        self.optional(name).map(millis).transpose().map(|millis| millis.map(Duration::from_millis))
    }

    pub(super) fn count(&self, name: &str) -> Result<Option<usize>, RpcError> {
        let count = |raw: &RawValue| raw.get().parse().ok().filter(|count| *count > 0);
        self.optional(name).map(|raw| count(raw).ok_or_else(|| wrong(name, "a whole number from 1 on"))).transpose()
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, RpcError> {
        match self.optional(name).map(RawValue::get) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }
}

/// -32602: `name` is not what it must be.
pub(super) fn wrong(name: &str, expected: &str) -> RpcError {
    RpcError::invalid_params(format!("\"{name}\" must be {expected}"))
}

pub(super) fn text<'a>(raw: &'a RawValue, name: &str) -> Result<Cow<'a, str>, RpcError> {
    json::text(raw).ok_or_else(|| wrong(name, "a string"))
}

/// A key: a string, or an integer as its text.
pub(super) fn key<'a>(raw: &'a RawValue, name: &str) -> Result<Cow<'a, str>, RpcError> {
    let digits = raw.get().strip_prefix('-').unwrap_or(raw.get());
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Cow::Borrowed(raw.get()));
    }
    json::text(raw).ok_or_else(|| wrong(name, "a string or an integer"))
}

pub(super) fn keys<'a>(raw: &'a RawValue, name: &str) -> Result<Vec<Cow<'a, str>>, RpcError> {
    let raws: Vec<&RawValue> =
        serde_json::from_str(raw.get()).map_err(|_| wrong(name, "an array of strings or integers"))?;
    raws.into_iter().map(|raw| key(raw, name)).collect()
}

pub(super) fn stamp(raw: &RawValue, name: &str) -> Result<Stamp, RpcError> {
    text(raw, name)?.parse().map_err(|error| RpcError::invalid_params(format!("\"{name}\": {error}")))
}

/// The members of an object of names that are the client's own: `(name, value)` in order, none twice.
pub(super) fn members<'a>(raw: &'a RawValue, name: &str) -> Result<Vec<(Cow<'a, str>, &'a RawValue)>, RpcError> {
    let mut members = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    reader.deserialize_map(Collector(&mut members)).map_err(|_| wrong(name, "an object"))?;
    let mut seen = std::collections::HashSet::with_capacity(members.len());
    match members.iter().find(|(member, _)| !seen.insert(member.clone())) {
        Some((member, _)) => Err(RpcError::invalid_params(format!("\"{name}\" has {member:?} twice"))),
        None => Ok(members),
    }
}

struct Filler<'f, 'a, const N: usize> {
    fields: &'f mut Fields<'a, N>,
    problem: &'f mut Option<String>,
}

impl<const N: usize> Filler<'_, '_, N> {
    fn refuse<E: Error>(self, problem: String) -> Result<(), E> {
        *self.problem = Some(problem);
        Err(E::custom("refused"))
    }
}

impl<'a, const N: usize> de::Visitor<'a> for Filler<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: de::MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(json::Name(name)) = map.next_key()? {
            let Some(at) = self.fields.names.iter().position(|known| *known == name) else {
                let known = self.fields.names.join(", ");
                let name: String = name.chars().take(64).collect();
                return self.refuse(format!("unknown parameter {name:?}; known are {known}"));
            };
            if self.fields.values[at].replace(map.next_value()?).is_some() {
                return self.refuse(format!("{name:?} comes twice"));
            }
        }
        Ok(())
    }

    fn visit_seq<A: de::SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        for value in &mut self.fields.values {
            let Some(next) = seq.next_element()? else {
                return Ok(());
            };
            *value = Some(next);
        }
        match seq.next_element::<&RawValue>()? {
            Some(_) => self.refuse(format!("at most {N} parameters are known")),
            None => Ok(()),
        }
    }
}

struct Collector<'f, 'a>(&'f mut Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> de::Visitor<'a> for Collector<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((json::Name(name), value)) = map.next_entry()? {
            self.0.push((name, value));
        }
        Ok(())
    }
}
