//! Which server is asked for a record that no cache answers.

use super::{Tiers, freshness::Verdict, read::ReadOptions};
use crate::record::{Position, RecordId};

/// Where a record is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// On the primary.
    Primary,
    /// On a replica that is known to show this position; on the primary if none answers.
    Replica(Position),
}

impl Tiers {
    /// Where a record is read first: on a replica, unless none is known to show what this node or the client has seen. Whether
    /// an answer is new enough is judged when it comes; this only spares reads that would be repeated.
    ///
    /// # Source
    /// docs/coherence.md, R10.
    pub(super) fn route(&self, id: &RecordId, options: &ReadOptions) -> Route {
        let shard = self.inner.store.shard_of(id.as_ref());
        let Some(shown) = shard.ok().and_then(|shard| self.inner.store.replica_mark(shard)) else {
            return Route::Primary;
        };
        let Some(view) = self.view_of(id.as_ref()) else { return Route::Primary };
        // The primary's answer needs no certificate. Where it has none to give, a replica is asked after all.
        if view.freshness.verdict() != Verdict::Fresh {
            return Route::Primary;
        }
        let (floor, needed) = view.floors.required(id);
        let is_covered = options.min_stamp.is_none_or(|min| floor.is_some_and(|floor| floor >= min));
        if is_covered && needed <= shown { Route::Replica(needed) } else { Route::Primary }
    }

    /// Where a record is read when `route` came to nothing because the primary is away: on a replica that may well show what
    /// none is known to.
    pub(super) fn other_route(&self, id: &RecordId, route: Route) -> Option<Route> {
        let shard = self.inner.store.shard_of(id.as_ref()).ok()?;
        let is_there = route == Route::Primary && self.inner.store.replica_mark(shard).is_some();
        is_there.then_some(Route::Replica(Position::default()))
    }
}
