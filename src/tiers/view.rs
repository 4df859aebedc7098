//! What this node knows of one database: how far its changes are applied, and since when.
//!
//! Floors, base, position and certificate belong together, because marks belong to a database.

use std::time::Instant;

use super::{Config, floors::Floors, freshness::Freshness};
use crate::{record::Position, store::Proof};

/// A node's view of a database.
pub(super) struct View {
    pub(super) floors: Floors,
    pub(super) freshness: Freshness,
}

impl View {
    /// Nothing is known yet.
    pub(super) fn new(config: &Config) -> Self {
        View {
            floors: Floors::new(config.window.0, config.floors_max),
            freshness: Freshness::new(config.freshness.clone()),
        }
    }

    /// Every change visible at the proof's position, and before its moment, has been applied.
    pub(super) fn advance(&self, proof: Proof) {
        self.floors.advance(proof.position);
        self.freshness.prove(proof.begun);
    }

    /// Changes that were all visible before `moment`, in a snapshot that showed mark `seen`, take no floors: the base rises.
    pub(super) fn raise_base(&self, seen: Position, moment: Instant) {
        self.floors.raise_base(seen, moment);
    }
}
