//! `freshet demo`: a real web shop's catalogue, its sales replayed, and a page to watch them.

pub mod catalogue;
mod import;
mod replay;
pub mod sales;
pub mod schedule;

use std::{io::Write as _, num::NonZeroU32};

use self::replay::Replay;
use super::{
    Error,
    node::{NodeArgs, start_log, stop_on_signal},
};
use crate::{
    app::{App, Place},
    gateway::Page,
};

/// The collection of the demo, made by the shipped migrations.
const COLLECTION: &str = "products";

/// Options of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// How many seconds of the shop's time pass in one of ours.
    #[arg(long, default_value_t = schedule::DEFAULT_SPEED)]
    speed: NonZeroU32,
    /// Leave the sales out.
    #[arg(long)]
    no_replay: bool,
}

/// Starts a node with the shop's catalogue and replays its sales as ordinary writes. Run again, it continues.
///
/// # Errors
/// [`Error::Config`], [`Error::App`]; [`Error::Demo`] when the shipped data cannot be imported.
pub async fn run(args: Args) -> Result<(), Error> {
    start_log("warn");
    let stop = stop_on_signal()?;
    let config = args.node.configuration()?;
    let place = args.node.place(&config, "demo");
    let products = catalogue::embedded().map_err(|error| Error::Demo(error.to_string()))?;
    let page = Page { products_index: catalogue::index_json(&products).into() };
    say_starting(&place);
    let app = App::build(&config, &place, Some(page)).await?;
    // The node's own stop comes after the replay's: its last sales are ordinary writes and want their answers.
    let node_stop = tokio_util::sync::CancellationToken::new();
    let serving = {
        let addresses = app.addresses();
        let (service, store) = (app.service().clone(), app.store().clone());
        let node = tokio::spawn(app.run(node_stop.clone()));
        let imported = stop.run_until_cancelled(import::run(&service, &store, &products)).await;
        match imported {
            None => {}
            Some(Err(error)) => {
                node_stop.cancel();
                wait(node).await;
                return Err(error);
            }
            Some(Ok(())) => {
                say_ready(&place, addresses);
                if !args.no_replay {
                    let replay = Replay::new(service, &products, args.speed, position_file(&place));
                    replay.run(stop.clone()).await?;
                }
            }
        }
        node
    };
    stop.cancelled().await;
    eprintln!("\nstopping: finishing answers, then PostgreSQL");
    node_stop.cancel();
    wait(serving).await;
    Ok(())
}

async fn wait(node: tokio::task::JoinHandle<()>) {
    if let Err(error) = node.await {
        tracing::error!(%error, "the node ended badly");
    }
}

/// Where the replay notes how far it has come.
fn position_file(place: &Place) -> Option<std::path::PathBuf> {
    match place {
        Place::Durable(folder) => Some(folder.with_extension("replay")),
        Place::Memory => None,
    }
}

fn say_starting(place: &Place) {
    match place {
        Place::Durable(folder) => eprintln!("starting a private PostgreSQL in {}", folder.display()),
        Place::Memory => eprintln!("in memory; install postgresql to keep data"),
    }
}

fn say_ready(place: &Place, (public, operations): (std::net::SocketAddr, std::net::SocketAddr)) {
    let data = match place {
        Place::Durable(folder) => folder.display().to_string(),
        Place::Memory => "in memory; install postgresql to keep data".to_owned(),
    };
    let text = format!(
        "
  Freshet is running.

    page        http://{public}/
    WebSocket   ws://{public}/v1/ws
    HTTP        http://{public}/v1/products/85123A
    operations  http://{operations}/readyz?verbose   http://{operations}/metrics
    data        {data}

  In another terminal:

    freshet watch products 85123A
    freshet patch products 85123A --increment stock=-1

  Ctrl-C stops it; run it again and it continues.

"
    );
    let mut out = std::io::stdout().lock();
    // A closed stdout is no reason to stop serving.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}
