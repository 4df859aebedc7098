//! What stands in place of the server's `src/sync.rs`.

use std::task::Waker;

use loom::sync::Mutex;
pub use loom::sync::atomic;

/// A waker behind a lock, which promises what `futures_util::task::AtomicWaker` does.
#[derive(Default)]
pub struct AtomicWaker(Mutex<Option<Waker>>);

impl AtomicWaker {
    pub fn register(&self, waker: &Waker) {
        *self.0.lock().expect("no panic") = Some(waker.clone());
    }

    pub fn wake(&self) {
        let waker = self.0.lock().expect("no panic").take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
