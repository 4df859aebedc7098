//! An answer that is owed to somebody who does not wait in a task of their own.
//!
//! A miss or a write has no task: a task, two oneshot channels and a timer were half of the work that a node did for it.
//! Batches and HTTP requests wait in tasks.

/// Hands an answer over, once. Dropped before that, it hands over what `broken` says instead: whoever owes an answer may
/// end, by a panic or with the process's other tasks, and nobody shall wait for nothing.
///
/// The answer is handed over on the thread that keeps the promise, so what is done with it must not block.
pub struct Promise<T> {
    keep: Option<Box<dyn FnOnce(T) + Send + Sync>>,
    broken: fn() -> T,
}

impl<T> Promise<T> {
    /// Promises `keep` an answer.
    pub fn new(broken: fn() -> T, keep: impl FnOnce(T) + Send + Sync + 'static) -> Self {
        Promise { keep: Some(Box::new(keep)), broken }
    }

    /// From now on hands over what `broken` says when it is dropped.
    pub fn breaks_as(&mut self, broken: fn() -> T) {
        self.broken = broken;
    }

    /// Hands the answer over.
    pub fn keep(mut self, answer: T) {
        if let Some(keep) = self.keep.take() {
            keep(answer);
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(keep) = self.keep.take() {
            keep((self.broken)());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn an_answer_comes_once_whether_the_promise_is_kept_or_broken() {
        let (answers, answered) = mpsc::channel();
        let promise = || {
            let answers = answers.clone();
            Promise::new(|| "broken", move |answer| answers.send(answer).expect("somebody listens"))
        };
        promise().keep("kept");
        drop(promise());
        let mut other = promise();
        other.breaks_as(|| "broken otherwise");
        drop(other);
        assert_eq!(answered.try_iter().collect::<Vec<_>>(), ["kept", "broken", "broken otherwise"]);
    }
}
