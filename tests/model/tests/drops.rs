//! Each rule is needed: without it, and with all others, an invariant breaks. The few that are not are named at the end.

use freshet_model::{Bounds, Rules, cases, check};

type Case = fn() -> Bounds;

macro_rules! drops {
    ($($test:ident: $rule:ident in $case:ident,)+) => {
        const CAUGHT: &[&str] = &[$(stringify!($rule)),+];

        $(
            #[test]
            fn $test() {
                let rules = Rules::without(stringify!($rule));
                let found = check::explore(rules, cases::$case()).expect_err("an invariant breaks");
                println!("{} in {}: {found:?}", stringify!($rule), stringify!($case));
            }
        )+
    };
}

drops! {
    dropping_fill_checks_token_is_caught: fill_checks_token in keepers,
    dropping_fill_checks_inc_is_caught: fill_checks_inc in reclaimed,
    dropping_fill_checks_lease_stamp_is_caught: fill_checks_lease_stamp in imagined,
    dropping_lease_carries_stamp_is_caught: lease_carries_stamp in watched,
    dropping_apply_deletes_leases_is_caught: apply_deletes_leases in reclaimed,
    dropping_apply_checks_tail_is_caught: apply_checks_tail in failover,
    dropping_chain_last_is_caught: chain_last in chunks,
    dropping_last_chunk_moves_applied_is_caught: last_chunk_moves_applied in chunks,
    dropping_slot_counts_by_inc_is_caught: slot_counts_by_inc in lossy,
    dropping_chain_not_after_slot_is_caught: chain_not_after_slot in long,
    dropping_position_is_applied_is_caught: position_is_applied in long,
    dropping_first_poll_before_shared_is_caught: first_poll_before_shared in cold,
    dropping_frozen_chain_is_left_is_caught: frozen_chain_is_left in cold,
    dropping_primary_read_after_grant_is_caught: primary_read_after_grant in reclaimed,
    dropping_fill_comes_from_primary_is_caught: fill_comes_from_primary in reclaimed,
    dropping_install_checks_base_is_caught: install_checks_base in long,
    dropping_install_checks_floor_is_caught: install_checks_floor in warm,
    dropping_install_checks_generation_is_caught: install_checks_generation in keys_promoted,
    dropping_read_becomes_floor_is_caught: read_becomes_floor in warm,
    dropping_floor_two_ahead_is_caught: floor_two_ahead in warm,
    dropping_higher_generation_drops_entries_is_caught: higher_generation_drops_entries in keys_promoted,
    dropping_reset_base_two_ahead_is_caught: reset_base_two_ahead in cold,
    dropping_reset_keeps_floors_is_caught: reset_keeps_floors in cold,
    dropping_base_behind_poll_before_is_caught: base_behind_poll_before in own_writes_replicas,
    dropping_no_news_lifts_floor_is_caught: no_news_lifts_floor in own_writes_replicas,
    dropping_poll_looks_for_mark_is_caught: poll_looks_for_mark in node_pruned,
    dropping_claim_in_one_statement_is_caught: claim_in_one_statement in pruned,
    dropping_claim_polls_first_is_caught: claim_polls_first in reclaimed,
    dropping_claim_looks_for_mark_is_caught: claim_looks_for_mark in pruned,
    dropping_keeper_looks_for_mark_is_caught: keeper_looks_for_mark in pruned,
    dropping_new_feed_is_claimed_is_caught: new_feed_is_claimed in reopened,
    dropping_shared_poll_leaves_no_gap_is_caught: shared_poll_leaves_no_gap in shared_polls,
    dropping_marks_jump_is_caught: marks_jump in promoted,
    dropping_jumps_never_meet_is_caught: jumps_never_meet in promoted_twice,
    dropping_marks_pruned_first_is_caught: marks_pruned_first in pruned,
    dropping_hint_of_known_generation_is_caught: hint_of_known_generation in hints_promoted,
}

/// Rules whose drop no exploration finds; the documentation of the package says why.
const NOT_CAUGHT: [(&str, Case); 7] = [
    ("claim_compares", cases::keepers),
    ("install_checks_reset", cases::cold),
    ("poll_looks_for_generation", cases::node_old_primary),
    ("keeper_looks_for_generation", cases::promoted),
    ("hint_raises_floor", cases::hints),
    ("hint_drops_entry", cases::hints),
    ("hint_owes_read", cases::hints),
];

#[test]
fn rules_that_only_save_work_break_nothing() {
    for (rule, case) in NOT_CAUGHT {
        let explored = check::explore(Rules::without(rule), case());
        println!("{rule}: {explored:?}");
        assert!(explored.is_ok(), "{rule} is needed after all");
    }
}

#[test]
fn every_rule_is_dropped() {
    let is_dropped = |rule: &&str| CAUGHT.contains(rule) || NOT_CAUGHT.iter().any(|(name, _)| name == rule);
    let kept: Vec<_> = Rules::NAMES.iter().filter(|rule| !is_dropped(rule)).collect();
    assert!(kept.is_empty(), "{kept:?}");
}
