//! One connection's life: what it sends and when it ends. What it hears is `reader`'s.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::{CloseFrame, frame::coding::CloseCode as WireCode},
};

use super::{
    Options,
    connection::Socket,
    keepalive::{Due, Keepalive},
    pending::{Call, Kind, Pending},
    request::{Params, with_id},
    shared::Shared,
};
use freshet_wire::protocol::Method;

/// How many commands go into one flush.
const BATCH_MAX: usize = 256;
/// How long a draining connection waits for answers under way.
const DRAIN_GRACE: Duration = Duration::from_secs(5);
/// How long to wait for the server's half of a close.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client is closed.
    Stopped,
    /// As the node asked; it is time to come back.
    Drained,
    /// Lost, for the reason given.
    Lost(String),
    /// Lost, for the reason given, over a message of ours that was too large.
    TooLarge(String),
    /// Closed with a code of the 44xx kind that no reconnect mends.
    Refused(String),
}

/// One connection at work.
pub(super) struct Session<'a> {
    pub(super) options: &'a Options,
    pub(super) shared: &'a Arc<Shared>,
    pub(super) pending: &'a Mutex<Pending>,
    pub(super) news: Mutex<News>,
    pub(super) on_drain: &'a (dyn Fn(Duration) + Send + Sync),
}

/// What the reading half has to tell the writing half.
pub(super) struct News {
    pub(super) heard: Instant,
    pub(super) drain_at: Option<Instant>,
    leaving: Option<End>,
    /// Topics to subscribe again, and when.
    pub(super) later: Vec<(Instant, u64)>,
}

type Sink = SplitSink<Socket, Message>;

impl<'a> Session<'a> {
    /// Prepares a session; `on_drain` is told when the node asks to be left.
    pub(super) fn new(
        options: &'a Options,
        shared: &'a Arc<Shared>,
        pending: &'a Mutex<Pending>,
        on_drain: &'a (dyn Fn(Duration) + Send + Sync),
    ) -> Self {
        let news = News { heard: Instant::now(), drain_at: None, leaving: None, later: Vec::new() };
        Session { options, shared, pending, news: Mutex::new(news), on_drain }
    }

    /// Runs until the connection ends: resumes subscriptions, sends what was held for it, then serves `commands`.
    ///
    /// Reading never waits for writing, so a server that stops reading until it is read cannot lock us up.
    pub(super) async fn run(&self, socket: Socket, commands: &mut mpsc::Receiver<Call>) -> End {
        let (sink, stream) = socket.split();
        let end = tokio::select! {
            end = self.write(sink, commands) => end,
            end = self.read(stream) => end,
        };
        self.news.lock().leaving.take().unwrap_or(end)
    }

    /// When the node asked to be left: a close that comes early does not shorten that wait.
    pub(super) fn drain_at(&self) -> Option<Instant> {
        self.news.lock().drain_at
    }

    /// When the server was last heard.
    pub(super) fn heard(&self) -> Instant {
        self.news.lock().heard
    }

    async fn write(&self, mut sink: Sink, commands: &mut mpsc::Receiver<Call>) -> End {
        match self.serve(&mut sink, commands).await {
            Ok(end) => {
                self.news.lock().leaving = Some(end.clone());
                self.leave(&mut sink).await;
                end
            }
            Err(error) => End::Lost(error.to_string()),
        }
    }

