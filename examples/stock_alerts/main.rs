//! Says which products run out, from the streams in which keepers tell of changes.
//!
//!     cargo run --example stock_alerts -- REDIS_URL [NODE_URL] [BELOW]
//!
//! As in `cargo run --example stock_alerts -- redis://127.0.0.1:6379 ws://127.0.0.1:8080/v1/ws 10`. Kill it and start it again:
//! it goes on where it was. docs/operations.md, "Redis", has the contract of the streams.

mod worker;

use std::{collections::BTreeMap, error::Error, process::ExitCode};

use freshet_client::{Client, Options};
use worker::{Alert, Worker};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut words = std::env::args().skip(1);
    let redis = words.next().ok_or("name the Redis: cargo run --example stock_alerts -- redis://127.0.0.1:6379")?;
    let node = words.next().unwrap_or_else(|| "ws://127.0.0.1:8080/v1/ws".to_owned());
    let below =
        words.next().map_or(Ok(10), |below| below.parse()).map_err(|_| "BELOW is a whole number, such as 10")?;
    let settings = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = redis::Client::open(redis)?.get_multiplexed_async_connection_with_config(&settings).await?;
    let mut worker = Worker {
        redis: connection,
        client: Client::connect(&node, Options::new()).await?,
        group: "stock-alerts".to_owned(),
        name: "worker-1".to_owned(),
        below,
        low: std::collections::BTreeSet::new(),
        lives: BTreeMap::new(),
    };
    let worked = worker.run(|alert| match alert {
        Alert::Low { sku, stock, stamp } => println!("{sku}: {stock} left, as of {stamp}"),
        Alert::Restocked { sku, stock } => println!("{sku}: {stock} again"),
        Alert::Missed => println!("changes may have been missed: look at every product"),
    });
    tokio::select! {
        worked = worked => worked,
        ended = tokio::signal::ctrl_c() => Ok(ended?),
    }
}
