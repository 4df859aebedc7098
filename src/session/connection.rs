//! One open connection: its socket, its subscriptions, and the lock they share.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rand::Rng as _;
use tokio::{
    net::{TcpStream, tcp::OwnedReadHalf},
    sync::{Notify, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Shared,
    admission::Admission,
    admitted::Admitted,
    close::{close_frame, close_label},
    outgoing::Outgoing,
    send_task::SendTask,
};
use crate::{
    protocol::{CloseCode, codec},
    service::Permits,
};

/// Snapshots that are read for a connection side by side.
const OPENINGS_AT_ONCE: usize = 64;
/// How long a draining connection waits for the requests under way.
const ANSWER_LIMIT: Duration = Duration::from_millis(2_500);
/// How long a client has to answer our close frame before the socket is dropped.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A client's connection. The reader task owns the reading half; whoever has something to send takes the lock.
pub struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) this: Weak<Connection>,
    place: usize,
    pub(super) outgoing: Mutex<Outgoing>,
    tasks: TaskTracker,
    pub(super) admission: Admission,
    /// Records that requests in tasks may ask for side by side.
    pub(super) reads: Semaphore,
    /// Snapshots of its subscriptions that are read side by side.
    pub(super) openings: Permits,
    /// Held while a large answer is put together and until it is with the socket or among the unsent bytes.
    pub(super) large: tokio::sync::Mutex<()>,
    /// Told when the unsent bytes have been taken by the socket, when the connection ended and, while the node drains, when no
    /// request is under way.
    pub(super) room: Notify,
    /// Waits for the socket to take more.
    pub(super) send_task: SendTask,
    /// The reader ends when this fires.
    pub(super) ended: CancellationToken,
    close_code: AtomicU32,
    opened: Instant,
    heard_ms: AtomicU64,
    /// Pings sent since the client was last heard.
    pub(super) pings: AtomicU32,
}

impl Connection {
    /// Takes a socket over. The reading half is for the reader task.
    pub(super) fn open(socket: TcpStream, shared: Arc<Shared>, tasks: TaskTracker) -> (OwnedReadHalf, Arc<Self>) {
        let (reading, writing) = socket.into_split();
        shared.open.inc();
        let registry = shared.clone();
        let unsent = shared.service.answers().charge(0);
        let connection = registry.registry.add(|place| {
            Arc::new_cyclic(|this| Connection {
                outgoing: Mutex::new(Outgoing::new(Arc::new(writing), unsent)),
                openings: shared.service.permits(OPENINGS_AT_ONCE),
                reads: Semaphore::new(shared.config.requests_max),
                large: tokio::sync::Mutex::default(),
                shared,
                this: this.clone(),
                place,
                tasks,
                admission: Admission::default(),
                room: Notify::new(),
                send_task: SendTask::default(),
                ended: CancellationToken::new(),
                close_code: AtomicU32::new(u32::from(CloseCode::Normal.number())),
                opened: Instant::now(),
                heard_ms: AtomicU64::new(0),
                pings: AtomicU32::new(0),
            })
        });
        (reading, connection)
    }

    /// Sends a close frame as the last thing, and ends the connection soon after if the client does not answer it.
    /// The first close counts.
    pub(super) fn close(&self, code: CloseCode) {
        let progress = {
            let mut outgoing = self.outgoing.lock();
            if outgoing.closed {
                return;
            }
            self.close_code.store(u32::from(code.number()), Ordering::Relaxed);
            outgoing.close(&close_frame(code))
        };
        self.follow_up(progress);
        let ended = self.ended.clone();
        self.tasks.spawn(async move {
            if ended.run_until_cancelled(tokio::time::sleep(CLOSE_LIMIT)).await.is_some() {
                ended.cancel();
            }
        });
    }

    /// [`Self::close`] for a client that cannot be understood any more: it is told at once that nothing follows.
    pub(super) fn hang_up(&self, code: CloseCode) {
        self.close(code);
        self.outgoing.lock().finish();
    }

