//! The load of a run: writers, readers, watchers and foreign writers, for so long.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{databases::Databases, foreign, links::Links, plan::Plan, progress::Progress, reader, watcher, writer};

/// The share of writes that are made by SQL, where databases are known.
const FOREIGN_SHARE: f64 = 0.25;
/// How often the bar moves.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// How much of it.
pub(super) struct Load {
    pub(super) rate: f64,
    pub(super) seconds: u64,
    pub(super) seed: u32,
}

impl Load {
    /// Runs until the time is over, `stop` fires or the history is full; then waits for what is under way. Gives the time
    /// in which it began new requests.
    pub(super) async fn run(
        &self,
        plan: &Arc<Plan>,
        links: &Arc<Links>,
        databases: Option<&Arc<Databases>>,
        stop: &CancellationToken,
        progress: &Progress,
    ) -> Duration {
        let (tasks, over) = (TaskTracker::new(), CancellationToken::new());
        self.spawn(&tasks, &over, plan, links, databases);
        tasks.close();
        let began = Instant::now();
        let until = began + Duration::from_secs(self.seconds);
        while Instant::now() < until && !stop.is_cancelled() && !plan.recorder.full.is_cancelled() {
            progress.load(plan.recorder.len());
            sleep(SHOW_EVERY).await;
        }
        over.cancel();
        let lasted = began.elapsed();
        tasks.wait().await;
        lasted
    }

    fn spawn(
        &self,
        tasks: &TaskTracker,
        over: &CancellationToken,
        plan: &Arc<Plan>,
        links: &Arc<Links>,
        databases: Option<&Arc<Databases>>,
    ) {
        let Load { rate, seed, .. } = *self;
        let share = if databases.is_some() { FOREIGN_SHARE } else { 0.0 };
        let seed = |nth: u64| (u64::from(seed) << 32) + nth;
        tasks.spawn(writer::write(plan.clone(), links.clone(), rate * (1.0 - share), seed(0), over.clone()));
        tasks.spawn(reader::read_all(plan.clone(), links.clone(), rate, seed(1), over.clone()));
        tasks.spawn(watcher::renew(links.clone(), seed(2), over.clone()));
        let Some(databases) = databases else { return };
        let each = rate * share / databases.all.len() as f64;
        for (nth, number) in (3..).zip(0..databases.all.len()) {
            let (plan, databases) = (plan.clone(), databases.clone());
            tasks.spawn(foreign::write(plan, databases, number, each, seed(nth), over.clone()));
        }
    }
}
