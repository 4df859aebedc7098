//! What the log says of requests that fail by a database's fault: enough to act on, however many there are.
//!
//! Every request fails while a disk is full or a right is missing, and each knows only of itself. So a kind of failure is told of
//! once a second at most, once a minute while it stays the same but for numbers, and the line counts those that it stands for.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::store::Error;

/// The least time between two lines of one kind.
const APART: Duration = Duration::from_secs(1);
/// After so long a failure that stays the same is told of again.
const AGAIN: Duration = Duration::from_secs(60);

/// What was said so far. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Failures {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    forbidden: Mutex<Said>,
    broken: Mutex<Said>,
    unavailable: Mutex<Said>,
}

/// Of one kind.
#[derive(Default)]
struct Said {
    /// When, and what without its digits: a full disk names another file each time.
    last: Option<(Instant, String)>,
    /// Failures since then.
    left_out: u64,
}

impl Failures {
    /// Notes what a request came to. Outages are told of where the feed of the database is followed.
    pub(super) fn note<T>(&self, result: &Result<T, Error>) {
        if let Err(error) = result {
            self.note_error(error);
        }
    }

    /// Notes what a write came to. A database whose feed is followed may still refuse writes, as with a full disk.
    pub(super) fn note_write<T>(&self, result: &Result<T, Error>) {
        match result {
            Err(Error::Unavailable { reason }) => {
                if let Some(count) = self.inner.unavailable.lock().tell(reason, Instant::now()) {
                    tracing::warn!(reason, count, "writes fail");
                }
            }
            result => self.note(result),
        }
    }

    fn note_error(&self, error: &Error) {
        match error {
            Error::InDatabase { source, .. } => self.note_error(source),
            Error::Forbidden { .. } => {
                let error = error.to_string();
                if let Some(count) = self.inner.forbidden.lock().tell(&error, Instant::now()) {
                    tracing::error!(error, count, "the node's role lacks a right");
                }
            }
            Error::Broken { what } => {
                if let Some(count) = self.inner.broken.lock().tell(what, Instant::now()) {
                    tracing::error!(what, count, "the store broke a promise");
                }
            }
            _ => {}
        }
    }
}

impl Said {
    /// For how many failures `text` is to be said now; `None` where nothing is to be said.
    fn tell(&mut self, text: &str, now: Instant) -> Option<u64> {
        self.left_out += 1;
        let gist: String = text.chars().filter(|sign| !sign.is_ascii_digit()).collect();
        let is_due = self.last.as_ref().is_none_or(|(at, last)| {
            let since = now.saturating_duration_since(*at);
            since >= AGAIN || (since >= APART && *last != gist)
        });
        is_due.then(|| {
            self.last = Some((now, gist));
            mem::take(&mut self.left_out)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_of_at_once_and_then_once_a_minute_and_another_after_a_second() {
        let (mut said, begun) = (Said::default(), Instant::now());
        let at = |ms| begun + Duration::from_millis(ms);
        assert_eq!(said.tell("the disk of 3 is full", at(0)), Some(1));
        let told = (1..=59_999).filter_map(|ms| said.tell(&format!("the disk of {ms} is full"), at(ms)));
        assert_eq!(told.count(), 0);
        assert_eq!(said.tell("the disk of 7 is full", at(60_000)), Some(60_000));
        let files = ["a", "b", "c"].iter().cycle().zip(60_001..70_000);
        let told: Vec<u64> = files.filter_map(|(file, ms)| said.tell(file, at(ms))).collect();
        assert_eq!(told, [1_000; 9]);
    }
}
