//! Subscriptions that end and begin again while their records change.

use std::{sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::links::Links;

/// The time between two renewals.
const PERIOD: Duration = Duration::from_millis(100);

/// Renews a subscription after another until `stop` fires, every other one with what is known.
pub(super) async fn renew(links: Arc<Links>, seed: u64, stop: CancellationToken) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(place) = links.draw(&mut random).filter(|&place| links.at(place).groups > 0) else { continue };
        let link = links.at(place);
        link.renew(random.random_range(0..link.groups), random.random()).await;
    }
}
