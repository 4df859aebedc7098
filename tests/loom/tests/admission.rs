//! A reader that pauses while what it waits for is freed.

use std::{future::poll_fn, sync::Arc, task::Poll};

use freshet_loom::session::Admission;
use loom::{future::block_on, sync::Mutex, thread};

/// A connection that is full with one request, or one unsent byte.
#[derive(Default)]
struct Connection {
    admission: Admission,
    unsent: Mutex<usize>,
}

impl Connection {
    fn is_full(&self) -> bool {
        self.admission.in_flight() > 0 || *self.unsent.lock().expect("no panic") > 0
    }

    /// Ends only if every wake that is needed comes; else loom reports a deadlock.
    fn read(&self) {
        block_on(poll_fn(|context| match self.admission.must_pause(context.waker(), || self.is_full()) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }));
        assert!(!self.is_full(), "the reader goes on without room");
    }

    fn flush(&self) {
        *self.unsent.lock().expect("no panic") = 0;
        self.admission.wake_reader();
    }
}

/// Runs `work` beside the reader, each in a thread of its own, in every order with at most three interruptions of a
/// running thread.
fn model(requests: usize, unsent: usize, work: &'static [fn(&Connection)]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let connection = Arc::new(Connection::default());
        connection.admission.begin(requests);
        *connection.unsent.lock().expect("no panic") = unsent;
        let spawn = |work: &fn(&Connection)| {
            let (connection, work) = (connection.clone(), *work);
            thread::spawn(move || work(&connection))
        };
        let threads: Vec<_> = work.iter().map(spawn).collect();
        connection.read();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
}

fn end(connection: &Connection) {
    connection.admission.end(1);
}

#[test]
fn a_reader_that_pauses_for_requests_is_woken_by_the_end_of_the_last() {
    model(2, 0, &[end, end]);
}

#[test]
fn a_reader_that_pauses_for_unsent_bytes_is_woken_when_they_are_sent() {
    model(0, 1, &[Connection::flush]);
}

#[test]
fn a_reader_that_pauses_for_both_is_woken_whichever_is_freed_last() {
    model(1, 1, &[end, Connection::flush]);
}
