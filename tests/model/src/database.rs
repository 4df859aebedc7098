//! One database: commits, marks, pruning, and a promotion that loses the newest of both.
//!
//! A commit writes one key, and its version is its place in the history. A put and a delete are the same here: by R5 both
//! have a version. A snapshot is the number of commits that it shows; what it shows of the marks is told by its [`Moment`].

use crate::rules::Rules;

/// How many keys a state has room for; [`crate::Bounds`] says how many are used.
pub const KEYS: usize = 2;

/// How far marks jump when history was lost. In the real database it is 2^32.
const JUMP: u8 = 16;

/// Orders the states of one key: generations first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Counts the losses of history.
    pub generation: u8,
    /// The commit that wrote the key last; 0 if none did.
    pub version: u8,
}

/// A row of the table of marks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// What readers call a position.
    pub number: u8,
    /// The commits that the mark vouches for.
    pub snapshot: u8,
    /// The commits before it in the history: its own commit may come later than its snapshot.
    pub after: u8,
    /// The generation in which it was written.
    pub generation: u8,
}

/// A point of the history: how many commits and how many marks a snapshot taken there shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Visible commits.
    pub commits: u8,
    /// Visible marks, deleted ones included.
    pub marks: u8,
}

/// The primary's history, and the one that a promotion lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Database {
    /// The generation of the one shard.
    pub generation: u8,
    /// The key that each commit wrote.
    pub commits: Vec<u8>,
    /// Every mark, deleted ones included.
    pub marks: Vec<Mark>,
    /// The snapshot of the mark that the relay is about to commit.
    pub taken: Option<u8>,
    /// Marks below this number are deleted.
    marks_from: u8,
    /// Rows of the outbox for commits up to this one are deleted.
    outbox_from: u8,
    /// What a promotion left behind. A replica may still show it.
    pub lost: Option<Box<Database>>,
}

impl Database {
    /// A database with one mark and no commits.
    pub fn new() -> Self {
        let first = Mark { number: 1, snapshot: 0, after: 0, generation: 1 };
        let (commits, marks) = (Vec::new(), vec![first]);
        Database { generation: 1, commits, marks, taken: None, marks_from: 0, outbox_from: 0, lost: None }
    }

    /// What a snapshot shows that the primary takes now.
    pub fn now(&self) -> Moment {
        Moment { commits: self.commits.len() as u8, marks: self.marks.len() as u8 }
    }

