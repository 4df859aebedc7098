//! Answers too large to be put together beside others.
//!
//! Up to [`SMALL_BYTES`] for each record asked for, a connection's answers are put together side by side; the number of
//! requests under way bounds what they take. Anything larger is put together alone: one answer of the connection at a
//! time, once its client has taken everything before. What was read meanwhile is dropped and read again then, mostly from
//! L1, so that however much a client asks for without reading, one answer is held for it.
//! (`tests/it/large_answers.rs`)

use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::{Connection, admitted::Admitted};
use crate::{
    protocol::{Code, RpcError, codec},
    record::{RecordId, Stamp},
    service::{Error, answer_bytes, budget::SMALL_BYTES},
    tiers::{Answer, ReadOptions},
};

/// Writes the result of a request from the record it is about.
pub(super) type WriteResult = fn(&mut Vec<u8>, &RecordId, &Answer);

/// Whether `answer` may be put together beside others.
pub(super) fn is_small(record: &RecordId, answer: &Answer) -> bool {
    answer_bytes(&record.key, answer) <= SMALL_BYTES
}

/// The right to put a large answer together, until it is dropped.
pub(super) type Alone<'a> = MutexGuard<'a, ()>;

/// Waits until the connection's client has taken everything before, and no other large answer is put together.
///
/// # Errors
/// [`Code::Unavailable`]: the connection has ended.
pub(super) async fn alone(connection: &Connection) -> Result<Alone<'_>, RpcError> {
    let alone = connection.large.lock().await;
    connection.room().await;
    if connection.ended.is_cancelled() {
        return Err(RpcError::new(Code::Unavailable, "the connection has ended"));
    }
    Ok(alone)
}

/// Answers the request `id` with a large record: with what was `found`, if nothing is in its way, else with what is
/// read when its turn has come. A record that is read again is at least at `min_stamp`.
pub(super) fn answer(
    request: Admitted,
    id: String,
    record: RecordId,
    (found, min_stamp): (Option<Answer>, Option<Stamp>),
    write: WriteResult,
) {
    let tasks = request.connection().tasks().clone();
    tasks.spawn(async move {
        let connection = request.connection();
        // Nobody else may wait with what it found, or each of many requests would hold a record.
        let is_first = connection.large.try_lock().is_ok();
        let found = found.filter(|_| is_first);
        if let Err(error) = answer_alone(connection, &id, &record, (found, min_stamp), write).await {
            connection.refuse(Some(&id), &error);
        }
    });
}

async fn answer_alone(
    connection: &Arc<Connection>,
    id: &str,
    record: &RecordId,
    (found, min_stamp): (Option<Answer>, Option<Stamp>),
    write: WriteResult,
) -> Result<(), RpcError> {
    let _alone = alone(connection).await?;
    let service = &connection.shared.service;
    let found = match found {
        Some(found) => found,
        None => service.get(record, &ReadOptions { min_stamp, stale_max: None }).await?,
    };
    let charge = service.answers().charge(service.config().answer_bytes_max());
    let bytes = answer_bytes(&record.key, &found);
    charge.take(bytes).map_err(|error| explained(error, bytes))?;
    let mut out = Vec::with_capacity(bytes + id.len() + codec::RESULT_HEAD_BYTES_MAX);
    codec::result(&mut out, id, |out| write(out, record, &found));
    connection.send_whole(out);
    Ok(())
}

/// A single record that is too large cannot be asked for in smaller parts.
fn explained(error: Error, bytes: usize) -> RpcError {
    let mut refused = RpcError::from(error);
    if refused.code == Code::TooLarge {
        refused.message = format!("the record takes {bytes} bytes, more than service.answer_max lets an answer take");
    }
    refused
}
