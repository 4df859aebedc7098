//! The records behind a trace's keys, and which of them change: sizes and sales of a real shop.

use std::{collections::HashMap, sync::mpsc, time::Instant};

use freshet::{
    cli::demo::{catalogue, sales::Sales},
    record::{CollectionId, Key, Patch, RecordId, ShardId, patch::Members},
    resilience::Deadline,
    store::{
        Memory, Operation, Store, Write, Written,
        memory::{ColumnSchema, DataType, Schema},
    },
    tiers::{entry::Entry, era::Eras, local::Local},
};
use tokio::runtime::Runtime;

use crate::trace::Trace;

/// The collection's name.
pub const COLLECTION: &str = "records";
const STOCK: u64 = 1_000_000;

/// How large records are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// All alike, so that a number of entries is a number of bytes.
    Equal,
    /// As the catalogue's products, each key drawing one of them.
    Catalogue,
}

/// A store with a record for each key of a trace.
pub struct Shop {
    /// Where the records are.
    pub store: Store,
    /// The record of each key.
    pub ids: Vec<RecordId>,
    /// What each record counts for in L1.
    pub weights: Vec<u64>,
    sold: u64,
}

impl Shop {
    /// Fills a store in memory with `len` records.
    pub fn new(runtime: &Runtime, len: usize, sizes: Sizes) -> Self {
        let store = Store::Memory(Memory::new(vec![schema()], 1).expect("a valid schema").into());
        let products = catalogue::embedded().expect("the shipped catalogue");
        let documents: Vec<String> = products.iter().map(|product| product.record(0).1).collect();
        let id = |key| RecordId::new(CollectionId(0), Key::from_database(format!("{key:07}")));
        let ids: Vec<RecordId> = (0..len).map(id).collect();
        for (key, id) in ids.iter().enumerate() {
            let product = if sizes == Sizes::Equal { 0 } else { draw(key, documents.len()) };
            let value = format!(r#"{{"stock":{STOCK},"document":{}}}"#, documents[product]);
            write(&store, id, Operation::Put(Members::parse(&value).expect("an object")));
        }
        let weights = weigh(runtime, &store, &ids);
        Shop { store, ids, weights, sold: 0 }
    }

    /// Changes a record as another node would: in the store only.
    pub fn sell(&mut self, key: u32) -> Written {
        self.sold += 1;
        let stock = Members::parse(&format!(r#"{{"stock":{}}}"#, STOCK + self.sold)).expect("an object");
        let patch = Patch { merge: stock, ..Patch::default() };
        write(&self.store, &self.ids[key as usize], Operation::Patch(patch))
    }
}

fn schema() -> Schema {
    let column = |name: &str, data_type| ColumnSchema {
        name: name.into(),
        data_type,
        nullable: false,
        default: None,
        min: None,
        constraint: None,
    };
    let columns =
        vec![column("key", DataType::Text), column("stock", DataType::Int8), column("document", DataType::Json)];
    Schema { name: COLLECTION.into(), key: "key".into(), columns }
}

fn write(store: &Store, id: &RecordId, operation: Operation) -> Written {
    let write = Write { id: id.clone(), operation, if_stamp: None, token: None, is_likely_new: false };
    let (give, answered) = mpsc::channel();
    store.write(write, Deadline::after(crate::LONG), move |answer| drop(give.send(answer)));
    answered.recv().expect("an answer").expect("written")
}

fn weigh(runtime: &Runtime, store: &Store, ids: &[RecordId]) -> Vec<u64> {
    let keys: Vec<Key> = ids.iter().map(|id| id.key.clone()).collect();
    let read = store.read(ShardId(0), CollectionId(0), &keys, Deadline::after(crate::LONG));
    let fetched = runtime.block_on(read).expect("read");
    let states = fetched.rows.iter().map(|row| row.state(fetched.generation));
    let era = Eras::new(1).of(ShardId(0));
    let entries = ids.iter().zip(states).map(|(id, state)| Entry::new(id.clone(), state, Instant::now(), era));
    entries.map(|entry| u64::from(Local::weight(&entry))).collect()
}

/// The same product for a key in every run, and no relation between keys that are close.
///
/// # Source
/// Fibonacci hashing: D. E. Knuth, "The Art of Computer Programming", volume 3, section 6.4.
fn draw(key: usize, of: usize) -> usize {
    (((key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize) % of
}

/// The keys that the shop's sales change, one after the other: what is sold most is what is looked at most.
pub fn sold_keys(trace: &Trace) -> Vec<u32> {
    let sold: Vec<String> =
        Sales::embedded().expect("the shipped sales").map(|sale| sale.expect("a sale").sku).collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    sold.iter().for_each(|sku| *counts.entry(sku).or_default() += 1);
    let mut skus: Vec<&str> = counts.keys().copied().collect();
    skus.sort_by_key(|sku| (std::cmp::Reverse(counts[sku]), *sku));
    let popular = by_popularity(trace);
    let ranks: HashMap<&str, u32> = (0..).zip(&skus).map(|(rank, sku)| (*sku, rank)).collect();
    let key = |sku: &String| popular[ranks[sku.as_str()] as usize * popular.len() / skus.len()];
    sold.iter().map(key).collect()
}

/// A trace's keys, the one with the most accesses first.
fn by_popularity(trace: &Trace) -> Vec<u32> {
    let mut counts = vec![0_u32; trace.distinct];
    trace.accesses.iter().for_each(|&key| counts[key as usize] += 1);
    let mut keys: Vec<u32> = (0..trace.distinct as u32).collect();
    keys.sort_by_key(|&key| (std::cmp::Reverse(counts[key as usize]), key));
    keys
}
