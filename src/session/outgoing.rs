//! What a connection still has to send: the bytes its socket did not take, and the marks and doubts of its subscriptions.
//!
//! When a socket takes no more in the middle of a push, the rest is kept as unsent bytes, the connection counts as
//! blocked, and a task waits for the socket ([`sending`](super::sending), [`send_task`](super::send_task)). Further changes only mark slots; a slot that
//! is marked already costs nothing. The client's requests are not read while more than the limit of
//! [`Config`](super::Config) are unsent. When the socket has taken them, the marked slots are sent with the latest state of
//! each, not the ones between, and then with what is to be told of their freshness ([`freshness`]). So a client that stops reading ends on the same state as all others, with versions rising,
//! and no other connection waits for its socket. If the client is gone, the heartbeat ends it (4408).

use std::{collections::HashMap, io, ops::ControlFlow, sync::Arc, time::Instant};

use tokio::net::tcp::OwnedWriteHalf;

use crate::{
    hub::{Proven, SlotId, Slots, Topic},
    protocol::codec,
    service::Charge,
};

use super::freshness;

/// Pushes written before the socket is asked again, in bytes.
const ROUND_BYTES: usize = 32 * 1024;
/// The buffer of unsent bytes is given back when it is empty and larger than this.
const BUFFER_KEPT_BYTES: usize = 1024;

/// What became of an attempt to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything is with the socket.
    Idle,
    /// The socket takes no more; something has to wait until it does.
    Blocked,
    /// The socket is gone.
    Gone,
}

/// What a flush did.
pub(super) struct Flushed {
    pub(super) progress: Progress,
    /// States that were sent.
    pub(super) states: u64,
    /// The moment before which none of them was committed.
    pub(super) since: Option<Instant>,
}

/// The sending side of a connection, behind its lock.
pub(super) struct Outgoing {
    /// `None` once nothing more is to be sent: dropping it tells the client so.
    socket: Option<Arc<OwnedWriteHalf>>,
    unsent: Vec<u8>,
    written: usize,
    /// Unsent bytes count among what the node's answers take.
    charge: Charge,
    pub(super) slots: Slots,
    pub(super) subscriptions: HashMap<u64, Vec<SlotId>>,
    pub(super) subscriptions_made: u64,
    /// Set from the moment the socket blocked until it took everything: pushes are conflated meanwhile.
    pub(super) blocked: bool,
    /// The connection is in the ready queue.
    is_queued: bool,
    /// A close frame was appended; nothing may follow it.
    pub(super) closed: bool,
    /// The socket is let go as soon as it has taken everything.
    finishes: bool,
    /// Nothing can be sent any more, nor a subscription begin.
    pub(super) gone: bool,
}

impl Outgoing {
    pub(super) fn new(socket: Arc<OwnedWriteHalf>, charge: Charge) -> Self {
        Outgoing {
            socket: Some(socket),
            unsent: Vec::new(),
            written: 0,
            charge,
            slots: Slots::default(),
            subscriptions: HashMap::new(),
            subscriptions_made: 0,
            blocked: false,
            is_queued: false,
            closed: false,
            finishes: false,
            gone: false,
        }
    }

    /// The socket, while something may be sent.
    pub(super) fn socket(&self) -> Option<Arc<OwnedWriteHalf>> {
        self.socket.clone()
    }

    /// Bytes that wait for the socket.
    pub(super) fn unsent_len(&self) -> usize {
        self.unsent.len() - self.written
    }

    /// Sends `frames` behind the unsent bytes; what the socket does not take joins them.
    pub(super) fn send(&mut self, frames: &[u8]) -> Progress {
        if self.closed || frames.is_empty() {
            return Progress::Idle;
        }
        if self.unsent_len() > 0 {
            // What was sent goes first: a client that always leaves a rest must not make the buffer grow.
            if self.written >= self.unsent_len() {
                self.unsent.drain(..self.written);
                self.written = 0;
            }
            self.unsent.extend_from_slice(frames);
            if !self.blocked {
                self.write_unsent();
            }
        } else {
            let sent = self.write(frames);
            self.unsent.extend_from_slice(&frames[sent..]);
        }
        self.charge_unsent();
        self.progress()
    }

    /// Sends a large text behind the unsent bytes. What the socket does not take of it is not copied, where nothing else waits.
    pub(super) fn send_whole(&mut self, text: Vec<u8>) -> Progress {
        let mut header = Vec::new();
        codec::frame_header(&mut header, text.len());
        if self.send(&header) != Progress::Idle || self.closed {
            return self.send(&text);
        }
        self.written = self.write(&text);
        self.unsent = text;
        if self.unsent_len() == 0 {
            self.forget_sent();
        }
        self.charge_unsent();
        self.progress()
    }

