//! Eight databases on two pairs of private PostgreSQL servers: a database can be closed, a server stopped, killed or frozen, a
//! standby held back or promoted.

use std::path::{Path, PathBuf};

use freshet::store::postgres::{
    Config,
    migrate::{self, Orders, Source},
    server::Options,
    shard_range::ShardRange,
};
use futures_util::future::{join_all, try_join_all};

use super::{
    instance::{Instance, Result},
    pair::Pair,
};

/// The databases, the first half of them on the first pair.
pub const DATABASES: [&str; 8] = ["shop_0", "shop_1", "shop_2", "shop_3", "shop_4", "shop_5", "shop_6", "shop_7"];
/// The first servers of the pairs; the second of `a` is `a2`.
const PAIRS: [&str; 2] = ["a", "b"];
const DATABASES_EACH: usize = DATABASES.len() / PAIRS.len();

/// The running cluster. Dropping it stops the servers.
pub struct Cluster {
    pairs: Vec<Pair>,
    /// Logical shards of every collection.
    modulus: u32,
}

impl Cluster {
    /// Starts the servers on the data in `folder`, making both where there are none, and places `modulus` shards in equal
    /// parts. `options` says how a server is run on a data directory.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or the folder cannot be used.
    pub async fn start(
        folder: &Path,
        modulus: u32,
        has_standbys: bool,
        options: impl Fn(PathBuf) -> Options,
    ) -> Result<Self> {
        let started = PAIRS.map(|name| Pair::start(folder, name, has_standbys, &options));
        let cluster = Cluster { pairs: try_join_all(started).await?, modulus };
        for (place, name) in DATABASES.into_iter().enumerate() {
            migrate::create_database(&cluster.primary(place).url("postgres"), name).await?;
        }
        Ok(cluster)
    }

    /// Creates tables and partitions in every database.
    ///
    /// # Errors
    /// What the first database that refuses says.
    pub async fn migrate(&self) -> Result<()> {
        let databases: Vec<_> = self
            .databases()
            .into_iter()
            .map(|database| {
                let initial = database.shards.as_ref().map(ShardRange::numbers);
                migrate::Database { name: database.name, url: database.url, replicas: database.replicas, initial }
            })
            .collect();
        let orders = Orders {
            databases: &databases,
            modulus: self.modulus,
            source: Source::Demo,
            grantee: None,
            rebuilds: false,
        };
        for migrated in migrate::migrate(orders, &|_, _| {}).await? {
            migrated?;
        }
        Ok(())
    }

    /// The configuration's entries.
    pub fn databases(&self) -> Vec<Config> {
        let shards = self.modulus / DATABASES.len() as u32;
        (0..DATABASES.len())
            .map(|place| {
                let first = place as u32 * shards;
                let range = format!("{first}-{}", first + shards - 1);
                Config {
                    name: DATABASES[place].replace('_', "-"),
                    shards: Some(range.parse().expect("a range")),
                    read_connections: 3,
                    write_lanes: 2,
                    write_connections: 2,
                    replicas: self.standby_url(place).into_iter().collect(),
                    ..Config::at(self.url(place))
                }
            })
            .collect()
    }

    /// The same as a file that `--config` takes.
    pub fn configuration(&self) -> String {
        let mut text = format!("shards = {}\n", self.modulus);
        for database in self.databases() {
            let shards = database.shards.as_ref().expect("each has some");
            text.push_str(&format!("\n[[database]]\nname = \"{}\"\nurl = \"{}\"\n", database.name, database.url));
            if !database.replicas.is_empty() {
                // Written as TOML is, as these names are plain.
                text.push_str(&format!("replicas = {:?}\n", database.replicas));
            }
            text.push_str(&format!(
                "shards = \"{shards}\"\nread_connections = {}\nwrite_lanes = {}\nwrite_connections = {}\n",
                database.read_connections, database.write_lanes, database.write_connections
            ));
        }
        text
    }

    /// The URL of a database on its primary, by its place.
    pub fn url(&self, place: usize) -> String {
        self.primary(place).url(DATABASES[place])
    }

    /// The URL of a database on its standby, if there is one.
    pub fn standby_url(&self, place: usize) -> Option<String> {
        self.pair(place).standby.as_ref().map(|standby| standby.url(DATABASES[place]))
    }

    fn pair(&self, place: usize) -> &Pair {
        &self.pairs[place / DATABASES_EACH]
    }

    fn primary(&self, place: usize) -> &Instance {
        &self.pair(place).primary
    }

    /// The pairs of servers, with the databases of each.
    pub fn pairs(&self) -> impl Iterator<Item = (&Pair, &[&str])> {
        self.pairs.iter().zip(DATABASES.chunks(DATABASES_EACH))
    }

    /// The pair with a server of the name.
    pub fn pair_with(&mut self, server: &str) -> Option<&mut Pair> {
        self.pairs.iter_mut().find(|pair| pair.servers().any(|of_pair| of_pair.name() == server))
    }

    /// A server, primary or standby.
    pub fn server(&mut self, name: &str) -> Option<&mut Instance> {
        let all = self.pairs.iter_mut().flat_map(|pair| pair.standby.iter_mut().chain([&mut pair.primary]));
        all.into_iter().find(|server| server.name() == name)
    }

    /// Ends the sessions of a database at its primary and lets no new one in. Its standby lets none in once it has applied
    /// that, and keeps those it has.
    ///
    /// # Errors
    /// When the primary does not answer.
    pub async fn close(&self, place: usize) -> Result<()> {
        let name = DATABASES[place];
        let server = self.primary(place);
        server.run(&format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")).await?;
        server.run(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await
    }

    /// Lets sessions in again.
    ///
    /// # Errors
    /// When the primary does not answer.
    pub async fn open(&self, place: usize) -> Result<()> {
        self.primary(place).run(&format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", DATABASES[place])).await
    }

    /// Shuts all servers down.
    pub async fn stop(mut self) {
        join_all(self.pairs.iter_mut().map(Pair::stop)).await;
    }
}
