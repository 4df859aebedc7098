//! How many records one statement may read: fewer where records are large.
//!
//! What a statement returns is in memory as a whole until its callers have it, before any of them is charged for it. So a
//! statement reads about [`BYTES_MAX`] at the most, judged by the records of its collection that were read before.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    record::CollectionId,
    store::{Row, Store},
};

/// What a statement should return, in bytes.
const BYTES_MAX: u64 = 4 << 20;
/// Records of the first statement, while nothing is known of their size.
const KEYS_FIRST: u64 = 32;

/// The size of each collection's records, as far as it was met, in bytes.
pub struct BatchSizes(Box<[AtomicU64]>);

impl BatchSizes {
    /// Nothing is known yet of so many collections.
    pub fn new(collections: usize) -> Self {
        BatchSizes(std::iter::repeat_with(|| AtomicU64::new(BYTES_MAX / KEYS_FIRST)).take(collections).collect())
    }

    /// How many records of a collection to read by one statement.
    pub fn keys_max(&self, collection: CollectionId) -> usize {
        let size = self.0.get(usize::from(collection.0)).map_or(0, |size| size.load(Ordering::Relaxed));
        usize::try_from(BYTES_MAX / size.max(1)).unwrap_or(usize::MAX).clamp(1, Store::KEYS_AT_ONCE_MAX)
    }

    /// Learns from what a statement has read. Larger records count at once, smaller ones by halves: a statement that is too
    /// large costs more than one that is too small.
    pub fn learn(&self, collection: CollectionId, rows: &[Row]) {
        let sizes = rows.iter().filter_map(|row| row.value.as_ref()).map(|value| value.len() as u64);
        let (count, bytes) = sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
        let (Some(average), Some(known)) = (u64::checked_div(bytes, count), self.0.get(usize::from(collection.0)))
        else {
            return;
        };
        let before = known.load(Ordering::Relaxed);
        known.store(average.max(u64::midpoint(before, average)), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn rows(count: usize, size: usize) -> Vec<Row> {
        vec![Row { version: 1, value: Some(Bytes::from(vec![b'x'; size])) }; count]
    }

    #[test]
    fn large_records_are_read_by_few_at_a_time_and_small_ones_by_many() {
        let (sizes, large, small) = (BatchSizes::new(2), CollectionId(0), CollectionId(1));
        assert_eq!(sizes.keys_max(large), 32);
        sizes.learn(large, &rows(32, 1 << 20));
        assert_eq!((sizes.keys_max(large), sizes.keys_max(small)), (4, 32));
        sizes.learn(large, &rows(1, 64 << 20));
        assert_eq!(sizes.keys_max(large), 1);
        for _ in 0..20 {
            sizes.learn(small, &rows(32, 200));
        }
        assert_eq!(sizes.keys_max(small), Store::KEYS_AT_ONCE_MAX);
        sizes.learn(small, &[Row { version: 0, value: None }]);
        assert_eq!(sizes.keys_max(small), Store::KEYS_AT_ONCE_MAX);
    }
}
