//! Refuses requests at once while a database is silent.
//!
//! Without it each request to a dead database takes as long as its deadline, and with it one of the requests that its
//! connection may have in flight: a client that asks for records of every database would wait for the dead one's.
//!
//! Promises: a database that answers anything within [`SILENCE`], to a read, to a write or to the poll of the feed, is never
//! refused: however slow its statements are, its polls are not. A refusal of the server is an answer, a connection that is
//! refused to begin with included: then its own words say more than a breaker's. A database that answers nothing is tried by
//! one request every [`TRIAL_INTERVAL`], and by the follower; the first answer lets all pass.
//!
//! # Source
//! M. Nygard, "Release It!" (2007), "Circuit Breaker". It is opened by silence, not by a count of failures: a request that
//! fails by itself says nothing about the others, and under load a count is reached by a moment's pause.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::Error;

/// Without an answer for so long, a database that was asked is taken for silent.
const SILENCE: Duration = Duration::from_secs(3);
/// Requests get so long to be answered themselves: before that, only the poll of the feed is known to be silent.
const REQUEST_SILENCE: Duration = Duration::from_millis(500);
/// How often a request is let through to a silent database.
const TRIAL_INTERVAL: Duration = Duration::from_millis(250);

/// Whether a database answers.
#[derive(Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When it was first asked after its last answer.
    asked: Option<Instant>,
    /// When it was first asked for records after its last answer.
    requested: Option<Instant>,
    /// When a request was last let through although it was silent.
    tried: Option<Instant>,
}

impl Breaker {
    /// Lets a request pass that is about to ask the database.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is silent.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Error> {
        let mut state = self.state.lock();
        let since = |asked: &mut Option<Instant>| now.saturating_duration_since(*asked.get_or_insert(now));
        let silence = since(&mut state.asked);
        if since(&mut state.requested) < REQUEST_SILENCE || silence < SILENCE {
            return Ok(());
        }
        if state.tried.is_none_or(|tried| now.saturating_duration_since(tried) >= TRIAL_INTERVAL) {
            state.tried = Some(now);
            return Ok(());
        }
        Err(silent_for(silence))
    }

    /// Whether the database is taken for silent, so that what it was asked is not worth waiting for.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it is.
    pub(super) fn check(&self, now: Instant) -> Result<(), Error> {
        let silence = self.state.lock().asked.map(|asked| now.saturating_duration_since(asked));
        silence.filter(|silence| *silence >= SILENCE).map_or(Ok(()), |silence| Err(silent_for(silence)))
    }

    /// The follower is about to poll, whatever the state.
    pub(super) fn ask(&self, now: Instant) {
        self.state.lock().asked.get_or_insert(now);
    }

    /// The database has answered.
    pub(super) fn answered(&self) {
        *self.state.lock() = State::default();
    }

    /// Notes what became of a statement or a connection attempt: a result and a refusal are answers.
    pub(super) fn note<T>(&self, ended: &Result<T, sqlx::Error>) {
        if matches!(ended, Ok(_) | Err(sqlx::Error::Database(_))) {
            self.answered();
        }
    }
}

fn silent_for(silence: Duration) -> Error {
    Error::Unavailable { reason: format!("the database has not answered for {} s", silence.as_secs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_answers_something_in_time_is_never_refused() {
        let (breaker, mut now) = (Breaker::default(), Instant::now());
        for _ in 0..100 {
            // Many are asked, one of them answers.
            (0..50).for_each(|_| breaker.admit(now).expect("it answers"));
            now += SILENCE - Duration::from_millis(1);
            breaker.admit(now).expect("it answers");
            breaker.answered();
        }
    }

    #[test]
    fn a_silent_database_is_tried_now_and_then_and_its_first_answer_lets_all_pass() {
        let (breaker, begun) = (Breaker::default(), Instant::now());
        breaker.ask(begun);
        let passed = |count: u32, from: Instant| {
            let moments = (0..count).map(|n| from + Duration::from_millis(u64::from(n)));
            moments.filter(|now| breaker.admit(*now).is_ok()).count()
        };
        // Requests show for themselves that they are not answered, then four a second pass.
        assert_eq!(passed(500, begun + SILENCE), 500);
        assert_eq!(passed(1_000, begun + SILENCE + REQUEST_SILENCE), 4);
        let refused = breaker.admit(begun + SILENCE + Duration::from_millis(1_499)).expect_err("it is silent");
        assert!(refused.is_retryable() && refused.to_string().contains("not answered for 4 s"), "{refused}");
        breaker.answered();
        assert_eq!(passed(1_000, begun + SILENCE * 2), 1_000);
    }

    #[test]
    fn a_refusal_is_an_answer_and_a_lost_connection_is_none() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.ask(now);
        breaker.note::<()>(&Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into())));
        breaker.check(now + SILENCE).expect_err("nothing was answered");
        breaker.note(&Ok(()));
        breaker.check(now + SILENCE).expect("it has answered");
    }

    #[test]
    fn a_database_that_is_not_asked_is_not_silent() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.admit(now).expect("it was not asked before");
        breaker.answered();
        breaker.admit(now + SILENCE * 100).expect("it was not asked since");
    }
}
