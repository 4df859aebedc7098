//! A connection to a node that is replaced when it is lost.
//!
//! Promises: requests and subscriptions are noted as they leave and arrive, in the order of the wire; a lost connection
//! is another session, whose subscriptions name what they knew. Leaves to others what to ask for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, value::RawValue};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    history::Micros,
    plan::Plan,
    session::{End, Session},
    watch::Group,
};
use crate::client::{self, Refusal, raw::Raw};

/// Commands that wait for the connection; when full, callers wait.
const COMMANDS_MAX: usize = 256;
/// The wait before a lost connection is replaced, and the longest before the attempts after that.
const RETRY_WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// No session: the connection is being replaced.
const AWAY: u32 = u32::MAX;

/// A handle of the connection. It ends with the run's token.
pub(super) struct Link {
    /// The node's address.
    pub(super) node: String,
    /// How many subscriptions it has.
    pub(super) groups: usize,
    plan: Arc<Plan>,
    commands: mpsc::Sender<Command>,
    session: Arc<AtomicU32>,
}

/// What the connection is to do.
pub(super) enum Command {
    Call(Call),
    /// Subscribe group number `group` anew, naming what is known if it `resumes`.
    Renew {
        group: usize,
        resumes: bool,
    },
}

/// A request.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) params: Value,
    pub(super) answer: oneshot::Sender<Answered>,
}

/// What became of a request that may have left.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) session: u32,
    pub(super) sent: Micros,
    pub(super) ended: Micros,
    pub(super) result: Result<Box<RawValue>, Failure>,
}

/// Why a request has no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused it.
    Refused(Refusal),
    /// The connection or the time ended first.
    Lost(String),
}

impl Link {
    /// Connects to `node` and watches `groups` from now on.
    ///
    /// # Errors
    /// [`client::Error::Connect`] and [`client::Error::Handshake`]: the first attempt is the only one.
    pub(super) async fn open(
        plan: &Arc<Plan>,
        node: &str,
        groups: Vec<Group>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, client::Error> {
        let raw = Raw::open(node, &plan.server.options()).await?;
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let session = Arc::new(AtomicU32::new(AWAY));
        let count = groups.len();
        let keeper = Keeper { plan: plan.clone(), node: node.to_owned(), groups, queue, session: session.clone() };
        tasks.spawn(stop.clone().run_until_cancelled_owned(keeper.run(raw)));
        Ok(Link { node: node.to_owned(), groups: count, plan: plan.clone(), commands, session })
    }

    /// The session that is open, if one is.
    pub(super) fn session(&self) -> u32 {
        self.session.load(Ordering::Relaxed)
    }

    pub(super) fn is_open(&self) -> bool {
        self.session() != AWAY
    }

    /// Asks, and waits for the answer up to the plan's limit. `None`: the request did not leave.
    pub(super) async fn call(&self, method: &'static str, params: Value) -> Option<Answered> {
        let (sent, session) = (self.plan.recorder.now(), self.session());
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Call(Call { method, params, answer })).await.ok()?;
        match timeout(self.plan.server.timeout(), answered).await {
            Ok(answered) => answered.ok(),
            Err(_) => {
                self.plan.recorder.disturb(|disturbances| disturbances.timeouts += 1);
                let result = Err(Failure::Lost("no answer in time".to_owned()));
                Some(Answered { session, sent, ended: self.plan.recorder.now(), result })
            }
        }
    }

    /// Subscribes a group anew.
    pub(super) async fn renew(&self, group: usize, resumes: bool) {
        // A link that is gone has no subscriptions to renew.
        drop(self.commands.send(Command::Renew { group, resumes }).await);
    }
}

/// Keeps the connection.
struct Keeper {
    plan: Arc<Plan>,
    node: String,
    groups: Vec<Group>,
    queue: mpsc::Receiver<Command>,
    session: Arc<AtomicU32>,
}

impl Keeper {
    async fn run(mut self, mut raw: Raw) {
        loop {
            let number = self.plan.recorder.open_session(&self.node);
            self.session.store(number, Ordering::Relaxed);
            let end = Session::new(&self.plan, number, raw, &mut self.groups).run(&mut self.queue).await;
            self.session.store(AWAY, Ordering::Relaxed);
            let End { reason, come_back } = end;
            self.plan.recorder.disturb(|disturbances| {
                disturbances.disconnects += 1;
                disturbances.last_loss = Some(format!("{}: {reason}", self.node));
            });
            raw = self.reconnect(come_back).await;
        }
    }

    /// Tries until it succeeds. Meanwhile requests are told that they did not leave, by dropping them.
    async fn reconnect(&mut self, come_back: Option<Duration>) -> Raw {
        let [least, most] = RETRY_WAITS;
        let mut wait = come_back.unwrap_or(least);
        loop {
            let waiting = sleep(wait);
            tokio::pin!(waiting);
            loop {
                tokio::select! {
                    () = &mut waiting => break,
                    Some(command) = self.queue.recv() => drop(command),
                }
            }
            match Raw::open(&self.node, &self.plan.server.options()).await {
                Ok(raw) => return raw,
                Err(_) => wait = (wait * 2).clamp(least, most),
            }
        }
    }
}
