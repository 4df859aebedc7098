//! Reads in flight: the shared tier, a lease, the primary or a replica, then install, then fill.
//!
//! A read of a database may begin at any time, whether or not the shared tier was asked before. That covers the reader which
//! gave up waiting for a lease, and the node without Redis.

use crate::{
    database::{Database, Moment, Stamp},
    node::{Loaded, Node, Source},
    redis::{Leased, Random, Redis, Slot},
    system::{State, System},
};

/// A read in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Read {
    /// The record's key.
    pub key: u8,
    /// How far it has come.
    pub stage: Stage,
}

/// How far a read has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Only where the chain is read after the slot: the slot's incarnation and state.
    Slot(Random, Stamp),
    /// The lease is this reader's.
    Granted(Random),
    /// A state was read; with a token, it is to be filled.
    Loaded(Loaded, Option<Random>),
    /// The state was admitted.
    Filling(Random, Stamp),
}

/// A step of a reader. Reads are named by their place in the node's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Asks a server for chain and slot.
    Ask(usize, usize),
    /// Only where the chain is read after the slot: asks for the slot.
    AskSlot(usize, usize),
    /// Then for the chain.
    AskChain(usize, usize),
    /// Asks a server for a lease of a key, for a state of the stamp at least.
    Lease(usize, usize, Stamp),
    /// Only where the primary is read before the grant: asks for the lease then.
    LeaseLate(usize, usize),
    /// Reads the primary, or the one before it, without a lease.
    Primary(usize, bool),
    /// Reads a replica that stands at a moment, of the lost history if so said.
    Replica(usize, Moment, bool),
    /// Reads the primary, or the one before it, for a lease.
    Load(usize, bool),
    /// Only where fills may come from replicas: reads one for a lease.
    LoadReplica(usize, Moment),
    /// Installs what was read.
    Install(usize),
    /// Fills a server's slot.
    Fill(usize, usize),
}

impl Read {
    /// What was read, if anything was.
    pub fn loaded_mut(&mut self) -> Option<&mut Loaded> {
        match &mut self.stage {
            Stage::Loaded(loaded, _) => Some(loaded),
            _ => None,
        }
    }

    /// Lets `visit` see every random number.
    pub fn randoms(&mut self, visit: &mut impl FnMut(&mut Random)) {
        match &mut self.stage {
            Stage::Slot(random, _) | Stage::Granted(random) | Stage::Filling(random, _) => visit(random),
            Stage::Loaded(_, token) => token.iter_mut().for_each(visit),
        }
    }
}

impl System {
    /// Whether a node may ask the shared tier on a server.
    pub fn may_ask(&self, node: &Node, server: &Redis) -> bool {
        let (Some(chain), rules) = (server.chain, &self.rules) else { return false };
        let is_placed = node.is_placed && !node.reset_due || !rules.first_poll_before_shared;
        let is_frozen = chain.applied < node.base && rules.frozen_chain_is_left;
        !self.bounds.follows || is_placed && !is_frozen
    }

    fn askable(&self, state: &State, node: usize) -> impl Iterator<Item = usize> {
        self.servers(state).filter(move |server| self.may_ask(&state.nodes[node], &state.servers[*server]))
    }

    /// The primaries that a node may ask: also the one before, if its feed has not met the new one.
    pub fn primaries(&self, state: &State, node: usize) -> impl Iterator<Item = bool> + use<> {
        let met = |lost: &Database| state.nodes[node].polled_generation > lost.generation;
        let is_one_more = self.bounds.old_primary && state.database.lost.as_deref().is_some_and(|lost| !met(lost));
        [Some(false), is_one_more.then_some(true)].into_iter().flatten()
    }

    /// The steps that a node's reads may take.
    pub fn reader_steps(&self, state: &State, node: usize, steps: &mut Vec<Step>) {
        for read in 0..state.nodes[node].reads.len() {
            self.next_steps_of(state, node, read, steps);
        }
        let has_room = state.nodes[node].reads.len() < self.bounds.reads;
        let is_done = self.bounds.patient && self.is_answered(state, node);
        if state.nodes[node].is_started && has_room && !is_done {
            (0..self.bounds.keys).for_each(|key| self.first_steps(state, node, key, steps));
        }
    }

