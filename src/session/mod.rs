//! One client's WebSocket connection. Knows no HTTP: it is handed a socket after the upgrade.
//!
//! Promises: reading and writing do not wait for each other; what L1 can answer is answered inside the read that
//! brought the question; answers of one read leave in one write, and so do those that were waited for.
//! A socket that would block keeps bounded unsent bytes and marks, never a queue of states. Every end has a close code. Leaves
//! the operations to `service`, and which slots have something new to `hub`.

mod admission;
mod admitted;
mod close;
mod connection;
mod frames;
mod freshness;
mod heartbeat;
mod large;
pub mod methods;
mod outgoing;
mod reader;
mod registry;
mod requests;
mod respond;
mod send_task;
mod sending;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytesize::ByteSize;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use connection::Connection;
pub use respond::answer;

use self::registry::Registry;
use crate::{
    service::Service,
    telemetry::{Latency, Telemetry},
};

/// Limits and intervals of connections.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How often an idle client is pinged.
    #[serde(with = "humantime_serde")]
    pub heartbeat_interval: Duration,
    /// How long a ping may go unanswered before it counts as missed.
    #[serde(with = "humantime_serde")]
    pub heartbeat_timeout: Duration,
    /// Missed pings in a row that end the connection.
    pub heartbeat_failures: u32,
    /// The largest message a client may send.
    pub message_max: ByteSize,
    /// The most requests in one batch.
    pub batch_max: usize,
    /// Requests of one connection that may be under way; reading pauses beyond them.
    pub requests_max: usize,
    /// Keys that one connection may watch.
    pub subscriptions_max: usize,
    /// Bytes kept for a client that does not read them; requests wait beyond that, and so do pushes.
    pub unsent_max: ByteSize,
    /// How long a client may take nothing of more than 32 KiB that wait for it, before its connection is closed.
    #[serde(with = "humantime_serde")]
    pub send_limit: Duration,
    /// Connections this node takes.
    pub connections_max: usize,
    /// Over how long clients are told to come back when the node drains.
    #[serde(with = "humantime_serde")]
    pub reconnect_spread: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            heartbeat_interval: Duration::from_secs(25),
            heartbeat_timeout: Duration::from_secs(10),
            heartbeat_failures: 2,
            message_max: ByteSize::mib(2),
            batch_max: 1_000,
            requests_max: 256,
            subscriptions_max: 10_000,
            unsent_max: ByteSize::kib(32),
            send_limit: Duration::from_secs(30),
            connections_max: 15_000,
            reconnect_spread: Duration::from_secs(5),
        }
    }
}

/// Every connection of a node, with what they share. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

/// What connections have in common.
pub(crate) struct Shared {
    service: Service,
    config: Config,
    registry: Registry,
    /// Set once clients are sent away.
    draining: AtomicBool,
    messages: IntCounter,
    errors: IntCounterVec,
    pushes: IntCounter,
    delivery: Latency,
    blocked: IntCounter,
    closed: IntCounterVec,
    open: IntGauge,
}

impl Sessions {
    /// No connection yet.
    pub fn new(config: Config, service: Service, telemetry: &Telemetry) -> Self {
        let shared = Shared {
            service,
            config,
            registry: Registry::default(),
            draining: AtomicBool::new(false),
            messages: telemetry.counter("freshet_session_messages_total", "Messages received from clients."),
            errors: telemetry.counters("freshet_session_errors_total", "Error answers, by reason.", &["reason"]),
            pushes: telemetry.counter("freshet_session_pushes_total", "States pushed to subscribers."),
            delivery: telemetry.latency(
                "freshet_session_delivery_seconds",
                "From a state's commit to the socket: at most so long, for the oldest state in each write.",
            ),
            blocked: telemetry
                .counter("freshet_session_blocked_total", "Times a socket took no more and its pushes were conflated."),
            closed: telemetry.counters("freshet_session_closed_total", "Connections ended, by close code.", &["code"]),
            open: telemetry.gauge("freshet_session_open", "Connections open now."),
        };
        let Config { connections_max, subscriptions_max, .. } = shared.config;
        let help = "What freshet_session_open may come to: session.connections_max.";
        telemetry.limit("freshet_session_open_max", help, connections_max);
        let help = "Keys that one connection may watch: session.subscriptions_max.";
        telemetry.limit("freshet_session_subscriptions_max", help, subscriptions_max);
        Sessions { shared: Arc::new(shared), tasks: TaskTracker::new() }
    }

    /// Whether one more connection is within the limit.
    pub fn has_room(&self) -> bool {
        self.shared.registry.len() < self.shared.config.connections_max
    }

    /// Serves a socket from its upgrade to its end. `read_ahead` are bytes that came with the upgrade.
    pub fn serve(&self, socket: TcpStream, read_ahead: &[u8]) {
        let (reading, connection) = Connection::open(socket, self.shared.clone(), self.tasks.clone());
        self.tasks.spawn(reader::run(connection.clone(), reading, read_ahead.to_vec()));
        // An upgrade that was under way when the registry was gone through.
        if self.shared.draining.load(Ordering::SeqCst) {
            self.tasks.spawn(async move { connection.drain().await });
        }
    }

    /// The service behind the sessions.
    pub fn service(&self) -> &Service {
        &self.shared.service
    }

    /// The limits in force.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// How long states take from their commit to their watchers' sockets, at most: each write to a socket counts once,
    /// with its oldest state.
    pub fn delivery(&self) -> &Latency {
        &self.shared.delivery
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.registry.len()
    }

    /// Pings idle clients until `stop`.
    pub async fn keep_alive(self, stop: CancellationToken) {
        heartbeat::run(&self.shared, stop).await;
    }

    /// Tells every client to come back later, answers what it asked before, and closes; ends when all are gone.
    pub async fn drain(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        for connection in self.shared.registry.all() {
            self.tasks.spawn(async move { connection.drain().await });
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}
