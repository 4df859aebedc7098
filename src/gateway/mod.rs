//! The HTTP edge: the only place that knows axum and hyper.
//!
//! Promises: a socket that asks for a WebSocket is taken out of HTTP and handed to `session` with every byte that came
//! along; what HTTP clients get carries the record's stamp as its ETag and says how long it may be cached; headers and
//! bodies are bounded in size and time, and so is the number of connections. Whatever is refused says why, as JSON.
//! Leaves the operations to `service`, JSON-RPC and sockets to `session`.
//!
//! - `listener`: accepts, limits, ends;
//! - `router`: which path is whose, for the public and the operations listener;
//! - [`host`] and [`origin`]: which names this node answers to, and which pages may write or connect;
//! - `upgrade`: from HTTP to WebSocket;
//! - `rest` and `rpc`: records as resources, and the methods of the WebSocket one at a time;
//! - `document` and `coding`: fixed texts, as they are and compressed;
//! - [`page`] and `shop`: the demonstration page, and what it shows beside records;
//! - `operations` and `stats`: probes, metrics and a live view of the counters; `switches` and
//!   `whereabouts` for operators;
//! - [`readiness`]: whether this node should be sent clients.

mod audit;
mod body;
mod client;
mod coding;
mod document;
pub mod host;
mod listener;
mod operations;
pub mod origin;
pub mod page;
mod query;
pub mod readiness;
mod redis;
mod refusal;
mod rest;
mod router;
mod rpc;
mod shop;
mod socket;
mod sse;
mod stats;
mod switches;
mod tag;
mod upgrade;
mod whereabouts;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    page::Page,
    readiness::Readiness,
    shop::{Hours, Shop},
};

use self::{host::Hosts, origin::Origins};
use crate::{service::Service, session::Sessions, telemetry::Telemetry};

/// Where to listen, and what HTTP clients may do.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The address for clients.
    pub listen: SocketAddr,
    /// The address for probes and metrics; never a public one.
    pub operations: SocketAddr,
    /// The names in `Host` that are served beside `localhost` and IP addresses, such as `shop.example`, without port;
    /// `*` admits all. On both listeners.
    pub hosts: Vec<String>,
    /// The values of `Origin` that browsers may come with, such as `https://shop.example`; `*` admits all. Empty:
    /// pages from this machine and from the host that was asked.
    pub origins: Vec<String>,
    /// The largest body of a request.
    pub body_max: ByteSize,
    /// How long a client may take to send a request's headers; an idle connection is closed after it, too.
    #[serde(with = "humantime_serde")]
    pub header_limit: Duration,
    /// How long a client may take to send a request's body.
    #[serde(with = "humantime_serde")]
    pub body_limit: Duration,
    /// How long a client may take none of an answer, or of a stream of events, before its connection is closed.
    #[serde(with = "humantime_serde")]
    pub send_limit: Duration,
    /// Sockets at a time, WebSockets included; keep it below the process's limit of open files. The operations
    /// listener counts its own alone, so that a full node can still be looked at.
    pub connections_max: usize,
    /// What HTTP caches may do with records.
    pub cache: CacheControl,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            operations: (Ipv4Addr::LOCALHOST, 8081).into(),
            hosts: Vec::new(),
            origins: Vec::new(),
            body_max: ByteSize::mib(2),
            header_limit: Duration::from_secs(10),
            body_limit: Duration::from_secs(30),
            send_limit: Duration::from_secs(30),
            connections_max: 18_000,
            cache: CacheControl::default(),
        }
    }
}

/// For how long an HTTP cache may use a record without asking; in whole seconds, as HTTP counts.
///
/// By default not at all (`no-cache`): a cache keeps the record and asks with its `ETag` each time, which a node answers
/// with 304 from memory. Any of these gives up the promise that an answer is as fresh as the node: nothing tells a cache
/// of a change, so its readers see each change late by up to the sum of what applies.
///
/// # Source
/// RFC 9111, sections 5.2.2.1, 5.2.2.2 and 5.2.2.4; RFC 5861, sections 3 and 4.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheControl {
    /// Freely.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    /// After that, while asking in the background.
    #[serde(with = "humantime_serde")]
    pub stale_while_revalidate: Duration,
    /// After that, when asking fails.
    #[serde(with = "humantime_serde")]
    pub stale_if_error: Duration,
}

/// The HTTP edge of a node. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    hosts: Hosts,
    origins: Origins,
    sessions: Sessions,
    telemetry: Telemetry,
    readiness: Readiness,
    page: Option<Page>,
    started: Instant,
    answers: IntCounterVec,
    turned_away: IntCounter,
    open: IntGauge,
    /// HTTP connections of clients.
    public: TaskTracker,
    /// Records that are being looked for on behalf of operators.
    whereabouts: Semaphore,
}

/// What a request handler gets to work with: the gateway, and the tasks and the end of the listener it came through.
#[derive(Clone)]
struct Edge {
    gateway: Arc<Inner>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Gateway {
    /// An edge over `sessions`. Without a `page`, `/` says in words what is served.
    pub fn new(
        config: Config,
        sessions: Sessions,
        telemetry: Telemetry,
        readiness: Readiness,
        page: Option<Page>,
    ) -> Self {
        let help = "What freshet_gateway_open may come to: gateway.connections_max.";
        telemetry.limit("freshet_gateway_open_max", help, config.connections_max);
        let inner = Inner {
            hosts: Hosts::new(&config.hosts),
            origins: Origins::new(&config.origins),
            config,
            sessions,
            readiness,
            page,
            started: Instant::now(),
            answers: telemetry.counters("freshet_gateway_answers_total", "HTTP requests answered.", &["status"]),
            turned_away: telemetry
                .counter("freshet_gateway_turned_away_total", "Sockets closed because there were too many."),
            open: telemetry.gauge("freshet_gateway_open", "Sockets of clients open now, WebSockets included."),
            public: TaskTracker::new(),
            whereabouts: Semaphore::new(whereabouts::AT_ONCE_MAX),
            telemetry,
        };
        Gateway { inner: Arc::new(inner) }
    }

    /// Serves clients until `stop`: then accepts nobody, lets every request under way end, and returns. How long that
    /// may take is the caller's to bound. WebSockets are the sessions' to drain: once this has returned none is added.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and every HTTP connection at once
    /// (`an_edge_that_is_dropped_closes_its_connections`).
    pub async fn serve_public(&self, listener: TcpListener, stop: CancellationToken) {
        let edge = self.edge(self.inner.public.clone(), &stop);
        let sockets = || self.inner.public_sockets();
        listener::run(listener, router::public(edge.clone()), &edge, sockets).await;
    }

    /// Serves probes and metrics until `stop`, as [`serve_public`](Self::serve_public) does.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and every HTTP connection at once.
    pub async fn serve_operations(&self, listener: TcpListener, stop: CancellationToken) {
        let edge = self.edge(TaskTracker::new(), &stop);
        listener::run(listener, router::operations(edge.clone()), &edge, || edge.tasks.len()).await;
    }

    fn edge(&self, tasks: TaskTracker, stop: &CancellationToken) -> Edge {
        Edge { gateway: self.inner.clone(), tasks, stop: stop.clone() }
    }
}

impl Inner {
    fn service(&self) -> &Service {
        self.sessions.service()
    }

    /// Sockets of clients.
    fn public_sockets(&self) -> usize {
        self.public.len() + self.sessions.open()
    }
}

#[cfg(test)]
mod tests;
