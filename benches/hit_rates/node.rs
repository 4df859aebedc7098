//! L1 as a node runs it: a read comes in where a socket's does, a miss goes through the tiers to the store, and a change
//! is applied as the follower applies it.
//!
//! L1 works reads and writes off in batches: every 64 of them or every 300 ms, whatever comes first. A replay is far
//! faster than a shop's visitors, so that here it is always the 64, which is the later of the two: a node under less load
//! decides earlier. The entry's time is counted in accesses, so the replay removes what has expired, as L1 does by the clock.

use bytesize::ByteSize;
use freshet::{
    completion,
    hub::Hub,
    record::{Change, DatabaseId, Position, Stamp},
    resilience::Deadline,
    service::{self, Service},
    store::{self, Proof},
    telemetry::Telemetry,
    tiers::{self, ReadOptions, Source, Tiers, freshness, local},
    tiers::{Batcher, Join},
};
use std::time::Instant;
use tokio::runtime::Runtime;

use crate::{
    LONG,
    replay::Cache,
    shop::{COLLECTION, Shop},
};

/// Above every stamp: removes an entry whatever its age.
const NEWEST: Stamp = Stamp::new(u32::MAX, u64::MAX);

/// A node in caches of a [`Shop`].
pub struct Node<'a> {
    runtime: &'a Runtime,
    shop: &'a mut Shop,
    service: Service,
    batcher: Batcher,
}

impl<'a> Node<'a> {
    /// A node with an empty L1 of `capacity` bytes.
    pub fn new(runtime: &'a Runtime, shop: &'a mut Shop, capacity: u64) -> Self {
        let config = tiers::Config {
            local: local::Config { capacity: ByteSize::b(capacity), ttl: LONG, absent_ttl: LONG },
            freshness: freshness::Config { fresh: LONG, ..freshness::Config::default() },
            ..tiers::Config::default()
        };
        let telemetry = Telemetry::new();
        let tiers = Tiers::new(&config, shop.store.clone(), None, &telemetry);
        tiers.advance(DatabaseId(0), Proof { position: Position(0), begun: Instant::now() });
        let batcher = Batcher::new(shop.store.clone(), telemetry.counter("statements", "Of the follower."));
        let hub = Hub::new(&telemetry);
        let service = Service::new(service::Config::default(), shop.store.clone(), tiers, hub, &telemetry);
        Node { runtime, shop, service, batcher }
    }
}

impl Cache for Node<'_> {
    fn read(&mut self, key: u32) -> bool {
        let id = &self.shop.ids[key as usize];
        if self.service.answer_local(COLLECTION, id.key.as_str(), Instant::now(), |_, _| ()).is_some() {
            return true;
        }
        let answer = self.runtime.block_on(self.service.get(id, &ReadOptions::default())).expect("answered");
        assert!(answer.state.value.is_some(), "every key of the trace has a record");
        answer.source == Source::Local
    }

    fn change(&mut self, key: u32) -> bool {
        let written = self.shop.sell(key);
        let id = &self.shop.ids[key as usize];
        let tiers = self.service.tiers();
        let held = tiers.holds(id);
        let change =
            Change { collection: id.collection, key: id.key.clone(), version: written.stamp.version, deleted: false };
        tiers.note(DatabaseId(0), &change, tiers.applied(DatabaseId(0)));
        assert!(!tiers.holds(id), "an entry is gone once its record has changed");
        if held {
            let (answer, loaded) = completion::channel(|| Err(store::Error::shutting_down()));
            let loaded = self.runtime.block_on(async {
                self.batcher.load(id, Join::Later, Deadline::after(LONG), answer);
                loaded.await
            });
            let loaded = loaded.expect("read again");
            tiers.install(id, &loaded);
        }
        held
    }

    fn expire(&mut self, key: u32) {
        self.service.tiers().local().remove_older(&self.shop.ids[key as usize], NEWEST);
    }
}
