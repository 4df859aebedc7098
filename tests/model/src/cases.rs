//! The cases that are explored with every test run, each as small as what it is to show permits. `tests/long.rs` has larger
//! ones.

use crate::Bounds;

/// Readers that lease and fill but keep nothing, and a keeper.
fn shared() -> Bounds {
    Bounds {
        keys: 1,
        commits: 2,
        marks: 2,
        nodes: 1,
        reads: 2,
        keepers: 1,
        is_warm: true,
        evicts: true,
        ..Bounds::default()
    }
}

/// One node that polls, reads and keeps, and a keeper.
fn node() -> Bounds {
    Bounds { commits: 2, marks: 2, reads: 1, follows: true, ..shared() }
}

/// Two keepers, of which one may be a zombie, over a Redis that evicts and loses its chain.
pub fn keepers() -> Bounds {
    Bounds { keepers: 2, loses_chain: true, restarts: true, commits: 1, ..shared() }
}

/// A keeper that starts incarnations anew.
pub fn reclaimed() -> Bounds {
    Bounds { loses_chain: true, restarts: true, commits: 1, ..shared() }
}

/// A keeper that begins to poll anew.
pub fn reopened() -> Bounds {
    Bounds { reopens: true, commits: 1, ..shared() }
}

/// A Redis whose replica takes its place.
pub fn failover() -> Bounds {
    Bounds { copies: 1, restarts: true, ..shared() }
}

/// Two masters that clients reach both.
pub fn split() -> Bounds {
    Bounds { is_split: true, commits: 1, ..failover() }
}

/// Polls that are applied in chunks, by scripts that may be cut.
pub fn chunks() -> Bounds {
    Bounds { keys: 2, chunks: true, cuts: true, restarts: true, evicts: false, ..shared() }
}

/// Keepers over pruned history.
pub fn pruned() -> Bounds {
    Bounds { prunes: true, restarts: true, marks: 3, prompt_marks: true, ..shared() }
}

/// Keepers over lost history.
pub fn promoted() -> Bounds {
    Bounds { promotes: true, restarts: true, commits: 1, marks: 3, prompt_marks: true, evicts: false, ..shared() }
}

/// Clients that ask for what no writer has written.
pub fn imagined() -> Bounds {
    Bounds { imagined_stamps: true, restarts: true, ..shared() }
}

/// A node that has run for long.
pub fn warm() -> Bounds {
    node()
}

/// The same with a longer history of marks, so that floors leave the window, and one change.
pub fn long() -> Bounds {
    Bounds { commits: 1, marks: 4, prompt_marks: true, evicts: false, ..node() }
}

/// Such a node, and a Redis that loses its chain.
pub fn lossy() -> Bounds {
    Bounds { loses_chain: true, prompt_polls: true, ..long() }
}

/// Such a node, and a Redis whose replica takes its place.
pub fn node_failover() -> Bounds {
    Bounds { copies: 1, prompt_polls: true, ..long() }
}

/// A node beside replicas.
pub fn replicas() -> Bounds {
    Bounds { replicas: true, ..node() }
}

/// A node that starts.
pub fn cold() -> Bounds {
    Bounds { cold_nodes: 1, marks: 3, commits: 1, replicas: true, ..node() }
}

/// A node whose history is pruned.
pub fn node_pruned() -> Bounds {
    Bounds { prunes: true, marks: 3, prompt_marks: true, prompt_polls: true, commits: 1, ..node() }
}

/// A node whose database is promoted.
pub fn node_promoted() -> Bounds {
    Bounds { promotes: true, commits: 1, prompt_marks: true, evicts: false, ..node() }
}

/// The same with two keys.
pub fn keys_promoted() -> Bounds {
    Bounds { keys: 2, marks: 1, reads: 2, keepers: 0, ..node_promoted() }
}

/// A node that gets hints.
pub fn hints() -> Bounds {
    Bounds { hints: true, ..node() }
}

/// A node that gets hints, also those of a lost history.
pub fn hints_promoted() -> Bounds {
    Bounds { promotes: true, evicts: false, commits: 1, marks: 1, ..hints() }
}

/// A node that writes.
pub fn own_writes() -> Bounds {
    Bounds { own_writes: 1, commits: 0, marks: 3, prompt_marks: true, evicts: false, ..node() }
}

/// The same with a longer history of marks.
pub fn own_writes_long() -> Bounds {
    Bounds { marks: 5, ..own_writes() }
}

/// A node that writes beside replicas, without the shared tier.
pub fn own_writes_replicas() -> Bounds {
    Bounds { own_writes: 1, commits: 0, marks: 5, keepers: 0, replicas: true, ..node() }
}

/// A keeper that takes the polls of a node in place of its own.
pub fn shared_polls() -> Bounds {
    Bounds { shared_polls: true, restarts: true, ..node() }
}

/// Two nodes that are asked for one cold key.
pub fn loads() -> Bounds {
    Bounds { nodes: 2, patient: true, loads: 1, commits: 0, evicts: false, ..node() }
}

/// Two nodes that watch a key which changes once.
pub fn watched() -> Bounds {
    Bounds { is_cached: true, commits: 1, ..loads() }
}

/// A keeper over history that is lost twice.
pub fn promoted_twice() -> Bounds {
    Bounds { promotes_again: true, reads: 1, restarts: false, ..promoted() }
}

/// Keepers, and a primary that answers though another has taken its place.
pub fn old_primary() -> Bounds {
    Bounds { old_primary: true, marks: 1, prompt_marks: false, evicts: true, keepers: 2, restarts: false, ..promoted() }
}

/// A node between the two.
pub fn node_old_primary() -> Bounds {
    Bounds { old_primary: true, marks: 1, ..node_promoted() }
}
