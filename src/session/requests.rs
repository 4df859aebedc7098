//! From a message to its answer.

use std::{sync::Arc, time::Instant};

use super::{
    Connection, large,
    methods::{self, Value, Written},
    respond,
};
use crate::{
    protocol::{self, PlainGet, RpcError, codec},
    record::RecordId,
    service::budget::SMALL_BYTES,
    tiers::{Answer, Source},
};

/// Handles one text message, read at `now`. What L1 can answer is written to `output` at once. What only the store can
/// answer, as most misses and writes, is begun; anything else becomes a task.
pub(super) fn take(connection: &Arc<Connection>, text: &str, now: Instant, output: &mut Vec<u8>) {
    connection.shared.messages.inc();
    let taken = match protocol::plain_get(text) {
        Some(get) => answer_now(connection, &get, now, output).or_else(|| begin_get(connection, &get)),
        None => begin_write(connection, text),
    };
    if taken.is_some() {
        return;
    }
    let (tasks, request) = (connection.tasks().clone(), connection.begin_request(text.len()));
    tasks.spawn(respond::to_session(request, text.to_owned()));
}

/// Answers a plain `get` from L1.
fn answer_now(connection: &Arc<Connection>, get: &PlainGet<'_>, now: Instant, output: &mut Vec<u8>) -> Option<()> {
    let service = &connection.shared.service;
    let large = service.answer_local(get.collection, get.key, now, |entry, stale| {
        if entry.bytes() > SMALL_BYTES {
            return Some(Answer { state: entry.state().clone(), stale, source: Source::Local });
        }
        codec::text_frame(output, |out| codec::result(out, get.id, |out| entry.write(out, stale)));
        None
    })?;
    if let Some(found) = large {
        let record = service.record(get.collection, get.key).ok()?;
        let request = connection.begin_request(get.id.len());
        large::answer_get(request, get.id.to_owned(), record, found);
    }
    Some(())
}

/// Asks for a plain `get` that L1 could not answer; `None` for one that has to be refused.
fn begin_get(connection: &Arc<Connection>, get: &PlainGet<'_>) -> Option<()> {
    let service = &connection.shared.service;
    let record = service.record(get.collection, get.key).ok()?;
    let (request, id, asked) = (connection.begin_request(get.id.len()), get.id.to_owned(), record.clone());
    service.answer_miss(asked, move |answer| match answer {
        Ok(found) if !large::is_small(&record, &found) => large::answer_get(request, id, record, found),
        Ok(found) => {
            request.connection().post(|out| codec::result(out, &id, |out| write_record(out, &record, &found)));
        }
        Err(error) => request.connection().refuse(Some(&id), &error.into()),
    });
    Some(())
}

/// Begins a single write, which needs no task; `None` for anything else.
fn begin_write(connection: &Arc<Connection>, text: &str) -> Option<()> {
    let call = protocol::parse_single(text)?;
    let write = methods::write(&connection.shared.service, &call)?;
    let (request, id) = (connection.begin_request(text.len()), call.id.map(str::to_owned));
    let answer = move |result: Result<Written, RpcError>| match (result, id) {
        (Ok(_), None) => {}
        (Err(error), id) => request.connection().refuse(id.as_deref(), &error),
        (Ok(written), Some(id)) => match &written.value {
            Value::Gone => large::answer_write(request, id, written),
            Value::Known(value) if value.len() > SMALL_BYTES => large::answer_write(request, id, written),
            _ => request.connection().post(|out| codec::result(out, &id, |out| written.write(out))),
        },
    };
    match write {
        Ok(write) => write.begin(answer),
        Err(error) => answer(Err(error)),
    }
    Some(())
}

/// Writes an answered record.
pub(super) fn write_record(out: &mut Vec<u8>, record: &RecordId, answer: &Answer) {
    codec::record(out, record.key.as_str(), &answer.state, answer.stale, false);
}
