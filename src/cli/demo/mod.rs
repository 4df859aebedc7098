//! `freshet demo`: a real web shop's catalogue, its sales replayed, simulated readers, and a page to watch it all.

pub mod catalogue;
mod import;
mod lease;
mod play;
mod prices;
mod readers;
mod redis;
mod replay;
pub mod sales;
pub mod schedule;
pub mod stock;

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
    sync::Once,
    time::Duration,
};

use bytesize::ByteSize;
use tokio::{sync::watch, task::JoinError};
use tokio_util::sync::CancellationToken;

use self::{lease::Lease, play::Play};
use super::{
    Error,
    database::Named,
    node::{NodeArgs, default_folder, start_log, stop_on_signal},
    output::Format,
};
use crate::{
    app::{self, App, Place},
    config::Config,
    gateway::{self, Page, Shop},
    shared,
    shutdown::Tasks,
    store::postgres::{server, session},
};

/// How long what runs beside the node may take to end.
const SERVERS_LIMIT: Duration = Duration::from_secs(15);

/// The collection of the demo, made by `demo/migrations`.
const COLLECTION: &str = "products";

/// Options of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// How many seconds of the shop's time pass in one of ours while it is open.
    #[arg(long, default_value_t = schedule::DEFAULT_SPEED)]
    speed: NonZeroU32,
    /// Leave the sales out.
    #[arg(long)]
    no_replay: bool,
    /// How many reads a second simulated visitors make, one in twenty of a product that does not exist; 0 leaves them
    /// out.
    #[arg(long, value_name = "RATE", default_value_t = readers::DEFAULT_RATE, value_parser = clap::value_parser!(u32).range(..=10_000))]
    readers: u32,
    /// Memory for records in this process. Less than the catalogue takes, so that every tier has work to do.
    #[arg(long, value_name = "SIZE", default_value = "1MiB")]
    cache: ByteSize,
}

/// Starts a node with the shop's catalogue and replays its sales as ordinary writes. Run again, it continues.
///
/// # Errors
/// [`Error::Config`], [`Error::App`]; [`Error::Demo`] when the shipped data cannot be imported.
pub async fn run(args: Args, format: Format) -> Result<(), Error> {
    start_log("warn", format);
    let stop = stop_on_signal()?;
    let mut config = args.node.configuration()?;
    config.tiers.local.capacity = args.cache;
    let place = place(&args.node, &config);
    let products = catalogue::embedded().map_err(|error| Error::Demo(error.to_string()))?;
    let (shop, shown) = watch::channel(Shop { speed: args.speed.get(), readers: args.readers, ..Shop::default() });
    let page = Page { products_index: catalogue::index_json(&products).into(), shop: shown };
    say_starting(&place);
    let redis = redis::start(&place, &mut config).await;
    let app = App::build(&config, &place, Some(page)).await?;
    let servers = Tasks::new();
    if let Some(redis) = redis {
        servers.spawn("Redis", |stop| redis::keep(redis, stop));
    }
    let addresses = app.addresses();
    let lease = Lease::new(position_file(&place, args.node.config), matches!(place, Place::Demo(_)), shop.clone());
    let play = Play {
        service: app.service().clone(),
        store: app.store().clone(),
        products: &products,
        readers: NonZeroU32::new(args.readers),
        speed: (!args.no_replay).then_some(args.speed),
        // Of several databases, one may be away.
        needs_catalogue: !matches!(place, Place::Databases(_)),
        lease,
        shop,
        ready: || say_ready(&place, config.redis.as_ref(), addresses),
        said: Once::new(),
    };
    // The node's own stop comes after the replay's: its last sales are ordinary writes and want their answers.
    let node_stop = CancellationToken::new();
    let mut node = tokio::spawn(app.run(node_stop.clone()));
    let playing = async {
        play.run(&stop).await?;
        stop.cancelled().await;
        eprintln!("\nstopping: finishing answers, then PostgreSQL");
        Ok(())
    };
    let played = tokio::select! {
        ended = &mut node => return settled(ended),
        played = playing => played,
    };
    node_stop.cancel();
    let ended = settled(node.await);
    servers.stop(SERVERS_LIMIT).await;
    ended.and(played)
}

