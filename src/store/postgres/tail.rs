//! Reads the outbox by snapshot difference: exactly the rows that became visible since the poll before.
//!
//! A row is taken as soon as its transaction is visible, whatever its version, and an open transaction delays only
//! its own rows: no cursor over versions, and no wait for the oldest transaction of the cluster.

use std::{collections::HashMap, sync::Arc, time::Instant};

use futures_util::TryStreamExt as _;
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{
    record::{Change, CollectionId, Key, Position},
    resilience::Deadline,
    store::{
        Error, Poll, ShardId,
        postgres::{Shared, pool, read::generation},
    },
};

/// One statement has one snapshot, so what it says about the snapshot, the newest mark and the outbox agrees.
///
/// # Source
/// coherence protocol, section 3, step 1; `pg_current_snapshot` in PostgreSQL's `xid8funcs.c` reports the active
/// snapshot, which under READ COMMITTED is the statement's.
const POLL: &str = "
    SELECT pg_current_snapshot()::text, (SELECT n FROM feed.mark ORDER BY n DESC LIMIT 1),
           EXISTS (SELECT FROM feed.mark WHERE n = $3), g.sum,
           CASE WHEN g.sum IS DISTINCT FROM $4 THEN ARRAY(SELECT format('%s %s', shard, gen) FROM feed.shard_state) END,
           NULL, NULL, NULL, NULL
      FROM (SELECT sum(gen)::bigint FROM feed.shard_state) g (sum)
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, o.collection, o.key, o.version, o.op = 'D'
      FROM feed.outbox o WHERE (o.xid >= $1::xid8 OR o.xid = ANY($2::xid8[])) AND o.op IN ('U', 'D')";

/// A place in the outbox of one database, and the connection that reads it.
pub struct Tail {
    shared: Arc<Shared>,
    connection: Option<PgConnection>,
    place: Option<Place>,
}

type Generations = Option<Vec<(ShardId, u32)>>;
/// Where a poll stands, the generations if they changed, the changes, and whether the last poll's mark is still there.
type Taken = (Place, Generations, Vec<Change>, bool);

/// The snapshot of the last poll: what is not visible in it is still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    xmax: String,
    in_progress: Vec<String>,
    position: Position,
    /// The sum over the shards: a generation only rises, so this tells whether any has.
    generations: i64,
}

impl Tail {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Tail { shared, connection: None, place: None }
    }

    pub(in crate::store) async fn poll(&mut self) -> Result<Poll, Error> {
        let deadline = Deadline::after(self.shared.config.statement_limit);
        // Taken out: a poll that fails or is dropped closes the connection it used.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.shared.connect("tail", deadline).await?,
        };
        let begun = Instant::now();
        let (place, generations, changes, kept) = pool::step(deadline, self.read(&mut connection)).await?;
        self.connection = Some(connection);
        let complete = match &self.place {
            None => true,
            Some(_) => kept && generations.is_none(),
        };
        let position = place.position;
        self.place = Some(place);
        Ok(Poll { position, begun, changes, generations, complete })
    }

    async fn read(&self, connection: &mut PgConnection) -> Result<Taken, sqlx::Error> {
        let (xmax, in_progress, position, generations) = match &self.place {
            // The first poll asks for nothing that was there before it.
            None => ("18446744073709551615", [].as_slice(), 0, None),
            Some(place) => {
                (place.xmax.as_str(), place.in_progress.as_slice(), place.position.0, Some(place.generations))
            }
        };
        let query = sqlx::query(POLL).bind(xmax).bind(in_progress).bind(position.cast_signed()).bind(generations);
        let mut rows = query.fetch(connection);
        let mut newest: HashMap<(CollectionId, Key), Change> = HashMap::new();
        let mut head = None;
        while let Some(row) = rows.try_next().await? {
            match row.try_get::<Option<&str>, _>(0)? {
                Some(snapshot) => head = Some((place(snapshot, &row)?, generations_of(&row)?, row.try_get(2)?)),
                None => self.take(&row, &mut newest)?,
            }
        }
        let (place, generations, kept): (_, _, bool) = head.ok_or(sqlx::Error::RowNotFound)?;
        Ok((place, generations, newest.into_values().collect(), kept || position == 0))
    }

    fn take(&self, row: &PgRow, newest: &mut HashMap<(CollectionId, Key), Change>) -> Result<(), sqlx::Error> {
        // A collection tracked since this node started is not served by it.
        let Some(collection) = self.shared.catalogue.find(row.try_get(5)?) else { return Ok(()) };
        let key = Key::from_database(row.try_get::<&str, _>(6)?);
        let version = row.try_get::<i64, _>(7)?.unsigned_abs();
        let change = Change { collection: collection.id, key: key.clone(), version, deleted: row.try_get(8)? };
        let held = newest.entry((collection.id, key)).or_insert_with(|| change.clone());
        if held.version < version {
            *held = change;
        }
        Ok(())
    }
}

/// Reads `xmin:xmax:xip,...`, the text of a `pg_snapshot`.
fn place(snapshot: &str, row: &PgRow) -> Result<Place, sqlx::Error> {
    let mut parts = snapshot.splitn(3, ':').skip(1);
    let xmax = parts.next().unwrap_or_default().to_owned();
    let in_progress = parts.next().unwrap_or_default().split(',').filter(|xid| !xid.is_empty());
    Ok(Place {
        xmax,
        in_progress: in_progress.map(str::to_owned).collect(),
        position: Position(row.try_get::<Option<i64>, _>(1)?.unwrap_or(0).unsigned_abs()),
        generations: row.try_get::<Option<i64>, _>(3)?.unwrap_or(0),
    })
}

/// Each shard's generation, where the poll reports them.
fn generations_of(row: &PgRow) -> Result<Generations, sqlx::Error> {
    let reported: Option<Vec<String>> = row.try_get(4)?;
    let pair = |text: String| {
        let (shard, counted) = text.split_once(' ')?;
        Some((ShardId(shard.parse().ok()?), generation(counted.parse().ok()?)))
    };
    Ok(reported.map(|texts| texts.into_iter().filter_map(pair).collect()))
}

impl Shared {
    /// A connection outside the pools, with plans that use the feed's indexes.
    pub(super) async fn connect(&self, purpose: &str, deadline: Deadline) -> Result<PgConnection, Error> {
        let options = self.config.options(purpose)?;
        pool::connect(&options, deadline.at_most(self.config.connect_limit)).await
    }
}
