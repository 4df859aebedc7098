//! The whole: a database, Redis servers, nodes and keepers, and every step that one of them may take.

use stateright::{Model, Property};

use crate::{
    Bounds, Rules,
    database::{Database, KEYS, Moment, Stamp},
    hints::Hint,
    keeper::{self, Keeper},
    node::Node,
    reader,
    redis::{Chain, Random, Redis},
};

/// The protocol with these rules, within these bounds.
#[derive(Clone, Debug)]
pub struct System {
    /// Which rules hold.
    pub rules: Rules,
    /// How much may happen.
    pub bounds: Bounds,
}

/// A situation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The primary.
    pub database: Database,
    /// The server that is asked, then its copy, if one was made.
    pub servers: Vec<Redis>,
    /// In no order.
    pub nodes: Vec<Node>,
    /// In no order.
    pub keepers: Vec<Keeper>,
    /// All hints that were ever sent.
    pub hints: Vec<Hint>,
    /// Reads of the primary, where they are counted.
    pub loads: u8,
    /// Copies of the server that may still be made.
    pub copies_left: u8,
    /// Own writes that may still begin.
    pub writes_left: u8,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Another writer commits a change of a key.
    Commit(usize),
    /// The relay takes the snapshot of a mark.
    TakeMark,
    /// The relay commits the mark.
    CommitMark,
    /// Marks before the newest are deleted.
    PruneMarks,
    /// Then the changes before it.
    PruneOutbox,
    /// A replica that stands at a moment becomes the primary.
    Promote(Moment),
    /// A replica that the promotion left behind at a moment becomes the primary.
    PromoteAgain(Moment),
    /// A server loses a key: evicted, expired, or one of a flush.
    Evict(usize, usize),
    /// A server loses its chain.
    LoseChain(usize),
    /// A replica of the server has come up to here.
    Copy,
    /// The replica takes the server's place.
    FailOver,
    /// A node starts.
    Start(usize),
    /// A node takes a poll's snapshot, of the primary or the one before it.
    TakePoll(usize, bool),
    /// A node applies the poll.
    ApplyPoll(usize),
    /// A node's reader does something.
    Read(usize, reader::Step),
    /// A node begins an own write of a key.
    BeginWrite(usize, usize),
    /// Its transaction commits.
    CommitWrite(usize),
    /// The node installs the state and answers.
    AnswerWrite(usize),
    /// A node reads a hint.
    Hint(usize, Hint),
    /// A keeper does something.
    Keep(usize, keeper::Step),
}

impl System {
    /// The protocol, or what is left of it, within bounds.
    pub fn new(rules: Rules, bounds: Bounds) -> Self {
        System { rules, bounds }
    }

    /// The servers that a client may reach: both, if there are two masters.
    pub fn servers(&self, state: &State) -> std::ops::Range<usize> {
        0..if self.bounds.is_split { state.servers.len() } else { 1 }
    }

