//! A run on one database: looked at first, then changed.

use std::{collections::BTreeMap, time::Duration};

use sqlx::{Connection as _, PgConnection, PgTransaction};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Database, Error, Orders, Plan, Report, Step,
    history::{History, Migrations, has_table},
};
use crate::store::postgres::{operate::rights, placement::Standing, servers, session::Session};

/// The advisory lock of the one who migrates a database: the lead's, with another last letter.
const LOCK: i64 = 0x0066_7265_7368_656d;
/// How long somebody else who migrates is waited for, and how often it is asked meanwhile. A session that waited for the
/// lock in one statement would hold a snapshot, for which a CREATE INDEX CONCURRENTLY of the other one waits.
const WAIT_LIMIT: Duration = Duration::from_secs(10 * 60);
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// How long a database may take to say what it has.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// So many partitions are created between two steps that are told.
const PARTITIONS_A_STEP: usize = 8;

/// The schemas that migrations make.
const SCHEMAS: [&str; 2] = ["feed", "freshet"];
/// `search_path` names a schema for the role by default. Of a role that is called as one of [`SCHEMAS`], that schema would come into
/// being amid the migrations, and take the tables that follow.
const WITHOUT_OWN_SCHEMA: &str = r#"
    SELECT set_config('search_path', coalesce(nullif(string_agg(name, ', ' ORDER BY at), ''), 'public'), false)
      FROM unnest(string_to_array(current_setting('search_path'), ',')) WITH ORDINALITY AS path (name, at)
     WHERE trim(name) <> '"$user"'"#;

/// A database in the world: its cluster's system identifier, and its number there.
pub(super) type Identity = (i64, i64);

/// One run on one database.
pub(super) struct Run {
    session: Session,
    migrations: Migrations,
    modulus: u32,
    /// Who migrates.
    role: String,
    /// Who is to get the rights of a node.
    grantee: Option<String>,
    pub(super) identity: Identity,
}

/// What was found before anything was changed.
pub(super) struct Look {
    pub(super) history: History,
    pub(super) known: BTreeMap<u32, Standing>,
    /// A node has led here.
    pub(super) has_served: bool,
}

/// The shards that a collection shall have here.
#[derive(sqlx::FromRow)]
struct Wanted {
    collection: String,
    /// Those that have a partition.
    standing: Vec<i32>,
    /// Those whose partition is to be created.
    missing: Vec<i32>,
}

impl Run {
    pub(super) async fn begin(database: &Database, orders: Orders<'_>) -> Result<Self, Error> {
        let migrations = Migrations::read(orders.source).await?;
        let urls = [&database.url].into_iter().chain(&database.replicas).map(String::as_str);
        let session = servers::open_primary(urls, "migrate").await?;
        let (modulus, grantee) = (orders.modulus, orders.grantee.map(str::to_owned));
        let mut run = Run { session, migrations, modulus, role: String::new(), grantee, identity: (0, 0) };
        let asked = async {
            run.role = run.ask("SELECT current_user::text").await?;
            if SCHEMAS.contains(&run.role.as_str()) {
                run.ask::<String>(WITHOUT_OWN_SCHEMA).await?;
            }
            run.identity.0 = run.ask("SELECT system_identifier FROM pg_control_system()").await?;
            run.identity.1 = run.ask("SELECT oid::bigint FROM pg_database WHERE datname = current_database()").await?;
            Ok(())
        };
        limited(asked).await?;
        Ok(run)
    }

