//! The shard of a key, computed as PostgreSQL computes it.

use std::hint::black_box;

use criterion::Criterion;
use freshet::{record::KeyKind, record::shard::shard_of};

const SHARDS: u32 = 64;

/// Hashes keys of each kind.
pub fn routing(c: &mut Criterion) {
    let long = "x".repeat(1_024);
    let mut group = c.benchmark_group("shard_of");
    for (name, kind, key) in [
        ("text, 6 bytes", KeyKind::Text, "85123A"),
        ("text, 36 bytes", KeyKind::Text, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("text, 1,024 bytes", KeyKind::Text, &long),
        ("int8", KeyKind::Int8, "9007199254740991"),
        ("uuid", KeyKind::Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ] {
        assert!(shard_of(kind, key, SHARDS).is_some_and(|shard| shard < SHARDS), "{name}");
        group.bench_function(name, |b| b.iter(|| shard_of(black_box(kind), black_box(key), SHARDS)));
    }
    group.finish();
}
