//! The filter of absent keys: how many it lets pass, at which cost in time and memory.

use std::{hint::black_box, sync::Arc};

use criterion::Criterion;
use freshet::{
    record::{CollectionId, DatabaseId, Key, RecordId, RecordRef, patch::Members},
    store::{
        Memory, Operation, Store, Write,
        memory::{ColumnSchema, DataType, Schema},
    },
    tiers::filter::{Config, Filters},
};

const COLLECTION: CollectionId = CollectionId(0);
/// What the filters have room for.
const CAPACITY: usize = 100_000;
/// The keys in the store when a filter is built; more come as changes.
const STORED: usize = CAPACITY / 4;
const ABSENT: usize = 200_000;

/// Prints the rates, and measures a query of a full filter.
pub fn filter(c: &mut Criterion) {
    let store = store();
    println!("| filled to | configured | let pass | bits a key |\n| ---: | ---: | ---: | ---: |");
    for rate in [0.01, 0.001] {
        let filters = built(&store, rate);
        let mut held = STORED;
        for fill in [0.25, 0.5, 1.0, 1.5] {
            let keys = (CAPACITY as f64 * fill) as usize;
            (held..keys).for_each(|n| filters.add(&id(n)));
            held = keys;
            show(&filters, rate, fill);
        }
    }
    let filters = built(&store, Config::default().false_positive_rate);
    (STORED..CAPACITY).for_each(|n| filters.add(&id(n)));
    let mut group = c.benchmark_group("filter");
    for (name, first) in [("a key that exists", 0), ("an absent key", CAPACITY)] {
        let keys: Vec<String> = (first..first + 1_024).map(text).collect();
        let mut keys = keys.iter().cycle();
        group.bench_function(name, |b| b.iter(|| filters.denies(black_box(record(keys.next().expect("endless"))))));
    }
    let mut next = 0;
    group.bench_function("take in a key", |b| {
        b.iter_batched(
            || {
                next += 1;
                id(next % CAPACITY)
            },
            |id| filters.add(&id),
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn show(filters: &Filters, rate: f64, fill: f64) {
    let keys = (CAPACITY as f64 * fill) as usize;
    assert!((0..keys).all(|n| !filters.denies(record(&text(n)))), "a key that exists was denied");
    let passed = (CAPACITY * 2..CAPACITY * 2 + ABSENT).filter(|&n| !filters.denies(record(&text(n)))).count();
    let found = passed as f64 / ABSENT as f64;
    assert!(fill > 1.0 || found < 1.5 * rate, "{found} of the absent keys pass, configured are {rate}");
    let bits = 8.0 * filters.bytes(COLLECTION) as f64 / keys as f64;
    println!("| {:.0} % | {:.2} % | {:.3} % | {bits:.1} |", 100.0 * fill, 100.0 * rate, 100.0 * found);
}

fn built(store: &Store, rate: f64) -> Filters {
    let config = Config { false_positive_rate: rate, keys_min: CAPACITY, headroom: 1.0, ..Config::default() };
    let filters = Filters::new(config, store.catalogue());
    let keys = runtime().block_on(filters.build(store, DatabaseId(0), COLLECTION)).expect("built");
    // Two keys that share all their bits count as one.
    assert!(keys > STORED * 99 / 100, "{keys} keys were taken in");
    filters
}

fn store() -> Store {
    let key = ColumnSchema {
        name: "key".into(),
        data_type: DataType::Text,
        nullable: false,
        default: None,
        min: None,
        constraint: None,
    };
    let schema = Schema { name: "records".into(), key: "key".into(), columns: vec![key] };
    let memory = Memory::new(vec![schema], 1).expect("a valid schema");
    for n in 0..STORED {
        let operation = Operation::Put(Members::default());
        memory
            .write(&Write { id: id(n), operation, if_stamp: None, token: None, is_likely_new: false })
            .expect("written");
    }
    Store::Memory(Arc::new(memory))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

fn text(n: usize) -> String {
    format!("sku-{n:08}")
}

fn id(n: usize) -> RecordId {
    RecordId::new(COLLECTION, Key::from_database(text(n)))
}

fn record(key: &str) -> RecordRef<'_> {
    RecordRef { collection: COLLECTION, key }
}
