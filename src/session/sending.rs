//! How a connection sends: what its socket does not take waits among the unsent bytes, and a task waits for the socket
//! ([`send_task`](super::send_task), which says how it is handed over and which test checks it).

use std::cell::RefCell;

use super::{Connection, outgoing::Progress};
use crate::{
    hub::{Outlet, Proven, SlotId, Topic},
    protocol::{CloseCode, RpcError, codec},
    record::Stamp,
    service::budget::SMALL_BYTES,
};

thread_local! {
    /// Where pushes are put together: it belongs to the thread, not to the connection.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Connection {
    /// Sends frames behind whatever waits already.
    pub(super) fn send(&self, frames: &[u8]) {
        let progress = self.outgoing.lock().send(frames);
        self.follow_up(progress);
    }

    /// Sends a large text behind whatever waits already.
    pub(super) fn send_whole(&self, text: Vec<u8>) {
        let progress = self.outgoing.lock().send_whole(text);
        self.follow_up(progress);
    }

    /// Sends a text that was waited for, together with all others that come until the connection is taken off the ready queue.
    pub(super) fn post(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let must_enqueue = self.outgoing.lock().post(write);
        if must_enqueue && let Some(this) = self.this.upgrade() {
            self.shared.service.hub().enqueue(this);
        }
    }

    /// Posts an error as the answer to the request `id`, unless that is a notification.
    pub(super) fn refuse(&self, id: Option<&str>, error: &RpcError) {
        self.shared.errors.with_label_values(&[&error.reason]).inc();
        if let Some(id) = id {
            self.post(|out| codec::error(out, Some(id), error));
        }
    }

    /// Sends a slot's snapshot, if there is one, and opens the slot for changes above `stamp`, unless its
    /// subscription has ended. With `says_fresh` the snapshot says by itself that the record is fresh. True if a change is due
    /// already, or something is to be told of the slot's freshness, and the connection must be added to the ready queue.
    pub(super) fn send_and_open(
        &self,
        frame: &[u8],
        subscription: u64,
        slot: SlotId,
        stamp: Stamp,
        says_fresh: bool,
    ) -> bool {
        let (progress, due) = {
            let mut outgoing = self.outgoing.lock();
            if !outgoing.subscriptions.get(&subscription).is_some_and(|slots| slots.contains(&slot)) {
                return false;
            }
            let progress = outgoing.send(frame);
            let due = outgoing.slots.open(slot, stamp);
            let due = outgoing.slots.begin(slot, says_fresh, |topic| self.proven(topic)) || due;
            (progress, due && outgoing.must_enqueue())
        };
        self.follow_up(progress);
        due
    }

    /// Sends one text frame.
    pub(super) fn send_text(&self, write: impl FnOnce(&mut Vec<u8>)) {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            codec::text_frame(buffer, write);
            self.send(buffer);
        });
    }

    /// Sees to what a socket that took part of something, or nothing any more, needs.
    pub(super) fn follow_up(&self, progress: Progress) {
        match progress {
            Progress::Idle => {}
            Progress::Gone => self.ended.cancel(),
            Progress::Blocked => self.send_later(),
        }
    }

    /// Starts the task that waits for the socket, unless it runs already. Only a socket that blocked ever has one.
    fn send_later(&self) {
        let Some(this) = self.this.upgrade() else { return };
        if self.send_task.must_start() {
            self.shared.blocked.inc();
            self.tasks().spawn(async move { this.send_unsent().await });
        }
    }

    async fn send_unsent(&self) {
        let flush = || {
            // Its pongs may stand behind requests that wait for room: a client that reads is alive.
            self.heard();
            self.flush() != Progress::Blocked
        };
        let has_unsent = || self.outgoing.lock().unsent_len() > 0;
        self.send_task.run(|| self.is_writable(), flush, has_unsent).await;
    }

    /// Waits until the socket takes more; false when the connection is over. A client that takes nothing for too long may
    /// go on so only while little is held for it.
    async fn is_writable(&self) -> bool {
        loop {
            let Some(socket) = self.with_outgoing(|outgoing| outgoing.socket()) else { return false };
            let writable = self.ended.run_until_cancelled(socket.writable());
            match tokio::time::timeout(self.shared.config.send_limit, writable).await {
                Ok(writable) => return matches!(writable, Some(Ok(()))),
                Err(_) if self.outgoing.lock().unsent_len() <= SMALL_BYTES => {}
                Err(_) => {
                    self.close(CloseCode::TryAgainLater);
                    self.ended.cancel();
                    return false;
                }
            }
        }
    }

    fn proven(&self, topic: &Topic) -> Proven {
        self.shared.service.certificates().proven(topic)
    }

    /// Writes unsent bytes, what is marked and what is doubted, as far as the socket takes it.
    fn flush(&self) -> Progress {
        let (flushed, unsent) = BUFFER.with_borrow_mut(|buffer| {
            let mut outgoing = self.outgoing.lock();
            let flushed = outgoing.flush(buffer, |topic| self.proven(topic));
            (flushed, outgoing.unsent_len())
        });
        self.shared.pushes.inc_by(flushed.states);
        if let Some(since) = flushed.since {
            self.shared.delivery.observe(since.elapsed());
        }
        if unsent == 0 {
            self.room.notify_waiters();
            self.admission.wake_reader();
        }
        if flushed.progress == Progress::Gone {
            self.ended.cancel();
        }
        flushed.progress
    }
}

impl Outlet for Connection {
    fn mark(&self, slot: SlotId) -> bool {
        self.outgoing.lock().mark(slot)
    }

    fn doubt(&self, slot: SlotId) -> bool {
        self.outgoing.lock().slots.doubt(slot)
    }

    fn must_enqueue(&self) -> bool {
        self.outgoing.lock().must_enqueue()
    }

    fn write_marked(&self) {
        if self.flush() == Progress::Blocked {
            self.send_later();
        }
    }
}
