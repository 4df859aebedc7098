//! The invariants. Their numbers are those of docs/coherence.md.

use stateright::Property;

use crate::{
    Bounds,
    database::Stamp,
    node::{Breaches, Loaded, Node, Source},
    reader::{Read, Stage},
    redis::{Leased, Random, Redis, Slot},
    system::{State, System},
};

/// All that are looked at within these bounds.
pub fn all(bounds: &Bounds) -> Vec<Property<System>> {
    let mut all = vec![
        always("I15: slots reflect the chain's mark", System::slots_reflect_the_mark),
        always("I5: entries reflect what was applied", |_, state| state.nodes.iter().all(entries_are_current)),
        always("I7: no older answer", |_, state| !breached(state, |breaches| breaches.older_answer)),
        always("I11: no unproven answer", |_, state| !breached(state, |breaches| breaches.unproven_answer)),
        always("I14: generations rise", |_, state| state.nodes.iter().all(generations_rise)),
        always("I9: watchers end on the last state", System::watchers_are_served),
        always("no reader is stuck", System::readers_are_answered),
    ];
    if bounds.follows && bounds.keepers > 0 {
        let happens = |_: &System, state: &State| state.nodes.iter().any(is_answered_by_shared);
        all.push(Property::sometimes("the shared tier answers", happens));
    }
    if bounds.loads > 0 {
        all.push(always("loads are shared", |system, state| state.loads <= system.bounds.loads));
    }
    all
}

fn always(name: &'static str, condition: fn(&System, &State) -> bool) -> Property<System> {
    Property::always(name, condition)
}

fn breached(state: &State, breach: impl Fn(&Breaches) -> bool) -> bool {
    state.nodes.iter().any(|node| breach(&node.breaches))
}

/// An exploration in which the shared tier never answers shows nothing about it.
fn is_answered_by_shared(node: &Node) -> bool {
    let loaded = |read: &Read| match read.stage {
        Stage::Loaded(loaded, _) => Some(loaded).filter(|loaded| loaded.source == Source::Shared),
        _ => None,
    };
    node.reads.iter().filter_map(loaded).any(|loaded| loaded.position >= node.base && node.is_placed)
}

/// An entry may be answered with at any time.
fn generations_rise(node: &Node) -> bool {
    let newest = node.answered.iter().map(|answered| answered.generation).max();
    let is_behind = |entry: &Stamp| Some(entry.generation) < newest;
    !node.breaches.fallen_generation && !node.entries.iter().flatten().any(is_behind)
}

fn entries_are_current(node: &Node) -> bool {
    !node.is_placed
        || node.entries.iter().zip(&node.proven).all(|(entry, proven)| entry.is_none_or(|entry| entry >= *proven))
}

impl System {
    /// A copy is a prefix of the server's history: what holds in each state of the server holds in each prefix.
    fn slots_reflect_the_mark(&self, state: &State) -> bool {
        let reflects = |server, key| Self::slot_reflects_the_mark(state, server, key);
        state.servers.iter().all(|server| (0..self.bounds.keys).all(|key| reflects(server, key)))
    }

    /// Who uses a state of a generation knows no later one.
    fn slot_reflects_the_mark(state: &State, server: &Redis, key: usize) -> bool {
        match (server.chain, server.slots[key]) {
            (Some(chain), Some(Slot::State { inc, stamp })) if inc == chain.inc => {
                stamp >= state.database.vouched(key, chain.applied, stamp.generation)
            }
            _ => true,
        }
    }

    /// Where a node has polled everything and owes nothing, the last state that was sent is the row's.
    fn watchers_are_served(&self, state: &State) -> bool {
        let now = state.database.now();
        let has_polled =
            |node: &Node| node.polled == now.commits && node.polled_generation == state.database.generation;
        let is_quiet = |node: &Node| node.is_placed && node.poll.is_none() && node.write.is_none() && has_polled(node);
        let is_served = |node: &Node, key: usize| {
            let sent = node.answered[key];
            node.owed[key] || sent == Stamp::default() || sent >= state.database.stamp(key, now)
        };
        state
            .nodes
            .iter()
            .filter(|node| is_quiet(node))
            .all(|node| (0..self.bounds.keys).all(|key| is_served(node, key)))
    }

    /// Whether every read is answered even if nobody but its reader does anything from now on, and leases expire.
    fn readers_are_answered(&self, state: &State) -> bool {
        let is_answered = |node, key| self.answers(state, node, key);
        !self.bounds.follows
            || (0..state.nodes.len()).all(|node| (0..self.bounds.keys).all(|key| is_answered(node, key)))
    }

    /// The reader asks the shared tier for a state or a lease if it may, and the primary otherwise. What is refused is
    /// repeated.
    fn answers(&self, state: &State, node: usize, key: usize) -> bool {
        let (mut node, mut server) = (state.nodes[node].clone(), state.servers[0].clone());
        let mut answers_once = || {
            let leased = match self.may_ask(&node, &server) {
                true => server.lease(key, node.wanted(key), Random::MAX, &self.rules),
                false => Leased::None,
            };
            let loaded = match leased {
                Leased::State(position, stamp) => Loaded::new(Source::Shared, position, stamp),
                Leased::Granted | Leased::None => state.primary(key, false),
                Leased::Held => {
                    server.slots[key] = None;
                    return false;
                }
            };
            node.install(key, loaded, &self.rules)
        };
        (0..4).any(|_| answers_once())
    }
}
