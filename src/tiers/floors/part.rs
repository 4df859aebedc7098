//! A part of the floors, under one lock.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

use crate::record::{RecordId, Stamp};

/// The lowest stamp that a key may be answered with, and the mark with which it may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    pub(super) stamp: Stamp,
    pub(super) live: bool,
    pub(super) bucket: u64,
}

/// Floors by key, and by age.
#[derive(Default)]
pub(super) struct Part {
    floors: HashMap<RecordId, Floor, FixedState>,
    /// Keys by a mark before which their floor must not go, oldest first; each once, however often its floor is raised.
    buckets: VecDeque<(u64, Vec<RecordId>)>,
}

impl Part {
    /// Returns whether it is a floor more.
    pub(super) fn raise(&mut self, id: &RecordId, stamp: Stamp, live: bool, bucket: u64) -> bool {
        let Some(floor) = self.floors.get_mut(id) else {
            self.floors.insert(id.clone(), Floor { stamp, live, bucket });
            self.enqueue(id.clone(), bucket);
            return true;
        };
        if stamp > floor.stamp {
            (floor.stamp, floor.live) = (stamp, live);
        }
        floor.bucket = floor.bucket.max(bucket);
        false
    }

    /// Lets no floor go before `bucket`.
    pub(super) fn lift(&mut self, bucket: u64) {
        self.floors.values_mut().for_each(|floor| floor.bucket = floor.bucket.max(bucket));
    }

    pub(super) fn get(&self, id: &RecordId) -> Option<Floor> {
        self.floors.get(id).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.floors.len()
    }

    fn enqueue(&mut self, id: RecordId, bucket: u64) {
        let at = self.buckets.partition_point(|(mark, _)| *mark < bucket);
        match self.buckets.get_mut(at) {
            Some((mark, ids)) if *mark == bucket => ids.push(id),
            _ => self.buckets.insert(at, (bucket, vec![id])),
        }
    }

    /// Drops one floor.
    pub(super) fn remove(&mut self, id: &RecordId) -> Option<Floor> {
        let floor = self.floors.remove(id)?;
        self.buckets.iter_mut().for_each(|(_, ids)| ids.retain(|held| held != id));
        self.buckets.retain(|(_, ids)| !ids.is_empty());
        Some(floor)
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.buckets.front().map(|(mark, _)| *mark)
    }

    /// Drops floors up to `mark`; one that was raised since it was put there moves to the bucket of now. Returns how many
    /// went.
    pub(super) fn drop_through(&mut self, mark: u64) -> usize {
        let before = self.floors.len();
        while let Some((_, ids)) = self.buckets.pop_front_if(|(bucket, _)| *bucket <= mark) {
            for id in ids {
                match self.floors.get(&id).map(|floor| floor.bucket) {
                    Some(bucket) if bucket > mark => self.enqueue(id, bucket),
                    _ => drop(self.floors.remove(&id)),
                }
            }
        }
        before - self.floors.len()
    }
}
