//! `freshet verify` on three nodes that share a Redis, the third of which keeps it, while something happens to Redis, to a link, to
//! the keeper or to the database.
//!
//! A short form of some runs with the others; all of them, over several seeds, by
//! `cargo test --locked --test it -- --ignored shared_cache::matrix`.

use std::{fs, future::Future, time::Duration};

use freshet::{shared, store::postgres};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::time::sleep;

use super::hits;
use crate::{
    harness::{Link, Node, Process, Proxy, Redis, Replicated, folder, node::config, until},
    verify::verify,
};

/// Seeds of the long form.
const SEEDS: [&str; 3] = ["1", "2", "3"];
/// How long subscriptions may take to arrive when all is well again.
const SETTLE: &str = "5s";

/// What nodes share, and the first one's link to Redis.
struct Field {
    servers: Replicated,
    redis: Redis,
    link: Proxy,
    folder: TempDir,
    /// A node in a process of its own; it was there first, and so keeps the slice.
    keeper: Process,
}

impl Field {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let servers = Replicated::start(1, &[]).await;
        let redis = Redis::start_with(settings).await;
        let link = Proxy::to(&redis.url()).await;
        let folder = folder();
        let file = folder.path().join("freshet.toml");
        let (url, replica) = (servers.url(), servers.standby_url(0));
        let text =
            format!("[redis]\nurls = [{:?}]\n[[database]]\nurl = {url:?}\nreplicas = [{replica:?}]\n", redis.url());
        fs::write(&file, text).expect("write");
        let keeper = Process::configured(&file).await;
        let field = Field { servers, redis, link, folder, keeper };
        field.is_kept().await;
        field
    }

    fn file(&self) -> String {
        self.folder.path().join("freshet.toml").display().to_string()
    }

    async fn is_kept(&self) {
        let kept = "freshet_changes_kept_slices{database=\"main\"}";
        until("the slice is kept", async || self.keeper.metric(kept).await > 0.0).await;
    }

    /// At the defaults, but for L1: most reads go to Redis.
    async fn nodes(&self) -> [Node; 2] {
        let mut nodes = Vec::new();
        for redis in [self.link.url(), self.redis.url()] {
            let replicas = vec![self.servers.standby_url(0)];
            let database = postgres::Config { replicas, ..postgres::Config::at(self.servers.url()) };
            let mut config = config();
            config.tiers.local.capacity = "16 KiB".parse().expect("a size");
            config.redis = Some(shared::Config::at(redis));
            nodes.push(Node::on(database, config).await);
        }
        nodes.try_into().unwrap_or_else(|_| unreachable!("two were made"))
    }

    /// The names of what Redis has of one kind.
    async fn names(&self, pattern: &str) -> Vec<String> {
        self.redis.try_command(&["KEYS", pattern]).await.unwrap_or_default()
    }
}

/// Who serves the clients of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Serving {
    /// All three nodes.
    All,
    /// Those that nothing happens to; the keeper is stopped or killed.
    AllButKeeper,
}

/// Verifies for so many seconds, while `fault` happens, and expects no violation.
async fn run<F>(settings: &[(&str, &str)], seed: &str, seconds: u64, serving: Serving, fault: impl FnOnce(Field) -> F)
where
    F: Future<Output = Field>,
{
    let field = Field::new(settings).await;
    let [a, b] = field.nodes().await;
    let (first, second, seconds, file) = (a.url(), b.url(), seconds.to_string(), field.file());
    let mut words = vec!["--seconds", &seconds, "--keys", "48", "--rate", "150", "--settle", SETTLE, "--seed", seed];
    words.extend([&*first, &*second, "--config", &*file]);
    let third = field.keeper.url();
    if serving == Serving::All {
        words.push(&third);
    }
    let fault = async {
        sleep(Duration::from_secs(2)).await;
        fault(field).await
    };
    let (ran, field) = tokio::join!(verify(&words), fault);
    ran.is_clean();
    assert!(hits(&a) + hits(&b) > 0, "Redis has answered nothing");
    for node in [a, b] {
        node.stop().await;
    }
    drop(field.keeper);
    field.servers.stop().await;
}

async fn lost(mut field: Field) -> Field {
    for _ in 0..2 {
        field.redis.command::<()>(&["FLUSHALL"]).await;
        sleep(Duration::from_secs(1)).await;
        field.redis.kill().await;
        sleep(Duration::from_secs(1)).await;
        field.redis.restart().await;
        sleep(Duration::from_secs(2)).await;
    }
    field
}

/// Each start is from a copy that is some seconds old.
async fn back_in_time(mut field: Field) -> Field {
    for _ in 0..3 {
        field.redis.save().await;
        sleep(Duration::from_secs(2)).await;
        field.redis.restart().await;
        sleep(Duration::from_secs(1)).await;
    }
    field
}

/// The replica follows for a while, and not to the end.
async fn failed_over(mut field: Field) -> Field {
    let mut replica = field.redis.replica().await;
    sleep(Duration::from_secs(1)).await;
    replica.promote().await;
    sleep(Duration::from_secs(1)).await;
    // The copy takes the place of the one that went on without it.
    field.redis.follow(&replica).await;
    field.redis.promote().await;
    sleep(Duration::from_secs(2)).await;
    replica.stop().await;
    field
}

async fn bad_links(field: Field, lasts: u64) -> Field {
    for link in
        [Link::BlackHole, Link::Cut, Link::BlackHoleThese, Link::Delay(Duration::from_millis(200)), Link::Crumbs]
    {
        field.link.set(link);
        sleep(Duration::from_secs(lasts)).await;
        field.link.set(Link::Pass);
        sleep(Duration::from_secs(1)).await;
    }
    field
}