    fn database_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let (database, bounds) = (&state.database, &self.bounds);
        let now = database.now();
        if now.commits < bounds.commits {
            actions.extend((0..bounds.keys).map(Action::Commit));
        }
        match database.taken {
            Some(_) => actions.push(Action::CommitMark),
            None if now.marks < bounds.marks => actions.push(Action::TakeMark),
            None => {}
        }
        if bounds.prunes {
            actions.extend([Action::PruneMarks, Action::PruneOutbox]);
        }
        if bounds.promotes && database.lost.is_none() {
            actions.extend(database.moments().map(Action::Promote));
        }
        if let Some(lost) = database.lost.as_deref().filter(|lost| bounds.promotes_again && lost.lost.is_none()) {
            actions.extend(lost.moments().map(Action::PromoteAgain));
        }
    }

    fn redis_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let bounds = &self.bounds;
        for (at, server) in state.servers.iter().enumerate().take(self.servers(state).end) {
            let kept = (0..bounds.keys).filter(|key| server.slots[*key].is_some());
            actions.extend(kept.filter(|_| bounds.evicts).map(|key| Action::Evict(at, key)));
            if bounds.loses_chain && server.chain.is_some() {
                actions.push(Action::LoseChain(at));
            }
        }
        match state.servers.len() {
            1 if state.copies_left > 0 => actions.push(Action::Copy),
            2 => actions.push(Action::FailOver),
            _ => {}
        }
    }

    fn node_actions(&self, state: &State, at: usize, actions: &mut Vec<Action>) {
        let node = &state.nodes[at];
        if !node.is_started {
            actions.push(Action::Start(at));
            return;
        }
        if self.bounds.follows {
            match node.poll {
                Some(_) => actions.push(Action::ApplyPoll(at)),
                None => actions.extend(self.primaries(state, at).map(|is_lost| Action::TakePoll(at, is_lost))),
            }
        }
        match node.write {
            Some(write) if write.is_committed => actions.push(Action::AnswerWrite(at)),
            Some(_) => actions.push(Action::CommitWrite(at)),
            None if state.writes_left > 0 => actions.push(Action::BeginWrite(at, 0)),
            None => {}
        }
        actions.extend(state.hints.iter().map(|hint| Action::Hint(at, *hint)));
        let mut steps = Vec::new();
        self.reader_steps(state, at, &mut steps);
        actions.extend(steps.into_iter().map(|step| Action::Read(at, step)));
    }

    fn take(&self, state: &mut State, action: Action) {
        match action {
            Action::Commit(key) => drop(state.database.commit(key)),
            Action::TakeMark => {
                state.database.take_mark();
                if self.bounds.prompt_marks {
                    state.database.commit_mark();
                }
            }
            Action::CommitMark => state.database.commit_mark(),
            Action::PruneMarks => state.database.prune_marks(),
            Action::PruneOutbox => state.database.prune_outbox(&self.rules),
            Action::Promote(moment) => state.database.promote(moment, false, &self.rules),
            Action::PromoteAgain(moment) => state.database.promote(moment, true, &self.rules),
            Action::Evict(server, key) => state.servers[server].slots[key] = None,
            Action::LoseChain(server) => state.servers[server].chain = None,
            Action::Copy => {
                state.servers.push(state.servers[0].clone());
                state.copies_left -= 1;
            }
            Action::FailOver => drop(state.servers.remove(0)),
            Action::Start(node) => state.nodes[node].start(&state.database),
            Action::TakePoll(node, is_lost) => {
                state.nodes[node].take_poll(state.database.history(is_lost), &self.rules);
                if self.bounds.prompt_polls {
                    state.nodes[node].apply_poll(&self.rules);
                }
            }
            Action::ApplyPoll(node) => state.nodes[node].apply_poll(&self.rules),
            Action::Read(node, step) => self.read(state, node, step),
            Action::BeginWrite(node, key) => {
                state.nodes[node].begin_write(key, &state.database);
                state.writes_left -= 1;
            }
            Action::CommitWrite(node) => state.nodes[node].commit_write(&mut state.database),
            Action::AnswerWrite(node) => state.nodes[node].answer_write(&self.rules),
            Action::Hint(node, hint) => state.nodes[node].take_hint(hint, &self.rules),
            Action::Keep(keeper, step) => self.keep(state, keeper, step),
        }
    }
}

impl Model for System {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.bounds)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.database_actions(state, actions);
        self.redis_actions(state, actions);
        (0..state.nodes.len()).for_each(|node| self.node_actions(state, node, actions));
        let mut steps = Vec::new();
        for keeper in 0..state.keepers.len() {
            self.keeper_steps(state, keeper, &mut steps);
            actions.extend(steps.drain(..).map(|step| Action::Keep(keeper, step)));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.take(&mut state, action);
        state.canonicalize();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        crate::properties::all(&self.bounds)
    }
}

impl State {
    fn new(bounds: &Bounds) -> Self {
        let chain = Chain { inc: 1, tail: 2, applied: 1 };
        let warm = |is_warm| if is_warm { Node::warm() } else { Node::cold() };
        let mut nodes: Vec<_> = (0..bounds.nodes).map(|at| warm(bounds.is_warm && at >= bounds.cold_nodes)).collect();
        if bounds.is_cached {
            nodes.iter_mut().for_each(|node| node.entries = [Some(Stamp { generation: 1, version: 0 }); KEYS]);
        }
        let first = if bounds.is_warm { Keeper::Steady(chain.tail, 0, 1, 1) } else { Keeper::Idle };
        let keepers = (0..bounds.keepers).map(|at| if at == 0 { first.clone() } else { Keeper::Idle });
        let server = Redis { chain: (bounds.is_warm && bounds.keepers > 0).then_some(chain), ..Redis::default() };
        let mut state = State {
            database: Database::new(),
            servers: vec![server],
            nodes,
            keepers: keepers.collect(),
            hints: Vec::new(),
            loads: 0,
            copies_left: bounds.copies,
            writes_left: bounds.own_writes,
        };
        state.canonicalize();
        state
    }

    /// A random number that is not in use.
    pub fn draw(&mut self) -> Random {
        let mut highest = 0;
        self.randoms(&mut |random| highest = highest.max(*random));
        highest + 1
    }

    fn randoms(&mut self, visit: &mut impl FnMut(&mut Random)) {
        self.servers.iter_mut().for_each(|server| server.randoms(visit));
        self.keepers.iter_mut().for_each(|keeper| keeper.randoms(visit));
        self.nodes.iter_mut().flat_map(|node| &mut node.reads).for_each(|read| read.randoms(visit));
    }

    /// Makes one state of those that differ only in the order of equals and in what random numbers were drawn.
    fn canonicalize(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.reads.sort_unstable());
        self.nodes.sort_unstable();
        self.keepers.sort_unstable();
        self.hints.sort_unstable();
        self.hints.dedup();
        let mut drawn = Vec::new();
        self.randoms(&mut |random| {
            let place = drawn.iter().position(|other| other == random);
            *random = 1 + place.unwrap_or_else(|| {
                drawn.push(*random);
                drawn.len() - 1
            }) as u8;
        });
    }
}
