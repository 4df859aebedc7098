//! Checks the coherence protocol of the shared cache tier, in every order that its steps can take.
//!
//! docs/coherence.md has the rules (R) and invariants (I). This package states them a second time, as a model of
//! [stateright](https://docs.rs/stateright), and looks at every state that can be reached within small [`Bounds`]. `tests/holds.rs`
//! shows that all invariants hold; `tests/drops.rs` drops each of the [`Rules`] alone and shows what breaks, in the fewest
//! steps. A rule that is changed in the server is changed here first.
//!
//! ```sh
//! cargo test --locked --package freshet-model                                            # the test command runs it
//! cargo test --locked --package freshet-model --test drops -- --nocapture marks_jump     # one drop, step by step
//! cargo test --release --locked --package freshet-model --test long -- --ignored         # larger bounds
//! ```
//!
//! # The shared tier in short
//!
//! Redis holds one **slot** for each key and one **chain** for each database: an incarnation, a tail and the mark `applied`. **A
//! slot of the chain's incarnation reflects every change that is visible in the snapshot of mark `applied`** (I15), in every
//! state of Redis that is a prefix of its command history. So a read of the tier is a read of a replica that stands at
//! `applied`, and install judges it as it judges any read.
//!
//! - A **reader** takes chain and slot in one step. On a miss it asks for a **lease**, reads the primary, installs, and fills the
//!   slot if the lease is still its own. A change deletes leases as it deletes states, so a fill from before it comes too late.
//! - A **keeper** polls the outbox and applies each poll with one script, which deletes older slots first, moves the chain last,
//!   and is refused if another keeper has moved it in between. One that has lost its place goes on from mark `applied` if that
//!   row is still there, and otherwise starts a new incarnation: no older slot counts then.
//! - **Hints** tell nodes of changes before they poll. Nothing rests on them.
//!
//! # What is modelled
//!
//! - [`database`]: the order of commits and marks, where a mark may be committed later than its snapshot was taken; replicas at
//!   any earlier moment; pruning; a promotion that loses the newest commits and marks, and another of a replica which that one left
//!   behind; an old primary that goes on answering.
//! - [`redis`]: the scripts, each one step, and scripts that are cut in the middle. Any slot and the chain may vanish at any time,
//!   a flush being several of these at once. A copy stands for every earlier prefix: it is taken at any moment and takes the
//!   server's place at any later one, or is a second master until then.
//! - [`node`], [`reader`], [`own_write`]: polls, reads and own writes, each cut into the steps between which others can act. The
//!   window is as short as it can be, so floors go as soon as the rules permit.
//! - [`keeper`]: any number; one that stands still and goes on later is a zombie.
//! - [`hints`]: lost, doubled, late, of a zombie and of a lost history.
//!
//! The invariants are in [`properties`]: I15; I5, I7, I11 and I14 of nodes; I9 of watchers; that no reader is stuck, even if
//! nobody but itself does anything; and that one cold or changed key costs one read of the primary if nothing is lost.
//!
//! # Bounds
//!
//! [`cases`] has up to two keys, commits, nodes, keepers and reads in flight of a node, five marks, two promotions, one copy of
//! Redis and one own write. Nothing bounds how often slots and chains are lost, reads repeated or incarnations started: random
//! numbers are renumbered, so their states are finite. There is no bound on steps, and every state is looked at.
//!
//! # What else it has shown
//!
//! - **Own writes** may stay out of the shared tier. A write puts its state into L1 at the position of its own transaction, and
//!   answers never step back, as long as the base stays behind the poll before (R13) and news that is none lifts its floor (R14).
//! - **A keeper may take the polls of a follower** in place of its own, if none is left out and the first of them begins at the
//!   snapshot that the keeper claimed with, or before: `shared_poll_leaves_no_gap`. To poll by itself is a matter of speed.
//! - **A keeper that begins to poll anew must claim again**, since its first poll reports nothing: `new_feed_is_claimed`. What was
//!   committed between the two feeds would be vouched for and never removed.
//! - **Marks must jump past those of every lost history**: `jumps_never_meet`. 2^32 beyond the newest mark that the promoted server
//!   shows is not enough where history is lost twice from the same point: both histories then give the same numbers, and a
//!   chain of the first passes for one of the second.
//! - **An old primary that goes on answering** harms nothing while it takes no writes: its marks are none of the new history.
//!   Keepers on both sides undo each other's chains, which costs hits.
//!
//! # What is not caught
//!
//! Dropped alone, these break nothing that is looked at; `tests/drops.rs` holds that, too.
//!
//! - `claim_compares`: a claim that overwrites another's costs an incarnation, so two keepers that start at once would undo each
//!   other's work. It is economy.
//! - `install_checks_reset`: a read from before a reset is refused by the base, which a reset sets two marks ahead, or by its
//!   generation. The rule is for a restored database whose positions go back, which is not modelled, and for requests
//!   that join an older statement.
//! - `poll_looks_for_generation`, `keeper_looks_for_generation`: the transaction that raises the generation deletes all marks, so
//!   the poll's own mark is gone as well. The rule is for a generation that is raised by hand.
//! - `hint_raises_floor`: without it the owed read may be answered with the state before, and the poll owes it again.
//! - `hint_drops_entry`, `hint_owes_read`: the poll does both later.
//!
//! `lease_carries_stamp` is caught by the count of loads alone. That a lease needs a chain is no switch: without one no fill
//! could be accepted.
//!
//! # What is not modelled
//!
//! Checksums and payloads; expiry by clock, which is a loss at any time here; waiting times; pruned tombstones, so put and delete
//! are the same; several databases, shards and epochs; backlogs, the cap on floors and the filter; a restore on the same
//! timeline; an old primary that takes writes. Steps that the server orders within one lock are one step here:
//! floor before entry and base before floors are checked in `src/tiers`.

pub mod bounds;
pub mod cases;
pub mod check;
pub mod database;
pub mod hints;
pub mod keeper;
pub mod node;
pub mod own_write;
pub mod properties;
pub mod reader;
pub mod redis;
pub mod rules;
pub mod system;

pub use bounds::Bounds;
pub use rules::Rules;
pub use system::System;
