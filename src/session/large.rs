//! Answers too large to be put together beside others.
//!
//! Up to [`SMALL_BYTES`] for each record asked for, a connection's answers are put together side by side; the number of
//! requests under way bounds what they take. Anything larger is put together alone: one answer of the connection at a
//! time, once its client has taken everything before. What was read meanwhile is dropped and read again then, mostly from
//! L1, so that however much a client asks for without reading, one answer is held for it.
//! (`tests/it/large_answers.rs`)

use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::{Connection, admitted::Admitted, methods::Written, requests::write_record};
use crate::{
    protocol::{Code, RpcError, codec},
    record::RecordId,
    service::{Error, answer_bytes, budget::SMALL_BYTES},
    tiers::{Answer, ReadOptions},
};

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

/// Answers the `get` with the request id `id` with a large record: with the one that was `found` if no other large answer is
/// waiting, else with the one that is read when the connection has come to it.
pub(super) fn answer_get(request: Admitted, id: String, record: RecordId, found: Answer) {
    let tasks = request.connection().tasks().clone();
    tasks.spawn(async move {
        let connection = request.connection();
        // Only the first may wait with what it found, or each of many requests would hold a record.
        let found = Some(found).filter(|_| connection.large.try_lock().is_ok());
        if let Err(error) = send_record(connection, &id, &record, found).await {
            connection.refuse(Some(&id), &error);
        }
    });
}

/// Answers the write with the request id `id`, whose value is large or has to be read.
pub(super) fn answer_write(request: Admitted, id: String, written: Written) {
    let tasks = request.connection().tasks().clone();
    tasks.spawn(async move {
        let connection = request.connection();
        let Ok(_alone) = alone(connection).await else { return };
        let service = &connection.shared.service;
        let charge = service.answers().charge(service.config().answer_bytes_max());
        let reply = written.read(service, &charge).await;
        let mut out = Vec::with_capacity(charge.taken() + id.len() + codec::RESULT_HEAD_BYTES_MAX);
        codec::result(&mut out, &id, reply.write);
        connection.send_whole(out);
    });
}

async fn send_record(
    connection: &Arc<Connection>,
    id: &str,
    record: &RecordId,
    found: Option<Answer>,
) -> Result<(), RpcError> {
    let _alone = alone(connection).await?;
    let service = &connection.shared.service;
    let found = match found {
        Some(found) => found,
        None => service.get(record, &ReadOptions::default()).await?,
    };
    let charge = service.answers().charge(service.config().answer_bytes_max());
    let bytes = answer_bytes(&record.key, &found);
    charge.take(bytes).map_err(|error| explained(error, bytes))?;
    let mut out = Vec::with_capacity(bytes + id.len() + codec::RESULT_HEAD_BYTES_MAX);
    codec::result(&mut out, id, |out| write_record(out, record, &found));
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
