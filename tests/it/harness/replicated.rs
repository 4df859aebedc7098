//! A primary and its streaming standbys, on servers of the test's own.

use freshet::store::postgres::server::Options;
use futures_util::future::try_join_all;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

use super::{instance::Instance, processes, server};

/// The database, on every server.
const DATABASE: &str = "shop";

/// The servers, with one database: migrated, with all shards of products, readings and parcels, and no row. What was
/// committed survives [`Self::kill_primary`]; a crash of the machine it would not.
pub struct Replicated {
    primary: Instance,
    standbys: Vec<Instance>,
    // Dropped after the servers.
    _folder: TempDir,
}

impl Replicated {
    /// Starts a primary and `standbys` that show all of it, every server with `settings`.
    pub async fn start(standbys: usize, settings: &[(&str, &str)]) -> Self {
        let folder = server::folder();
        let options = |name: String| fast(&folder, &name, settings);
        let primary = Instance::start(options("primary".to_owned())).await.expect("start the primary");
        primary.run(&format!("CREATE DATABASE {DATABASE}")).await.expect("create the database");
        server::fill(&primary.url(DATABASE)).await;
        let started = (0..standbys).map(|standby| {
            let mut options = options(format!("standby_{standby}"));
            options.primary = Some(primary.as_primary());
            Instance::start(options)
        });
        let standbys = try_join_all(started).await.expect("start the standbys");
        Replicated { primary, standbys, _folder: folder }
    }

    /// The primary's URL of the database.
    pub fn url(&self) -> String {
        self.primary.url(DATABASE)
    }

    /// A standby's URL of the database.
    pub fn standby_url(&self, standby: usize) -> String {
        self.standbys[standby].url(DATABASE)
    }

    /// A session on the primary.
    pub async fn connect_primary(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.expect("connect to the primary")
    }

    /// A session on a standby.
    pub async fn connect_standby(&self, standby: usize) -> PgConnection {
        PgConnection::connect(&self.standby_url(standby)).await.expect("connect to the standby")
    }

    /// Makes a standby stop applying changes, and returns when it has.
    pub async fn pause_replay(&self, standby: usize) {
        self.standbys[standby].pause_replay().await.expect("pause the replay");
    }

    /// Lets a standby apply changes again.
    pub async fn resume_replay(&self, standby: usize) {
        self.standbys[standby].resume_replay().await.expect("resume the replay");
    }

    /// Returns when a standby shows what the primary had committed before the call.
    pub async fn wait_for_replay(&self, standby: usize) {
        self.standbys[standby].wait_for_replay(&self.primary).await.expect("wait for the replay");
    }

    /// Whether the primary's commits wait for a standby.
    pub async fn set_synchronous(&self, is_synchronous: bool) {
        self.primary.set_synchronous(is_synchronous).await.expect("set synchronous_standby_names");
    }

    /// Makes a standby the primary, whose commits wait for no standby. The two change places: from then on `standby` is the
    /// number of the former primary, which is left as it was, running or not. Other standbys still follow that one, until
    /// they are rebuilt.
    pub async fn promote(&mut self, standby: usize) {
        self.standbys[standby].promote().await.expect("promote the standby");
        std::mem::swap(&mut self.primary, &mut self.standbys[standby]);
    }

    /// Throws a standby's data away and copies the present primary.
    pub async fn rebuild_standby(&mut self, standby: usize) {
        self.standbys[standby].rebuild(&self.primary).await.expect("rebuild the standby");
    }

    /// Shuts the primary down.
    pub async fn stop_primary(&mut self) {
        self.primary.stop().await;
    }

    /// Ends the primary as a crash does.
    pub async fn kill_primary(&mut self) {
        self.primary.kill().await.expect("kill the primary");
    }

    /// Starts a primary that was stopped or killed.
    pub async fn start_primary(&mut self) {
        self.primary.start_again().await.expect("start the primary");
    }

    /// Stops every process of the primary where it stands.
    pub fn freeze_primary(&self) {
        self.primary.freeze().expect("freeze the primary");
    }

    /// Lets a frozen primary go on.
    pub fn thaw_primary(&self) {
        self.primary.thaw().expect("thaw the primary");
    }

    /// Shuts a standby down.
    pub async fn stop_standby(&mut self, standby: usize) {
        self.standbys[standby].stop().await;
    }

    /// Ends a standby as a crash does.
    pub async fn kill_standby(&mut self, standby: usize) {
        self.standbys[standby].kill().await.expect("kill the standby");
    }

    /// Starts a standby that was stopped or killed.
    pub async fn start_standby(&mut self, standby: usize) {
        self.standbys[standby].start_again().await.expect("start the standby");
    }

    /// Stops every process of a standby where it stands.
    pub fn freeze_standby(&self, standby: usize) {
        self.standbys[standby].freeze().expect("freeze the standby");
    }

    /// Lets a frozen standby go on.
    pub fn thaw_standby(&self, standby: usize) {
        self.standbys[standby].thaw().expect("thaw the standby");
    }

    /// Ends all servers at once; their data goes with this value.
    pub async fn stop(mut self) {
        for server in self.standbys.iter_mut().chain([&mut self.primary]) {
            drop(server.kill().await);
        }
    }
}

/// On a panic the servers would outlive their data, and say so.
impl Drop for Replicated {
    fn drop(&mut self) {
        for server in self.standbys.iter().chain([&self.primary]) {
            if server.is_running() {
                drop(processes::kill(server.data_dir()));
            }
        }
    }
}

/// Without flushing to disk. Pages are written whole, because a killed process may leave half of one.
fn fast(folder: &TempDir, name: &str, settings: &[(&str, &str)]) -> Options {
    let mut options = Options::new(folder.path().join(name)).with_standbys();
    options.sync = false;
    let own = [("fsync", "off"), ("max_connections", "200"), ("max_locks_per_transaction", "512")];
    let all = own.iter().chain(settings).map(|&(name, value)| (name.to_owned(), value.to_owned()));
    options.settings.extend(all);
    options
}