    /// Whether every key was answered once.
    fn is_answered(&self, state: &State, node: usize) -> bool {
        (0..self.bounds.keys).all(|key| state.nodes[node].entries[key].is_some() && !state.nodes[node].owed[key])
    }

    fn first_steps(&self, state: &State, node: usize, key: usize, steps: &mut Vec<Step>) {
        for server in self.askable(state, node) {
            if self.bounds.follows {
                steps.push(match self.rules.chain_not_after_slot {
                    true => Step::Ask(key, server),
                    false => Step::AskSlot(key, server),
                });
            }
            self.wanted_stamps(state, node, key).for_each(|wanted| steps.push(Step::Lease(key, server, wanted)));
        }
        let is_left = || self.askable(state, node).next().is_none();
        let reads_early = !self.rules.primary_read_after_grant;
        if (self.bounds.follows || reads_early) && (!self.bounds.patient || is_left()) {
            steps.extend(self.primaries(state, node).map(|is_lost| Step::Primary(key, is_lost)));
        }
        if self.bounds.replicas && self.bounds.follows {
            self.replica_steps(state, key, steps);
        }
    }

    /// The stamps that a reader may want: what its floor says, or what a client asks for that no writer has written.
    fn wanted_stamps(&self, state: &State, node: usize, key: usize) -> impl Iterator<Item = Stamp> + use<> {
        let wanted = state.nodes[node].wanted(key);
        let imagined = Stamp { generation: wanted.generation, version: state.database.now().commits + 1 };
        [Some(wanted), self.bounds.imagined_stamps.then_some(imagined)].into_iter().flatten()
    }

    /// Moments that differ in what they show of a key come once.
    fn replica_steps(&self, state: &State, key: usize, steps: &mut Vec<Step>) {
        let histories = [(Some(&state.database), false), (state.database.lost.as_deref(), true)];
        for (history, is_lost) in histories.into_iter().filter_map(|(history, is_lost)| Some((history?, is_lost))) {
            let mut seen = Vec::new();
            for moment in history.moments() {
                let shown = (history.position(moment), history.version(key, moment.commits));
                if !seen.contains(&shown) {
                    seen.push(shown);
                    steps.push(Step::Replica(key, moment, is_lost));
                }
            }
        }
    }

    fn next_steps_of(&self, state: &State, node: usize, read: usize, steps: &mut Vec<Step>) {
        match state.nodes[node].reads[read].stage {
            Stage::Slot(..) => steps.extend(self.servers(state).map(|server| Step::AskChain(read, server))),
            Stage::Granted(_) => {
                steps.extend(self.primaries(state, node).map(|is_lost| Step::Load(read, is_lost)));
                if !self.rules.fill_comes_from_primary {
                    steps.extend(state.database.moments().map(|moment| Step::LoadReplica(read, moment)));
                }
            }
            Stage::Loaded(loaded, token) => {
                steps.push(Step::Install(read));
                let is_early = token.is_none() && matches!(loaded.source, Source::Primary { .. });
                if is_early && !self.rules.primary_read_after_grant {
                    steps.extend(self.servers(state).map(|server| Step::LeaseLate(read, server)));
                }
            }
            Stage::Filling(..) => steps.extend(self.servers(state).map(|server| Step::Fill(read, server))),
        }
    }

    /// Takes a step of a node's reads.
    pub fn read(&self, state: &mut State, node: usize, step: Step) {
        match step {
            Step::Ask(key, server) => self.ask(state, node, key, server),
            Step::AskSlot(key, server) => {
                if let Some(Slot::State { inc, stamp }) = state.servers[server].slots[key] {
                    state.begin(node, key, Stage::Slot(inc, stamp));
                }
            }
            Step::AskChain(read, server) => self.ask_chain(state, node, read, server),
            Step::Lease(key, server, wanted) => self.lease(state, node, key, server, wanted),
            Step::LeaseLate(read, server) => self.lease_late(state, node, read, server),
            Step::Primary(key, is_lost) => {
                let loaded = state.primary(key, is_lost);
                state.begin(node, key, Stage::Loaded(loaded, None));
            }
            Step::Replica(key, moment, is_lost) => {
                let loaded = state.replica(key, moment, is_lost);
                state.begin(node, key, Stage::Loaded(loaded, None));
            }
            Step::Load(read, is_lost) => state.load(node, read, |state, key| state.primary(key, is_lost)),
            Step::LoadReplica(read, moment) => state.load(node, read, |state, key| state.replica(key, moment, false)),
            Step::Install(read) => self.install(state, node, read),
            Step::Fill(read, server) => self.fill(state, node, read, server),
        }
        state.loads += u8::from(self.bounds.patient && matches!(step, Step::Load(..) | Step::Primary(..)));
    }

