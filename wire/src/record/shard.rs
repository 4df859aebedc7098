//! Which logical shard a key belongs to: PostgreSQL's own hash partitioning, computed here.
//!
//! Promise: [`shard_of`] equals the remainder by which `PARTITION BY HASH` places a row, for every key type
//! of a collection, so that the router can name the partition without asking a server. The test
//! `routing_agrees_with_the_server_for_every_key_type` compares them.
//! Left to others: which database owns a shard.
//!
//! # Source
//! PostgreSQL's `compute_partition_hash_value` (partbounds.c), `hash_bytes_extended` (hashfn.c, after Bob
//! Jenkins' lookup3) and `hash_combine64` (hashfn.h), in their little-endian form; stable since version 11,
//! because stored rows depend on them. A deterministic collation hashes the bytes of a text.

use uuid::Uuid;

use super::key::KeyKind;

/// The seed of partition hashes, `HASH_PARTITION_SEED`.
const PARTITION_SEED: u64 = 0x7A5B_2236_7996_DCFD;

/// What `hash_combine64` adds to a column's hash when the row's hash is still zero.
const COMBINE: u64 = 0x49A0_F4DD_15E5_A8E3;

/// lookup3's arbitrary start; PostgreSQL adds its own constant to the golden ratio.
const START: u32 = 0x9e37_79b9_u32.wrapping_add(3_923_095);

/// The number of a logical shard: the remainder of its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

impl std::fmt::Display for ShardId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of logical shards, the same for every collection; never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Modulus(std::num::NonZeroU32);

impl Modulus {
    /// `None` for 0.
    pub fn new(shards: u32) -> Option<Self> {
        std::num::NonZeroU32::new(shards).map(Self)
    }

    /// The number of shards.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// The shard of `key`; `None` when `key` is not a text form of `kind`.
    pub fn shard_of(self, kind: KeyKind, key: &str) -> Option<ShardId> {
        shard_of(kind, key, self.get()).map(ShardId)
    }
}

/// The partition remainder of `key` among `modulus` shards.
///
/// `None` when `key` is not a text form of `kind`, or `modulus` is 0. Different texts of one number or
/// uuid give one shard.
pub fn shard_of(kind: KeyKind, key: &str, modulus: u32) -> Option<u32> {
    let hash = match kind {
        KeyKind::Text => hash_bytes(key.as_bytes()),
        KeyKind::Uuid => hash_bytes(Uuid::parse_str(key).ok()?.as_bytes()),
        KeyKind::Int2 => hash_u32(i32::from(key.parse::<i16>().ok()?).cast_unsigned()),
        KeyKind::Int4 => hash_u32(key.parse::<i32>().ok()?.cast_unsigned()),
        KeyKind::Int8 => hash_i64(key.parse().ok()?),
    };
    let remainder = hash.wrapping_add(COMBINE).checked_rem(u64::from(modulus))?;
    u32::try_from(remainder).ok()
}

/// Folds the halves so that a number has one hash in every integer type.
fn hash_i64(value: i64) -> u64 {
    let (low, high) = (value as u32, (value >> 32) as u32);
    hash_u32(low ^ if value >= 0 { high } else { !high })
}

fn hash_u32(value: u32) -> u64 {
    let mut state = Lookup3::seeded(4);
    state.a = state.a.wrapping_add(value);
    state.finish()
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    // PostgreSQL's values are shorter than 1 GiB; the C code takes the length modulo 2^32 as well.
    let mut state = Lookup3::seeded(bytes.len() as u32);
    let blocks = bytes.chunks_exact(12);
    let tail = blocks.remainder();
    for block in blocks {
        state.absorb(word(&block[0..4]), word(&block[4..8]), word(&block[8..12]));
        state.mix();
    }
    // The lowest byte of c is kept for the length, so the last three bytes stand one higher.
    let part = |from: usize| word(&tail[from.min(tail.len())..(from + 4).min(tail.len())]);
    state.absorb(part(0), part(4), part(8) << 8);
    state.finish()
}

