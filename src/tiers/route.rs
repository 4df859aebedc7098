//! Who is asked for a record that L1 does not have.

use rand::Rng as _;

use super::{
    Tiers,
    batch::Server,
    freshness::Verdict,
    read::ReadOptions,
    read_queue::{Caller, Join},
};
use crate::{
    record::{Position, RecordId},
    shared::Switches,
};

/// Where a record is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// On the primary.
    Primary,
    /// On a replica that is known to show this position; on the primary if none answers.
    Replica(Position),
    /// In the cache that all nodes share; where the rules for a database say, if that has no answer.
    Shared,
    /// Where the rules for a database say; and in the shared cache as well, whose answer is compared and not given.
    Shadowed,
}

impl Tiers {
    /// Where a record is read first: in the shared cache, if that answers, or on a replica, unless none is known to show what this
    /// node or the client has seen. Whether an answer is new enough is judged when it comes; this only spares reads that would
    /// be repeated.
    ///
    /// # Source
    /// docs/coherence.md, R10, and section 5b.
    pub(super) fn route(&self, id: &RecordId, options: &ReadOptions) -> Route {
        let Some(database) = self.owner_of(id.as_ref()) else { return Route::Primary };
        let view = self.inner.views.of(database);
        // The primary's answer needs no certificate. Where it has none to give, another is asked after all.
        if view.freshness.verdict() != Verdict::Fresh {
            return Route::Primary;
        }
        let (floor, needed) = view.floors.required(id);
        if options.min_stamp.is_some_and(|min| floor.is_none_or(|floor| floor < min)) {
            return Route::Primary;
        }
        match self.switches_for(database) {
            Some(switches) if switches.reads => Route::Shared,
            Some(Switches { shadow, .. }) if shadow > 0.0 && rand::rng().random_bool(shadow) => Route::Shadowed,
            _ => self.replica_route(id, needed),
        }
    }

    /// Where a record is read for which the shared cache has no answer.
    pub(super) fn stored_route(&self, id: &RecordId) -> Route {
        let Some(view) = self.view_of(id.as_ref()) else { return Route::Primary };
        self.replica_route(id, view.floors.required(id).1)
    }

    fn replica_route(&self, id: &RecordId, needed: Position) -> Route {
        let shard = self.inner.store.shard_of(id.as_ref()).ok();
        let shown = shard.and_then(|shard| self.inner.store.replica_mark(shard));
        if shown.is_some_and(|shown| needed <= shown) { Route::Replica(needed) } else { Route::Primary }
    }

    /// Where a record is read when `route` came to nothing because the primary is away: on a replica that may well show what
    /// none is known to.
    pub(super) fn other_route(&self, id: &RecordId, route: Route) -> Option<Route> {
        let shard = self.inner.store.shard_of(id.as_ref()).ok()?;
        let is_there = route == Route::Primary && self.inner.store.replica_mark(shard).is_some();
        is_there.then_some(Route::Replica(Position::default()))
    }

    /// Reads a record where `route` says.
    pub(super) fn load_at(&self, id: &RecordId, join: Join, route: Route, caller: Caller) {
        match route {
            Route::Primary => self.inner.batcher.join(id, join, Server::Primary, caller),
            Route::Replica(needed) => self.inner.batcher.join(id, join, Server::Replica, Caller { needed, ..caller }),
            Route::Shared => self.load_shared(id, caller),
            Route::Shadowed => {
                self.shadow(id);
                self.load_at(id, join, self.stored_route(id), caller);
            }
        }
    }
}
