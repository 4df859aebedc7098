//! Keepers: they apply changes to the shared tier. Any number may run; a stopped one may go on at any time.

use crate::{
    database::{Database, KEYS, Poll, Stamp},
    hints::Hint,
    redis::{Chain, Random},
    system::{State, System},
};

/// How far a keeper has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keeper {
    /// It has just started, or something went wrong: it is to claim.
    #[default]
    Idle,
    /// It has read the chain.
    Read(Option<Chain>),
    /// Only where the mark is looked for in a statement of its own: it has found the mark of a chain, with its snapshot.
    Found(Chain, u8),
    /// It polled and is about to start a new incarnation.
    Claiming(Option<Chain>, Poll),
    /// Only where the chain is set first: the tail it left.
    Claimed(Random),
    /// It is to apply a poll from a key on, if the chain's tail is still the same.
    Applying(Random, Poll, u8),
    /// It has applied everything: the tail it left, and the snapshot, mark and generation of its last poll.
    Steady(Random, u8, u8, u8),
}

/// A step of a keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Reads a server's chain.
    Read(usize),
    /// Looks for the mark of the chain that it read, and polls, on the primary or the one before it.
    Look(bool),
    /// Starts a new incarnation on a server.
    Claim(usize),
    /// Polls, the primary or the one before it.
    Poll(bool),
    /// Takes over the poll that a node has in flight, in place of one of its own.
    Share(usize),
    /// Applies the next chunk on a server.
    Apply(usize),
    /// Applies it with a script that is cut in the middle.
    ApplyCut(usize),
    /// Begins to poll anew: its first poll reports nothing.
    Reopen,
    /// Starts over: after an error, an unknown outcome or a restart.
    Restart,
}

impl Keeper {
    /// Lets `visit` see every random number.
    pub fn randoms(&mut self, visit: &mut impl FnMut(&mut Random)) {
        match self {
            Keeper::Read(chain) | Keeper::Claiming(chain, _) => chain.iter_mut().for_each(|chain| chain.randoms(visit)),
            Keeper::Found(chain, _) => chain.randoms(visit),
            Keeper::Claimed(tail) | Keeper::Applying(tail, ..) | Keeper::Steady(tail, ..) => visit(tail),
            Keeper::Idle => {}
        }
    }
}

impl System {
    /// The steps that a keeper may take.
    pub fn keeper_steps(&self, state: &State, keeper: usize, steps: &mut Vec<Step>) {
        let is_one_more = self.bounds.old_primary && state.database.lost.is_some();
        let primaries = [Some(false), is_one_more.then_some(true)].into_iter().flatten();
        match &state.keepers[keeper] {
            Keeper::Idle => steps.extend(self.servers(state).map(Step::Read)),
            Keeper::Read(_) | Keeper::Found(..) => steps.extend(primaries.map(Step::Look)),
            Keeper::Claiming(..) => steps.extend(self.servers(state).map(Step::Claim)),
            Keeper::Claimed(_) => steps.extend(primaries.map(Step::Poll)),
            Keeper::Steady(..) if self.bounds.shared_polls => steps.extend((0..state.nodes.len()).map(Step::Share)),
            Keeper::Steady(..) => steps.extend(primaries.map(Step::Poll)),
            Keeper::Applying(..) => {
                steps.extend(self.servers(state).map(Step::Apply));
                if self.bounds.cuts {
                    steps.extend(self.servers(state).map(Step::ApplyCut));
                }
            }
        }
        if self.bounds.reopens && matches!(state.keepers[keeper], Keeper::Steady(..)) {
            steps.push(Step::Reopen);
        }
        if self.bounds.restarts && !matches!(state.keepers[keeper], Keeper::Idle) {
            steps.push(Step::Restart);
        }
    }

    /// Takes a step of a keeper.
    pub fn keep(&self, state: &mut State, keeper: usize, step: Step) {
        let now = std::mem::take(&mut state.keepers[keeper]);
        state.keepers[keeper] = match (step, now) {
            (Step::Read(server), _) => Keeper::Read(state.servers[server].chain),
            (Step::Look(is_lost), Keeper::Read(chain)) => self.look(state.database.history(is_lost), chain),
            (Step::Look(is_lost), Keeper::Found(chain, snapshot)) => {
                Keeper::Applying(chain.tail, state.database.history(is_lost).poll(snapshot), 0)
            }
            (Step::Claim(server), Keeper::Claiming(read, poll)) => self.claim(state, server, read, poll),
            (Step::Poll(is_lost), Keeper::Claimed(tail)) => steady(tail, &state.database.history(is_lost).poll(0)),
            (Step::Poll(is_lost), Keeper::Steady(tail, snapshot, mark, generation)) => {
                self.poll(state.database.history(is_lost), tail, snapshot, mark, generation)
            }
            (Step::Share(node), Keeper::Steady(tail, snapshot, mark, generation)) => {
                self.share(state, node, Keeper::Steady(tail, snapshot, mark, generation))
            }
            (Step::Reopen, Keeper::Steady(tail, ..)) if !self.rules.new_feed_is_claimed => {
                steady(tail, &state.database.poll(0))
            }
            (Step::Apply(server), Keeper::Applying(tail, poll, key)) => self.apply(state, server, tail, poll, key),
            (Step::ApplyCut(server), Keeper::Applying(tail, poll, key)) => {
                let (chunk, _, applied) = self.chunk(&poll, key);
                let new = state.draw();
                state.servers[server].apply_cut(tail, new, applied, chunk, &self.rules);
                Keeper::Idle
            }
            _ => Keeper::Idle,
        };
    }

