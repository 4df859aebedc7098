//! The rules, each with a switch. A rule that may be dropped without harm is not needed; one whose drop is found is.

macro_rules! rules {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Which rules hold.
        #[derive(Clone, Debug)]
        pub struct Rules {
            $($(#[$doc])+ pub $name: bool,)+
        }

        impl Rules {
            /// All rules: the protocol.
            pub fn all() -> Self {
                Rules { $($name: true,)+ }
            }

            /// The names of all rules.
            pub const NAMES: &[&str] = &[$(stringify!($name)),+];

            /// All rules but the one called `name`.
            ///
            /// # Panics
            /// If there is none of that name.
            pub fn without(name: &str) -> Self {
                assert!(Self::NAMES.contains(&name), "{name} is a rule");
                Rules { $($name: name != stringify!($name),)+ }
            }
        }
    };
}

rules! {
    // The scripts.
    /// `fill` takes a state only from the holder of the lease.
    fill_checks_token,
    /// `fill` takes a state only under a lease of the chain's incarnation.
    fill_checks_inc,
    /// `fill` takes no state with a lower stamp than the lease.
    fill_checks_lease_stamp,
    /// A lease carries the stamp that its holder wants; without it, every change of the key deletes the lease.
    lease_carries_stamp,
    /// `apply` deletes older leases as it deletes older states.
    apply_deletes_leases,
    /// `apply` is refused if the chain's tail is not the one that the keeper left or read.
    apply_checks_tail,
    /// `apply` writes the chain after it has deleted everything, so a script that is cut has not moved it.
    chain_last,
    /// Only the last chunk of a poll moves `applied`.
    last_chunk_moves_applied,
    /// `claim` sets the chain only if it is what was read.
    claim_compares,

    // The reader.
    /// A slot counts only if its incarnation is the chain's.
    slot_counts_by_inc,
    /// The chain is read with the slot or before it.
    chain_not_after_slot,
    /// A state of the shared tier is a read at the chain's `applied`, not at what the node itself has applied.
    position_is_applied,
    /// The shared tier and replicas are asked only after the first poll, and not while a reset is due.
    first_poll_before_shared,
    /// A chain whose `applied` is below the base counts as none.
    frozen_chain_is_left,
    /// The holder of a lease reads the primary in a statement that begins after the grant.
    primary_read_after_grant,
    /// The holder of a lease reads the primary and not a replica.
    fill_comes_from_primary,

    // Install and apply.
    /// A read below the base is refused, unless it is one of the primary that began after floors were dropped last.
    install_checks_base,
    /// A read below the key's floor is refused.
    install_checks_floor,
    /// A read of an older generation than the known one is refused.
    install_checks_generation,
    /// A read that began before a reset is refused.
    install_checks_reset,
    /// An accepted read becomes the key's floor.
    read_becomes_floor,
    /// The floor of a read or a change lies two marks ahead.
    floor_two_ahead,
    /// R8: a read of a higher generation drops the entries.
    higher_generation_drops_entries,
    /// R11: the first poll, and one that resets, sets the base two marks ahead.
    reset_base_two_ahead,
    /// R12: a reset keeps the floors.
    reset_keeps_floors,
    /// R13: the base does not pass the poll before.
    base_behind_poll_before,
    /// R14: a change that is no news lifts its floor's bucket.
    no_news_lifts_floor,
    /// R15: a poll resets if the mark of the poll before is gone.
    poll_looks_for_mark,
    /// R15: a poll resets if the generation has changed.
    poll_looks_for_generation,

    // Keepers.
    /// A keeper goes on from `applied` with one statement that both finds the mark and takes the snapshot.
    claim_in_one_statement,
    /// A keeper that starts a new incarnation polls before it sets the chain.
    claim_polls_first,
    /// A keeper's poll is discarded if the mark of its poll before is gone.
    keeper_looks_for_mark,
    /// A keeper's poll is discarded if the generation has changed.
    keeper_looks_for_generation,
    /// A keeper that goes on from `applied` looks for that mark at all.
    claim_looks_for_mark,
    /// A keeper that begins to poll anew, and whose first poll then reports nothing, claims again.
    new_feed_is_claimed,
    /// A keeper that shares the polls of a follower takes only one that begins at its own last snapshot or before.
    shared_poll_leaves_no_gap,

    // The rest.
    /// R9: marks jump when history was lost.
    marks_jump,
    /// Marks jump past those of every lost history, and not only past those that the promoted server shows: two losses of
    /// history may begin at the same mark.
    jumps_never_meet,
    /// Pruning deletes marks first and the changes before them second.
    marks_pruned_first,
    /// A hint counts only in the generation that the node knows.
    hint_of_known_generation,
    /// A hint raises the key's floor.
    hint_raises_floor,
    /// A hint drops the older entry.
    hint_drops_entry,
    /// A hint owes the read of a watched key.
    hint_owes_read,
}
