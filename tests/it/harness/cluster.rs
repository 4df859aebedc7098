//! Two servers with eight databases, and their standbys where asked for, for what two databases cannot show. One test at a time has them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use freshet::{
    record::{KeyKind, shard::shard_of},
    store::postgres::server::Options,
};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard};

#[path = "../../../examples/cluster/pair.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod pair;
#[path = "../../../examples/cluster/cluster.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod servers;

pub use servers::{Cluster, DATABASES};

use super::{folder, instance};

/// The number of logical shards.
pub const MODULUS: u32 = 64;

/// The servers, stopped when the test ends.
pub struct EightDatabases {
    /// What runs.
    pub cluster: Cluster,
    folder: TempDir,
    _alone: OwnedMutexGuard<()>,
}

impl EightDatabases {
    /// Starts them, with tables and all shards placed.
    pub async fn start() -> Self {
        Self::start_servers(false).await
    }

    /// The same, and a standby of each server.
    pub async fn start_with_standbys() -> Self {
        Self::start_servers(true).await
    }

    async fn start_servers(has_standbys: bool) -> Self {
        static ALONE: std::sync::LazyLock<Arc<Mutex<()>>> = std::sync::LazyLock::new(Arc::default);
        let alone = ALONE.clone().lock_owned().await;
        let folder = folder();
        let cluster = Cluster::start(folder.path(), MODULUS, has_standbys, forgetful).await.expect("start the servers");
        cluster.migrate().await.expect("migrate");
        EightDatabases { cluster, folder, _alone: alone }
    }

    /// A folder for what the test writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A connection to one of the databases, by its place, that no node knows of.
    pub fn outside(&self, place: usize) -> PgPool {
        PgPool::connect_lazy(&self.cluster.url(place)).expect("a url")
    }
}

/// The shard of a product.
pub fn shard(key: &str) -> u32 {
    shard_of(KeyKind::Text, key, MODULUS).expect("a shard")
}

/// The place of the database where a product's shard was put.
pub fn place(key: &str) -> usize {
    shard(key) as usize * DATABASES.len() / MODULUS as usize
}

fn forgetful(data_dir: PathBuf) -> Options {
    let mut options = Options::new(data_dir).with_standbys();
    (options.sync, options.is_ephemeral) = (false, true);
    let settings = [("fsync", "off"), ("full_page_writes", "off"), ("max_connections", "300")];
    options.settings.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
    options
}
