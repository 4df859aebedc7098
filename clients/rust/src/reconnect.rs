//! The task that keeps a client connected.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::{
    Error, Options,
    connection::{self, Socket},
    error::explained,
    pending::{Call, Pending},
    session::{End, Session},
    shared::Shared,
};
use freshet_wire::resilience::Backoff;

/// A connection that lasted this long was a good one: the next wait starts small again. One that is accepted and
/// closed at once, by an overloaded server, must not restart the backoff.
const STEADY: Duration = Duration::from_secs(5);

/// What the connection is up to. There are no other states, so that a program can show each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Open; subscriptions are live or being resumed.
    Connected,
    /// The node drains and asked us to come back that much later. Until then all goes on.
    Draining(Duration),
    /// Lost for the reason given; the next attempt is that much later.
    Reconnecting {
        /// What went wrong last.
        reason: String,
        /// Until the next attempt.
        wait: Duration,
    },
    /// Over for good: closed here, or refused in a way that no retry mends.
    Closed {
        /// Why.
        reason: String,
    },
}

/// Owns the client's end of everything; runs as one task.
pub(super) struct Driver {
    url: String,
    options: Options,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Call>,
    status: watch::Sender<Status>,
    pending: Mutex<Pending>,
}

impl Driver {
    pub(super) fn new(
        url: String,
        options: Options,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Call>,
        status: watch::Sender<Status>,
    ) -> Self {
        Driver { url, options, shared, commands, status, pending: Mutex::default() }
    }

    /// Serves `socket` and its successors until the client is dropped or refused for good. Whatever still waits then
    /// is answered: writes under way as unknown, the rest as disconnected.
    pub(super) async fn run(mut self, socket: Socket) {
        let mut backoff = Backoff::new(self.options.backoff_base, self.options.backoff_limit);
        let mut next = Ok(socket);
        let reason = loop {
            let socket = match next {
                Ok(socket) => socket,
                Err(reason) => break reason,
            };
            self.report(Status::Connected);
            let began = Instant::now();
            let (end, drain_at, heard) = self.session(socket).await;
            if matches!(end, End::TooLarge(_)) {
                self.pending.lock().refuse();
            }
            self.pending.lock().lose();
            self.shared.lost(heard.into_std());
            if began.elapsed() >= STEADY {
                backoff.reset();
            }
            next = match end {
                End::Stopped => Err("closed by this side".into()),
                End::Refused(reason) => Err(reason),
                End::Drained => {
                    // At once, as the node spread its clients already; but not again and again.
                    let wait = if began.elapsed() >= STEADY { Duration::ZERO } else { backoff.next_wait() };
                    self.reconnect("the node drained".into(), wait, &mut backoff).await
                }
                End::Lost(reason) | End::TooLarge(reason) => {
                    let asked = drain_at.map(|moment| moment.saturating_duration_since(Instant::now()));
                    let wait = asked.unwrap_or_else(|| backoff.next_wait());
                    self.reconnect(reason, wait, &mut backoff).await
                }
            };
        };
        while let Some(call) = self.pending.lock().next_held() {
            call.fail(Error::Disconnected);
        }
        self.shared.end_all();
        self.report(Status::Closed { reason });
    }

    async fn session(&mut self, socket: Socket) -> (End, Option<Instant>, Instant) {
        let status = &self.status;
        let on_drain = |wait| drop(status.send_replace(Status::Draining(wait)));
        let session = Session::new(&self.options, &self.shared, &self.pending, &on_drain);
        let end = session.run(socket, &mut self.commands).await;
        (end, session.drain_at(), session.heard())
    }

    /// Waits and tries until a connection stands; `Err` says why none ever will.
    async fn reconnect(&self, reason: String, wait: Duration, backoff: &mut Backoff) -> Result<Socket, String> {
        let attempts = async {
            let (mut reason, mut wait) = (reason, wait);
            loop {
                self.report(Status::Reconnecting { reason, wait });
                sleep(wait).await;
                match connection::open(&self.url, &self.options).await {
                    Ok(socket) => return Ok(socket),
                    Err(error) if !error.is_retryable() => return Err(explained(&error)),
                    Err(error) => reason = explained(&error),
                }
                wait = backoff.next_wait();
            }
        };
        let attempted = self.shared.stop.run_until_cancelled(attempts).await;
        attempted.unwrap_or_else(|| Err("closed by this side".into()))
    }

    fn report(&self, status: Status) {
        self.status.send_if_modified(|reported| {
            let news = *reported != status;
            *reported = status;
            news
        });
    }
}
