//! Writes through the nodes, and reads with their stamps.

use std::{sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tokio::{sync::Semaphore, time::interval};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    links::Links,
    plan::Plan,
    requests::{Change, Way, read},
};

/// Writes under way at once; when so many are, the next ones wait.
const IN_FLIGHT_MAX: usize = 64;
/// One write in so many...
const DELETIONS: u32 = 10;
/// ...names the state that it expects.
const CONDITIONS: u32 = 5;
/// ...is sent again under its idempotency key.
const REPEATS: u32 = 10;
/// ...is sent together with a second one of the same key, on the same connection.
const PAIRS: u32 = 10;

/// A write with what is done beside it.
struct Turn {
    changes: Vec<Change>,
    /// The connections of the writes, of a repeat, and of the read after it.
    links: [usize; 3],
    reads_back: bool,
}

/// Writes `rate` times a second until `stop` fires, then waits for what is under way.
pub(super) async fn write(plan: Arc<Plan>, links: Arc<Links>, rate: f64, seed: u64, stop: CancellationToken) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    let (room, tasks) = (Arc::new(Semaphore::new(IN_FLIGHT_MAX)), TaskTracker::new());
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(turn) = turn(&plan, &links, &mut random) else { continue };
        let Some(Ok(permit)) = stop.run_until_cancelled(room.clone().acquire_owned()).await else { break };
        let (plan, links) = (plan.clone(), links.clone());
        tasks.spawn(async move {
            turn.take(&plan, &links).await;
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// `None` while no connection is open.
fn turn(plan: &Plan, links: &Links, random: &mut SmallRng) -> Option<Turn> {
    let key = random.random_range(0..plan.keys.len() as u32);
    let one_in = |random: &mut SmallRng, so_many: u32| random.random_ratio(1, so_many);
    let way = match () {
        () if one_in(random, DELETIONS) => Way::Delete,
        () if random.random() => Way::Put,
        () => Way::Patch,
    };
    let number = (way != Way::Delete).then(|| plan.number());
    let if_stamp = plan.recorder.newest(key).filter(|stamp| one_in(random, CONDITIONS) && stamp.version > 0);
    let token = number.filter(|_| one_in(random, REPEATS)).map(|number| format!("verify-{}-{number}", plan.word));
    let change = Change { key, way, number, if_stamp, token, is_repeat: false };
    let mut changes = vec![change];
    if one_in(random, PAIRS) {
        let number = Some(plan.number());
        changes.push(Change { key, way: Way::Put, number, if_stamp: None, token: None, is_repeat: false });
    }
    let links = [links.draw(random)?, links.draw(random)?, links.draw(random)?];
    Some(Turn { changes, links, reads_back: random.random() })
}

impl Turn {
    async fn take(self, plan: &Plan, links: &Links) {
        let [first, second, third] = self.links.map(|place| links.at(place));
        let made = futures_util::future::join_all(self.changes.iter().map(|change| change.make(plan, first))).await;
        let change = &self.changes[0];
        // A refused write did not happen: under its key it would be carried out now.
        let is_repeatable = made[0].as_ref().is_some_and(super::history::Write::may_have_happened);
        if change.token.is_some() && is_repeatable {
            Change { is_repeat: true, ..change.clone() }.make(plan, second).await;
        }
        let stamps = made.into_iter().flatten().filter_map(|write| write.stamp());
        if let Some(stamp) = stamps.max().filter(|stamp| self.reads_back && stamp.version > 0) {
            read(plan, third, &[change.key], Some(stamp)).await;
        }
    }
}
