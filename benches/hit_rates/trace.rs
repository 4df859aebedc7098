//! A recorded sequence of accesses.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use flate2::read::MultiGzDecoder;

/// The accesses of a trace, its keys renumbered from 0 in the order in which they first occur.
pub struct Trace {
    /// The keys, in the order of access.
    pub accesses: Vec<u32>,
    /// How many different keys there are.
    pub distinct: usize,
}

impl Trace {
    /// A trace of `keys`.
    pub fn new(keys: impl IntoIterator<Item = u32>) -> Self {
        let mut numbers = HashMap::new();
        let mut number = |key| {
            let next = numbers.len() as u32;
            *numbers.entry(key).or_insert(next)
        };
        let accesses = keys.into_iter().map(&mut number).collect();
        Trace { accesses, distinct: numbers.len() }
    }

    /// Reads gzipped big-endian 32-bit keys.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        MultiGzDecoder::new(File::open(path)?).read_to_end(&mut bytes)?;
        let (keys, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the trace does not end with a whole 32-bit key"));
        }
        Ok(Trace::new(keys.iter().map(|key| u32::from_be_bytes(*key))))
    }

    /// Reads one of the traces that ship with the sources.
    pub fn shipped(name: &str) -> io::Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/traces");
        Trace::read(&folder.join(format!("{name}.i32be.gz")))
    }
}
