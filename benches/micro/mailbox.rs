//! A connection's slots: marking those with something new, and taking what is due.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use freshet::{
    hub::{Hub, Outlet, SlotId, Slots},
    record::{CollectionId, Key, RecordId, Stamp, State},
    telemetry::Telemetry,
};

/// Registered as a watcher, and never written: the slots are looked at here.
struct Nowhere;

impl Outlet for Nowhere {
    fn mark(&self, _: SlotId) -> bool {
        false
    }

    fn doubt(&self, _: SlotId) -> bool {
        false
    }

    fn must_enqueue(&self) -> bool {
        false
    }

    fn write_marked(&self) {}
}

/// One change on each of a connection's keys.
pub fn mailbox(c: &mut Criterion) {
    let mut group = c.benchmark_group("mailbox: mark and take");
    for keys in [1, 100, 5_000] {
        let (mut slots, ids) = subscribed(keys);
        assert_eq!(take_all(&mut slots, &ids), keys);
        group.throughput(Throughput::Elements(keys as u64));
        group.bench_function(BenchmarkId::from_parameter(keys), |b| b.iter(|| take_all(&mut slots, &ids)));
    }
    group.finish();
}

/// The slots of a connection that watches `keys` records, each with one state.
fn subscribed(keys: usize) -> (Slots, Vec<SlotId>) {
    let hub = Hub::new(&Telemetry::new());
    let outlet = Arc::new(Nowhere);
    let mut slots = Slots::default();
    let ids = (0..keys).map(|n| {
        let id = RecordId::new(CollectionId(0), Key::from_database(format!("sku-{n:06}")));
        let slot = slots.insert(1);
        let (topic, place) = hub.watch(&id, outlet.clone(), slot);
        assert!(slots.bind(slot, 1, topic, place));
        hub.publish(&id, &State { stamp: Stamp::new(1, 1), value: Some("{}".into()) }, Instant::now());
        slot
    });
    let ids = ids.collect();
    (slots, ids)
}

/// Marks every slot, as one whose watcher has seen nothing yet, and takes what is due.
fn take_all(slots: &mut Slots, ids: &[SlotId]) -> usize {
    for &slot in ids {
        slots.open(slot, Stamp::ABSENT);
    }
    let mut taken = 0;
    slots.give_due(false, |due| {
        std::hint::black_box(due);
        taken += 1;
        ControlFlow::Continue(())
    });
    taken
}