    async fn serve(&self, sink: &mut Sink, commands: &mut mpsc::Receiver<Call>) -> Result<End, tungstenite::Error> {
        for number in self.shared.to_resume() {
            self.subscribe(sink, number).await?;
        }
        // One by one from where they are held: the connection may be lost before the last has left.
        let held = self.pending.lock().held();
        for _ in 0..held {
            let Some(call) = self.pending.lock().next_held() else { break };
            self.send(sink, call).await?;
        }
        let mut keepalive = Keepalive::new(self.options);
        loop {
            sink.flush().await?;
            let due = keepalive.due(self.news.lock().heard);
            tokio::select! {
                () = self.shared.stop.cancelled() => return Ok(End::Stopped),
                () = self.drain_due() => {
                    self.shared.stop.run_until_cancelled(self.quiet()).await;
                    return Ok(End::Drained);
                }
                () = self.shared.nudge.notified() => self.do_chores(sink).await?,
                () = self.resume_due() => {}
                () = sleep_until(due) => {
                    self.pending.lock().prune();
                    let heard = self.news.lock().heard;
                    match keepalive.take(heard) {
                        Due::Nothing => {}
                        Due::Ping => sink.feed(Message::Ping(Default::default())).await?,
                        Due::Close => return Ok(End::Lost("the server fell silent".into())),
                    }
                }
                call = commands.recv() => match call {
                    Some(call) => self.send_all(sink, call, commands).await?,
                    None => return Ok(End::Stopped),
                },
            }
        }
    }

    async fn send_all(
        &self,
        sink: &mut Sink,
        first: Call,
        commands: &mut mpsc::Receiver<Call>,
    ) -> Result<(), tungstenite::Error> {
        self.send(sink, first).await?;
        for _ in 1..BATCH_MAX {
            let Ok(call) = commands.try_recv() else {
                break;
            };
            self.send(sink, call).await?;
        }
        Ok(())
    }

    /// Writes `call` into the buffer, unless nobody waits for it any more. While the node drains, a write that could
    /// not be repeated is kept for the next connection.
    async fn send(&self, sink: &mut Sink, call: Call) -> Result<(), tungstenite::Error> {
        if call.is_abandoned() {
            return Ok(());
        }
        if call.kind == Kind::Once && self.drain_at().is_some() {
            self.pending.lock().hold(call);
            return Ok(());
        }
        let tail = call.tail.clone();
        // Pending before it leaves: whatever happens now, the outcome is told by the answer or by its absence.
        let id = self.pending.lock().add(call);
        sink.feed(Message::text(with_id(id, &tail))).await
    }

    /// Asks for the topic's subscription, unless that was done already.
    async fn subscribe(&self, sink: &mut Sink, number: u64) -> Result<(), tungstenite::Error> {
        match self.shared.request(number) {
            Some(tail) => self.send(sink, Call::unasked(tail, Kind::Subscribe(number))).await,
            None => Ok(()),
        }
    }

    async fn do_chores(&self, sink: &mut Sink) -> Result<(), tungstenite::Error> {
        let chores = self.shared.chores();
        for number in chores.subscribe {
            self.subscribe(sink, number).await?;
        }
        for id in chores.forget {
            let tail = Params::empty().text("id", &id).method(Method::Unsubscribe);
            self.send(sink, Call::unasked(tail, Kind::Unsubscribe)).await?;
        }
        Ok(())
    }

    async fn drain_due(&self) {
        match self.drain_at() {
            Some(moment) => sleep_until(moment).await,
            None => std::future::pending().await,
        }
    }

    /// Waits for the answers under way. New requests stay in their queue meanwhile, for the next connection.
    async fn quiet(&self) {
        let answered = async {
            while !self.pending.lock().is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        // Out of time: what is left is treated as on any lost connection.
        let _ = timeout(DRAIN_GRACE, answered).await;
    }

    async fn resume_due(&self) {
        let next = self.news.lock().later.iter().map(|(moment, _)| *moment).min();
        let Some(moment) = next else {
            return std::future::pending().await;
        };
        sleep_until(moment).await;
        let now = Instant::now();
        self.news.lock().later.retain(|&(moment, number)| {
            let due = moment <= now;
            if due {
                self.shared.subscribe(number);
            }
            !due
        });
    }

    /// Says goodbye and gives the reading half a moment to see the answer.
    async fn leave(&self, sink: &mut Sink) {
        let frame = CloseFrame { code: WireCode::Normal, reason: "".into() };
        let goodbye = async {
            if sink.send(Message::Close(Some(frame))).await.is_ok() {
                std::future::pending::<()>().await;
            }
        };
        // Reading ends the session as soon as the server has closed; this is only the limit.
        let _ = timeout(CLOSE_GRACE, goodbye).await;
    }
}
