//! Reads, writes, polls and losses of history in random order, over a store whose answers come late and replicas that lag.
//!
//! Each seed is one order, on one thread and a paused clock. Looked at are I7, with each answer: no state older than one
//! answered before; I5, with each poll: no entry older than a change applied; and in the end, that what is cached stands in
//! the store.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tokio::{task::JoinSet, time::sleep};

use super::{Config, Loaded, ReadOptions, Tiers, Window};
use crate::{
    record::{CollectionId, DatabaseId, Key, RecordId, ShardId, State, patch::Members},
    resilience::Deadline,
    store::{Fetched, Memory, Operation, Origin, Store, Tail, Write, Written, memory::Schema},
    telemetry::Telemetry,
};

const DATABASE: DatabaseId = DatabaseId(0);
const KEYS: u32 = 3;
const STEPS: u32 = 400;
/// How many states of the store a replica may show, from the newest on.
const STATES_KEPT: usize = 12;
const LIMIT: Duration = Duration::from_secs(5);

/// What is known of a key.
#[derive(Default)]
struct Known {
    /// The newest version that was answered.
    answered: u64,
    is_absent: bool,
    /// Its newest deletion.
    deleted: u64,
}

type Answered = Arc<Mutex<HashMap<Key, Known>>>;

struct World {
    seed: u64,
    random: SmallRng,
    memory: Arc<Memory>,
    store: Store,
    tiers: Tiers,
    tail: Tail,
    answered: Answered,
    clients: JoinSet<()>,
    /// What stood in the store at some moments, oldest first: a replica shows one of them.
    states: VecDeque<Fetched>,
}

/// Takes note of an answer that is given now.
fn answer(answered: &Answered, seed: u64, how: &str, id: &RecordId, state: &State) {
    let (version, is_absent) = (state.stamp.version, state.value.is_none());
    let mut answered = answered.lock();
    let known = answered.entry(id.key.clone()).or_default();
    // The filter knows no tombstone: it answers an absence at version 0, whether the same or a later one.
    let may_be_absent = known.is_absent || known.deleted > known.answered;
    let steps_back = version < known.answered && !(version == 0 && is_absent && may_be_absent);
    assert!(!steps_back, "seed {seed}: {how} answers {id:?} with {version} after {}", known.answered);
    (known.answered, known.is_absent) = (version.max(known.answered), is_absent);
}

/// Takes note of a write that was committed.
fn committed(answered: &Answered, id: &RecordId, written: &Written) {
    if written.installed.as_ref().is_some_and(|(value, _)| value.is_none()) {
        answered.lock().entry(id.key.clone()).or_default().deleted = written.stamp.version;
    }
}

