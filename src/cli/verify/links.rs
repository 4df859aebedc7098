//! All connections of a run.

use rand::{Rng, seq::IndexedRandom as _};

use super::link::Link;

/// The connections; their nodes take turns.
pub(super) struct Links(Vec<Link>);

impl Links {
    pub(super) fn new(links: Vec<Link>) -> Self {
        Links(links)
    }

    pub(super) fn all(&self) -> &[Link] {
        &self.0
    }

    /// One of those that are open, by its place; `None` while all are being replaced.
    pub(super) fn draw(&self, random: &mut impl Rng) -> Option<usize> {
        let open: Vec<usize> = (0..self.0.len()).filter(|&place| self.0[place].is_open()).collect();
        open.choose(random).copied()
    }

    pub(super) fn at(&self, place: usize) -> &Link {
        &self.0[place]
    }

    /// An open connection to each node that has one.
    pub(super) fn one_of_each_node(&self) -> Vec<&Link> {
        let mut chosen: Vec<&Link> = Vec::new();
        for link in self.0.iter().filter(|link| link.is_open()) {
            if !chosen.iter().any(|one| one.node == link.node) {
                chosen.push(link);
            }
        }
        chosen
    }

    /// How many connections are not open.
    pub(super) fn lost(&self) -> usize {
        self.0.iter().filter(|link| !link.is_open()).count()
    }

    /// Nodes that no connection leads to now.
    pub(super) fn away(&self) -> Vec<String> {
        let mut away: Vec<String> = self.0.iter().map(|link| link.node.clone()).collect();
        away.sort();
        away.dedup();
        away.retain(|node| !self.0.iter().any(|link| link.node == *node && link.is_open()));
        away
    }
}
