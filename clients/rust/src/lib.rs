#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! Many requests share the connection, up to [`Options::in_flight_max`]; further ones wait. A lost connection is replaced with
//! full-jitter backoff ([`reconnect`]), and meanwhile requests wait within their own time limit. What was in flight is sent again
//! only when that is harmless: reads, and writes with an idempotency key; any other write ends as [`Error::OutcomeUnknown`]
//! (`an_interrupted_write_is_never_repeated_by_itself`). A key is subscribed once, however many subscriptions here share it
//! (`subscriptions_share_their_keys_on_the_wire`), and resumed from its last stamp; its states never go back
//! (`lower_stamps_are_refused`), and a slow reader keeps only the latest one. Every task ends when the last clone of the
//! [`Client`] is dropped. `tests/js/client/rust.test.mjs` checks the rules of `docs/client.md` on this client.
//!
//! It leaves to others TLS (terminate it in front), caching, and waiting out refusals such as `overloaded`, which
//! [`Error::is_retryable`] and [`Refusal::retry_after`] tell of; only [`Pages`] and [`Records`] wait by themselves.

pub mod address;
mod connection;
pub mod error;
pub mod freshness;
mod incoming;
mod keepalive;
mod known;
pub mod list;
mod mailbox;
pub mod options;
pub mod pages;
mod pending;
pub mod raw;
mod reader;
pub mod reconnect;
pub mod record;
mod request;
mod session;
mod shared;
pub mod subscription;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod topics;

use std::{sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::sleep,
};
use tokio_util::{sync::DropGuard, task::TaskTracker};

pub use self::{
    error::{Error, Refusal},
    freshness::{Freshness, Proven},
    list::{ListOptions, Page},
    options::{Options, ReadOptions, WriteOptions},
    pages::{Pages, Records},
    reconnect::Status,
    record::{Column, ColumnKind, Description, Record, Written},
    subscription::{Event, Subscription},
};
pub use freshet_wire::{
    protocol::Code,
    record::{
        Patch, Stamp,
        patch::{BigDecimal, Members},
    },
};

use self::{
    pending::{Call, Kind},
    request::Params,
    shared::Shared,
};
use freshet_wire::{protocol::Method, resilience::Deadline};

/// Commands that wait for the connection's task; when full, callers wait within their time limit.
const COMMANDS_MAX: usize = 256;

/// How long a write of unknown outcome is left alone before it is repeated, unless the server says.
const REPEAT_WAIT: Duration = Duration::from_millis(500);

/// A connection to a Freshet node, replaced by itself when lost. Cheap to clone; the last clone dropped closes it.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    commands: mpsc::Sender<Call>,
    in_flight: Semaphore,
    shared: Arc<Shared>,
    status: watch::Receiver<Status>,
    tasks: TaskTracker,
    #[expect(dead_code, reason = "ends the tasks when it is dropped")]
    stop: DropGuard,
}

impl Client {
    /// Connects to the node at `address`, such as `127.0.0.1:8080` or `ws://127.0.0.1:8080/v1/ws`; see [`address::websocket`].
    ///
    /// # Errors
    /// [`Error::Address`] if `address` is not that of a node; [`Error::Connect`] or [`Error::Handshake`] if the first attempt fails,
    /// which is not repeated.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt.
    pub async fn connect(address: &str, options: Options) -> Result<Self, Error> {
        let url = address::websocket(address)?;
        let socket = connection::open(&url, &options).await?;
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let (reported, status) = watch::channel(Status::Connected);
        let shared = Arc::new(Shared::default());
        let tasks = TaskTracker::new();
        let driver = reconnect::Driver::new(url, options.clone(), shared.clone(), queue, reported);
        tasks.spawn(driver.run(socket));
        tasks.close();
        let in_flight = Semaphore::new(options.in_flight_max.get());
        let stop = shared.stop.clone().drop_guard();
        Ok(Client { inner: Arc::new(Inner { options, commands, in_flight, shared, status, tasks, stop }) })
    }

    /// Reads one record. An absent one is an answer with `value: None`.
    ///
    /// # Errors
    /// Those of every request: [`Error::Rpc`] when the server refuses, [`Error::Timeout`] after
    /// [`Options::request_timeout`], [`Error::Disconnected`] when the client is closed for good.
    pub async fn get(&self, collection: &str, key: &str) -> Result<Record, Error> {
        self.get_with(collection, key, ReadOptions::new()).await
    }

