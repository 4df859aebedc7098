//! Under which condition a write may happen: `If-Match` and `If-None-Match`, as the store's `if_stamp`.

use axum::http::{HeaderMap, header};

use super::write::Command;
use crate::{
    gateway::{refusal::Refusal, tag::Tags},
    protocol::{Code, RpcError},
    record::{RecordId, Stamp},
    service::{self, Conditions, Service},
    store::{self, Written},
    tiers::{Answer, ReadOptions},
};

/// Attempts at a write that admits several states while others keep writing.
const ATTEMPTS_MAX: usize = 4;

/// What the record must be for the write to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Anything.
    Always,
    /// `If-None-Match: *`: absent.
    Absent,
    /// `If-Match` with one tag: in this state.
    At(Stamp),
    /// `If-Match` with several: in one of these.
    AtOneOf(Vec<Stamp>),
    /// `If-Match: *`: there.
    Present,
}

impl Condition {
    /// Reads the condition of a write.
    ///
    /// # Errors
    /// 400 for what no write can depend on.
    ///
    /// # Source
    /// RFC 9110, sections 13.1.1 and 13.1.2.
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let refused = |message| Err(Refusal::bad_request("condition", message));
        let matching = Tags::read(headers, header::IF_MATCH)?;
        match (matching, Tags::read(headers, header::IF_NONE_MATCH)?) {
            (None, None) => Ok(Condition::Always),
            (Some(Tags::Any), None) => Ok(Condition::Present),
            (Some(Tags::Listed(tags)), None) => Ok(match Tags::stamps(&tags).as_slice() {
                [stamp] => Condition::At(*stamp),
                stamps => Condition::AtOneOf(stamps.to_vec()),
            }),
            (None, Some(Tags::Any)) => Ok(Condition::Absent),
            (None, Some(Tags::Listed(_))) => refused("\"If-None-Match\" of a write can only be *: it must not exist"),
            (Some(_), Some(_)) => refused("\"If-Match\" and \"If-None-Match\" exclude each other on a write"),
        }
    }

    /// Carries `command` out under this condition.
    ///
    /// # Errors
    /// 412 when the record is in another state, and what the service refuses.
    pub(super) async fn run(
        &self,
        service: &Service,
        id: &RecordId,
        command: &Command,
        idempotency_key: Option<String>,
    ) -> Result<Written, Refusal> {
        let if_stamp = match self {
            Condition::Always => None,
            Condition::Absent => Some(Stamp::ABSENT),
            Condition::At(stamp) => Some(*stamp),
            // Which state was met belongs to the request that a repetition is compared with.
            _ if idempotency_key.is_some() => {
                let message = "\"Idempotency-Key\" goes with no \"If-Match\" or with one that names a single tag";
                return Err(Refusal::bad_request("condition", message));
            }
            _ => return self.run_at_current(service, id, command).await,
        };
        Ok(command.request(service, id.clone(), Conditions { if_stamp, idempotency_key }).await?)
    }

    /// Writes to the state that is there, if it is one of those admitted; again when another write came between.
    async fn run_at_current(&self, service: &Service, id: &RecordId, command: &Command) -> Result<Written, Refusal> {
        let mut answer = service.get(id, &ReadOptions::default()).await?;
        for _ in 0..ATTEMPTS_MAX {
            if !self.admits(&answer) {
                return Err(conflict(answer.state.stamp));
            }
            let conditions = Conditions { if_stamp: Some(answer.state.stamp), idempotency_key: None };
            match command.request(service, id.clone(), conditions).await {
                Err(service::Error::Store(store::Error::Conflict { current })) => {
                    answer = service.get(id, &ReadOptions { min_stamp: Some(current), stale_max: None }).await?;
                }
                result => return Ok(result?),
            }
        }
        Err(conflict(answer.state.stamp))
    }

    fn admits(&self, answer: &Answer) -> bool {
        match self {
            Condition::Present => answer.state.value.is_some(),
            Condition::AtOneOf(stamps) => stamps.contains(&answer.state.stamp),
            Condition::Always | Condition::Absent | Condition::At(_) => true,
        }
    }
}

fn conflict(current: Stamp) -> Refusal {
    let message = format!("the record is at {current}");
    RpcError::new(Code::VersionConflict, message).with("stamp", current.to_string()).into()
}