/// The place that was named; else a private PostgreSQL; else, if no PostgreSQL is installed, memory.
/// DATABASE_URL is not looked at: it may name a database that is no place for a shop's sales.
fn place(node: &NodeArgs, config: &Config) -> Place {
    match Named::first(None, node.data_dir.as_deref(), config, None) {
        _ if node.memory => Place::Memory,
        Some(Named::Databases(databases)) => Place::Databases(databases),
        Some(Named::Folder(folder)) => Place::Demo(folder),
        None if server::find_binaries().is_some() => Place::Demo(default_folder().join("demo")),
        None => Place::Memory,
    }
}

/// How the node ended.
fn settled(ended: Result<Result<(), app::Error>, JoinError>) -> Result<(), Error> {
    match ended {
        Ok(ended) => Ok(ended?),
        Err(_) => Err(app::Error::TaskEnded { task: "node" }.into()),
    }
}

/// Where the replay notes how far it has come: nodes that share a configuration share it.
fn position_file(place: &Place, config: Option<PathBuf>) -> Option<PathBuf> {
    match place {
        Place::Private(folder) | Place::Demo(folder) => Some(folder.with_extension("replay")),
        Place::Databases(_) => Some(config.unwrap_or_else(|| default_folder().join("demo")).with_extension("replay")),
        Place::Memory => None,
    }
}

fn say_starting(place: &Place) {
    match place {
        Place::Private(folder) | Place::Demo(folder) => {
            eprintln!("starting a private PostgreSQL in {}", folder.display());
        }
        Place::Databases(_) | Place::Memory => eprintln!("{}", data(place)),
    }
}

fn data(place: &Place) -> String {
    match place {
        Place::Private(folder) | Place::Demo(folder) => folder.display().to_string(),
        Place::Databases(databases) => match &databases[..] {
            [only] => session::Place::of(&only.url).map_or_else(|error| error.to_string(), |place| place.to_string()),
            all => {
                let names = all.iter().map(|database| &*database.name).collect::<Vec<_>>().join(", ");
                format!("{} databases: {names}", all.len())
            }
        },
        Place::Memory => "in memory; install postgresql to keep data".to_owned(),
    }
}

fn say_ready(place: &Place, redis: Option<&shared::Config>, addresses: (SocketAddr, SocketAddr)) {
    let redis = redis.filter(|_| !matches!(place, Place::Memory)).map_or_else(String::new, redis::described);
    let text = banner(addresses, &format!("{}{redis}", data(place)));
    let mut out = std::io::stdout().lock();
    // A closed stdout is no reason to stop serving.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Where everything is, as seen from this machine, and commands that go there.
fn banner((public, operations): (SocketAddr, SocketAddr), data: &str) -> String {
    let [public, operations] = [public, operations].map(from_here);
    let url = match public == gateway::Config::default().listen {
        true => String::new(),
        false => format!(" --url ws://{public}"),
    };
    format!(
        "
  Freshet is running.

    page        http://{public}/
    WebSocket   ws://{public}/v1/ws
    HTTP        http://{public}/v1/products/85123A
    operations  http://{operations}/readyz?verbose   http://{operations}/metrics
    data        {data}

  In another terminal:

    freshet watch products 85123A{url}
    freshet patch products 85123A --increment stock=-1{url}

  Ctrl-C stops it; run it again and it continues.

"
    )
}

/// A listener on every address of the machine is reached at loopback.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_names_the_listeners_that_were_chosen() {
        let at = |public: &str, operations: &str| {
            banner((public.parse().expect("an address"), operations.parse().expect("an address")), "here")
        };
        let usual = at("127.0.0.1:8080", "127.0.0.1:8081");
        assert!(usual.contains("freshet watch products 85123A\n") && !usual.contains("--url"), "{usual}");
        let chosen = at("0.0.0.0:9000", "[::]:9001");
        for part in [
            "http://127.0.0.1:9000/\n",
            "ws://127.0.0.1:9000/v1/ws",
            "http://[::1]:9001/metrics",
            "freshet watch products 85123A --url ws://127.0.0.1:9000\n",
            "--increment stock=-1 --url ws://127.0.0.1:9000\n",
        ] {
            assert!(chosen.contains(part), "{part} is not in {chosen}");
        }
    }
}