    /// [`Client::get`] with a least stamp or a bound on staleness.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn get_with(&self, collection: &str, key: &str, options: ReadOptions) -> Result<Record, Error> {
        let params = Params::new(collection).text("key", key).read_options(options);
        let record = record::read(&self.call(params.method(Method::Get), Kind::Read).await?)?;
        Ok(self.inner.shared.answered(collection, key, record))
    }

    /// Reads several records of one collection, answered in the order asked.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn get_many<K: AsRef<str>>(&self, collection: &str, keys: &[K]) -> Result<Vec<Record>, Error> {
        let params = Params::new(collection).texts("keys", keys);
        let records = record::read_list(&self.call(params.method(Method::GetMany), Kind::Read).await?)?;
        let asked = keys.iter().zip(records);
        Ok(asked.map(|(key, record)| self.inner.shared.answered(collection, key.as_ref(), record)).collect())
    }

    /// Up to when what the server has of `keys` is proven, whether they are watched or not.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn freshness<K: AsRef<str>>(&self, collection: &str, keys: &[K]) -> Result<Proven, Error> {
        record::read(
            &self.call(Params::new(collection).texts("keys", keys).method(Method::Freshness), Kind::Read).await?,
        )
    }

    /// What a collection consists of.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn describe(&self, collection: &str) -> Result<Description, Error> {
        record::read(&self.call(Params::new(collection).method(Method::Describe), Kind::Read).await?)
    }

    /// Replaces a record by `value`, the text of a JSON object, which is sent as it is.
    ///
    /// # Errors
    /// As [`Client::get`], and [`Error::OutcomeUnknown`] when the connection or the time limit ended after the write
    /// was sent. With an idempotency key the write is repeated after a reconnect instead.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the write happened.
    pub async fn put(&self, collection: &str, key: &str, value: &str, options: WriteOptions) -> Result<Written, Error> {
        let value: &RawValue = serde_json::from_str(value).map_err(Error::value)?;
        let params = Params::new(collection).text("key", key).raw("value", value.get()).write_options(&options);
        self.write(params.method(Method::Put), &options).await
    }

    /// Changes part of a record; see [`Patch`]. [`WriteOptions::returns_value`] asks for the result.
    ///
    /// # Errors
    /// As [`Client::put`].
    ///
    /// # Cancel safety
    /// As [`Client::put`].
    pub async fn patch(
        &self,
        collection: &str,
        key: &str,
        patch: &Patch,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        let params = Params::new(collection).text("key", key).patch(patch).write_options(&options);
        let params = if options.returns_value { params.raw("return", "true") } else { params };
        self.write(params.method(Method::Patch), &options).await
    }

    /// Removes a record. The answer's stamp is the tombstone's.
    ///
    /// # Errors
    /// As [`Client::put`].
    ///
    /// # Cancel safety
    /// As [`Client::put`].
    pub async fn delete(&self, collection: &str, key: &str, options: WriteOptions) -> Result<Written, Error> {
        let params = Params::new(collection).text("key", key).write_options(&options);
        self.write(params.method(Method::Delete), &options).await
    }

    /// Watches `keys`. First comes each key's present state, left out for one that is still at its stamp in
    /// `since`; then every newer one.
    ///
    /// # Errors
    /// As [`Client::get`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the subscription.
    pub async fn subscribe<K: AsRef<str>>(
        &self,
        collection: &str,
        keys: &[K],
        since: impl IntoIterator<Item = (String, Stamp)>,
    ) -> Result<Subscription, Error> {
        let subscription = Subscription::open(&self.inner.shared, collection, keys, since);
        let granted = Deadline::after(self.inner.options.request_timeout).limit(subscription.granted()).await;
        granted.unwrap_or(Err(Error::Timeout)).map(|()| subscription)
    }

    /// What the connection is up to, the latest only.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.clone()
    }

    /// Closes the connection and waits, a second at most, for the server to agree. Other clones fail from here on.
    pub async fn close(self) {
        self.inner.shared.stop.cancel();
        self.inner.tasks.wait().await;
    }

    async fn write(&self, text: String, options: &WriteOptions) -> Result<Written, Error> {
        let kind = if options.idempotency_key.is_some() { Kind::Keyed } else { Kind::Once };
        let deadline = Deadline::after(self.inner.options.request_timeout);
        loop {
            let answer = self.call_until(text.clone(), kind, deadline).await;
            // The server could not tell what became of it. Under its key it may be repeated.
            let unknown = answer.as_ref().err().and_then(Error::refusal).filter(|_| kind == Kind::Keyed);
            let unknown = unknown.filter(|refusal| refusal.kind() == Some(Code::OutcomeUnknown));
            match unknown.map(|refusal| refusal.retry_after.unwrap_or(REPEAT_WAIT)) {
                Some(wait) if wait < deadline.left() => sleep(wait).await,
                _ => return record::read(&answer?),
            }
        }
    }

    async fn call(&self, text: String, kind: Kind) -> Result<Box<RawValue>, Error> {
        self.call_until(text, kind, Deadline::after(self.inner.options.request_timeout)).await
    }

    async fn call_until(&self, text: String, kind: Kind, deadline: Deadline) -> Result<Box<RawValue>, Error> {
        let (reply, answer) = oneshot::channel();
        let call = Call::new(text, kind, reply);
        let sent = call.sent.clone();
        let exchanged = deadline.limit(self.exchange(call, answer)).await;
        exchanged.unwrap_or_else(|_| Err(pending::end(kind, &sent, Error::Timeout)))
    }

    async fn exchange(
        &self,
        call: Call,
        answer: oneshot::Receiver<Result<Box<RawValue>, Error>>,
    ) -> Result<Box<RawValue>, Error> {
        let _permit = self.inner.in_flight.acquire().await.map_err(|_| Error::Disconnected)?;
        self.inner.commands.send(call).await.map_err(|_| Error::Disconnected)?;
        answer.await.map_err(|_| Error::Disconnected)?
    }
}