impl World {
    async fn new(seed: u64) -> Self {
        let columns = r#"[{"name": "id", "type": "text"}, {"name": "n", "type": "int8", "nullable": true}]"#;
        let schema = format!(r#"{{"name": "counters", "key": "id", "columns": {columns}}}"#);
        let schema: Schema = serde_json::from_str(&schema).expect("a schema");
        let memory = Arc::new(Memory::new(vec![schema], 1).expect("a store"));
        let store = Store::Memory(memory.clone());
        let mut random = SmallRng::seed_from_u64(seed);
        // Few floors, so that the base is raised for want of room as well.
        let window = Window(random.random_range(3..40));
        let config = Config { floors_max: random.random_range(1..12), window, ..Config::default() };
        let tiers = Tiers::new(&config, store.clone(), None, &Telemetry::new());
        let mut delays = SmallRng::seed_from_u64(!seed);
        memory.delay_answers(move || Duration::from_millis(delays.random_range(0..40)));
        let tail = store.tail(DATABASE);
        let (answered, clients) = (Answered::default(), JoinSet::new());
        let states = VecDeque::new();
        let mut world = World { seed, random, memory, store, tiers, tail, answered, clients, states };
        world.poll(true).await;
        world
    }

    fn id(&mut self) -> RecordId {
        let key = self.random.random_range(0..KEYS);
        RecordId::new(CollectionId(0), Key::from_database(key.to_string()))
    }

    fn write(&mut self) -> Write {
        let (id, n) = (self.id(), self.random.random::<u32>());
        let operation = match self.random.random_range(0..3) {
            0 => Operation::Delete,
            _ => Operation::Put(Members::parse(&format!(r#"{{"n": {n}}}"#)).expect("an object")),
        };
        Write { id, operation, if_stamp: None, token: None, is_likely_new: false }
    }

    async fn step(&mut self) {
        self.replicate();
        match self.random.random_range(0..48) {
            40.. => self.read_replica(),
            0..16 => self.read(),
            16..22 => {
                let write = self.write();
                let written = self.memory.write(&write).expect("a write of another");
                committed(&self.answered, &write.id, &written);
            }
            22..28 => self.write_own(),
            28..37 => self.poll(false).await,
            37 => self.tiers.build_filters(DATABASE).await,
            _ => self.poll(true).await,
        }
        sleep(Duration::from_millis(self.random.random_range(0..6))).await;
    }

    fn read(&mut self) {
        let (tiers, id, answered, seed) = (self.tiers.clone(), self.id(), self.answered.clone(), self.seed);
        self.clients.spawn(async move {
            let read = tiers.get(&id, &ReadOptions::default(), Deadline::after(LIMIT)).await.expect("an answer");
            answer(&answered, seed, read.source.label(), &id, &read.state);
        });
    }

    /// What stands in the store now may be what a replica shows later.
    fn replicate(&mut self) {
        let keys: Vec<_> = (0..KEYS).map(|key| Key::from_database(key.to_string())).collect();
        let state = self.memory.read(ShardId(0), CollectionId(0), &keys);
        self.states.push_back(Fetched { origin: Origin::Replica, ..state });
        if self.states.len() > STATES_KEPT {
            self.states.pop_front();
        }
    }

    /// A read of a replica, as far behind as it may be. If it is refused, a reader goes to the primary, as others do.
    fn read_replica(&mut self) {
        let state = self.states[self.random.random_range(0..self.states.len())].clone();
        let key = self.random.random_range(0..KEYS);
        let wait = Duration::from_millis(self.random.random_range(0..40));
        let (tiers, answered, seed, begun) = (self.tiers.clone(), self.answered.clone(), self.seed, Instant::now());
        self.clients.spawn(async move {
            sleep(wait).await;
            let id = RecordId::new(CollectionId(0), Key::from_database(key.to_string()));
            let Fetched { database, position, origin, generation, ref rows, .. } = state;
            let loaded = Loaded {
                state: rows[key as usize].state(generation),
                database,
                position,
                origin,
                shard: ShardId(0),
                begun,
            };
            if let Some(state) = tiers.install(&id, &loaded) {
                answer(&answered, seed, "a replica", &id, &state);
            }
        });
    }

    /// A write of this node, which waits for its turn to be committed.
    fn write_own(&mut self) {
        let (write, wait) = (self.write(), Duration::from_millis(self.random.random_range(0..30)));
        let (tiers, store, memory) = (self.tiers.clone(), self.store.clone(), self.memory.clone());
        let (answered, seed, begun) = (self.answered.clone(), self.seed, Instant::now());
        self.clients.spawn(async move {
            sleep(wait).await;
            let written = memory.write(&write).expect("a write");
            committed(&answered, &write.id, &written);
            let (value, position) = written.installed.expect("what stands now");
            let state = State { stamp: written.stamp, value };
            let shard = store.shard_of(write.id.as_ref()).expect("a shard");
            tiers.install_written(
                &write.id,
                &Loaded { state: state.clone(), database: DATABASE, position, origin: Origin::Primary, shard, begun },
            );
            answer(&answered, seed, "a write", &write.id, &state);
        });
    }

    /// Polls and applies what it brings; where history `is_lost`, nobody hears of it, and often no mark tells before from after.
    async fn poll(&mut self, is_lost: bool) {
        let poll = self.tail.poll().await.expect("memory does not fail");
        if is_lost {
            self.tiers.reset(DATABASE, poll.position, poll.generations.as_deref());
            return;
        }
        for change in &poll.changes {
            self.tiers.note(DATABASE, change, poll.position);
            let id = RecordId::new(change.collection, change.key.clone());
            let held = self.tiers.local().get(&id.as_ref(), Instant::now(), |entry| entry.state().stamp.version);
            assert!(held.is_none_or(|held| held >= change.version), "seed {}: {held:?} for {change:?}", self.seed);
        }
        self.tiers.advance(DATABASE, poll.proof.expect("the log bounds a poll"));
    }

    async fn end(mut self) {
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
        self.poll(false).await;
        for key in 0..KEYS {
            let id = RecordId::new(CollectionId(0), Key::from_database(key.to_string()));
            let shard = self.store.shard_of(id.as_ref()).expect("a shard");
            let row = self.memory.read(shard, id.collection, std::slice::from_ref(&id.key)).rows.remove(0);
            let held = self.tiers.local().get(&id.as_ref(), Instant::now(), |entry| entry.state().clone());
            if let Some(held) = held {
                assert_eq!((held.stamp.version, held.value), (row.version, row.value), "seed {}: {id:?}", self.seed);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_any_order_no_answer_steps_back_and_no_entry_is_older_than_what_was_applied() {
    for seed in 0..100 {
        let mut world = World::new(seed).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.end().await;
    }
}
