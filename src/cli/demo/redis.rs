//! The second tier of the demo: a private Redis beside the private PostgreSQL.
//!
//! It is not needed: where it cannot be had, or ends by itself, the demo says so in one line and goes on.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::{
    app::Place,
    client::error::explained,
    config::Config,
    shared::{
        self,
        server::{Error, Options, PrivateRedis},
    },
};

/// How long the demo waits for its first answer, which takes a few hundredths of a second.
const START_LIMIT: Duration = Duration::from_secs(5);

/// One that was started again and has ended within so long is not started once more.
const STEADY: Duration = Duration::from_secs(60);

/// Where to get it, for people.
const INSTALL: &str = "apt-get install redis-server, dnf install valkey, brew install redis";

/// Starts it and has the node use it. A named database, and a Redis that the configuration names, are the user's own: then
/// it is not started. Records in memory have no use for it.
pub(super) async fn start(place: &Place, config: &mut Config) -> Option<PrivateRedis> {
    if !matches!(place, Place::Demo(_)) || config.redis.is_some() {
        return None;
    }
    match PrivateRedis::start(Options { start_limit: START_LIMIT, ..Options::default() }).await {
        Ok(redis) => {
            eprintln!("starting a private Redis");
            config.redis = Some(shared::Config::at(redis.url()));
            Some(redis)
        }
        Err(Error::NoBinary) => {
            eprintln!("no Redis is installed, and the demo goes on without ({INSTALL})");
            None
        }
        Err(error) => {
            say_without(&error);
            None
        }
    }
}

/// Starts it again when it ends by itself, until `stop`; then ends it. Meanwhile the databases answer.
pub(super) async fn keep(mut redis: PrivateRedis, stop: CancellationToken) {
    let mut started_again: Option<Instant> = None;
    while let Some(ended) = stop.run_until_cancelled(redis.ended()).await {
        let how = end_of(&ended);
        if started_again.is_some_and(|at| at.elapsed() < STEADY) {
            eprintln!("goes on without Redis: it ended again, {how}");
            return;
        }
        eprintln!("starts Redis again: it ended, {how}");
        match stop.run_until_cancelled(redis.start_again()).await {
            Some(Err(error)) => return say_without(&error),
            Some(Ok(())) => started_again = Some(Instant::now()),
            None => break,
        }
    }
    redis.stop().await;
}

/// A log's last line says more of an end than those of a sound start before it.
fn end_of(ended: &Error) -> String {
    match ended {
        Error::Ended { status, output, .. } => {
            format!("with {status}, and said last: {}", output.lines().last().unwrap_or_default())
        }
        other => explained(other),
    }
}

fn say_without(error: &Error) {
    eprintln!("goes on without Redis: failed to {}", explained(error));
}

/// The line of the startup text that says where it is.
pub(super) fn described(config: &shared::Config) -> String {
    format!("\n    Redis       {}", config.shown())
}
