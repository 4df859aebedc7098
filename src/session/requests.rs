//! From a message to its answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Connection, Shared,
    methods::{self, Caller, Reply},
};
use crate::{
    protocol::{self, Message, PlainGet, RpcError, codec},
    tiers::Answer,
};

/// Handles one text message, read at `now`. What L1 can answer is written to `output` at once. What only the store can
/// answer, as most misses and writes, is begun; anything else becomes a task.
pub(super) fn take(connection: &Arc<Connection>, text: &str, now: Instant, output: &mut Vec<u8>) {
    connection.shared.messages.inc();
    let taken = match protocol::plain_get(text) {
        Some(get) => answer_now(&connection.shared, &get, now, output).or_else(|| begin_get(connection, &get)),
        None => begin_call(connection, text),
    };
    if taken.is_some() {
        return;
    }
    let (tasks, request) = (connection.tasks().clone(), connection.begin_request());
    let text = text.to_owned();
    tasks.spawn(async move {
        let connection = request.connection();
        let caller = Caller::Session(connection.clone());
        let (answer, then) = respond(&connection.shared, &caller, &text).await;
        if !answer.is_empty() {
            connection.post(|out| out.extend_from_slice(&answer));
        }
        drop(request);
        for follow_up in then {
            follow_up.await;
        }
    });
}

/// Answers a plain `get` from L1.
fn answer_now(shared: &Shared, get: &PlainGet<'_>, now: Instant, output: &mut Vec<u8>) -> Option<()> {
    shared.service.get_now(get.collection, get.key, now, |entry, stale| {
        codec::text_frame(output, |out| codec::result(out, get.id, |out| entry.write(out, stale.map(millis))));
    })
}

/// Asks for a plain `get` that L1 could not answer; `None` for one that has to be refused.
fn begin_get(connection: &Arc<Connection>, get: &PlainGet<'_>) -> Option<()> {
    let service = &connection.shared.service;
    let record = service.record(get.collection, get.key).ok()?;
    let (request, id, key) = (connection.begin_request(), get.id.to_owned(), record.key.clone());
    service.get_then(record, move |answer| match answer {
        Ok(answer) => {
            request.connection().post(|out| codec::result(out, &id, |out| write_record(out, key.as_str(), &answer)));
        }
        Err(error) => request.connection().refuse(Some(&id), &error.into()),
    });
    Some(())
}

/// Begins a single request that needs no task; `None` for anything else.
fn begin_call(connection: &Arc<Connection>, text: &str) -> Option<()> {
    let call = protocol::parse_single(text)?;
    let begin = methods::begin(&call)?;
    let (request, id) = (connection.begin_request(), call.id.map(str::to_owned));
    let answer = move |result: Result<Vec<u8>, RpcError>| match (result, id) {
        (Ok(body), Some(id)) => {
            request.connection().post(|out| codec::result(out, &id, |out| out.extend_from_slice(&body)));
        }
        (Err(error), id) => request.connection().refuse(id.as_deref(), &error),
        (Ok(_), None) => {}
    };
    begin(&connection.shared.service, call.params, Box::new(answer));
    Some(())
}

/// Writes an answered record.
pub(super) fn write_record(out: &mut Vec<u8>, key: &str, answer: &Answer) {
    codec::record(out, key, &answer.state, answer.stale.map(millis), false);
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// Answers a message that came over HTTP: there is no connection to push to.
pub async fn answer(sessions: &super::Sessions, text: &str) -> Vec<u8> {
    respond(&sessions.shared, &Caller::Http, text).await.0
}

type FollowUps = Vec<futures_util::future::BoxFuture<'static, ()>>;

async fn respond(shared: &Shared, caller: &Caller, text: &str) -> (Vec<u8>, FollowUps) {
    let (mut out, mut then) = (Vec::new(), Vec::new());
    match protocol::parse(text, shared.config.batch_max) {
        Err(rejected) => {
            shared.errors.with_label_values(&[&rejected.error.reason]).inc();
            codec::error(&mut out, rejected.id.as_deref(), &rejected.error);
        }
        Ok(Message::One(request)) => {
            let result = methods::call(shared, caller, &request).await;
            write(shared, &mut out, request.id, result, &mut then);
        }
        Ok(Message::Batch(requests)) => {
            let calls = requests.iter().map(async |request| match request {
                Ok(request) => (request.id, methods::call(shared, caller, request).await),
                Err(rejected) => (Some(rejected.id.as_deref().unwrap_or("null")), Err(rejected.error.clone())),
            });
            for (id, result) in futures_util::future::join_all(calls).await {
                let start = out.len();
                out.push(if start == 0 { b'[' } else { b',' });
                let before = out.len();
                write(shared, &mut out, id, result, &mut then);
                if out.len() == before {
                    out.truncate(start);
                }
            }
            if !out.is_empty() {
                out.push(b']');
            }
        }
    }
    (out, then)
}

/// Writes an answer, unless the request was a notification.
fn write(shared: &Shared, out: &mut Vec<u8>, id: Option<&str>, result: Result<Reply, RpcError>, then: &mut FollowUps) {
    if let Err(error) = &result {
        shared.errors.with_label_values(&[&error.reason]).inc();
    }
    match (id, result) {
        (None, Ok(reply)) => then.extend(reply.then),
        (None, Err(_)) => {}
        (Some(id), Ok(reply)) => {
            codec::result(out, id, |out| out.extend_from_slice(&reply.body));
            then.extend(reply.then);
        }
        (Some(id), Err(error)) => codec::error(out, Some(id), &error),
    }
}
