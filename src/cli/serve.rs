//! `freshet serve`: runs a node until it is told to stop.

use super::{
    Error,
    node::{NodeArgs, start_log, stop_on_signal},
};
use crate::app::{App, Place};

/// Options of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

/// Builds the node, runs it, drains it.
///
/// # Errors
/// [`Error::Config`] and [`Error::App`]: the node never served, or one of its tasks ended unexpectedly.
pub async fn run(args: Args) -> Result<(), Error> {
    start_log("info");
    let stop = stop_on_signal()?;
    let config = args.node.configuration()?;
    let place = args.node.place(&config, "serve");
    if matches!(place, Place::Memory) {
        tracing::warn!("in memory; install postgresql to keep data");
    }
    let app = App::build(&config, &place, None).await?;
    let (public, operations) = app.addresses();
    let collections: Vec<_> = app.store().catalogue().iter().map(|collection| collection.name.clone()).collect();
    tracing::info!(%public, %operations, ?collections, "serves");
    if collections.is_empty() {
        tracing::warn!("no table is tracked: call freshet.track('your_table') in a migration and restart");
    }
    Ok(app.run(stop).await?)
}
