//! `freshet verify` on two nodes over a primary and two replicas, while something happens to the servers or their links.
//!
//! A short form of some runs with the others; all of them, over several seeds, by
//! `cargo test --locked --test it -- --ignored replicas::matrix`.

use std::{fs, future::Future, time::Duration};

use freshet::store::postgres::{self, session::Place};
use nix::sys::signal::Signal;
use sqlx::{Connection as _, PgConnection};
use tokio::time::sleep;

use super::all_asked;
use crate::{
    harness::{Link, Node, Process, Proxy, Replicated, folder, node::config, until},
    verify::verify,
};

/// Seeds of the long form.
const SEEDS: [&str; 3] = ["1", "2", "3"];
/// How long subscriptions may take to arrive when all is well again.
const SETTLE: &str = "5s";

/// The servers, and the first node's links to them: in the order of the configuration, the primary first.
struct Field {
    servers: Replicated,
    links: Vec<Proxy>,
    /// A node in a process of its own, which leads the database.
    leader: Option<Process>,
}

impl Field {
    async fn new() -> Self {
        let servers = Replicated::start(2, &[("max_standby_streaming_delay", "0")]).await;
        let mut links = Vec::new();
        for url in [servers.url(), servers.standby_url(0), servers.standby_url(1)] {
            links.push(Proxy::to(&url).await);
        }
        Field { servers, links, leader: None }
    }

    /// The same, with a leader that can be stopped where it stands: it begins alone.
    async fn with_leader() -> Self {
        let mut field = Field::new().await;
        let folder = folder();
        let config = folder.path().join("freshet.toml");
        fs::write(&config, field.configuration()).expect("write");
        let node = Process::configured(&config).await;
        until("the node leads", async || node.metric("freshet_changes_leads{database=\"main\"}").await > 0.0).await;
        field.leader = Some(node);
        field
    }

    /// What a configuration says of them.
    fn configuration(&self) -> String {
        let replicas = [0, 1].map(|standby| format!("{:?}", self.servers.standby_url(standby))).join(", ");
        format!("[[database]]\nurl = {:?}\nreplicas = [{replicas}]\n", self.servers.url())
    }

    /// The first node reaches the servers by the links, the other one directly.
    async fn nodes(&self) -> [Node; 2] {
        let direct = [self.servers.url(), self.servers.standby_url(0), self.servers.standby_url(1)];
        let linked = self.links.iter().map(Proxy::url).collect();
        let mut nodes = Vec::new();
        for mut urls in [linked, Vec::from(direct)] {
            let url = urls.remove(0);
            let database = postgres::Config { replicas: urls, ..postgres::Config::at(url) };
            let mut config = config();
            // Most reads go to the servers.
            config.tiers.local.capacity = "16 KiB".parse().expect("a size");
            nodes.push(Node::on(database, config).await);
        }
        for node in &nodes {
            all_asked(node, 2).await;
        }
        nodes.try_into().unwrap_or_else(|_| unreachable!("two were made"))
    }
}

/// The leader is stopped for longer than one may be silent, and woken.
async fn stopped_leader(field: Field) -> Field {
    let leader = field.leader.as_ref().expect("there is one");
    leader.signal(Signal::SIGSTOP);
    sleep(Duration::from_secs(6)).await;
    leader.signal(Signal::SIGCONT);
    sleep(Duration::from_secs(2)).await;
    field
}

/// So many writes are more than the records' own, which verify makes first.
const BEGUN: u64 = 250;

/// Verifies for so many seconds, while `fault` happens to the servers, and expects no violation.
async fn run<F: Future<Output = Field>>(seed: &str, seconds: u64, fault: impl FnOnce(Field) -> F) {
    run_on(Field::new().await, seed, seconds, fault).await;
}

