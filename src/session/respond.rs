//! The answer to a message as a whole: a request that needs a task, or a batch.
//!
//! What it may take is charged before it is put together: over a WebSocket first as little as it may take beside the
//! connection's other answers, and only if that is not enough, alone, up to `service.answer_max` (`large`).

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    future::{BoxFuture, join_all},
    stream::FuturesOrdered,
};
use tokio::sync::Semaphore;

use super::{
    Connection, Sessions, Shared,
    admitted::Admitted,
    large::{self, Alone},
    methods::{self, Again, Caller, Failure, Reply},
};
use crate::{
    protocol::{self, Message, Rejected, Request, RpcError, codec},
    service::{Charge, Error, budget::SMALL_BYTES},
};

/// Answers `text`, which came over a WebSocket, then begins what follows the answer.
pub(super) async fn to_session(request: Admitted, text: String) {
    let follow_ups = send_answer(&Caller::Session(request.connection().clone()), request.connection(), &text).await;
    drop((request, text));
    // Side by side: one subscription of a batch whose records cannot be read keeps no other waiting.
    join_all(follow_ups).await;
}

async fn send_answer(caller: &Caller, connection: &Connection, text: &str) -> Vec<BoxFuture<'static, ()>> {
    let shared = &connection.shared;
    let message = protocol::parse(text, shared.config.batch_max);
    let reads = records_of_message(&message).clamp(1, shared.config.requests_max);
    let _beside = connection.reads.acquire_many(u32::try_from(reads).unwrap_or(u32::MAX)).await;
    let limit = shared.service.config().answer_bytes_max().min(reads * SMALL_BYTES);
    let charge = shared.service.answers().charge(limit);
    let answered = Responder { shared, caller, charge: &charge }.respond(message).await;
    match answered.alone {
        Some(_) => connection.send_whole(answered.out),
        None if answered.out.is_empty() => {}
        None => connection.post(|unsent| unsent.extend_from_slice(&answered.out)),
    }
    answered.follow_ups
}

/// Answers a message that came over HTTP: there is no connection to push to, and one request at a time on each.
pub async fn answer(sessions: &Sessions, text: &str) -> Bytes {
    let shared = &*sessions.shared;
    let message = protocol::parse(text, shared.config.batch_max);
    let charge = shared.service.answers().charge(shared.service.config().answer_bytes_max());
    let answered = Responder { shared, caller: &Caller::Http, charge: &charge }.respond(message).await;
    let out = Bytes::from(answered.out);
    if out.len() > SMALL_BYTES { charge.hold(out) } else { out }
}

/// How many records a message asks for, at least about.
fn records_of_message(message: &Result<Message<'_>, Rejected>) -> usize {
    match message {
        Err(_) => 0,
        Ok(Message::One(request)) => methods::records_of(request),
        Ok(Message::Batch(requests)) => requests.iter().flatten().map(methods::records_of).sum(),
    }
}

/// Carries the requests of one message out and writes their answer.
struct Responder<'a, 'c> {
    shared: &'a Shared,
    caller: &'a Caller,
    charge: &'c Charge,
}

/// A message's answer.
#[derive(Default)]
struct Answered<'a> {
    out: Vec<u8>,
    /// What begins once the answer has been sent.
    follow_ups: Vec<BoxFuture<'static, ()>>,
    /// Held until then, if the answer turned out large.
    alone: Option<Alone<'a>>,
}

impl<'a> Responder<'a, '_> {
    async fn respond(&self, message: Result<Message<'_>, Rejected>) -> Answered<'a> {
        let mut answered = Answered::default();
        match message {
            Err(rejected) => {
                self.write(&mut answered, Some(rejected.id.as_deref().unwrap_or("null")), Err(rejected.error));
            }
            Ok(Message::One(request)) => {
                let outcome = self.call(&request).await;
                let result = self.finish(&request, outcome, &mut answered.alone).await;
                self.write(&mut answered, request.id, result);
            }
            Ok(Message::Batch(requests)) => self.respond_to_all(&requests, &mut answered).await,
        }
        answered
    }

    /// Answers a batch, in its order. Its requests run side by side, and ask for so many records at a time.
    async fn respond_to_all(&self, requests: &[Result<Request<'_>, Rejected>], answered: &mut Answered<'a>) {
        let reads_max = self.shared.config.requests_max;
        let reads = Semaphore::new(reads_max);
        let calls = requests.iter().map(async |request| match request {
            Ok(request) => {
                let records = methods::records_of(request).min(reads_max);
                let _reading = reads.acquire_many(u32::try_from(records).unwrap_or(u32::MAX)).await;
                Ok((request, self.call(request).await))
            }
            Err(rejected) => Err(rejected),
        });
        let mut calls: FuturesOrdered<_> = calls.collect();
        while let Some(called) = calls.next().await {
            let (id, result) = match called {
                Ok((request, outcome)) => (request.id, self.finish(request, outcome, &mut answered.alone).await),
                Err(rejected) => (Some(rejected.id.as_deref().unwrap_or("null")), Err(rejected.error.clone())),
            };
            let start = answered.out.len();
            answered.out.push(if start == 0 { b'[' } else { b',' });
            self.write(answered, id, result);
            if answered.out.len() == start + 1 {
                answered.out.truncate(start);
            }
        }
        if !answered.out.is_empty() {
            answered.out.push(b']');
        }
    }

    async fn call(&self, request: &Request<'_>) -> Result<Reply, Failure> {
        methods::call(self.shared, self.caller, request, self.charge).await
    }

    /// The result of a request. If its answer had no room, it is read again where a large answer may be put together.
    async fn finish(
        &self,
        request: &Request<'_>,
        outcome: Result<Reply, Failure>,
        alone: &mut Option<Alone<'a>>,
    ) -> Result<Reply, RpcError> {
        let again = match outcome {
            Ok(reply) => return Ok(reply),
            Err(Failure::Refused(error)) => return Err(error),
            Err(Failure::NoRoom(again)) => again,
        };
        let limit = self.shared.service.config().answer_bytes_max();
        if let Caller::Session(connection) = self.caller
            && alone.is_none()
        {
            *alone = Some(large::alone(connection).await?);
            self.charge.raise_limit(limit);
        }
        match again {
            // It has been written: an answer without the value says so, an error would not.
            Again::Read(written) => Ok(written.read(&self.shared.service, self.charge).await),
            Again::Call if matches!(self.caller, Caller::Http) => Err(Error::AnswerTooLarge { limit }.into()),
            Again::Call => match self.call(request).await {
                Ok(reply) => Ok(reply),
                Err(Failure::Refused(error)) => Err(error),
                Err(Failure::NoRoom(_)) => Err(Error::AnswerTooLarge { limit }.into()),
            },
        }
    }

    /// Writes an answer, unless the request was a notification.
    fn write(&self, answered: &mut Answered<'a>, id: Option<&str>, result: Result<Reply, RpcError>) {
        if let Err(error) = &result {
            self.shared.errors.with_label_values(&[&error.reason]).inc();
        }
        let out = &mut answered.out;
        match (id, result) {
            (None, Ok(reply)) => answered.follow_ups.extend(reply.then),
            (None, Err(_)) => {}
            (Some(id), Ok(reply)) => {
                out.reserve(self.charge.taken().saturating_sub(out.len()));
                codec::result(out, id, reply.write);
                answered.follow_ups.extend(reply.then);
            }
            (Some(id), Err(error)) => codec::error(out, Some(id), &error),
        }
    }
}
