//! Completion callbacks: how an outcome reaches a caller that does not wait in a task of its own.
//!
//! A task, two channels and a timer were half of what the node did for a miss or a write. A callback in the batch costs one
//! allocation. So writes and loads take a callback, and nothing else: a caller that would rather wait makes one with
//! [`channel`]. Callers hand over plain closures; the part that will complete an operation makes a [`Completion`] of the
//! closure, because only that part knows what it means when it is dropped.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::sync::oneshot;

/// A callback that is called once, with an outcome. If it is dropped before that, because its owner panicked or ended with
/// the process's other tasks, it is called with what `abandoned` says, so that no caller hangs.
///
/// It runs on the thread that completes it, so it must not block.
pub struct Completion<T> {
    callback: Option<Box<dyn FnOnce(T) + Send + Sync>>,
    abandoned: fn() -> T,
}

impl<T> Completion<T> {
    /// Calls `callback`, with what `abandoned` says unless it is completed.
    pub fn new(abandoned: fn() -> T, callback: impl FnOnce(T) + Send + Sync + 'static) -> Self {
        Completion { callback: Some(Box::new(callback)), abandoned }
    }

    /// From here on, an abandoned callback is called with what `abandoned` says.
    pub fn abandon_as(&mut self, abandoned: fn() -> T) {
        self.abandoned = abandoned;
    }

    /// Calls the callback with `outcome`.
    pub fn complete(mut self, outcome: T) {
        if let Some(callback) = self.callback.take() {
            callback(outcome);
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if let Some(callback) = self.callback.take() {
            callback((self.abandoned)());
        }
    }
}

/// A callback, and the future of what it is called with; of what `abandoned` says, if it is dropped uncalled.
pub fn channel<T: Send + 'static>(abandoned: fn() -> T) -> (impl FnOnce(T) + Send + Sync + 'static, Outcome<T>) {
    let (sender, receiver) = oneshot::channel();
    (move |outcome| drop(sender.send(outcome)), Outcome { receiver, abandoned })
}

/// The outcome of an operation that was begun with the callback of a [`channel`].
///
/// # Cancel safety
/// Dropping the future drops this caller only; the operation runs on.
#[must_use = "the operation has begun, and what it comes to is lost"]
pub struct Outcome<T> {
    receiver: oneshot::Receiver<T>,
    abandoned: fn() -> T,
}

impl<T> Future for Outcome<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let received = ready!(Pin::new(&mut self.receiver).poll(context));
        Poll::Ready(received.unwrap_or_else(|_| (self.abandoned)()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_callback_is_called_once_whether_it_is_completed_or_abandoned() {
        let (outcomes, called) = mpsc::channel();
        let completion = || {
            let outcomes = outcomes.clone();
            Completion::new(|| "abandoned", move |outcome| outcomes.send(outcome).expect("the test listens"))
        };
        completion().complete("completed");
        drop(completion());
        let mut other = completion();
        other.abandon_as(|| "abandoned otherwise");
        drop(other);
        assert_eq!(called.try_iter().collect::<Vec<_>>(), ["completed", "abandoned", "abandoned otherwise"]);
    }

    #[tokio::test]
    async fn the_future_of_a_callback_is_what_it_is_called_with_or_the_word_for_being_dropped() {
        let (answer, outcome) = channel(|| "abandoned");
        answer("completed");
        assert_eq!(outcome.await, "completed");
        let (answer, outcome) = channel(|| "abandoned");
        drop(answer);
        assert_eq!(outcome.await, "abandoned");
    }
}