/// Up to four bytes, the first the lowest.
fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

struct Lookup3 {
    a: u32,
    b: u32,
    c: u32,
}

impl Lookup3 {
    fn seeded(len: u32) -> Self {
        let start = START.wrapping_add(len);
        let mut state = Self { a: start, b: start, c: start };
        state.absorb((PARTITION_SEED >> 32) as u32, PARTITION_SEED as u32, 0);
        state.mix();
        state
    }

    fn absorb(&mut self, a: u32, b: u32, c: u32) {
        self.a = self.a.wrapping_add(a);
        self.b = self.b.wrapping_add(b);
        self.c = self.c.wrapping_add(c);
    }

    fn mix(&mut self) {
        let Self { a, b, c } = self;
        for rotations in [[4, 6, 8], [16, 19, 4]] {
            *a = a.wrapping_sub(*c) ^ c.rotate_left(rotations[0]);
            *c = c.wrapping_add(*b);
            *b = b.wrapping_sub(*a) ^ a.rotate_left(rotations[1]);
            *a = a.wrapping_add(*c);
            *c = c.wrapping_sub(*b) ^ b.rotate_left(rotations[2]);
            *b = b.wrapping_add(*a);
        }
    }

    fn finish(self) -> u64 {
        let Self { mut a, mut b, mut c } = self;
        c = (c ^ b).wrapping_sub(b.rotate_left(14));
        a = (a ^ c).wrapping_sub(c.rotate_left(11));
        b = (b ^ a).wrapping_sub(a.rotate_left(25));
        c = (c ^ b).wrapping_sub(b.rotate_left(16));
        a = (a ^ c).wrapping_sub(c.rotate_left(4));
        b = (b ^ a).wrapping_sub(a.rotate_left(14));
        c = (c ^ b).wrapping_sub(b.rotate_left(24));
        u64::from(b) << 32 | u64::from(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Remainders that PostgreSQL 15 gave for this modulus.
    const MODULUS: u32 = 1_000_003;

    #[test]
    fn texts_hash_as_on_the_server() {
        let vectors = [
            ("", 22_719),
            ("a", 890_066),
            ("sku-1", 535_741),
            ("abcdefghijkl", 448_660),
            ("abcdefghijklm", 84_883),
            ("Größe ☃ 🦀", 106_820),
        ];
        for (key, remainder) in vectors {
            assert_eq!(shard_of(KeyKind::Text, key, MODULUS), Some(remainder), "{key:?}");
        }
    }

    #[test]
    fn numbers_hash_as_on_the_server_in_every_type_that_holds_them() {
        let vectors = [
            ("0", 771_668),
            ("1", 875_018),
            ("-1", 393_471),
            ("32767", 582_743),
            ("-32768", 164_010),
            ("-2147483648", 712_493),
            ("4294967296", 875_018),
            ("-9223372036854775808", 788_417),
        ];
        for (key, remainder) in vectors {
            assert_eq!(shard_of(KeyKind::Int8, key, MODULUS), Some(remainder), "{key}");
            let is_same = |shard: Option<u32>| shard.is_none_or(|shard| shard == remainder);
            assert!(is_same(shard_of(KeyKind::Int4, key, MODULUS)), "{key}");
            assert!(is_same(shard_of(KeyKind::Int2, key, MODULUS)), "{key}");
        }
    }

    #[test]
    fn uuids_hash_as_on_the_server() {
        let key = "00112233-4455-6677-8899-aabbccddeeff";
        assert_eq!(shard_of(KeyKind::Uuid, key, MODULUS), Some(631_822));
    }

    #[test]
    fn a_key_of_another_type_has_no_shard() {
        assert_eq!(shard_of(KeyKind::Int2, "32768", 64), None);
        assert_eq!(shard_of(KeyKind::Int8, "one", 64), None);
        assert_eq!(shard_of(KeyKind::Uuid, "one", 64), None);
        assert_eq!(shard_of(KeyKind::Text, "one", 0), None);
        assert_eq!(Modulus::new(0), None);
    }
}
