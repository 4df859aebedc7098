//! The steps that Redis carries out as one: each is within one slice, and checks before it writes.

use std::time::Duration;

use redis::{Script, ScriptInvocation};

use super::{
    Fill, LEASE,
    chain::{Chain, StoredChain, Tail},
    hints::{ToldChange, changes_text},
    names::Slice,
    slot::{Slot, stamp_text},
};
use crate::record::{Position, Stamp};

/// What a request for a lease found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lease {
    /// The slot shows what was wanted.
    Found(Slot),
    /// Somebody else is reading the record.
    Held,
    /// Ours: the record is read on the primary, and put there.
    Granted,
    /// What is there cannot be read.
    Unfit,
}

/// A change that a slice takes note of.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The record's slot.
    pub name: String,
    /// What is told of it.
    pub told: ToldChange,
}

/// Entries that a stream keeps, about: a quarter of an hour where nothing changes.
const STREAM_ENTRIES: u64 = 4_096;

/// A script, under its first line and what all begin with.
macro_rules! script {
    ($flags:literal, $file:literal) => {
        Script::new(concat!($flags, "\n", include_str!("scripts/text.lua"), include_str!($file)))
    };
}

/// The scripts, in `scripts/`.
pub(super) struct Scripts {
    lease: Script,
    fill: Script,
    apply: Script,
    claim: Script,
    hold: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Scripts {
            lease: script!("#!lua", "scripts/lease.lua"),
            fill: script!("#!lua", "scripts/fill.lua"),
            // What frees memory, or takes next to none, is carried out where there is none left.
            apply: script!("#!lua flags=allow-oom", "scripts/apply.lua"),
            claim: script!("#!lua flags=allow-oom", "scripts/claim.lua"),
            hold: script!("#!lua flags=allow-oom", "scripts/hold.lua"),
        }
    }

    pub(super) fn lease(&self, slice: &Slice, wanted: &[(String, Stamp)], token: u64) -> ScriptInvocation<'_> {
        let mut invocation = self.lease.prepare_invoke();
        invocation.key(slice.chain()).arg(millis(LEASE)).arg(token_text(token));
        for (name, stamp) in wanted {
            invocation.key(name).arg(stamp_text(*stamp));
        }
        invocation
    }

    /// Each fill is kept for its lifetime.
    pub(super) fn fill(&self, slice: &Slice, fills: &[Fill], lifetimes: &[Duration]) -> ScriptInvocation<'_> {
        let mut invocation = self.fill.prepare_invoke();
        invocation.key(slice.chain());
        for (fill, lifetime) in fills.iter().zip(lifetimes) {
            let slot = fill.slot.as_ref().map_or_else(Vec::new, |slot| slot.encode(&fill.name));
            invocation.key(&fill.name).arg(token_text(fill.token)).arg(millis(*lifetime)).arg(slot);
        }
        invocation
    }

    pub(super) fn apply(
        &self,
        slice: &Slice,
        expected: Tail,
        next: Tail,
        applied: Option<Position>,
        changes: &[Changed],
        is_told: bool,
    ) -> ScriptInvocation<'_> {
        let mut invocation = self.apply.prepare_invoke();
        invocation.key(slice.chain()).key(slice.changes()).arg(expected.to_string()).arg(next.to_string());
        invocation.arg(applied.map_or_else(String::new, |applied| applied.0.to_string()));
        let told: Vec<&ToldChange> = changes.iter().map(|change| &change.told).collect();
        invocation.arg(if is_told { changes_text(&told) } else { String::new() }).arg(STREAM_ENTRIES);
        for Changed { name, told } in changes {
            invocation.key(name).arg(stamp_text(told.stamp));
        }
        invocation
    }

    pub(super) fn claim(&self, slice: &Slice, read: &StoredChain, new: Chain) -> ScriptInvocation<'_> {
        let mut invocation = self.claim.prepare_invoke();
        invocation.key(slice.chain()).arg(&read.0).arg(new.to_string());
        invocation
    }

    pub(super) fn hold(&self, slice: &Slice, holder: u64, time: Duration) -> ScriptInvocation<'_> {
        let mut invocation = self.hold.prepare_invoke();
        invocation.key(slice.keeper()).arg(token_text(holder)).arg(millis(time));
        invocation
    }
}

fn token_text(token: u64) -> String {
    format!("{token:016x}")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
