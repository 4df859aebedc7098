//! Where records lie.

use std::{fs, path::PathBuf};

use freshet::store::postgres::{
    migrate::{self, Orders, Source},
    server::{Options, PrivateServer},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Databases, and the logical shards on all of them.
pub struct Layout {
    databases: u32,
    shards: u32,
}

pub const LAYOUTS: [Layout; 5] = [
    Layout { databases: 1, shards: 1 },
    Layout { databases: 1, shards: 8 },
    Layout { databases: 1, shards: 64 },
    Layout { databases: 2, shards: 64 },
    Layout { databases: 8, shards: 64 },
];

impl Layout {
    pub fn name(&self) -> String {
        let plural = |count| if count == 1 { "" } else { "s" };
        let Layout { databases, shards } = self;
        format!("{shards} shard{} on {databases} database{}", plural(*shards), plural(*databases))
    }

    /// The configuration of a node over it.
    pub fn configuration(&self, server: &Server) -> String {
        let mut text = format!("shards = {}\n", self.shards);
        for migrate::Database { name, url, initial, .. } in self.databases(server) {
            let (first, last) = initial.expect("each has some").into_inner();
            text.push_str(&format!("[[database]]\nname = \"{name}\"\nurl = \"{url}\"\nshards = \"{first}-{last}\"\n"));
        }
        text
    }

    fn databases(&self, server: &Server) -> Vec<migrate::Database> {
        let each = self.shards / self.databases;
        (0..self.databases)
            .map(|number| {
                let name = format!("shards_{}_of_{}_{number}", self.shards, self.databases);
                let url = server.url(&name);
                migrate::Database {
                    name,
                    url,
                    replicas: Vec::new(),
                    initial: Some(number * each..=(number + 1) * each - 1),
                }
            })
            .collect()
    }
}

/// The one PostgreSQL server, with every layout's databases.
pub struct Server {
    server: PrivateServer,
    folder: PathBuf,
}

impl Server {
    pub async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("freshet-bench-{}", std::process::id()));
        let mut options = Options::new(&folder);
        options.is_ephemeral = true;
        options.settings = vec![("max_connections".to_owned(), "300".to_owned())];
        let server = Server { server: PrivateServer::start(options).await.expect("PostgreSQL starts"), folder };
        for layout in &LAYOUTS {
            let databases = layout.databases(&server);
            for database in &databases {
                server.run(&format!("CREATE DATABASE {}", database.name)).await;
            }
            let orders = Orders {
                databases: &databases,
                modulus: layout.shards,
                source: Source::Demo,
                grantee: None,
                rebuilds: false,
            };
            let migrated = migrate::migrate(orders, &|_, _| {}).await.expect("nothing is refused");
            migrated.into_iter().for_each(|database| drop(database.expect("migrated")));
        }
        server
    }

    fn url(&self, database: &str) -> String {
        self.server.url(database)
    }

    async fn run(&self, sql: &str) {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("connect");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("a sound statement");
        connection.close().await.expect("close");
    }

    /// Sessions of nodes now.
    pub async fn sessions(&self) -> i64 {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("connect");
        let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'freshet %'";
        let sessions = sqlx::query_scalar(count).fetch_one(&mut connection).await.expect("a count");
        connection.close().await.expect("close");
        sessions
    }

    /// Its first process.
    pub fn pid(&self) -> u32 {
        let lock = fs::read_to_string(self.folder.join("postmaster.pid")).expect("a running server");
        lock.lines().next().and_then(|line| line.trim().parse().ok()).expect("a process id")
    }

    pub async fn stop(self) {
        self.server.stop().await;
    }
}