/// Hints are dropped, told twice, told late and in another order, and told of another history.
async fn bad_hints(field: Field) -> Field {
    let mut told: Vec<Vec<(String, Vec<String>)>> = Vec::new();
    for n in 0..60 {
        for stream in field.names("*:changes").await {
            let range = ["XREVRANGE", &stream, "+", "-", "COUNT", "20"];
            told.push(field.redis.try_command(&range).await.unwrap_or_default());
            let old = &told[told.len() * n / 61];
            for (_, fields) in old.iter().take(5) {
                let mut words = vec!["XADD", &stream, "*"];
                words.extend(fields.iter().map(String::as_str));
                drop(field.redis.try_command::<String>(&words).await);
                let of_another = fields.iter().map(|field| field.replace("\"stamp\":\"1.", "\"stamp\":\"7."));
                let of_another: Vec<String> = of_another.collect();
                let mut words = vec!["XADD", &stream, "*"];
                words.extend(of_another.iter().map(String::as_str));
                drop(field.redis.try_command::<String>(&words).await);
            }
            if n % 3 == 0 {
                drop(field.redis.try_command::<u64>(&["DEL", &stream]).await);
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    field
}

/// Slots are cut, filled with those of other keys, or given a higher version.
async fn bad_slots(field: Field) -> Field {
    for n in 0..80 {
        let names = field.names("*:products:*").await;
        for (at, name) in names.iter().enumerate().filter(|(at, _)| (at + n) % 3 == 0) {
            let other = &names[(at + 1) % names.len()];
            let Ok(mut slot) = field.redis.try_command::<String>(&["GET", other]).await else { continue };
            if n % 2 == 0 && slot.len() > 40 {
                slot.replace_range(24..32, "00ffffff");
            } else if n % 5 == 0 {
                slot.truncate(slot.len() / 2);
            }
            drop(field.redis.try_command::<()>(&["SET", name, &slot]).await);
        }
        sleep(Duration::from_millis(50)).await;
    }
    field
}

async fn stopped_keeper(field: Field, lasts: u64) -> Field {
    field.keeper.signal(Signal::SIGSTOP);
    sleep(Duration::from_secs(lasts)).await;
    field.keeper.signal(Signal::SIGCONT);
    sleep(Duration::from_secs(1)).await;
    field
}

async fn killed_keeper(mut field: Field) -> Field {
    for _ in 0..2 {
        field.keeper.signal(Signal::SIGKILL);
        sleep(Duration::from_secs(4)).await;
        field.keeper = Process::configured(&field.folder.path().join("freshet.toml")).await;
    }
    field
}

async fn paused_replay(field: Field, lasts: u64) -> Field {
    field.servers.pause_replay(0).await;
    sleep(Duration::from_secs(lasts)).await;
    field.servers.resume_replay(0).await;
    field
}

async fn promotion(mut field: Field) -> Field {
    field.servers.kill_primary().await;
    field.servers.promote(0).await;
    sleep(Duration::from_secs(4)).await;
    field.servers.rebuild_standby(0).await;
    field
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_lost_and_goes_back_in_time_breaks_no_promise() {
    run(&[], "1", 13, Serving::All, |field| async { back_in_time(lost(field).await).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_links_hints_and_slots_break_no_promise() {
    run(&[], "1", 22, Serving::All, |field| async { bad_slots(bad_hints(bad_links(field, 1).await).await).await })
        .await;
}

macro_rules! long {
    ($($name:ident: $settings:expr, $seconds:expr, $serving:expr, $fault:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "takes minutes"]
        async fn $name() {
            for seed in SEEDS {
                run($settings, seed, $seconds, $serving, $fault).await;
            }
        }
    )*};
}

/// Somebody else fills it, for eight seconds.
async fn crowded(field: Field) -> Field {
    let large = "x".repeat(20_000);
    for n in 0..400 {
        drop(field.redis.try_command::<()>(&["SET", &format!("crowd {n}"), &large]).await);
        sleep(Duration::from_millis(20)).await;
    }
    for name in field.names("crowd *").await {
        drop(field.redis.try_command::<u64>(&["DEL", &name]).await);
    }
    field
}

long! {
    redis_lost: &[], 12, Serving::All, lost;
    redis_back_in_time: &[], 12, Serving::All, back_in_time;
    redis_failed_over: &[], 12, Serving::All, failed_over;
    redis_full_and_evicting: &[("maxmemory", "3mb"), ("maxmemory-policy", "allkeys-lru")], 14, Serving::All, crowded;
    redis_full_and_evicting_at_random: &[("maxmemory", "3mb"), ("maxmemory-policy", "allkeys-random")], 14, Serving::All, crowded;
    redis_full_and_refusing: &[("maxmemory", "3mb"), ("maxmemory-policy", "noeviction")], 14, Serving::All, crowded;
    links_broken_for_thirty_seconds: &[], 44, Serving::All, |field| bad_links(field, 7);
    hints_broken: &[], 12, Serving::All, bad_hints;
    slots_broken: &[], 12, Serving::All, bad_slots;
    keeper_stopped_and_woken: &[], 16, Serving::AllButKeeper, |field| stopped_keeper(field, 10);
    keeper_killed: &[], 16, Serving::AllButKeeper, killed_keeper;
    replica_lagging: &[], 14, Serving::All, |field| paused_replay(field, 10);
    database_promoted: &[], 14, Serving::All, promotion;
}