    /// Lets go of bytes that were sent.
    fn forget_sent(&mut self) {
        self.unsent.clear();
        self.written = 0;
        if self.unsent.capacity() > BUFFER_KEPT_BYTES {
            self.unsent = Vec::new();
        }
    }

    fn charge_unsent(&mut self) {
        self.charge.set(self.unsent_len());
    }

    /// Leaves a text to be sent when the connection is next taken off the ready queue, in one write with everything else that
    /// is there by then. True if the connection must be added to the queue.
    pub(super) fn post(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.closed {
            return false;
        }
        codec::text_frame(&mut self.unsent, write);
        self.charge_unsent();
        self.must_enqueue()
    }

    /// Notes that a slot has something new. True as for [`Self::post`].
    pub(super) fn mark(&mut self, slot: SlotId) -> bool {
        self.slots.mark(slot) && self.must_enqueue()
    }

    /// A blocked socket has a task that sends everything when it can.
    pub(super) fn must_enqueue(&mut self) -> bool {
        !self.blocked && !std::mem::replace(&mut self.is_queued, true)
    }

    /// Sends a close frame behind everything else and lets nothing follow it.
    pub(super) fn close(&mut self, frame: &[u8]) -> Progress {
        let progress = self.send(frame);
        self.closed = true;
        progress
    }

    /// Lets the socket go as soon as it has taken everything; the client may still be read.
    pub(super) fn finish(&mut self) {
        self.finishes = true;
        self.let_go_if_done();
    }

    fn let_go_if_done(&mut self) {
        if self.finishes && self.unsent_len() == 0 {
            self.socket = None;
        }
    }

    /// Writes unsent bytes, then what is marked, then what is doubted, in rounds, until the socket blocks or nothing is left.
    /// States come first: a record may be called fresh only when its watcher has what makes it so.
    pub(super) fn flush(&mut self, buffer: &mut Vec<u8>, proven: impl Fn(&Topic) -> Proven) -> Flushed {
        let flushed = self.flush_rounds(buffer, proven);
        self.charge_unsent();
        flushed
    }

    fn flush_rounds(&mut self, buffer: &mut Vec<u8>, proven: impl Fn(&Topic) -> Proven) -> Flushed {
        let mut flushed = Flushed { progress: Progress::Idle, states: 0, since: None };
        self.is_queued = false;
        loop {
            self.write_unsent();
            if self.unsent_len() > 0 {
                return Flushed { progress: self.progress(), ..flushed };
            }
            self.forget_sent();
            if self.closed || self.gone || !(self.slots.is_marked() || self.slots.is_doubted()) {
                self.blocked = false;
                self.let_go_if_done();
                return Flushed { progress: self.progress(), ..flushed };
            }
            buffer.clear();
            self.gather(buffer, &mut flushed);
            if !self.slots.is_marked() {
                freshness::gather(buffer, ROUND_BYTES, &mut self.slots, &self.subscriptions, &proven);
            }
            let sent = self.write(buffer);
            self.unsent.extend_from_slice(&buffer[sent..]);
        }
    }

