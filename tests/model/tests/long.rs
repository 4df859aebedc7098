//! The cases of `cases` within larger bounds. A quarter of an hour on two cores, and up to 10 GB of memory:
//!
//! ```sh
//! cargo test --release --locked --package freshet-model --test long -- --ignored --nocapture
//! ```

use freshet_model::{Bounds, Rules, cases, check};

macro_rules! holds {
    ($($test:ident: $bounds:expr,)+) => {
        $(
            #[test]
            #[ignore = "minutes"]
            fn $test() {
                let explored = check::explore(Rules::all(), $bounds);
                println!("{}: {explored:?}", stringify!($test));
                assert!(explored.is_ok());
            }
        )+
    };
}

holds! {
    keepers: Bounds { commits: 2, marks: 3, ..cases::keepers() },
    keepers_over_lost_history: Bounds { promotes: true, ..cases::keepers() },
    a_keeper_over_history_lost_twice: Bounds { restarts: true, evicts: true, ..cases::promoted_twice() },
    keepers_over_pruned_history: Bounds { prunes: true, marks: 3, ..cases::keepers() },
    keepers_and_a_failover: Bounds { copies: 1, marks: 1, ..cases::keepers() },
    keepers_and_two_masters: Bounds { copies: 1, marks: 1, is_split: true, ..cases::keepers() },
    keepers_and_chunks: Bounds { keepers: 2, evicts: true, ..cases::chunks() },
    keepers_between_two_primaries: Bounds { marks: 2, prompt_marks: true, ..cases::old_primary() },
    three_commits: Bounds { commits: 3, marks: 3, prompt_marks: true, ..cases::warm() },
    two_reads: Bounds { reads: 2, marks: 4, commits: 1, ..cases::warm() },
    two_nodes: Bounds { nodes: 2, commits: 1, ..cases::warm() },
    a_failover: Bounds { prompt_polls: false, ..cases::node_failover() },
    a_lost_chain: Bounds { prompt_polls: false, prompt_marks: false, ..cases::lossy() },
    a_start_beside_replicas: Bounds { commits: 2, marks: 4, ..cases::cold() },
    lost_history: Bounds { marks: 3, prompt_marks: true, ..cases::node_promoted() },
    lost_history_beside_replicas: Bounds { evicts: true, replicas: true, prompt_polls: true, ..cases::node_promoted() },
    pruned_history_beside_replicas: Bounds { replicas: true, commits: 2, prompt_polls: true, ..cases::node_pruned() },
    hints: Bounds { marks: 4, commits: 1, prompt_marks: true, ..cases::hints() },
    hints_of_a_lost_history: Bounds { evicts: true, marks: 2, ..cases::hints_promoted() },
    own_writes: Bounds { marks: 5, ..cases::own_writes() },
    own_writes_and_others: Bounds { commits: 1, marks: 4, ..cases::own_writes() },
    own_writes_over_lost_history: Bounds { promotes: true, marks: 2, ..cases::own_writes() },
    a_node_between_two_primaries: Bounds { marks: 2, evicts: true, ..cases::node_old_primary() },
    shared_polls: Bounds { marks: 3, loses_chain: true, ..cases::shared_polls() },
}