async fn run_on<F: Future<Output = Field>>(field: Field, seed: &str, seconds: u64, fault: impl FnOnce(Field) -> F) {
    let [a, b] = field.nodes().await;
    let (first, second, seconds) = (a.url(), b.url(), seconds.to_string());
    let replicas = [field.servers.standby_url(0), field.servers.standby_url(1)];
    // It writes and looks by SQL as well, on whichever server is the primary.
    let folder = folder();
    let file = folder.path().join("freshet.toml");
    fs::write(&file, field.configuration()).expect("write");
    let file = file.display().to_string();
    let mut words = vec!["--seconds", &seconds, "--keys", "48", "--rate", "150", "--settle", SETTLE, "--seed", seed];
    words.extend([&*first, &*second, "--config", &*file]);
    // Once the load has begun: what verify does before, it does once, and it ends where a server goes meanwhile.
    let begun = async || {
        let committed =
            |node: &Node| node.metrics().where_label("freshet_service_writes_total", "outcome", "committed");
        committed(&a) + committed(&b) >= BEGUN
    };
    let fault = async {
        until("verify writes", begun).await;
        fault(field).await
    };
    let (ran, field) = tokio::join!(verify(&words), fault);
    ran.is_clean();
    let reads = |urls: &[String]| {
        let places = urls.iter().map(|url| Place::of(url).expect("a url").server);
        places.map(|place| b.metrics().where_label("freshet_store_reads_total", "server", &place)).sum::<u64>()
    };
    assert!(reads(&replicas) > 0, "no replica has answered");
    for node in [a, b] {
        node.stop().await;
    }
    field.servers.stop().await;
}

async fn paused_replay(field: Field, lasts: u64) -> Field {
    field.servers.pause_replay(0).await;
    sleep(Duration::from_secs(lasts)).await;
    field.servers.resume_replay(0).await;
    field
}

async fn killed_primary(mut field: Field, lasts: u64) -> Field {
    field.servers.kill_primary().await;
    sleep(Duration::from_secs(lasts)).await;
    field.servers.start_primary().await;
    field
}

/// Both replicas follow the new primary in the end.
async fn promotion(mut field: Field) -> Field {
    field.servers.kill_primary().await;
    field.servers.promote(0).await;
    sleep(Duration::from_secs(3)).await;
    // The old primary takes writes again, and has a replica. Neither may be asked for a record.
    field.servers.start_standby(0).await;
    let mut old = field.servers.connect_standby(0).await;
    for _ in 0..20 {
        let lost = "UPDATE products SET stock = 999000000 + (random() * 1000)::int";
        sqlx::raw_sql(lost).execute(&mut old).await.expect("it takes writes");
        sleep(Duration::from_millis(100)).await;
    }
    drop(old);
    field.servers.rebuild_standby(0).await;
    field.servers.rebuild_standby(1).await;
    field
}

async fn replicas_lost(mut field: Field) -> Field {
    field.servers.kill_standby(0).await;
    sleep(Duration::from_secs(2)).await;
    field.servers.start_standby(0).await;
    field.servers.kill_standby(1).await;
    field.servers.rebuild_standby(1).await;
    field
}

async fn bad_links(field: Field) -> Field {
    let slow = Link::Delay(Duration::from_millis(300));
    for bad in [Link::BlackHole, Link::Cut, Link::BlackHoleThese, slow] {
        for replica in [1, 2] {
            field.links[replica].set(bad);
            sleep(Duration::from_secs(1)).await;
            field.links[replica].set(Link::Pass);
        }
    }
    field
}

async fn silent_primary(field: Field) -> Field {
    field.links[0].set(Link::BlackHole);
    sleep(Duration::from_secs(6)).await;
    field.links[0].set(Link::Pass);
    field
}

/// A lock that the primary takes for a moment cancels what a replica is reading.
async fn conflicts(field: Field, lasts: u64) -> Field {
    let mut primary = PgConnection::connect(&field.servers.url()).await.expect("connect");
    for n in 0..lasts * 4 {
        let lock = format!("BEGIN; LOCK products_{:03} IN ACCESS EXCLUSIVE MODE; COMMIT", n % 64);
        sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut primary).await.expect("lock");
        sleep(Duration::from_millis(250)).await;
    }
    field
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_replica_and_a_dead_primary_break_no_promise() {
    run("1", 10, |field| async { killed_primary(paused_replay(field, 3).await, 4).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_under_load_breaks_no_promise() {
    run("1", 14, promotion).await;
}

macro_rules! long {
    ($($name:ident: $seconds:expr, $fault:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "takes minutes"]
        async fn $name() {
            for seed in SEEDS {
                run(seed, $seconds, $fault).await;
            }
        }
    )*};
}

long! {
    replay_paused_for_ten_seconds: 14, |field| paused_replay(field, 10);
    primary_dead_for_thirty_seconds: 36, |field| killed_primary(field, 30);
    primary_silent: 12, silent_primary;
    replicas_killed_and_rebuilt: 14, replicas_lost;
    links_to_replicas_broken: 14, bad_links;
    recovery_conflicts: 12, |field| conflicts(field, 8);
    promotion_and_an_old_primary: 16, promotion;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn leader_stopped_and_woken() {
    for seed in SEEDS {
        run_on(Field::with_leader().await, seed, 14, stopped_leader).await;
    }
}