    /// Sends the answer to the client's own close: the last frame there is.
    pub(super) fn close_answered(&self, frames: &[u8]) {
        let progress = self.outgoing.lock().close(frames);
        self.follow_up(progress);
    }

    /// Whether a close frame was sent.
    pub(super) fn is_closed(&self) -> bool {
        self.outgoing.lock().closed
    }

    /// Asks the client to come back elsewhere, at a moment of its own, and closes once its requests are answered:
    /// what is answered after a close frame never arrives.
    pub(super) async fn drain(&self) {
        let spread = self.shared.config.reconnect_spread.as_millis();
        let wait = rand::rng().random_range(0..=u64::try_from(spread).unwrap_or(u64::MAX - 1));
        self.send_text(|out| codec::drain(out, wait));
        // Out of time: requests that still run end without an answer, as on any lost connection.
        let _ = tokio::time::timeout(ANSWER_LIMIT, self.quiet()).await;
        self.close(CloseCode::GoingAway);
    }

    /// Waits until no request is under way, or the connection ended.
    async fn quiet(&self) {
        loop {
            let told = self.room.notified();
            if self.admission.in_flight() == 0 || self.ended.is_cancelled() {
                return;
            }
            told.await;
        }
    }

    /// Runs `work` on the subscriptions.
    pub(super) fn with_outgoing<R>(&self, work: impl FnOnce(&mut Outgoing) -> R) -> R {
        work(&mut self.outgoing.lock())
    }

    /// Where this connection's tasks are tracked.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Waits until nothing is left for the socket to take, or the connection ended.
    pub(super) async fn room(&self) {
        loop {
            let told = self.room.notified();
            if self.outgoing.lock().unsent_len() == 0 || self.ended.is_cancelled() {
                return;
            }
            told.await;
        }
    }

    /// Whether the reader must pause; if so, `waker` is woken when it need not any more.
    pub(super) fn must_pause(&self, waker: &Waker) -> bool {
        self.admission.must_pause(waker, || self.is_full(self.outgoing.lock().unsent_len()))
    }

    /// Whether as many requests are under way as may be, or `waiting` bytes are more than may wait to be sent.
    pub(super) fn is_full(&self, waiting: usize) -> bool {
        let config = &self.shared.config;
        self.admission.in_flight() >= config.requests_max || waiting as u64 > config.unsent_max.as_u64()
    }

    /// Counts a request of `bytes` in, until the guard is dropped.
    pub(super) fn begin_request(self: &Arc<Self>, bytes: usize) -> Admitted {
        Admitted::new(self.clone(), bytes)
    }

    /// Notes that a request of `weight` has ended.
    pub(super) fn end_request(&self, weight: usize) {
        if self.admission.end(weight) && self.shared.draining.load(Ordering::SeqCst) {
            self.room.notify_waiters();
        }
    }

    /// Notes that the client is alive, and says when.
    pub(super) fn heard(&self) -> Instant {
        let now = Instant::now();
        let millis = u64::try_from(now.duration_since(self.opened).as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(millis, Ordering::Relaxed);
        self.pings.store(0, Ordering::Relaxed);
        now
    }

    /// The time since the client was last heard.
    pub(super) fn silence(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.heard_ms.load(Ordering::Relaxed)))
    }

    /// The number of the close code this connection ended with.
    pub(super) fn close_number(&self) -> u32 {
        self.close_code.load(Ordering::Relaxed)
    }

    /// Notes which code the client closed with, unless that only answers ours.
    pub(super) fn closed_by_client(&self, number: u16) {
        if !self.is_closed() {
            self.close_code.store(u32::from(number), Ordering::Relaxed);
        }
    }

    /// Ends every subscription and leaves the registry.
    pub(super) fn leave(&self) {
        self.ended.cancel();
        self.room.notify_waiters();
        let registrations = self.with_outgoing(Outgoing::end);
        for (topic, place) in registrations {
            self.shared.service.hub().unwatch(&topic, place);
        }
        self.shared.registry.remove(self.place);
        self.shared.open.dec();
        self.shared.closed.with_label_values(&[&close_label(self.close_number())]).inc();
    }
}
