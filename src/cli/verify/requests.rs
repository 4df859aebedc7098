//! Single reads and writes through a node, noted with what became of them.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    history::{Event, Outcome, Read, Write},
    link::{Answered, Failure, Link},
    plan::Plan,
};
use crate::{
    client::{Record, Refusal},
    protocol::Code,
    record::Stamp,
};

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Put,
    Patch,
    Delete,
}

/// A write to make.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) key: u32,
    pub(super) way: Way,
    /// What it writes; `None` for a deletion.
    pub(super) number: Option<u64>,
    pub(super) if_stamp: Option<Stamp>,
    /// Its idempotency key.
    pub(super) token: Option<String>,
    pub(super) is_repeat: bool,
}

impl Change {
    /// Makes the write over `link`. `None`: it did not leave.
    pub(super) async fn make(&self, plan: &Plan, link: &Link) -> Option<Write> {
        let method = match self.way {
            Way::Put => "put",
            Way::Patch => "patch",
            Way::Delete => "delete",
        };
        let Answered { session, sent, ended, result } = link.call(method, self.params(plan)).await?;
        let outcome = outcome(plan, session, result);
        let Change { key, number, if_stamp, is_repeat, .. } = *self;
        let write = Write { key, session: Some(session), number, if_stamp, is_repeat, sent, ended, outcome };
        plan.recorder.event(Event::Write(write.clone()));
        Some(write)
    }

    fn params(&self, plan: &Plan) -> Value {
        let mut params = json!({"collection": plan.collection, "key": plan.key(self.key)});
        if let Some(number) = self.number {
            params["value"] = plan.value(number);
        }
        if let Some(stamp) = self.if_stamp {
            params["if_stamp"] = if stamp == Stamp::ABSENT { "0".into() } else { stamp.to_string().into() };
        }
        if let Some(token) = &self.token {
            params["idempotency_key"] = token.as_str().into();
        }
        params
    }
}

fn outcome(plan: &Plan, session: u32, result: Result<Box<RawValue>, Failure>) -> Outcome {
    #[derive(Deserialize)]
    struct Written<'a> {
        stamp: &'a str,
    }
    match result {
        Ok(answer) => {
            let stamp =
                serde_json::from_str::<Written<'_>>(answer.get()).ok().and_then(|written| written.stamp.parse().ok());
            stamp.map_or_else(
                || {
                    let (at, text) = (plan.recorder.now(), format!("the answer of a write: {answer}"));
                    plan.recorder.event(Event::Stray { session, at, text });
                    Outcome::Unknown { reason: "an answer without a stamp".to_owned() }
                },
                |stamp| Outcome::Acknowledged { stamp },
            )
        }
        Err(Failure::Lost(reason)) => Outcome::Unknown { reason },
        Err(Failure::Refused(refusal)) => {
            note_refusal(plan, &refusal);
            refused(&refusal)
        }
    }
}

/// Every refusal but two says that the write did not happen.
fn refused(refusal: &Refusal) -> Outcome {
    let reason = reason(refusal);
    match refusal.kind() {
        Some(Code::OutcomeUnknown | Code::Internal) | None => Outcome::Unknown { reason },
        Some(_) => {
            let current = refusal.data.get("stamp").and_then(Value::as_str).and_then(|stamp| stamp.parse().ok());
            Outcome::Refused { reason, current }
        }
    }
}

/// A condition that does not hold is an answer like another.
fn note_refusal(plan: &Plan, refusal: &Refusal) {
    if refusal.kind() != Some(Code::VersionConflict) {
        plan.recorder.disturb(|disturbances| *disturbances.refusals.entry(reason(refusal)).or_default() += 1);
    }
}

fn reason(refusal: &Refusal) -> String {
    if refusal.reason.is_empty() { refusal.code.to_string() } else { refusal.reason.clone() }
}

/// Reads `keys` over `link`: one by `get`, several by `get_many`. Empty if there was no answer.
pub(super) async fn read(plan: &Plan, link: &Link, keys: &[u32], min_stamp: Option<Stamp>) -> Vec<Read> {
    let mut params = json!({"collection": plan.collection});
    let names: Vec<&str> = keys.iter().map(|key| plan.key(*key)).collect();
    let method = match names[..] {
        [name] => {
            params["key"] = name.into();
            "get"
        }
        _ => {
            params["keys"] = names.into();
            "get_many"
        }
    };
    if let Some(stamp) = min_stamp {
        params["min_stamp"] = stamp.to_string().into();
    }
    let Some(Answered { session, sent, ended, result }) = link.call(method, params).await else { return Vec::new() };
    let records = match result {
        Ok(answer) => records(&answer, keys.len() == 1),
        Err(Failure::Refused(refusal)) => {
            note_refusal(plan, &refusal);
            return Vec::new();
        }
        Err(Failure::Lost(_)) => return Vec::new(),
    };
    let is_asked = |record: &Record, key: u32| plan.place(&record.key) == Some(key);
    if records.len() != keys.len() || !records.iter().zip(keys).all(|(record, &key)| is_asked(record, key)) {
        let text = format!("the answer of {method} is not about the keys that were asked for");
        plan.recorder.event(Event::Stray { session, at: ended, text });
        return Vec::new();
    }
    let answered = records.iter().zip(keys).map(|(record, &key)| {
        let state = plan.state(record);
        let read = Read { key, session, min_stamp, sent, received: ended, state };
        plan.recorder.event(Event::Read(read.clone()));
        read
    });
    answered.collect()
}

/// The records of an answer; none if it cannot be read.
fn records(answer: &RawValue, is_single: bool) -> Vec<Record> {
    #[derive(Deserialize)]
    struct Many {
        records: Vec<Record>,
    }
    match is_single {
        true => serde_json::from_str(answer.get()).map(|record| vec![record]).unwrap_or_default(),
        false => serde_json::from_str(answer.get()).map(|many: Many| many.records).unwrap_or_default(),
    }
}