    fn ask(&self, state: &mut State, node: usize, key: usize, server: usize) {
        let wanted = state.nodes[node].wanted(key);
        if let Some((position, stamp)) = state.servers[server].get(key, wanted, &self.rules) {
            self.take_shared(state, node, key, position, stamp);
        }
    }

    fn ask_chain(&self, state: &mut State, node: usize, read: usize, server: usize) {
        let Read { key, stage } = state.nodes[node].reads.remove(read);
        let (Stage::Slot(inc, stamp), Some(chain)) = (stage, state.servers[server].chain) else { return };
        if inc == chain.inc {
            self.take_shared(state, node, usize::from(key), chain.applied, stamp);
        }
    }

    fn take_shared(&self, state: &mut State, node: usize, key: usize, applied: u8, stamp: Stamp) {
        state.begin(node, key, Stage::Loaded(Loaded::new(Source::Shared, applied, stamp), None));
    }

    fn lease(&self, state: &mut State, node: usize, key: usize, server: usize, wanted: Stamp) {
        let token = state.draw();
        match state.servers[server].lease(key, wanted, token, &self.rules) {
            Leased::Granted => state.begin(node, key, Stage::Granted(token)),
            Leased::State(position, stamp) if self.bounds.follows => {
                self.take_shared(state, node, key, position, stamp);
            }
            Leased::State(..) | Leased::Held | Leased::None => {}
        }
    }

    fn lease_late(&self, state: &mut State, node: usize, read: usize, server: usize) {
        let (token, Read { key, .. }) = (state.draw(), state.nodes[node].reads[read]);
        let wanted = state.nodes[node].wanted(usize::from(key));
        let leased = state.servers[server].lease(usize::from(key), wanted, token, &self.rules);
        if let (Leased::Granted, Stage::Loaded(_, held)) = (leased, &mut state.nodes[node].reads[read].stage) {
            *held = Some(token);
        }
    }

    fn install(&self, state: &mut State, node: usize, read: usize) {
        let Read { key, stage } = state.nodes[node].reads.remove(read);
        let Stage::Loaded(mut loaded, token) = stage else { return };
        if loaded.source == Source::Shared && !self.rules.position_is_applied {
            loaded.position = state.nodes[node].applied;
        }
        let key = usize::from(key);
        let is_admitted = !self.bounds.follows || state.nodes[node].install(key, loaded, &self.rules);
        if let (true, Some(token)) = (is_admitted, token) {
            state.begin(node, key, Stage::Filling(token, loaded.stamp));
        }
    }

    fn fill(&self, state: &mut State, node: usize, read: usize, server: usize) {
        let Read { key, stage } = state.nodes[node].reads.remove(read);
        let Stage::Filling(token, stamp) = stage else { return };
        state.servers[server].fill(usize::from(key), token, stamp, &self.rules);
    }
}

impl State {
    fn begin(&mut self, node: usize, key: usize, stage: Stage) {
        self.nodes[node].reads.push(Read { key: key as u8, stage });
    }

    fn load(&mut self, node: usize, read: usize, from: impl FnOnce(&State, usize) -> Loaded) {
        let Read { key, stage } = self.nodes[node].reads[read];
        let Stage::Granted(token) = stage else { return };
        let loaded = from(self, usize::from(key));
        self.nodes[node].reads[read].stage = Stage::Loaded(loaded, Some(token));
    }

    /// What a statement on the primary brings now, or on the one before it.
    pub fn primary(&self, key: usize, is_lost: bool) -> Loaded {
        let history = self.database.history(is_lost);
        let now = history.now();
        Loaded::new(Source::Primary { is_young: true }, history.position(now), history.stamp(key, now))
    }

    fn replica(&self, key: usize, moment: Moment, is_lost: bool) -> Loaded {
        let history = self.database.history(is_lost);
        Loaded::new(Source::Replica, history.position(moment), history.stamp(key, moment))
    }
}
