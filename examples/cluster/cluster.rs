//! Eight databases on two private PostgreSQL servers, each of which can be closed, stopped or frozen.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use freshet::store::postgres::{
    Config,
    migrate::{self, Orders},
    server::{Options, PrivateServer},
    shard_range::ShardRange,
};
use futures_util::future::try_join_all;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The databases, the first half of them on the first server.
pub const DATABASES: [&str; 8] = ["shop_0", "shop_1", "shop_2", "shop_3", "shop_4", "shop_5", "shop_6", "shop_7"];
/// The servers.
pub const SERVERS: [&str; 2] = ["a", "b"];
const DATABASES_EACH: usize = DATABASES.len() / SERVERS.len();

/// The running cluster. Dropping it stops the servers.
pub struct Cluster {
    servers: Vec<Server>,
    /// Logical shards of every collection.
    modulus: u32,
}

struct Server {
    options: Options,
    running: Option<PrivateServer>,
    /// Its own URL of the database `postgres`; the same at each start.
    url: String,
}

impl Server {
    async fn start(options: Options) -> Result<Self> {
        let running = PrivateServer::start(options.clone()).await?;
        Ok(Server { url: running.url("postgres"), running: Some(running), options })
    }

    async fn run(&self, statement: String) -> Result<()> {
        let mut connection = PgConnection::connect(&self.url).await?;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// Sends a signal to every process of the server.
    fn signal(&self, signal: Signal) -> Result<()> {
        let lock = fs::read_to_string(self.options.data_dir.join("postmaster.pid"))?;
        let parent: i32 = lock.lines().next().unwrap_or_default().trim().parse()?;
        // The parent first: stopped, it forks no more.
        kill(Pid::from_raw(parent), signal)?;
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
        for child in children.split_whitespace() {
            // One that has ended meanwhile is as good as stopped.
            let _ = kill(Pid::from_raw(child.parse()?), signal);
        }
        Ok(())
    }
}

impl Cluster {
    /// Starts the servers on the data in `folder`, making both where there are none, and places `modulus` shards in equal
    /// parts. `options` says how a server is run on a data directory.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or the folder cannot be used.
    pub async fn start(folder: &Path, modulus: u32, options: impl Fn(PathBuf) -> Options) -> Result<Self> {
        let started = SERVERS.map(|name| Server::start(options(folder.join(name))));
        let cluster = Cluster { servers: try_join_all(started).await?, modulus };
        for (place, name) in DATABASES.into_iter().enumerate() {
            migrate::create_database(&cluster.server(place).url, name).await?;
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
                migrate::Database { name: database.name, url: database.url, initial }
            })
            .collect();
        let orders = Orders { databases: &databases, modulus: self.modulus, folder: None, rebuilds: false };
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
            text.push_str(&format!(
                "\n[[database]]\nname = \"{}\"\nurl = \"{}\"\nshards = \"{shards}\"\nread_connections = {}\n\
                 write_lanes = {}\nwrite_connections = {}\n",
                database.name,
                database.url,
                database.read_connections,
                database.write_lanes,
                database.write_connections
            ));
        }
        text
    }

    /// The URL of a database, by its place.
    pub fn url(&self, place: usize) -> String {
        self.server(place).url.replacen("/postgres?", &format!("/{}?", DATABASES[place]), 1)
    }

    fn server(&self, place: usize) -> &Server {
        &self.servers[place / DATABASES_EACH]
    }

    /// Ends the sessions of a database and lets no new one in.
    ///
    /// # Errors
    /// When its server does not answer.
    pub async fn close(&self, place: usize) -> Result<()> {
        let name = DATABASES[place];
        let server = self.server(place);
        server.run(format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")).await?;
        server.run(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await
    }

    /// Lets sessions in again.
    ///
    /// # Errors
    /// When its server does not answer.
    pub async fn open(&self, place: usize) -> Result<()> {
        self.server(place).run(format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", DATABASES[place])).await
    }

    /// Shuts a server down; does nothing where it is down.
    pub async fn stop_server(&mut self, server: usize) {
        if let Some(running) = self.servers[server].running.take() {
            running.stop().await;
        }
    }

    /// Starts a server that is down.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_server(&mut self, server: usize) -> Result<()> {
        let server = &mut self.servers[server];
        if server.running.is_none() {
            server.running = Some(PrivateServer::start(server.options.clone()).await?);
        }
        Ok(())
    }

    /// Stops every process of a server where it stands: connections stay, and nothing is answered.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze_server(&self, server: usize) -> Result<()> {
        self.servers[server].signal(Signal::SIGSTOP)
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw_server(&self, server: usize) -> Result<()> {
        self.servers[server].signal(Signal::SIGCONT)
    }

    /// Shuts all servers down.
    pub async fn stop(mut self) {
        for server in 0..self.servers.len() {
            drop(self.thaw_server(server));
            self.stop_server(server).await;
        }
    }
}
