//! Every key of a collection, for filters.

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use tokio::time::sleep;

use crate::{
    record::{CollectionId, Key, Position},
    resilience::{Backoff, Deadline},
    store::{
        Error,
        postgres::{
            Shared, pool,
            replication::{Connected, Connector, To},
        },
    },
};

/// Keys handed over at once; others have their turn in between.
const KEYS_AT_ONCE: usize = 512;
/// How long a scan waits for a lock on a partition before it is given up, in milliseconds.
const LOCK_LIMIT_MS: u32 = 100;
/// How long a replica may take to catch up before the primary is scanned.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(2);

/// Hands the keys to `sink`: of a replica, if one shows in time all that any poll of this node has reported so far. The caller
/// is told of every change that is reported from now on; so the scan must show those before. If it is cancelled halfway, the
/// primary is scanned, and keys are handed over twice.
///
/// # Errors
/// What the primary failed with. The keys handed over so far mean nothing then.
///
/// # Source
/// docs/coherence.md, section 8.
pub(in crate::store::postgres) async fn scan(
    shared: &Arc<Shared>,
    collection: CollectionId,
    mut sink: impl FnMut(&[Key]),
) -> Result<(), Error> {
    if let Some(replica) = replica(shared).await
        && read(shared, replica, collection, &mut sink).await.is_ok()
    {
        return Ok(());
    }
    let primary = shared.connect("scan", Deadline::after(shared.config.connect_limit)).await?;
    read(shared, primary.connection, collection, &mut sink).await
}

/// A connection to a replica that has caught up.
async fn replica(shared: &Arc<Shared>) -> Option<PgConnection> {
    // What a poll reports may be younger than the snapshots of the mark that it shows and of the next (section 4).
    let needed = Position(shared.servers.newest().0 + 2);
    let (at, _) = shared.servers.choose(Position::default())?;
    let deadline = Deadline::after(CATCH_UP_LIMIT);
    let connector = Connector::new(&shared.servers, To::Replica(at), "scan");
    let Connected { mut connection, .. } = connector.connect(deadline).await.ok()?;
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(100));
    while !deadline.passed() {
        let newest = sqlx::query_scalar("SELECT coalesce(max(n), 0) FROM feed.mark WHERE pg_is_in_recovery()");
        let newest: i64 = pool::step(deadline, newest.fetch_one(&mut connection)).await.ok()?;
        if newest.unsigned_abs() >= needed.0 {
            return Some(connection);
        }
        sleep(backoff.next_wait()).await;
    }
    None
}

async fn read(
    shared: &Shared,
    mut connection: PgConnection,
    collection: CollectionId,
    sink: &mut impl FnMut(&[Key]),
) -> Result<(), Error> {
    // No limit in the server: a large table takes its time. On this side each chunk has one, or a link that fell silent
    // would be waited for until the end of the process.
    let settings = format!("SET statement_timeout = 0; SET enable_seqscan = on; SET lock_timeout = {LOCK_LIMIT_MS}");
    pool::step(limit(shared), sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut connection)).await?;
    let ownership = shared.ownership.read().clone();
    for shard in ownership.shards(collection) {
        let Ok(statements) = ownership.find(collection, shard) else { continue };
        let rows = sqlx::query(statements.scan()).fetch(&mut connection);
        let keys = rows.and_then(async |row| Ok(Key::from_database(row.try_get::<&str, _>(0)?)));
        let mut chunks = std::pin::pin!(keys.try_chunks(KEYS_AT_ONCE).map_err(|error| error.1));
        while let Some(keys) = pool::step(limit(shared), chunks.try_next()).await? {
            sink(&keys);
            tokio::task::yield_now().await;
        }
    }
    drop(limit(shared).limit(connection.close()).await);
    Ok(())
}

fn limit(shared: &Shared) -> Deadline {
    Deadline::after(shared.config.statement_limit)
}
