//! A primary with two replicas, and nodes over them.

use std::{fs, path::PathBuf};

use freshet::store::postgres::{
    migrate::{self, Orders, Source},
    server::Options,
};

use super::instance::Instance;

const DATABASE: &str = "shop";
const SHARDS: u32 = 64;
/// How many replicas there are.
pub const REPLICAS: usize = 2;

/// The servers.
pub struct Servers {
    pub primary: Instance,
    pub replicas: Vec<Instance>,
    folder: PathBuf,
}

impl Servers {
    /// Starts them, with the example's table in 64 shards.
    pub async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("freshet-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let options = |name: &str| {
            let mut options = Options::new(folder.join(name)).with_standbys();
            options.settings.push(("max_connections".to_owned(), "300".to_owned()));
            options
        };
        let primary = Instance::start(options("primary")).await.expect("PostgreSQL starts");
        primary.run(&format!("CREATE DATABASE {DATABASE}")).await.expect("a database");
        let database = migrate::Database {
            name: DATABASE.to_owned(),
            url: primary.url(DATABASE),
            replicas: Vec::new(),
            initial: Some(0..=SHARDS - 1),
        };
        let orders =
            Orders { databases: &[database], modulus: SHARDS, source: Source::Demo, grantee: None, rebuilds: false };
        let migrated = migrate::migrate(orders, &|_, _| {}).await.expect("nothing is refused");
        migrated.into_iter().for_each(|database| drop(database.expect("migrated")));
        let mut replicas = Vec::new();
        for name in ["first", "second"] {
            let mut options = options(name);
            options.primary = Some(primary.as_primary());
            replicas.push(Instance::start(options).await.expect("a replica starts"));
        }
        Servers { primary, replicas, folder }
    }

    /// The URL of the database on the primary.
    pub fn url(&self) -> String {
        self.primary.url(DATABASE)
    }

    /// The configuration of a node that knows so many of the replicas.
    pub fn configuration(&self, replicas: usize) -> String {
        let urls = self.replicas[..replicas].iter().map(|replica| format!("\"{}\"", replica.url(DATABASE)));
        let urls = urls.collect::<Vec<_>>().join(", ");
        format!("shards = {SHARDS}\n[[database]]\nurl = \"{}\"\nreplicas = [{urls}]\n", self.url())
    }

    /// The primary's first process.
    pub fn pid(&self) -> u32 {
        let lock = fs::read_to_string(self.primary.data_dir().join("postmaster.pid")).expect("a running server");
        lock.lines().next().and_then(|line| line.trim().parse().ok()).expect("a process id")
    }

    /// Ends them and removes their data.
    pub async fn stop(mut self) {
        for server in self.replicas.iter_mut().chain([&mut self.primary]) {
            drop(server.kill().await);
        }
        drop(fs::remove_dir_all(&self.folder));
    }
}
