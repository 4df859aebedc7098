//! Finds connections whose client is gone without a word. One sweep over a list, not a timer for each.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Config, Connection, Shared};
use crate::protocol::CloseCode;

/// A ping frame without payload.
///
/// # Source
/// RFC 6455, section 5.5.2.
const PING: [u8; 2] = [0x89, 0x00];

/// Sweeps until `stop`.
pub(super) async fn run(shared: &Shared, stop: CancellationToken) {
    let mut ticks = interval(pace(&shared.config));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        for connection in shared.registry.all() {
            check(&connection, &shared.config);
        }
    }
}

/// Often enough that a limit is met within a quarter of itself.
fn pace(config: &Config) -> Duration {
    let shortest = config.heartbeat_interval.min(config.heartbeat_timeout);
    (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(5))
}

/// Pings a client that has been silent for an interval, and again after each timeout; closes after the last.
fn check(connection: &Connection, config: &Config) {
    let pings = connection.pings.load(Ordering::Relaxed);
    if connection.silence() < config.heartbeat_interval + config.heartbeat_timeout * pings {
        return;
    }
    if pings >= config.heartbeat_failures {
        connection.close(CloseCode::HeartbeatMissed);
        connection.ended.cancel();
    } else {
        connection.pings.fetch_add(1, Ordering::Relaxed);
        connection.send(&PING);
    }
}
