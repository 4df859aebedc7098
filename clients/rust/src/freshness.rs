//! How far what is known of a watched key is proven.

use std::time::{Duration, Instant};

use serde::Deserialize;

/// Whether what a subscription has of a key lacks no change but those of the last seconds.
///
/// A connection that is lost proves nothing: from then on the key is not fresh, until the server has said on the next one how it
/// stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// The server vouches for it, and says so if it no longer can.
    Fresh,
    /// Changes after `since` may be missing.
    Stale {
        /// Until when it is proven; `None` while the server has said nothing of the key.
        since: Option<Instant>,
    },
}

impl Freshness {
    /// Whether the server vouches for it.
    pub fn is_fresh(&self) -> bool {
        *self == Freshness::Fresh
    }

    /// For how long changes may be missing; `None` while it is fresh, and while the server has said nothing.
    pub fn age(&self) -> Option<Duration> {
        match self {
            Freshness::Stale { since: Some(since) } => Some(since.elapsed()),
            _ => None,
        }
    }

    /// What a server says now.
    pub(super) fn said(is_fresh: bool, age_ms: u64) -> Self {
        // An age from before this machine's clock began is as good as none.
        match is_fresh {
            true => Freshness::Fresh,
            false => Freshness::Stale { since: Instant::now().checked_sub(Duration::from_millis(age_ms)) },
        }
    }

    /// What is left of it when the connection is lost, on which the server was last heard at `heard`.
    pub(super) fn lost(self, heard: Instant) -> Self {
        if self.is_fresh() { Freshness::Stale { since: Some(heard) } } else { self }
    }
}

impl Default for Freshness {
    fn default() -> Self {
        Freshness::Stale { since: None }
    }
}

/// How far records are proven, as [`freshness`](super::Client::freshness) is answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Proven {
    /// Whether every one of them is fresh.
    pub fresh: bool,
    /// Of the one that is proven the least far: for how many milliseconds changes may be missing.
    pub age_ms: u64,
    /// Those that are not fresh, where others are.
    #[serde(default)]
    pub keys: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_counts_on_and_a_lost_connection_proves_nothing() {
        let heard = Instant::now();
        assert_eq!((Freshness::Fresh.is_fresh(), Freshness::Fresh.age()), (true, None));
        assert_eq!(Freshness::Fresh.lost(heard), Freshness::Stale { since: Some(heard) });
        let stale = Freshness::said(false, 3_000);
        assert!(stale.age().is_some_and(|age| age >= Duration::from_secs(3)));
        assert_eq!(stale.lost(heard), stale, "it was proven no further than that");
        assert_eq!(Freshness::default().lost(heard).age(), None);
    }
}
