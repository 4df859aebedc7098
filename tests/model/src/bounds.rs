//! How much may happen in a run.

/// What there is, and how much of what may happen. Nothing bounds the number of steps.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// Keys: 1 or 2.
    pub keys: usize,
    /// Commits of a history.
    pub commits: u8,
    /// Marks of a history.
    pub marks: u8,
    /// Whether a mark is committed as soon as its snapshot is taken.
    pub prompt_marks: bool,
    /// Whether a poll is applied as soon as its snapshot is taken.
    pub prompt_polls: bool,
    /// Nodes.
    pub nodes: usize,
    /// Reads that a node has in flight at a time.
    pub reads: usize,
    /// Keepers.
    pub keepers: usize,
    /// Whether nodes poll, keep and judge. Without it they only lease, read and fill.
    pub follows: bool,
    /// Whether chain, keeper and nodes are up and at mark 1 in the beginning.
    pub is_warm: bool,
    /// How many of the nodes start cold even so.
    pub cold_nodes: usize,
    /// Whether every node has every key in L1 in the beginning.
    pub is_cached: bool,
    /// Whether there are replicas, at any moment each.
    pub replicas: bool,
    /// Whether the retention may end.
    pub prunes: bool,
    /// Whether a replica may become the primary, once.
    pub promotes: bool,
    /// Whether one that the promotion left behind may become the primary after that, once.
    pub promotes_again: bool,
    /// Whether the primary before it, which commits nothing any more, still answers who has not met the new one.
    pub old_primary: bool,
    /// Whether Redis may lose any slot.
    pub evicts: bool,
    /// Whether it may lose the chain.
    pub loses_chain: bool,
    /// How often a copy of Redis is made, which takes its place later or never.
    pub copies: u8,
    /// Whether clients reach both the server and its copy.
    pub is_split: bool,
    /// Whether keepers may start over at any time.
    pub restarts: bool,
    /// Whether they may begin to poll anew at any time.
    pub reopens: bool,
    /// Whether each key is a chunk of its own.
    pub chunks: bool,
    /// Whether scripts may be cut in the middle.
    pub cuts: bool,
    /// Own writes.
    pub own_writes: u8,
    /// Whether keepers send hints.
    pub hints: bool,
    /// Whether clients ask for stamps that no writer has written.
    pub imagined_stamps: bool,
    /// Whether keepers take the polls of nodes in place of their own.
    pub shared_polls: bool,
    /// Whether readers wait for a lease and never go to the primary while the shared tier is up; they are asked until they
    /// have an entry. Reads of the primary are counted.
    pub patient: bool,
    /// The most reads of the primary, where they are counted; 0 for any number.
    pub loads: u8,
}
