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

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::{Connection, Shared};
use crate::{
    protocol::{Code, Method, Request, RpcError},
    service::{Error, Service},
    store,
};

/// Who asks.
pub enum Caller {
    /// A WebSocket, which states can be pushed to.
    Session(Arc<Connection>),
    /// A single HTTP request.
    Http,
}

/// A successful answer.
pub struct Reply {
    /// The result as JSON text.
    pub body: Vec<u8>,
    /// What begins once the answer has been sent.
    pub then: Option<BoxFuture<'static, ()>>,
}

impl From<Vec<u8>> for Reply {
    fn from(body: Vec<u8>) -> Self {
        Reply { body, then: None }
    }
}

/// Takes the JSON text of a result, or the refusal.
pub(super) type Answer = Box<dyn FnOnce(Result<Vec<u8>, RpcError>) + Send + Sync>;
/// A method that takes no task while it waits: its answer is handed over.
type Begin = fn(&Service, Option<&RawValue>, Answer);

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
async fn wait_for(begin: Begin, call: Call<'_>) -> Result<Reply, RpcError> {
    let (give, answered) = oneshot::channel();
    begin(call.service(), call.params, Box::new(move |answer| drop(give.send(answer))));
    Ok(answered.await.map_err(|_| Error::Store(store::Error::OutcomeUnknown))??.into())
}

/// What a method gets to work with.
struct Call<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
    params: Option<&'a RawValue>,
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

type Handler = for<'a> fn(Call<'a>) -> BoxFuture<'a, Result<Reply, RpcError>>;

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

/// Carries a request out.
///
/// # Errors
/// [`Code::MethodNotFound`], or what the method refuses.
pub(super) async fn call(shared: &Shared, caller: &Caller, request: &Request<'_>) -> Result<Reply, RpcError> {
    match Method::from_name(&request.method).and_then(handler) {
        Some(handler) => handler(Call { shared, caller, params: request.params }).await,
        None => {
            let name: String = request.method.chars().take(64).collect();
            let served = Method::ALL.into_iter().filter(|method| handler(*method).is_some());
            let names: Vec<_> = served.map(Method::name).collect();
            let message = format!("there is no method {name:?}; there are {}", names.join(", "));
            Err(RpcError::new(Code::MethodNotFound, message))
        }
    }
}
