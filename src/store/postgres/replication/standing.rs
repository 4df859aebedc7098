//! Whether a replica may be asked: not before it was seen to follow, and not for a while after it failed.

use std::time::{Duration, Instant};

/// How long a replica that failed is not asked: at first, and at the most, doubled while it goes on failing.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(30);
/// One that was good for so long fails as if for the first time.
const GOOD: Duration = Duration::from_secs(60);

/// How a replica stands.
#[derive(Debug)]
pub(super) struct Standing {
    state: State,
    /// After the next failure.
    rest: Duration,
    /// When it was let back last.
    since: Instant,
}

#[derive(Debug)]
enum State {
    Asked,
    /// Not before `until`, and not before a look at it finds nothing wrong.
    Banned {
        reason: String,
        until: Instant,
    },
}

impl Standing {
    /// Nobody has looked at it yet.
    pub(super) fn new(now: Instant) -> Self {
        let state = State::Banned { reason: "it was not asked yet".into(), until: now };
        Standing { state, rest: REST_MIN, since: now }
    }

    /// Whether it may be asked.
    pub(super) fn is_asked(&self) -> bool {
        matches!(self.state, State::Asked)
    }

    /// Why it is not asked.
    pub(super) fn reason(&self) -> Option<&str> {
        match &self.state {
            State::Asked => None,
            State::Banned { reason, .. } => Some(reason),
        }
    }

    /// It failed, or is not fit, for `reason`. True if it was asked until now.
    pub(super) fn ban(&mut self, reason: String, now: Instant) -> bool {
        let was_asked = self.is_asked();
        if was_asked && now.saturating_duration_since(self.since) >= GOOD {
            self.rest = REST_MIN;
        }
        let until = match &self.state {
            State::Asked => {
                let rest = self.rest;
                self.rest = (rest * 2).min(REST_MAX);
                now + rest
            }
            State::Banned { until, .. } => *until,
        };
        self.state = State::Banned { reason, until };
        was_asked
    }

    /// A look at it found nothing wrong. True if it is asked again from now on.
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        match self.state {
            State::Banned { until, .. } if now >= until => {
                (self.state, self.since) = (State::Asked, now);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_fails_again_and_again_is_asked_ever_less_often() {
        let begun = Instant::now();
        let mut standing = Standing::new(begun);
        assert!(standing.admit(begun) && standing.is_asked());
        let mut now = begun;
        let rests = [(); 8].map(|()| {
            assert!(standing.ban("it is slow".into(), now));
            assert_eq!((standing.is_asked(), standing.reason()), (false, Some("it is slow")));
            let banned = now;
            while !standing.admit(now) {
                now += Duration::from_millis(100);
                standing.ban("it is slow still".into(), now - Duration::from_millis(50));
            }
            now - banned
        });
        assert_eq!(rests.map(|rest| rest.as_secs()), [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(standing.ban("at last".into(), now + GOOD));
        assert!(standing.admit(now + GOOD + Duration::from_secs(2)), "it was good for long");
    }
}