    /// Every point of the history that shows a mark: a replica may stand at any of them.
    pub fn moments(&self) -> impl Iterator<Item = Moment> + '_ {
        let pairs =
            (0..=self.now().commits).flat_map(|commits| (1..=self.now().marks).map(move |marks| (commits, marks)));
        pairs.map(|(commits, marks)| Moment { commits, marks }).filter(|moment| self.is_moment(*moment))
    }

    fn is_moment(&self, Moment { commits, marks }: Moment) -> bool {
        let (shown, hidden) = self.marks.split_at(usize::from(marks));
        shown.iter().all(|mark| mark.after <= commits) && hidden.iter().all(|mark| mark.after >= commits)
    }

    /// The version of `key` that a snapshot shows.
    pub fn version(&self, key: usize, snapshot: u8) -> u8 {
        let shown = &self.commits[..usize::from(snapshot)];
        shown.iter().rposition(|written| usize::from(*written) == key).map_or(0, |at| at as u8 + 1)
    }

    /// The state of `key` at a point of the history. R5: version, generation and position are read in one statement.
    pub fn stamp(&self, key: usize, moment: Moment) -> Stamp {
        Stamp { generation: self.generation, version: self.version(key, moment.commits) }
    }

    /// The newest mark that a point of the history shows.
    pub fn position(&self, moment: Moment) -> u8 {
        self.marks[usize::from(moment.marks) - 1].number
    }

    /// The row of mark `number`, unless it is deleted.
    pub fn mark(&self, number: u8) -> Option<&Mark> {
        self.marks.iter().find(|mark| mark.number == number && number >= self.marks_from)
    }

    /// The newest version of each key that the outbox reports for commits after `snapshot`; 0 if it reports none.
    pub fn changed_since(&self, snapshot: u8) -> [u8; KEYS] {
        let from = snapshot.max(self.outbox_from);
        let version = |key| self.version(key, self.now().commits);
        std::array::from_fn(|key| if version(key) > from { version(key) } else { 0 })
    }

    /// A writer commits a change of `key`.
    pub fn commit(&mut self, key: usize) -> Stamp {
        self.commits.push(key as u8);
        self.stamp(key, self.now())
    }

    /// The relay takes the snapshot of its next mark.
    pub fn take_mark(&mut self) {
        self.taken = Some(self.now().commits);
    }

    /// The relay commits the mark whose snapshot it took.
    pub fn commit_mark(&mut self) {
        let Some(snapshot) = self.taken.take() else { return };
        self.push_mark(self.position(self.now()) + 1, snapshot);
    }

    fn push_mark(&mut self, number: u8, snapshot: u8) {
        let mark = Mark { number, snapshot, after: self.now().commits, generation: self.generation };
        self.marks.push(mark);
    }

    /// The retention ends for marks older than the newest.
    pub fn prune_marks(&mut self) {
        self.marks_from = self.position(self.now());
    }

    /// It ends for the rows of the outbox, up to the snapshot of the oldest mark that is left.
    pub fn prune_outbox(&mut self, rules: &Rules) {
        let newest = self.position(self.now());
        let oldest = if rules.marks_pruned_first { self.marks_from } else { newest };
        self.outbox_from = self.mark(oldest).map_or(0, |mark| mark.snapshot).max(self.outbox_from);
    }

    /// A replica that stood at `moment` becomes the primary: the rest of the history is lost. One that was left behind by an
    /// earlier promotion stands in the history lost then. The transaction that raises the generation deletes marks and
    /// outbox and writes one mark, far ahead of every number given before (R9).
    pub fn promote(&mut self, moment: Moment, is_left_behind: bool, rules: &Rules) {
        let (before, mut new) = (self.clone(), self.history(is_left_behind).clone());
        new.commits.truncate(usize::from(moment.commits));
        new.marks.truncate(usize::from(moment.marks));
        (new.generation, new.taken) = (self.generation + 1, None);
        let number = match (rules.marks_jump, rules.jumps_never_meet) {
            (true, true) => before.highest_mark() + JUMP,
            (true, false) => new.position(moment) + JUMP,
            (false, _) => new.position(moment) + 1,
        };
        new.push_mark(number, moment.commits);
        (new.marks_from, new.outbox_from) = (number, moment.commits);
        new.lost = Some(Box::new(before));
        *self = new;
    }

    /// Of all histories.
    fn highest_mark(&self) -> u8 {
        self.histories().map(|history| history.position(history.now())).max().unwrap_or(0)
    }

    /// This history, or the one that was lost.
    pub fn history(&self, is_lost: bool) -> &Database {
        self.lost.as_deref().filter(|_| is_lost).unwrap_or(self)
    }

    /// What mark `number` says of `key` to one who knows no later generation than `generation`. If only a later one has the
    /// mark, it is the end of the history that is known.
    pub fn vouched(&self, key: usize, number: u8, generation: u8) -> Stamp {
        let mut known = self.histories().filter(|history| history.generation <= generation);
        let end = known.clone().find(|history| history.generation == generation);
        let shown = known.find_map(|history| {
            let mark = history.marks.iter().rfind(|mark| mark.number == number)?;
            Some(Stamp { generation: mark.generation, version: history.version(key, mark.snapshot) })
        });
        let is_later = || self.histories().any(|history| history.marks.iter().any(|mark| mark.number == number));
        let end = || end.filter(|_| is_later()).map(|history| history.stamp(key, history.now()));
        shown.or_else(end).unwrap_or_default()
    }

    /// This history, then what was lost, newest first.
    fn histories(&self) -> impl Iterator<Item = &Database> + Clone {
        std::iter::successors(Some(self), |history| history.lost.as_deref())
    }
}

impl Default for Database {
    fn default() -> Self {
        Self::new()
    }
}

/// What one statement of a follower or keeper brings (R15).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Poll {
    /// The snapshot.
    pub snapshot: u8,
    /// The newest mark.
    pub mark: u8,
    /// The shard's generation.
    pub generation: u8,
    /// The newest version of each key that changed since the poll before; 0 if it did not.
    pub changed: [u8; KEYS],
    /// What the snapshot shows of each key, for the invariants.
    pub shown: [u8; KEYS],
}

impl Database {
    /// A poll that reports what `since` does not show.
    pub fn poll(&self, since: u8) -> Poll {
        let now = self.now();
        let shown = std::array::from_fn(|key| self.version(key, now.commits));
        let (mark, changed) = (self.position(now), self.changed_since(since));
        Poll { snapshot: now.commits, mark, generation: self.generation, changed, shown }
    }
}

impl Poll {
    /// What the snapshot shows of each key.
    pub fn stamps(&self) -> [Stamp; KEYS] {
        self.shown.map(|version| Stamp { generation: self.generation, version })
    }
}
