//! One PostgreSQL server on a data directory of its own, running or not, primary or standby.

use std::{error::Error, fs, io, path::Path, time::Duration};

use freshet::store::postgres::server::{Options, Primary, PrivateServer};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::{sleep, timeout};

use super::processes;

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How long a server may take to do what it was told.
const LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to accept a connection; a frozen one does not.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The server. Dropping it shuts it down, a frozen one as well.
pub struct Instance {
    options: Options,
    running: Option<PrivateServer>,
    /// The URL of the database `postgres`; the same at each start.
    url: String,
    as_primary: Primary,
}

impl Instance {
    /// Starts a server, a standby where [`Options::primary`] says so.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(options: Options) -> Result<Self> {
        let running = PrivateServer::start(options.clone()).await?;
        let (url, as_primary) = (running.url("postgres"), running.as_primary());
        Ok(Instance { options, running: Some(running), url, as_primary })
    }

    /// This server, for the options of its standbys.
    pub fn as_primary(&self) -> Primary {
        self.as_primary.clone()
    }

    /// The name of its data directory.
    pub fn name(&self) -> &str {
        self.data_dir().file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        self.url.replacen("/postgres?", &format!("/{database}?"), 1)
    }

    /// Whether it was started and not stopped since; a frozen server counts.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Shuts it down, a frozen one as well; does nothing where it is down.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            drop(processes::thaw(self.data_dir()));
            running.stop().await;
        }
    }

    /// Starts it again as what it was; does nothing where it runs.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        if self.running.is_none() {
            self.running = Some(PrivateServer::start(self.options.clone()).await?);
        }
        Ok(())
    }

    /// Ends it as a crash does; does nothing where it is down.
    ///
    /// # Errors
    /// When it ended by itself before.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(running) = self.running.take() {
            let killed = processes::kill(self.data_dir());
            running.stop().await;
            killed?;
        }
        Ok(())
    }

    /// Stops every process where it stands: connections stay, and nothing is answered.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        Ok(processes::freeze(self.data_dir())?)
    }

    /// Lets a frozen server go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        Ok(processes::thaw(self.data_dir())?)
    }

    /// Throws its data away and makes it a standby of `primary`.
    ///
    /// # Errors
    /// When the primary cannot be copied; the data is gone then, and it is down.
    pub async fn rebuild(&mut self, primary: &Instance) -> Result<()> {
        drop(self.kill().await);
        remove_data(self.data_dir())?;
        self.options.primary = Some(primary.as_primary());
        self.start_again().await
    }

    /// Makes a standby stop applying what the primary sends, and returns when it has.
    ///
    /// # Errors
    /// When the server does not answer, or is not a standby.
    pub async fn pause_replay(&self) -> Result<()> {
        self.run("SELECT pg_wal_replay_pause()").await?;
        self.until("SELECT pg_get_wal_replay_pause_state() = 'paused'").await
    }

    /// Lets a standby apply what the primary sends.
    ///
    /// # Errors
    /// When the server does not answer, or is not a standby.
    pub async fn resume_replay(&self) -> Result<()> {
        self.run("SELECT pg_wal_replay_resume()").await
    }

    /// Returns when the standby shows what was committed on `primary` before the call.
    ///
    /// # Errors
    /// When one of them does not answer, or the standby does not get there.
    pub async fn wait_for_replay(&self, primary: &Instance) -> Result<()> {
        let mut connection = primary.connect().await?;
        let position: String =
            sqlx::query_scalar("SELECT pg_current_wal_lsn()::text").fetch_one(&mut connection).await?;
        connection.close().await?;
        self.until(&format!("SELECT pg_last_wal_replay_lsn() >= '{position}'")).await
    }

    /// Makes a standby a primary, and returns when it takes writes. Other standbys go on following the former primary.
    ///
    /// # Errors
    /// When the server does not answer, or is not a standby.
    pub async fn promote(&self) -> Result<()> {
        // A copy of the former primary's; it would wait for standbys that do not follow it yet.
        self.set_synchronous(false).await?;
        self.run("SELECT pg_promote(wait => false)").await?;
        self.until("SELECT NOT pg_is_in_recovery()").await
    }

    /// Whether commits wait until a standby has them on its disk. Returns when it holds for every session.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn set_synchronous(&self, is_synchronous: bool) -> Result<()> {
        let names = if is_synchronous { "*" } else { "" };
        self.run(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'")).await?;
        self.run("SELECT pg_reload_conf()").await?;
        self.until(&format!("SELECT current_setting('synchronous_standby_names') = '{names}'")).await?;
        // The checkpointer tells all sessions, and reads the settings before it begins.
        self.run("CHECKPOINT").await
    }

    /// Runs a statement in the database `postgres`.
    ///
    /// # Errors
    /// What the server says.
    pub async fn run(&self, statement: &str) -> Result<()> {
        let mut connection = self.connect().await?;
        let running = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection);
        timeout(LIMIT, running).await.map_err(|_| format!("not within {} s: {statement}", LIMIT.as_secs()))??;
        Ok(connection.close().await?)
    }

    /// Asks again and again until `question` is answered with true.
    async fn until(&self, question: &str) -> Result<()> {
        let mut connection = self.connect().await?;
        let holds = async {
            while !sqlx::query_scalar::<_, bool>(AssertSqlSafe(question)).fetch_one(&mut connection).await? {
                sleep(Duration::from_millis(3)).await;
            }
            Ok::<_, sqlx::Error>(())
        };
        timeout(LIMIT, holds).await.map_err(|_| format!("not within {} s: {question}", LIMIT.as_secs()))??;
        Ok(connection.close().await?)
    }

    async fn connect(&self) -> Result<PgConnection> {
        if !self.is_running() {
            return Err("it is down".into());
        }
        let connecting = PgConnection::connect(&self.url);
        Ok(timeout(CONNECT_LIMIT, connecting).await.map_err(|_| "it does not answer")??)
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        &self.options.data_dir
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.running.is_some() {
            // Frozen processes would never hear that they should end.
            drop(self.thaw());
        }
    }
}

/// Removes a data directory, and nothing else.
pub fn remove_data(data_dir: &Path) -> io::Result<()> {
    match data_dir.join("PG_VERSION").is_file() {
        true => fs::remove_dir_all(data_dir),
        false => Ok(()),
    }
}
