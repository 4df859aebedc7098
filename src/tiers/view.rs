//! What this node knows of each database: how far its changes are applied, and since when.
//!
//! Floors, base, position and certificate belong together, because marks belong to a database; so do the filters, because a
//! scan and the changes after it are of one.

use std::time::Instant;

use tokio::sync::Notify;

use super::{
    Config,
    filter::Filters,
    floors::Floors,
    freshness::{Freshness, Verdict},
};
use crate::{
    record::{Catalogue, DatabaseId, Position},
    store::Proof,
};

/// A node's view of a database.
pub(super) struct View {
    pub(super) floors: Floors,
    pub(super) freshness: Freshness,
    pub(super) filters: Filters,
    /// Set when a read met a new generation: every subscription must be read anew.
    pub(super) reset: Notify,
}

/// The views of all databases.
pub(super) struct Views {
    views: Box<[View]>,
    /// The oldest certificate of them: while that is fresh, all are, whichever database a record is of.
    oldest: Freshness,
}

impl View {
    /// Nothing is known yet. `floors_max` floors are held at the most.
    fn new(config: &Config, floors_max: usize, catalogue: &Catalogue) -> Self {
        View {
            floors: Floors::new(config.window.0, floors_max),
            freshness: Freshness::new(config.freshness.clone()),
            filters: Filters::new(config.filter.clone(), catalogue),
            reset: Notify::new(),
        }
    }

    /// Changes that were all visible before `moment`, in a snapshot that showed mark `seen`, take no floors: the base rises.
    pub(super) fn raise_base(&self, seen: Position, moment: Instant) {
        self.floors.raise_base(seen, moment);
    }
}

impl Views {
    /// Nothing is known of `databases` yet. They have equal shares of the floors.
    pub(super) fn new(config: &Config, databases: usize, catalogue: &Catalogue) -> Self {
        let floors_max = config.floors_max.div_ceil(databases.max(1));
        let views = (0..databases).map(|_| View::new(config, floors_max, catalogue)).collect();
        Views { views, oldest: Freshness::new(config.freshness.clone()) }
    }

    /// The view of a database.
    pub(super) fn of(&self, database: DatabaseId) -> &View {
        &self.views[database.index()]
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &View> {
        self.views.iter()
    }

    /// Every change of `database` that was visible at the proof's position, and before its moment, has been applied. The
    /// position first: what the certificate vouches for must not be judged by older floors.
    pub(super) fn advance(&self, database: DatabaseId, proof: Proof) {
        let view = self.of(database);
        view.floors.advance(proof.position);
        view.freshness.prove(proof.begun);
        // What is read here of the others may rise meanwhile; the oldest is then too old, and never too young.
        if let Some(oldest) = self.iter().map(|view| view.freshness.proven()).min().flatten() {
            self.oldest.prove(oldest);
        }
    }

    /// The oldest certificate.
    pub(super) fn oldest(&self) -> &Freshness {
        &self.oldest
    }

    /// What may be done with a cached value of the database that `whose` names; it is not asked while all are fresh.
    pub(super) fn verdict_at(&self, now: Instant, whose: impl FnOnce() -> Option<DatabaseId>) -> Verdict {
        match self.oldest.verdict_at(now) {
            Verdict::Fresh => Verdict::Fresh,
            oldest if self.views.len() == 1 => oldest,
            oldest => whose().map_or(oldest, |database| self.of(database).freshness.verdict_at(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_database_that_is_silent_ages_its_own_records_only() {
        let views = Views::new(&Config::default(), 2, &Catalogue::default());
        let [first, second] = [DatabaseId(0), DatabaseId(1)];
        let verdict = |database| views.verdict_at(Instant::now(), || Some(database));
        let proof = |begun| Proof { position: Position(1), begun };
        views.advance(first, proof(Instant::now()));
        assert_eq!(verdict(first), Verdict::Fresh);
        assert!(matches!(verdict(second), Verdict::Expired(_)), "nothing was proven there");
        views.advance(second, proof(Instant::now()));
        assert_eq!(views.oldest().verdict(), Verdict::Fresh);
        let later = Instant::now() + Duration::from_secs(5);
        views.advance(first, proof(later));
        let verdict = |database| views.verdict_at(later, || Some(database));
        assert_eq!(verdict(first), Verdict::Fresh);
        assert!(matches!(verdict(second), Verdict::Usable(_)));
    }
}
