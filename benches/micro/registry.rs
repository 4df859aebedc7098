//! The registry of watched records: coming, going, and offering a state to all who watch.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use freshet::{
    hub::{Hub, Outlet, SlotId, Slots},
    record::{CollectionId, Key, RecordId, Stamp, State},
    telemetry::Telemetry,
};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// Records that are watched besides those a measurement is about.
const WATCHED: usize = 10_000;
const VALUE_LEN: usize = 420;

/// A connection without a socket: it takes what is due, and the state goes nowhere.
#[derive(Default)]
struct Connection {
    slots: Mutex<Slots>,
}

impl Connection {
    fn watch(self: &Arc<Self>, hub: &Hub, id: &RecordId) {
        let slot = self.slots.lock().insert(1);
        let (topic, place) = hub.watch(id, self.clone(), slot);
        let mut slots = self.slots.lock();
        assert!(slots.bind(slot, 1, topic, place));
        slots.open(slot, Stamp::ABSENT);
    }
}

impl Outlet for Connection {
    fn mark(&self, slot: SlotId) -> bool {
        self.slots.lock().mark(slot)
    }

    fn doubt(&self, _: SlotId) -> bool {
        false
    }

    fn must_enqueue(&self) -> bool {
        false
    }

    fn write_marked(&self) {
        self.slots.lock().give_due(false, |_| ControlFlow::Continue(()));
    }
}

/// Measures the registry with many other records in it.
pub fn registry(c: &mut Criterion) {
    let hub = Hub::new(&Telemetry::new());
    let others = Arc::new(Connection::default());
    (0..WATCHED).for_each(|n| others.watch(&hub, &id(n)));

    let mut group = c.benchmark_group("registry");
    let (one, newcomer) = (id(WATCHED), Arc::new(Connection::default()));
    group.bench_function("watch and unwatch", |b| {
        b.iter(|| {
            let (topic, place) = hub.watch(&one, newcomer.clone(), SlotId(0));
            hub.unwatch(&topic, place);
        });
    });
    let (state, begun) = (state(1), Instant::now());
    assert!(!hub.is_watched(one.as_ref()));
    group.bench_function("publish, nobody watches", |b| b.iter(|| hub.publish(&one, &state, begun)));
    for watchers in [1, 100, 1_000] {
        let id = id(WATCHED + watchers);
        let connections: Vec<_> = (0..watchers).map(|_| Arc::new(Connection::default())).collect();
        connections.iter().for_each(|connection| connection.watch(&hub, &id));
        group.throughput(Throughput::Elements(watchers as u64));
        let mut fan_out = FanOut::new(hub.clone(), id, connections);
        group.bench_function(BenchmarkId::new("publish, watchers", watchers), |b| {
            b.iter_custom(|rounds| (0..rounds).map(|_| fan_out.publish()).sum());
        });
    }
    group.finish();
}

/// A record with its watchers, and the turns they are given between measurements.
struct FanOut {
    hub: Hub,
    id: RecordId,
    connections: Vec<Arc<Connection>>,
    version: u64,
    runtime: Runtime,
}

impl FanOut {
    fn new(hub: Hub, id: RecordId, connections: Vec<Arc<Connection>>) -> Self {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.spawn(hub.clone().run(CancellationToken::new()));
        FanOut { hub, id, connections, version: 0, runtime }
    }

    /// The time it takes to offer one state: encoding it, and marking a slot of each connection.
    fn publish(&mut self) -> Duration {
        self.version += 1;
        let state = state(self.version);
        let begun = Instant::now();
        self.hub.publish(&self.id, &state, begun);
        let spent = begun.elapsed();
        assert!(self.connections.iter().all(|connection| connection.slots.lock().is_marked()));
        self.runtime.block_on(async {
            while self.connections.iter().any(|connection| connection.slots.lock().is_marked()) {
                tokio::task::yield_now().await;
            }
        });
        spent
    }
}

fn state(version: u64) -> State {
    State { stamp: Stamp::new(1, version), value: Some(Bytes::from(vec![b' '; VALUE_LEN])) }
}

fn id(n: usize) -> RecordId {
    RecordId::new(CollectionId(0), Key::from_database(format!("sku-{n:06}")))
}
