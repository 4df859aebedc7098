//! Reads through the nodes: of one key or several, with and without a stamp.

use std::{sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tokio::{sync::Semaphore, time::interval};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{links::Links, plan::Plan, requests::read};

/// Reads under way at once; when so many are, the next ones wait.
const IN_FLIGHT_MAX: usize = 64;
/// One read in so many is of several keys, and one in so many of the others names the newest stamp that is known.
const ONE_IN: u32 = 4;
/// The most keys of a read; fewer are drawn as often.
const KEYS_MAX: usize = 8;

/// Reads `rate` times a second until `stop` fires, then waits for what is under way.
pub(super) async fn read_all(plan: Arc<Plan>, links: Arc<Links>, rate: f64, seed: u64, stop: CancellationToken) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    let (room, tasks) = (Arc::new(Semaphore::new(IN_FLIGHT_MAX)), TaskTracker::new());
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let count = if random.random_ratio(1, ONE_IN) { random.random_range(2..=KEYS_MAX) } else { 1 };
        let mut keys: Vec<u32> = (0..count).map(|_| random.random_range(0..plan.keys.len() as u32)).collect();
        keys.sort_unstable();
        keys.dedup();
        let names_stamp = keys.len() == 1 && random.random_ratio(1, ONE_IN);
        let min_stamp = plan.recorder.newest(keys[0]).filter(|stamp| names_stamp && stamp.version > 0);
        let Some(place) = links.draw(&mut random) else { continue };
        let Some(Ok(permit)) = stop.run_until_cancelled(room.clone().acquire_owned()).await else { break };
        let (plan, links) = (plan.clone(), links.clone());
        tasks.spawn(async move {
            read(&plan, links.at(place), &keys, min_stamp).await;
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
}