    /// Encodes what marked slots have to send, as much as a round takes.
    fn gather(&mut self, buffer: &mut Vec<u8>, flushed: &mut Flushed) {
        self.slots.give_due(self.blocked, |due| {
            push(buffer, due.subscription, &due.record());
            flushed.states += 1;
            flushed.since = Some(flushed.since.map_or(due.frame.since, |since| since.min(due.frame.since)));
            if buffer.len() < ROUND_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
    }

    fn write_unsent(&mut self) {
        let unsent = std::mem::take(&mut self.unsent);
        self.written += self.write(&unsent[self.written..]);
        self.unsent = unsent;
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        let Some(socket) = &self.socket else {
            self.gone = true;
            return sent;
        };
        while sent < bytes.len() && !self.gone {
            match socket.try_write(&bytes[sent..]) {
                Ok(0) => self.gone = true,
                Ok(taken) => sent += taken,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
        sent
    }

    fn progress(&self) -> Progress {
        match () {
            () if self.gone => Progress::Gone,
            () if self.unsent_len() > 0 => Progress::Blocked,
            () => Progress::Idle,
        }
    }

    /// Ends the sending side for good; returns the registrations to end. What still waited is lost.
    pub(super) fn end(&mut self) -> Vec<(Arc<Topic>, usize)> {
        self.closed = true;
        self.gone = true;
        self.socket = None;
        self.unsent = Vec::new();
        self.written = 0;
        self.charge_unsent();
        self.subscriptions.clear();
        self.slots.clear()
    }
}

/// Writes one notification as a frame. `body` is a record object.
pub(super) fn push(buffer: &mut Vec<u8>, subscription: u64, body: &[u8]) {
    codec::text_frame(buffer, |out| codec::notification(out, subscription, body));
}

/// The number of a subscription id.
pub(super) fn subscription_number(name: &str) -> Option<u64> {
    name.strip_prefix('s').filter(|digits| !digits.starts_with('+'))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpSocket, TcpStream},
    };

    use super::*;
    use crate::{service::Budget, telemetry::Telemetry};

    fn fresh(_: &Topic) -> Proven {
        Proven { is_fresh: true, age: Duration::ZERO }
    }

    fn budget() -> Budget {
        Budget::new(1 << 30, &Telemetry::new())
    }

    #[tokio::test]
    async fn a_large_text_becomes_the_tail_as_it_is_and_counts_as_held() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connect");
        let (socket, _) = listener.accept().await.expect("accept");
        let (_reading, writing) = socket.into_split();
        let (mut outgoing, text) = (Outgoing::new(Arc::new(writing), budget().charge(0)), vec![b'x'; 16 << 20]);
        let bytes = text.as_ptr();
        assert_eq!(outgoing.send_whole(text), Progress::Blocked);
        assert_eq!(outgoing.unsent.as_ptr(), bytes, "the text was copied");
        assert_eq!(outgoing.charge.taken(), outgoing.unsent_len());
        let mut header = [0; 10];
        client.read_exact(&mut header).await.expect("open");
        assert_eq!(header, [0x81, 127, 0, 0, 0, 0, 1, 0, 0, 0]);
        outgoing.end();
        assert_eq!(outgoing.charge.taken(), 0);
    }

    #[tokio::test]
    async fn what_is_posted_leaves_together_and_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connect");
        let (socket, _) = listener.accept().await.expect("accept");
        let (_reading, writing) = socket.into_split();
        let mut outgoing = Outgoing::new(Arc::new(writing), budget().charge(0));
        assert!(outgoing.post(|out| out.push(b'1')), "the first makes the connection ready");
        assert!(!outgoing.post(|out| out.push(b'2')), "it is ready already");
        assert_eq!(outgoing.unsent_len(), 6, "nothing has left");
        let mut taken = [0; 64];
        assert_eq!(outgoing.flush(&mut Vec::new(), fresh).progress, Progress::Idle);
        let len = client.read(&mut taken).await.expect("open");
        assert_eq!(&taken[..len], b"\x81\x011\x81\x012");
        assert!(outgoing.post(|out| out.push(b'3')), "it was taken off the queue");
        // What is sent at once goes behind what was posted.
        assert_eq!(outgoing.send(b"at once"), Progress::Idle);
        let len = client.read(&mut taken).await.expect("open");
        assert_eq!(&taken[..len], b"\x81\x013at once");
    }

    #[tokio::test]
    async fn a_tail_that_never_empties_does_not_grow() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let client = TcpSocket::new_v4().expect("a socket");
        // Set, it stays: a buffer that grew with the traffic might take all unsent bytes.
        client.set_recv_buffer_size(64 * 1024).expect("a small buffer");
        let mut client = client.connect(listener.local_addr().expect("bound")).await.expect("connect");
        let (socket, _) = listener.accept().await.expect("accept");
        let (_reading, writing) = socket.into_split();
        let socket = Arc::new(writing);
        let mut outgoing = Outgoing::new(socket.clone(), budget().charge(0));
        // Far more than socket buffers hold.
        assert_eq!(outgoing.send(&vec![b'x'; 16 << 20]), Progress::Blocked);
        let begun_with = outgoing.unsent_len();
        tokio::spawn(async move {
            let mut taken = vec![0; 1 << 20];
            while client.read(&mut taken).await.is_ok_and(|len| len > 0) {}
        });
        let (mut buffer, mut passed) = (Vec::new(), 0);
        while passed < 6 * begun_with {
            tokio::time::timeout(Duration::from_secs(20), socket.writable()).await.expect("in time").expect("open");
            outgoing.flush(&mut buffer, fresh);
            let sent = begun_with - outgoing.unsent_len();
            assert!(sent < begun_with, "nothing is unsent");
            outgoing.send(&vec![b'x'; sent]);
            passed += sent;
        }
        assert!(outgoing.unsent.capacity() <= 4 * begun_with, "{} bytes are kept", outgoing.unsent.capacity());
    }
}