    /// Goes on from the mark of the chain, if that is there; otherwise polls for a new incarnation.
    fn look(&self, database: &Database, read: Option<Chain>) -> Keeper {
        let Some(chain) = read else { return Keeper::Claiming(read, database.poll(0)) };
        match database.mark(chain.applied) {
            Some(mark) if self.rules.claim_in_one_statement => {
                Keeper::Applying(chain.tail, database.poll(mark.snapshot), 0)
            }
            Some(mark) => Keeper::Found(chain, mark.snapshot),
            None if self.rules.claim_looks_for_mark => Keeper::Claiming(read, database.poll(0)),
            None => Keeper::Applying(chain.tail, database.poll(0), 0),
        }
    }

    fn claim(&self, state: &mut State, server: usize, read: Option<Chain>, poll: Poll) -> Keeper {
        let (inc, tail) = (state.draw(), state.draw() + 1);
        let new = Chain { inc, tail, applied: poll.mark };
        if !state.servers[server].claim(read, new, &self.rules) {
            return Keeper::Idle;
        }
        match self.rules.claim_polls_first {
            true => steady(tail, &poll),
            false => Keeper::Claimed(tail),
        }
    }

    fn poll(&self, database: &Database, tail: Random, snapshot: u8, mark: u8, generation: u8) -> Keeper {
        let is_lost = database.mark(mark).is_none() && self.rules.keeper_looks_for_mark
            || database.generation != generation && self.rules.keeper_looks_for_generation;
        match database.poll(snapshot) {
            _ if is_lost => Keeper::Idle,
            poll if poll.snapshot == snapshot && poll.mark == mark => Keeper::Steady(tail, snapshot, mark, generation),
            poll => Keeper::Applying(tail, poll, 0),
        }
    }

    /// A poll of a follower that begins later than the last one applied here would leave a gap.
    fn share(&self, state: &State, node: usize, now: Keeper) -> Keeper {
        let (Keeper::Steady(tail, snapshot, ..), Some((poll, is_lost))) = (&now, &state.nodes[node].poll) else {
            return now;
        };
        let leaves_gap = *is_lost || state.nodes[node].polled > *snapshot;
        match leaves_gap && self.rules.shared_poll_leaves_no_gap {
            true => now,
            false => Keeper::Applying(*tail, poll.clone(), 0),
        }
    }

    fn apply(&self, state: &mut State, server: usize, tail: Random, poll: Poll, key: u8) -> Keeper {
        let (chunk, next, applied) = self.chunk(&poll, key);
        let new = state.draw();
        if !state.servers[server].apply(tail, new, applied, chunk, &self.rules) {
            return Keeper::Idle;
        }
        if usize::from(next) < KEYS {
            return Keeper::Applying(new, poll, next);
        }
        if self.bounds.hints {
            state.hints.extend(Hint::of(&poll));
        }
        steady(new, &poll)
    }

    /// The stamps of the next chunk, the key after it, and the position that the chunk moves to.
    fn chunk(&self, poll: &Poll, key: u8) -> ([Stamp; KEYS], u8, Option<u8>) {
        let from = usize::from(key);
        let is_in = |at: usize| at == from || at > from && !self.bounds.chunks;
        let stamp = |version| Stamp { generation: poll.generation, version };
        let chunk = std::array::from_fn(|at| match poll.changed[at] {
            version if version > 0 && is_in(at) => stamp(version),
            _ => Stamp::default(),
        });
        let rest = poll.changed.iter().enumerate().skip(from + 1).find(|(_, version)| **version > 0);
        let next = rest.filter(|_| self.bounds.chunks).map_or(KEYS, |(at, _)| at);
        let is_last = next == KEYS || !self.rules.last_chunk_moves_applied;
        (chunk, next as u8, is_last.then_some(poll.mark))
    }
}

fn steady(tail: Random, poll: &Poll) -> Keeper {
    Keeper::Steady(tail, poll.snapshot, poll.mark, poll.generation)
}
