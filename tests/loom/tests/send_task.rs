//! Senders, the task that waits for the socket, and a client that reads.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use freshet_loom::session::SendTask;
use loom::{
    future::block_on,
    sync::{Condvar, Mutex},
    thread::{self, JoinHandle},
};

/// What is behind a connection's lock, and what its socket has room for.
#[derive(Default)]
struct Outgoing {
    unsent: usize,
    room: usize,
    sent: usize,
    tasks: Vec<JoinHandle<()>>,
}

impl Outgoing {
    /// True if the socket took everything.
    fn write(&mut self) -> bool {
        let taken = self.unsent.min(self.room);
        (self.unsent, self.room, self.sent) = (self.unsent - taken, self.room - taken, self.sent + taken);
        self.unsent == 0
    }
}

#[derive(Default)]
struct Connection {
    outgoing: Mutex<Outgoing>,
    writable: Condvar,
    send_task: SendTask,
    /// Tasks that wait for the socket or write to it. Not loom's: it counts for the check, and orders nothing.
    at_work: AtomicUsize,
}

impl Connection {
    fn with<R>(&self, work: impl FnOnce(&mut Outgoing) -> R) -> R {
        work(&mut self.outgoing.lock().expect("no panic"))
    }

    /// Sends a byte, as the server does: behind the unsent ones, then the task is started if there is none.
    fn send(self: &Arc<Self>) {
        let is_idle = self.with(|outgoing| {
            outgoing.unsent += 1;
            outgoing.write()
        });
        if !is_idle && self.send_task.must_start() {
            let this = self.clone();
            let task = thread::spawn(move || block_on(this.send_unsent()));
            self.with(|outgoing| outgoing.tasks.push(task));
        }
    }

    async fn send_unsent(&self) {
        let flush = || {
            let is_idle = self.with(Outgoing::write);
            self.at_work.fetch_sub(1, Ordering::SeqCst);
            is_idle
        };
        self.send_task.run(|| self.is_writable(), flush, || self.with(|outgoing| outgoing.unsent > 0)).await;
    }

    async fn is_writable(&self) -> bool {
        assert_eq!(self.at_work.fetch_add(1, Ordering::SeqCst), 0, "two tasks wait for the socket");
        let mut outgoing = self.outgoing.lock().expect("no panic");
        while outgoing.room == 0 {
            outgoing = self.writable.wait(outgoing).expect("no panic");
        }
        true
    }

    /// The client takes so much that the socket has room for `bytes` more.
    fn make_room(&self, bytes: usize) {
        self.with(|outgoing| outgoing.room += bytes);
        self.writable.notify_all();
    }

    /// Waits for every task that was started.
    fn join(&self) {
        while let Some(task) = self.with(|outgoing| outgoing.tasks.pop()) {
            task.join().expect("no panic");
        }
    }
}

#[test]
fn one_task_sends_what_is_left_unsent_and_none_is_lost_as_the_task_ends() {
    let mut model = loom::model::Builder::new();
    // Every order with at most five interruptions of a running thread; two tasks at once would need four.
    model.preemption_bound = Some(5);
    model.check(|| {
        let connection = Arc::new(Connection::default());
        connection.send();
        let client = {
            let connection = connection.clone();
            // Room for what is sent first, then for more than the rest: the task may be about to end between the two, and one
            // that was started although another sent everything ends when the socket is writable.
            thread::spawn(move || [1, 2].into_iter().for_each(|bytes| connection.make_room(bytes)))
        };
        connection.send();
        client.join().expect("no panic");
        connection.join();
        connection.with(|outgoing| assert_eq!((outgoing.sent, outgoing.unsent), (2, 0), "bytes are left to no task"));
    });
}