    /// Keeps others from migrating this database until the session ends.
    pub(super) async fn lock(&mut self, tell: impl Fn(Step)) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let locked = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK);
            let locked = locked.fetch_one(self.connection()).await;
            if locked.map_err(|error| self.failed("lock the database for migrations", &error))? {
                return Ok(());
            }
            if began.elapsed() > WAIT_LIMIT {
                return Err(Error::Busy { seconds: WAIT_LIMIT.as_secs() });
            }
            tell(Step::Locked);
            sleep(ASK_INTERVAL).await;
        }
    }

    /// Refuses what would fail later, before anything is changed.
    pub(super) async fn look(&mut self) -> Result<Look, Error> {
        limited(self.look_around()).await
    }

    async fn look_around(&mut self) -> Result<Look, Error> {
        if self.ask("SELECT pg_is_in_recovery()").await? {
            return Err(Error::ReadOnly { reason: "this server is a standby".into() });
        }
        if let Some(role) = self.grantee.clone() {
            let is_role = rights::is_role(self.connection(), &role).await;
            if !is_role.map_err(|error| self.failed("look for a role", &error))? {
                return Err(Error::NoRole { role });
            }
        }
        let read = History::read(self.connection(), &Migrations::Release).await;
        let shipped = read.map_err(|error| self.failed("read which migrations ran", &error))?;
        if shipped.is_newer {
            return Err(Error::Newer { migrations: shipped.unknown.join(", ") });
        }
        let history = match &self.migrations {
            Migrations::Release => shipped,
            own => History::read(&mut self.session.connection, own)
                .await
                .map_err(|error| Error::statement("read which migrations ran", &self.role, &error))?,
        };
        history.check()?;
        match self.settled_modulus().await? {
            Some(settled) if settled != self.modulus => Err(Error::Modulus { settled, wanted: self.modulus }),
            _ => Ok(Look { history, known: self.known().await?, has_served: self.has_served().await? }),
        }
    }

    async fn settled_modulus(&mut self) -> Result<Option<u32>, Error> {
        if !self.has_feed().await? {
            return Ok(None);
        }
        let settled: Option<i32> = self.ask("SELECT modulus FROM feed.meta").await?;
        Ok(settled.map(i32::unsigned_abs))
    }

    /// The shards that this database knows. A partition that is not registered counts as its own: `create_shards` registers it.
    async fn known(&mut self) -> Result<BTreeMap<u32, Standing>, Error> {
        if !self.has_feed().await? {
            return Ok(BTreeMap::new());
        }
        let query = sqlx::query_as(
            "SELECT shard, coalesce(s.state, 'active') IN ('active', 'frozen')
               FROM feed.shard_state s FULL JOIN (SELECT DISTINCT shard FROM feed.shard_table) t USING (shard)",
        );
        let read = query.fetch_all(self.connection()).await;
        let rows: Vec<(i32, bool)> = read.map_err(|error| self.failed("read which shards are here", &error))?;
        let standing = |is_owned| if is_owned { Standing::Owned } else { Standing::NotOwned };
        Ok(rows.into_iter().map(|(shard, is_owned)| (shard.unsigned_abs(), standing(is_owned))).collect())
    }

    async fn has_served(&mut self) -> Result<bool, Error> {
        Ok(self.has_feed().await? && self.ask("SELECT coalesce(max(term), 0) > 0 FROM feed.leader").await?)
    }

    /// What is left to do, where `shards` are placed here.
    pub(super) async fn plan(&mut self, look: Look, shards: &[u32]) -> Result<Plan, Error> {
        let collections = limited(self.collections(shards)).await?;
        let missing = collections.into_iter().map(|wanted| (wanted.collection, unsigned(&wanted.missing))).collect();
        let mut rights = Vec::new();
        for role in self.nodes().await? {
            rights.extend(self.lacks(&role).await?);
        }
        Ok(Plan { pending: look.history.pending, applied: look.history.applied, missing, rights })
    }

    /// Migrates, creates the partitions of `shards` that are missing, and gives nodes' roles the rights that they lack.
    pub(super) async fn change(&mut self, look: Look, shards: &[u32], tell: impl Fn(Step)) -> Result<Report, Error> {
        for (version, name) in look.history.pending_versions.iter().zip(&look.history.pending) {
            tell(Step::Migrating(name.clone()));
            // The connection is this run's own and closed in the end: a failed migration leaves its advisory lock on it.
            let migrator = self.migrations.migrator();
            let ran = migrator.run_direct(Some(*version), &mut self.session.connection, false).await;
            ran.map_err(|error| Error::run(&self.role, &error))?;
        }
        let mut report = Report { applied: look.history.pending, ..Report::default() };
        let collections = self.collections(shards).await?;
        let all = collections.iter().map(|wanted| wanted.missing.len()).sum();
        let mut done = 0;
        for wanted in collections {
            let told = |created| tell(Step::Creating { created: done + created, all });
            let created = self.create_shards(&wanted, told).await?;
            done += wanted.missing.len();
            report.created.push((wanted.collection, created));
        }
        for role in self.nodes().await? {
            tell(Step::Granting(role.clone()));
            report.granted.extend(self.grant(&role).await?);
        }
        Ok(report)
    }

    /// The role that was named, and those that had a node's rights before: what was made since lacks them.
    async fn nodes(&mut self) -> Result<Vec<String>, Error> {
        let known = rights::nodes(self.connection()).await;
        let known = known.map_err(|error| self.failed("read which roles are nodes'", &error))?;
        let named = self.grantee.clone().filter(|role| !known.contains(role));
        Ok(named.into_iter().chain(known).collect())
    }

    async fn grant(&mut self, role: &str) -> Result<Vec<String>, Error> {
        let step = format!("grant {role} the rights of a node");
        let granted = rights::grant(self.connection(), role).await.map_err(|error| self.failed(&step, &error))?;
        // Where the grantor may not grant, PostgreSQL may warn and go on.
        match &self.lacks(role).await?[..] {
            [] => Ok(granted),
            [first, ..] => {
                let reason = format!("it had no effect: {first}");
                Err(Error::Rights { step, role: self.role.clone(), reason })
            }
        }
    }

    async fn lacks(&mut self, role: &str) -> Result<Vec<String>, Error> {
        let missing = rights::of(self.connection(), role).await;
        missing.map_err(|error| self.failed("read which rights a role has", &error))
    }

    /// Every partitioned collection with the shards wanted of it; none before the feed's tables stand.
    async fn collections(&mut self, shards: &[u32]) -> Result<Vec<Wanted>, Error> {
        if !self.has_feed().await? {
            return Ok(Vec::new());
        }
        let query = sqlx::query_as(
            "WITH here AS MATERIALIZED (SELECT collection, shard FROM feed.shard_table)
             SELECT c.name AS collection,
                    coalesce(array_agg(w.shard ORDER BY w.shard) FILTER (WHERE h.shard IS NOT NULL), '{}') AS standing,
                    coalesce(array_agg(w.shard ORDER BY w.shard) FILTER (
                        WHERE h.shard IS NULL AND coalesce(s.state, 'active') = 'active' AND w.shard IS NOT NULL), '{}') AS missing
               FROM feed.collection c
               JOIN pg_class p ON p.oid = c.relation AND p.relkind = 'p'
               LEFT JOIN unnest($1::integer[]) w (shard) ON true
               LEFT JOIN here h ON h.collection = c.name AND h.shard = w.shard
               LEFT JOIN feed.shard_state s ON s.shard = w.shard
              GROUP BY c.name ORDER BY c.name",
        );
        let shards: Vec<i32> = shards.iter().map(|shard| shard.cast_signed()).collect();
        let found = query.bind(shards).fetch_all(self.connection()).await;
        found.map_err(|error| self.failed("read which shards are here", &error))
    }

    /// Creates what is missing, and arms the rest again, in one transaction. A collection without a shard here learns how many
    /// shards there are, by which databases are compared.
    async fn create_shards(&mut self, wanted: &Wanted, tell: impl Fn(usize)) -> Result<i64, Error> {
        let step = format!("create the shards of {}", wanted.collection);
        let (role, modulus) = (&self.role, self.modulus.cast_signed());
        let failed = |error| Error::statement(&step, role, &error);
        let mut transaction = self.session.connection.begin().await.map_err(failed)?;
        let mut created =
            create(&mut transaction, &wanted.collection, modulus, &wanted.standing).await.map_err(failed)?;
        tell(0);
        for (at, part) in wanted.missing.chunks(PARTITIONS_A_STEP).enumerate() {
            created += create(&mut transaction, &wanted.collection, modulus, part).await.map_err(failed)?;
            tell(at * PARTITIONS_A_STEP + part.len());
        }
        transaction.commit().await.map_err(failed)?;
        Ok(created)
    }

    pub(super) async fn end(self) {
        self.session.close().await;
    }

    async fn has_feed(&mut self) -> Result<bool, Error> {
        let found = has_table(self.connection(), "feed.shard_table").await;
        found.map_err(|error| self.failed("read the catalogues", &error))
    }

    async fn ask<T>(&mut self, sql: &'static str) -> Result<T, Error>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let answer = sqlx::query_scalar(sql).fetch_one(self.connection()).await;
        answer.map_err(|error| self.failed("read the state of the database", &error))
    }

    fn connection(&mut self) -> &mut PgConnection {
        &mut self.session.connection
    }

    fn failed(&self, step: &str, error: &sqlx::Error) -> Error {
        Error::statement(step, &self.role, error)
    }
}

async fn create(
    transaction: &mut PgTransaction<'_>,
    collection: &str,
    modulus: i32,
    shards: &[i32],
) -> Result<i64, sqlx::Error> {
    let query = sqlx::query_scalar("SELECT freshet.create_shards($1, $2, $3)::bigint");
    query.bind(collection).bind(modulus).bind(shards).fetch_one(&mut **transaction).await
}

/// What a database is asked before anything is changed. A network that swallows the question must not hold up the others.
async fn limited<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let silent = || Error::Silent { seconds: LOOK_LIMIT.as_secs() };
    timeout(LOOK_LIMIT, asked).await.map_err(|_| silent())?
}

fn unsigned(shards: &[i32]) -> Vec<u32> {
    shards.iter().map(|shard| shard.unsigned_abs()).collect()
}
