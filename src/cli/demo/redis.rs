//! The second tier of the demo: a private Redis beside the private PostgreSQL.
//!
//! It is not needed: where it cannot be had, the demo says so in one line and goes on.

use std::time::Duration;

use crate::{
    app::Place,
    config::Config,
    shared::{
        self,
        server::{Error, Options, PrivateRedis},
    },
};

/// How long the demo waits for its first answer, which takes a few hundredths of a second.
const START_LIMIT: Duration = Duration::from_secs(5);

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
            eprintln!("goes on without Redis: failed to {}", crate::client::error::explained(&error));
            None
        }
    }
}

/// The line of the startup text that says where it is.
pub(super) fn described(config: &shared::Config) -> String {
    format!("\n    Redis       {}", config.shown())
}
