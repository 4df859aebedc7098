//! `freshet verify` on three nodes that share a Redis, one of which keeps it, while something happens to Redis, to a link, to a
//! node or to the database. When all is well again, a change is on the screens of all nodes in time.
//!
//! A short form of some runs with the others; all of them, over several seeds, by
//! `cargo test --locked --test it -- --ignored shared_cache::matrix`.

mod faults;

use std::{
    fs,
    future::Future,
    path::PathBuf,
    time::{Duration, Instant},
};

use freshet::{shared, store::postgres};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::Executor as _;
use tempfile::TempDir;

use self::faults::{
    back_in_time, bad_hints, bad_links, bad_slots, crowded, failed_over, killed_keeper, killed_node, lost, no_hints,
    paused_replay, promotion, silence, stopped_keeper, stopped_node,
};
use super::hits;
use crate::{
    harness::{Node, Process, Proxy, Redis, Replicated, Socket, folder, node::config, until},
    verify::verify,
};

/// Seeds of the long form.
const SEEDS: [&str; 3] = ["1", "2", "3"];
/// How long a change may take to every screen when all is well again...
const CONVERGES: Duration = Duration::from_secs(2);
/// ...after the keeper or the primary was away; and in the short form, which has many tests beside it.
const CONVERGES_LATE: Duration = Duration::from_secs(5);

/// Three nodes, what they share, and the first one's link to Redis.
struct Field {
    servers: Replicated,
    redis: Redis,
    link: Proxy,
    folder: TempDir,
    /// A node in a process of its own; it was there first, and so keeps the slice.
    keeper: Process,
    /// Another one.
    node: Process,
}

impl Field {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let servers = Replicated::start(1, &[]).await;
        let redis = Redis::start_with(settings).await;
        let link = Proxy::to(&redis.url()).await;
        let folder = folder();
        let (url, replica) = (servers.url(), servers.standby_url(0));
        // At the defaults, but for L1: most reads go to Redis.
        let text = format!(
            "[redis]\nurls = [{:?}]\n[tiers.local]\ncapacity = \"16 KiB\"\n\
             [[database]]\nurl = {url:?}\nreplicas = [{replica:?}]\n",
            redis.url()
        );
        fs::write(file_in(&folder), text).expect("write");
        let keeper = Process::configured(&file_in(&folder)).await;
        let kept = "freshet_changes_kept_slices{database=\"main\"}";
        until("the slice is kept", async || keeper.metric(kept).await > 0.0).await;
        let node = Process::configured(&file_in(&folder)).await;
        Field { servers, redis, link, folder, keeper, node }
    }

    /// Another node like those in processes.
    async fn process(&self) -> Process {
        Process::configured(&file_in(&self.folder)).await
    }

    /// The first node, configured as the others are.
    async fn first(&self) -> Node {
        let replicas = vec![self.servers.standby_url(0)];
        let database = postgres::Config { replicas, ..postgres::Config::at(self.servers.url()) };
        let mut config = config();
        config.tiers.local.capacity = "16 KiB".parse().expect("a size");
        config.redis = Some(shared::Config::at(self.link.url()));
        Node::on(database, config).await
    }

    /// Waits until a run has made its records, and writes.
    async fn is_written(&self) {
        let mut session = self.servers.connect_primary().await;
        let newest = "SELECT last_value FROM feed.vseq";
        until("the run writes", async || {
            sqlx::query_scalar::<_, i64>(newest).fetch_one(&mut session).await.expect("a version") > 300
        })
        .await;
    }

    /// Changes a record that is watched on every node, and returns how long it took until each has shown it: the first, the
    /// keeper, the other one.
    async fn change_and_show(&self, first: &Node) -> Vec<Duration> {
        let mut session = self.servers.connect_primary().await;
        session.execute("INSERT INTO products (sku, name, price) VALUES ('probe', 'x', 1)").await.expect("insert");
        let urls = [first.url(), self.keeper.url(), self.node.url()];
        let mut sockets = join_all(urls.iter().map(async |url| {
            let mut socket = Socket::at(url).await;
            socket.ok("subscribe", json!(["products", "probe"])).await;
            socket
        }))
        .await;
        let changed = Instant::now();
        session.execute("UPDATE products SET price = 2 WHERE sku = 'probe'").await.expect("update");
        join_all(sockets.iter_mut().map(async |socket| {
            while socket.push().await["value"]["price"] != json!(2) {}
            changed.elapsed()
        }))
        .await
    }

    /// The names of what Redis has of one kind.
    async fn names(&self, pattern: &str) -> Vec<String> {
        self.redis.try_command(&["KEYS", pattern]).await.unwrap_or_default()
    }
}

fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("freshet.toml")
}

/// Who serves the clients of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Serving {
    /// All three nodes.
    All,
    /// Those that nothing happens to; the keeper is stopped or killed.
    AllButKeeper,
    /// The same; the other node is killed.
    AllButNode,
}

/// Verifies for so many seconds, while `fault` happens, and expects no violation, and convergence within `converges`.
async fn run<F>(
    settings: &[(&str, &str)],
    seed: &str,
    seconds: u64,
    (serving, converges): (Serving, Duration),
    fault: impl FnOnce(Field) -> F,
) where
    F: Future<Output = Field>,
{
    let field = Field::new(settings).await;
    let first = field.first().await;
    let (seconds, settle) = (seconds.to_string(), format!("{}s", converges.as_secs()));
    let file = file_in(&field.folder).display().to_string();
    let urls = [first.url(), field.keeper.url(), field.node.url()];
    let mut words = vec!["--seconds", &seconds, "--keys", "48", "--rate", "150", "--settle", &settle, "--seed", seed];
    words.extend(["--config", &*file, &urls[0]]);
    words.extend((serving != Serving::AllButKeeper).then_some(&*urls[1]));
    words.extend((serving != Serving::AllButNode).then_some(&*urls[2]));
    let fault = async {
        field.is_written().await;
        let field = fault(field).await;
        let took = field.change_and_show(&first).await;
        (field, took)
    };
    let (ran, (field, took)) = tokio::join!(verify(&words), fault);
    ran.is_clean();
    assert!(took.iter().all(|took| *took < converges), "a change took {took:?} to the screens when all was well again");
    let shared = "freshet_tiers_answers_total{source=\"shared\"}";
    let answered = hits(&first) as f64 + field.node.metric(shared).await;
    assert!(answered > 0.0, "Redis has answered nothing");
    first.stop().await;
    drop((field.keeper, field.node));
    field.servers.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_lost_and_goes_back_in_time_breaks_no_promise() {
    let fault = |field| async { back_in_time(lost(field).await).await };
    run(&[], "1", 13, (Serving::All, CONVERGES_LATE), fault).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_links_hints_and_slots_break_no_promise() {
    let fault = |field| async { bad_slots(bad_hints(bad_links(field, 1).await).await).await };
    run(&[], "1", 22, (Serving::All, CONVERGES_LATE), fault).await;
}

macro_rules! long {
    ($($name:ident: $settings:expr, $seconds:expr, $serving:expr, $converges:expr, $fault:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "takes minutes"]
        async fn $name() {
            for seed in SEEDS {
                run($settings, seed, $seconds, ($serving, $converges), $fault).await;
            }
        }
    )*};
}

long! {
    redis_lost: &[], 12, Serving::All, CONVERGES, lost;
    redis_back_in_time: &[], 12, Serving::All, CONVERGES, back_in_time;
    redis_failed_over: &[], 12, Serving::All, CONVERGES, failed_over;
    redis_full_and_evicting: &[("maxmemory", "3mb"), ("maxmemory-policy", "allkeys-lru")], 14, Serving::All, CONVERGES, crowded;
    redis_full_and_evicting_at_random: &[("maxmemory", "3mb"), ("maxmemory-policy", "allkeys-random")], 14, Serving::All, CONVERGES, crowded;
    redis_full_and_refusing: &[("maxmemory", "3mb"), ("maxmemory-policy", "noeviction")], 14, Serving::All, CONVERGES, crowded;
    redis_silent_for_thirty_seconds: &[], 36, Serving::All, CONVERGES, |field| silence(field, 30);
    links_broken_for_thirty_seconds: &[], 44, Serving::All, CONVERGES, |field| bad_links(field, 7);
    hints_broken: &[], 12, Serving::All, CONVERGES, bad_hints;
    hints_dropped: &[], 12, Serving::All, CONVERGES, no_hints;
    slots_broken: &[], 12, Serving::All, CONVERGES, bad_slots;
    keeper_stopped_and_woken: &[], 16, Serving::AllButKeeper, CONVERGES_LATE, |field| stopped_keeper(field, 10);
    keeper_killed: &[], 16, Serving::AllButKeeper, CONVERGES_LATE, killed_keeper;
    node_stopped_and_woken: &[], 16, Serving::All, CONVERGES, |field| stopped_node(field, 10);
    node_killed: &[], 16, Serving::AllButNode, CONVERGES, killed_node;
    replica_lagging: &[], 14, Serving::All, CONVERGES, |field| paused_replay(field, 10);
    database_promoted: &[], 14, Serving::All, CONVERGES_LATE, promotion;
}
