//! With all rules every invariant holds in every state that can be reached, in each case of `cases`.

use freshet_model::{Rules, cases, check};

macro_rules! holds {
    ($($test:ident($case:ident),)+) => {
        $(
            #[test]
            fn $test() {
                let explored = check::explore(Rules::all(), cases::$case());
                println!("{}: {explored:?}", stringify!($case));
                assert!(explored.is_ok());
            }
        )+
    };
}

holds! {
    two_keepers_share_a_redis_that_loses_slots_and_its_chain(keepers),
    a_chain_is_started_anew(reclaimed),
    a_keeper_begins_to_poll_anew(reopened),
    a_replica_of_redis_takes_its_place(failover),
    two_masters_are_reached_at_once(split),
    polls_are_applied_in_chunks_by_scripts_that_are_cut(chunks),
    history_is_pruned_under_the_keeper(pruned),
    history_is_lost_under_the_keeper(promoted),
    history_is_lost_twice_under_the_keeper(promoted_twice),
    keepers_meet_an_old_primary(old_primary),
    clients_ask_for_what_no_writer_has_written(imagined),
    a_node_reads_and_follows(warm),
    floors_leave_the_window(long),
    redis_loses_its_chain_under_a_node(lossy),
    redis_goes_back_in_time_under_a_node(node_failover),
    a_node_reads_replicas_and_the_shared_tier(replicas),
    a_node_starts(cold),
    history_is_pruned_under_a_node(node_pruned),
    history_is_lost_under_a_node(node_promoted),
    history_of_two_keys_is_lost_under_a_node(keys_promoted),
    a_node_meets_an_old_primary(node_old_primary),
    a_node_gets_hints(hints),
    a_node_gets_hints_of_a_lost_history(hints_promoted),
    a_node_writes(own_writes),
    a_node_writes_beside_replicas(own_writes_replicas),
    a_keeper_shares_the_polls_of_a_node(shared_polls),
    two_nodes_load_a_cold_key_once(loads),
    two_nodes_load_a_changed_key_once(watched),
}
