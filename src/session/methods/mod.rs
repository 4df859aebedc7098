//! The methods of the wire, each one line in the table.

mod describe;
mod freshness;
mod read;
mod subscribe;
mod write;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;

use super::{Connection, Shared};
use crate::{
    protocol::{Code, ListParams, Method, Request, RpcError},
    service::{Charge, Error, LIMIT_DEFAULT, Service},
};

use write::WriteCall;
pub(super) use write::{Value, Written};

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

/// How many records a request asks for, about: each key of a list has a comma behind it.
pub(super) fn records_of(request: &Request<'_>) -> usize {
    match (Method::from_name(&request.method), request.params) {
        (Some(Method::Get), _) => 1,
        (Some(Method::GetMany), Some(params)) => memchr::memchr_iter(b',', params.get().as_bytes()).count(),
        (Some(Method::List), params) => match ListParams::parse(params) {
            Ok(params) => params.limit.unwrap_or(LIMIT_DEFAULT),
            Err(_) => 0,
        },
        _ => 0,
    }
}

/// The write that `request` asks for; `None` if it asks for something else.
pub(super) fn write<'a>(service: &'a Service, request: &Request<'_>) -> Option<Result<WriteCall<'a>, RpcError>> {
    let parse: write::Parse = match Method::from_name(&request.method)? {
        Method::Put => write::put,
        Method::Patch => write::patch,
        Method::Delete => write::delete,
        _ => return None,
    };
    Some(parse(service, request.params))
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
fn handler(method: Method) -> Handler {
    match method {
        Method::Get => |call| Box::pin(read::get(call)),
        Method::GetMany => |call| Box::pin(read::get_many(call)),
        Method::List => |call| Box::pin(read::list(call)),
        Method::Put => |call| Box::pin(write::run(write::put, call)),
        Method::Patch => |call| Box::pin(write::run(write::patch, call)),
        Method::Delete => |call| Box::pin(write::run(write::delete, call)),
        Method::Describe => |call| Box::pin(describe::describe(call)),
        Method::Subscribe => |call| Box::pin(subscribe::subscribe(call)),
        Method::Unsubscribe => |call| Box::pin(subscribe::unsubscribe(call)),
        Method::Freshness => |call| Box::pin(freshness::freshness(call)),
        Method::Discover => |call| Box::pin(describe::discover(call)),
    }
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
    match Method::from_name(&request.method) {
        Some(method) => handler(method)(Call { shared, caller, params: request.params, charge }).await,
        None => {
            let name: String = request.method.chars().take(64).collect();
            let names = Method::ALL.map(Method::name);
            let message = format!("there is no method {name:?}; there are {}", names.join(", "));
            Err(RpcError::new(Code::MethodNotFound, message).into())
        }
    }
}
