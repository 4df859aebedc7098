//! Idempotency keys that were used, for a time.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    record::{RecordId, Stamp},
    store::{Error, Token},
};

/// How long a used key is remembered.
const RETENTION: Duration = Duration::from_secs(600);
/// How many are; beyond that the oldest is forgotten early.
const TOKENS_MAX: usize = 65_536;

/// What the committed writes with an idempotency key came to. Bounded by time and by number.
#[derive(Default)]
pub(super) struct Tokens {
    used: HashMap<Arc<Name>, Used>,
    /// In the order of their use.
    order: VecDeque<Arc<Name>>,
}

/// A client's key is unique within the record it came with.
#[derive(PartialEq, Eq, Hash)]
struct Name {
    record: RecordId,
    key: String,
}

struct Used {
    fingerprint: String,
    stamp: Stamp,
    at: Instant,
}

impl Tokens {
    /// The stamp that a write of `record` with this token was answered with; `None` when there was none.
    ///
    /// # Errors
    /// [`Error::TokenReused`] when that write was another one.
    pub(super) fn find(&mut self, record: &RecordId, token: &Token) -> Result<Option<Stamp>, Error> {
        self.forget_past(Instant::now());
        let name = Name { record: record.clone(), key: token.key.clone() };
        match self.used.get(&name) {
            None => Ok(None),
            Some(used) if used.fingerprint == token.fingerprint => Ok(Some(used.stamp)),
            Some(_) => Err(Error::TokenReused),
        }
    }

    /// Remembers a committed write whose token [`find`](Self::find) did not know.
    pub(super) fn remember(&mut self, record: &RecordId, token: &Token, stamp: Stamp) {
        let name = Arc::new(Name { record: record.clone(), key: token.key.clone() });
        let used = Used { fingerprint: token.fingerprint.clone(), stamp, at: Instant::now() };
        self.used.insert(Arc::clone(&name), used);
        self.order.push_back(name);
        if self.order.len() > TOKENS_MAX {
            self.forget_oldest();
        }
    }

    fn forget_past(&mut self, now: Instant) {
        let is_past = |used: &Used| now.duration_since(used.at) > RETENTION;
        while self.order.front().and_then(|name| self.used.get(name)).is_some_and(is_past) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(name) = self.order.pop_front() {
            self.used.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CollectionId, Key};

    fn record(key: &str) -> RecordId {
        RecordId::new(CollectionId(0), Key::from_database(key))
    }

    fn token(key: &str, fingerprint: &str) -> Token {
        Token { key: key.into(), fingerprint: fingerprint.into() }
    }

    #[test]
    fn a_token_belongs_to_one_record_and_one_request() {
        let mut tokens = Tokens::default();
        tokens.remember(&record("a"), &token("t", "f"), Stamp::new(1, 7));
        assert_eq!(tokens.find(&record("a"), &token("t", "f")).expect("known"), Some(Stamp::new(1, 7)));
        assert_eq!(tokens.find(&record("b"), &token("t", "f")).expect("unknown"), None);
        assert!(matches!(tokens.find(&record("a"), &token("t", "g")), Err(Error::TokenReused)));
    }

    #[test]
    fn tokens_are_forgotten_after_their_time_and_beyond_their_number() {
        let mut tokens = Tokens::default();
        for n in 0..=TOKENS_MAX {
            tokens.remember(&record("a"), &token(&n.to_string(), "f"), Stamp::new(1, 1));
        }
        assert_eq!(tokens.find(&record("a"), &token("0", "f")).expect("forgotten"), None);
        assert!(tokens.find(&record("a"), &token("1", "f")).expect("known").is_some());
        tokens.forget_past(Instant::now() + RETENTION + Duration::from_secs(1));
        assert!(tokens.used.is_empty() && tokens.order.is_empty());
    }
}
