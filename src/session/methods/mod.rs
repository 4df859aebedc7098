//! The methods of the wire: one file each, one line in the table.

mod delete;
mod describe;
mod discover;
mod get;
mod get_many;
mod patch;
mod put;
mod subscribe;
mod unsubscribe;
mod written;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::{Connection, Shared};
use crate::{
    protocol::{Code, Method, Request, RpcError},
    service::{Charge, Error, Service},
    store,
};

pub(super) use written::{Value, Written, write as write_written};

/// Who asks.
pub enum Caller {
    /// A WebSocket, which states can be pushed to.
    Session(Arc<Connection>),
    /// A single HTTP request.
    Http,
}

/// Writes a result as JSON text.
type Write = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// A successful answer.
pub(super) struct Reply {
    /// Writes the result; what that takes has been charged.
    pub(super) write: Write,
    /// What begins once the answer has been sent.
    pub(super) then: Option<BoxFuture<'static, ()>>,
}

impl Reply {
    /// The answer that `write` writes.
    fn of(write: impl FnOnce(&mut Vec<u8>) + Send + 'static) -> Self {
        Reply { write: Box::new(write), then: None }
    }
}

impl From<Vec<u8>> for Reply {
    fn from(body: Vec<u8>) -> Self {
        Reply::of(move |out| out.extend_from_slice(&body))
    }
}

/// Why a request has no answer.
pub(super) enum Failure {
    /// It was refused.
    Refused(RpcError),
    /// Its answer is larger than what it was charged to. Another attempt may have more room.
    NoRoom(Again),
}

/// What to do for an answer that had no room.
pub(super) enum Again {
    /// Carry the request out anew: it only reads.
    Call,
    /// Read what was written.
    Read(Written),
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        Failure::Refused(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::AnswerTooLarge { .. } => Failure::NoRoom(Again::Call),
            error => Failure::Refused(error.into()),
        }
    }
}

/// Takes what a write came to.
pub(super) type Answer = Box<dyn FnOnce(Result<Written, RpcError>) + Send + Sync>;
/// A method that takes no task while it waits: its answer is handed over.
type Begin = fn(&Service, Option<&RawValue>, Answer);

/// How many records a request asks for, about: each key of a list has a comma behind it.
pub(super) fn records_of(request: &Request<'_>) -> usize {
    match (Method::from_name(&request.method), request.params) {
        (Some(Method::Get), _) => 1,
        (Some(Method::GetMany), Some(params)) => memchr::memchr_iter(b',', params.get().as_bytes()).count(),
        _ => 0,
    }
}

/// How to carry `request` out without a task, where its method can.
pub(super) fn begin(request: &Request<'_>) -> Option<Begin> {
    Some(match Method::from_name(&request.method)? {
        Method::Put => put::begin,
        Method::Patch => patch::begin,
        Method::Delete => delete::begin,
        _ => return None,
    })
}

/// Carries such a method out in a task.
async fn wait_for(begin: Begin, call: Call<'_>) -> Result<Reply, Failure> {
    let (give, answered) = oneshot::channel();
    begin(call.service(), call.params, Box::new(move |answer| drop(give.send(answer))));
    let written = answered.await.map_err(|_| Error::Store(store::Error::OutcomeUnknown))??;
    written.reply(call.service(), call.charge).await
}

/// What a method gets to work with.
struct Call<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
    params: Option<&'a RawValue>,
    /// What the answer takes is charged here.
    charge: &'a Charge,
}

impl<'a> Call<'a> {
    fn service(&self) -> &'a Service {
        &self.shared.service
    }

    /// The connection to push to.
    fn session(&self) -> Result<&'a Arc<Connection>, RpcError> {
        match self.caller {
            Caller::Session(connection) => Ok(connection),
            Caller::Http => Err(RpcError::new(Code::MethodNotFound, "subscriptions need the WebSocket at /v1/ws")
                .because("needs_websocket")),
        }
    }
}

type Handler = for<'a> fn(Call<'a>) -> BoxFuture<'a, Result<Reply, Failure>>;

/// The dispatch table.
fn handler(method: Method) -> Option<Handler> {
    Some(match method {
        Method::Get => |call| Box::pin(get::run(call)),
        Method::GetMany => |call| Box::pin(get_many::run(call)),
        Method::Put => |call| Box::pin(wait_for(put::begin, call)),
        Method::Patch => |call| Box::pin(wait_for(patch::begin, call)),
        Method::Delete => |call| Box::pin(wait_for(delete::begin, call)),
        Method::Describe => |call| Box::pin(describe::run(call)),
        Method::Subscribe => |call| Box::pin(subscribe::run(call)),
        Method::Unsubscribe => |call| Box::pin(unsubscribe::run(call)),
        Method::Discover => |call| Box::pin(discover::run(call)),
        Method::Authenticate => return None,
    })
}

/// Carries a request out; what its answer takes is taken from `charge`.
///
/// # Errors
/// [`Failure::NoRoom`] beyond the charge; [`Code::MethodNotFound`], or what the method refuses.
pub(super) async fn call(
    shared: &Shared,
    caller: &Caller,
    request: &Request<'_>,
    charge: &Charge,
) -> Result<Reply, Failure> {
    match Method::from_name(&request.method).and_then(handler) {
        Some(handler) => handler(Call { shared, caller, params: request.params, charge }).await,
        None => {
            let name: String = request.method.chars().take(64).collect();
            let served = Method::ALL.into_iter().filter(|method| handler(*method).is_some());
            let names: Vec<_> = served.map(Method::name).collect();
            let message = format!("there is no method {name:?}; there are {}", names.join(", "));
            Err(RpcError::new(Code::MethodNotFound, message).into())
        }
    }
}
