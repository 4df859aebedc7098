//! What one poll reads: the snapshot's head, and pages of rows.

use std::{collections::HashMap, time::Instant};

use foldhash::fast::RandomState;
use futures_util::TryStreamExt as _;
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::Position;
use crate::{
    record::{Catalogue, Change, CollectionId, Key, ShardId},
    store::postgres::read::generation,
};

/// Rows of one page, at the most: a few megabytes, and far above what ordinary polls find. Chosen, not measured.
pub(super) const PAGE_ROWS: i64 = 10_000;
/// Pages of one poll, at the most; what is beyond them is a backlog.
const PAGES_MAX: usize = 4;
/// Rows that a poll takes of a transaction that was in progress before. One that has more must not hold up the others
/// that ended at the same time.
const TRANSACTION_ROWS: i64 = 1_000;

/// The rows that are not visible in a snapshot of `xmax` $1 and transactions in progress $2, in two parts, each limited.
/// Of those in progress the outbox is asked only about the committed ones: the rows of one that still runs, or was rolled
/// back, are invisible, and there may be millions of them to look at.
///
/// # Source
/// docs/coherence.md, R15.
macro_rules! difference {
    ($xmax:literal, $in_progress:literal, $rows:literal, $transaction_rows:literal, $head:literal) => {
        concat!(
            "(SELECT ", $head, "o.xid::text, o.collection, o.key, o.version, o.op = 'D' FROM feed.outbox o
               WHERE o.xid >= ", $xmax, "::xid8 AND o.op IN ('U', 'D') ORDER BY o.xid LIMIT ", $rows, ")
             UNION ALL
             SELECT ", $head, "o.xid::text, o.collection, o.key, o.version, o.op = 'D'
               FROM unnest(", $in_progress, "::xid8[]) x (xid)
              CROSS JOIN LATERAL (SELECT * FROM feed.outbox r
                                   WHERE r.xid = x.xid AND r.op IN ('U', 'D') LIMIT ", $transaction_rows, ") o
              WHERE pg_visible_in_snapshot(x.xid, pg_current_snapshot()) AND pg_xact_status(x.xid) IS DISTINCT FROM 'aborted'"
        )
    };
}
pub(super) use difference;

/// One statement has one snapshot, so what it says about the snapshot, the newest mark and the outbox agrees.
///
/// # Source
/// docs/coherence.md, R15; `pg_current_snapshot` in PostgreSQL's `xid8funcs.c` reports the active snapshot, which under
/// READ COMMITTED is the statement's.
const POLL: &str = concat!(
    "SELECT pg_current_snapshot()::text, (SELECT n FROM feed.mark ORDER BY n DESC LIMIT 1),
            EXISTS (SELECT FROM feed.mark WHERE n = $3), g.sum,
            CASE WHEN g.sum IS DISTINCT FROM $4 THEN ARRAY(SELECT format('%s %s', shard, gen) FROM feed.shard_state) END,
            NULL, NULL, NULL, NULL, NULL
       FROM (SELECT sum(gen)::bigint FROM feed.shard_state) g (sum)
     UNION ALL ",
    difference!("$1", "$2", "$5", "$6", "NULL, NULL, NULL, NULL, NULL, ")
);

/// The snapshot of a poll: what is not visible in it is still to come.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) xmax: u64,
    pub(super) in_progress: Vec<u64>,
    /// The newest mark that it shows.
    pub(super) position: Position,
    /// The sum over the shards: a generation only rises, so this tells whether any has.
    generations: i64,
    /// Before the poll was sent.
    pub(super) begun: Instant,
}

type Generations = Option<Vec<(ShardId, u32)>>;

/// What a poll found.
pub(super) struct Taken {
    pub(super) place: Place,
    /// The newest mark that any of its pages showed.
    pub(super) position: Position,
    /// The generations, if their sum has changed.
    pub(super) generations: Generations,
    pub(super) changes: Vec<Change>,
    /// The last poll's mark is still there, so nothing after it was pruned.
    pub(super) kept: bool,
    /// Nothing is left over.
    pub(super) whole: bool,
}

/// Reads what is not visible at `place`, page after page, as far as one poll goes.
///
/// The pages after the first have later snapshots. They go on behind a transaction that filled a page alone, so that
/// the smaller ones that ended with it are not kept waiting.
pub(super) async fn take(
    connection: &mut PgConnection,
    catalogue: &Catalogue,
    place: Option<&Place>,
    begun: Instant,
) -> Result<Taken, sqlx::Error> {
    let mut changes = Changes::new(catalogue);
    let mut page = read(connection, place, None, begun, &mut changes).await?;
    let (head, generations) = (page.place.clone(), page.generations.take());
    let (mut kept, mut whole) = (page.kept, page.whole);
    for _ in 1..PAGES_MAX {
        let Some(from) = page.goes_on_from() else { break };
        whole &= page.first != page.last;
        page = read(connection, place, Some(from), begun, &mut changes).await?;
        kept &= page.kept;
    }
    whole &= page.goes_on_from().is_none();
    let position = head.position.max(page.place.position);
    Ok(Taken { place: head, position, generations, changes: changes.take(), kept, whole })
}

/// One statement's answer, its changes apart.
struct Page {
    place: Place,
    generations: Generations,
    kept: bool,
    /// Rows of the part that is in the order of transactions, and the transactions that they begin and end with.
    rows: i64,
    first: u64,
    last: u64,
    /// None of the transactions that were in progress before has more rows than were taken.
    whole: bool,
}

impl Page {
    /// The transaction with which the next page begins; `None` when the page is not full. The last one was cut off, and
    /// is read again, unless it filled the page alone.
    fn goes_on_from(&self) -> Option<u64> {
        (self.rows >= PAGE_ROWS).then(|| self.last + u64::from(self.first == self.last))
    }
}

/// Reads one page of what is not visible at `place`; with `from`, only of the transactions from there on.
async fn read(
    connection: &mut PgConnection,
    place: Option<&Place>,
    from: Option<u64>,
    begun: Instant,
    changes: &mut Changes<'_>,
) -> Result<Page, sqlx::Error> {
    // The first poll asks for nothing that was there before it.
    let xmax = from.or(place.map(|place| place.xmax)).unwrap_or(u64::MAX);
    let in_progress = place.filter(|_| from.is_none()).map_or(&[][..], |place| &place.in_progress);
    let position = place.map_or(0, |place| place.position.0);
    let query = sqlx::query(POLL)
        .bind(xmax.to_string())
        .bind(in_progress.iter().map(u64::to_string).collect::<Vec<_>>())
        .bind(position.cast_signed())
        .bind(place.map(|place| place.generations))
        .bind(PAGE_ROWS)
        .bind(TRANSACTION_ROWS);
    let mut rows = query.fetch(connection);
    let mut head = None;
    let (mut ordered, mut first, mut last) = (0, u64::MAX, 0);
    let mut ended: HashMap<u64, i64, RandomState> = HashMap::default();
    while let Some(row) = rows.try_next().await? {
        if let Some(snapshot) = row.try_get::<Option<&str>, _>(0)? {
            head = Some((snapshot_of(snapshot, &row, begun)?, generations_of(&row)?, row.try_get(2)?));
            continue;
        }
        let xid = changes.add(&row, 5)?;
        if xid >= xmax {
            (ordered, first, last) = (ordered + 1, first.min(xid), last.max(xid));
        } else {
            *ended.entry(xid).or_default() += 1;
        }
    }
    let (place, generations, kept): (Place, _, bool) = head.ok_or(sqlx::Error::RowNotFound)?;
    let whole = ended.values().all(|rows| *rows < TRANSACTION_ROWS);
    Ok(Page { place, generations, kept: kept || position == 0, rows: ordered, first, last, whole })
}

/// Changes of one poll: of each record the newest.
pub(super) struct Changes<'a> {
    catalogue: &'a Catalogue,
    newest: HashMap<(CollectionId, Key), Change, RandomState>,
}

impl<'a> Changes<'a> {
    pub(super) fn new(catalogue: &'a Catalogue) -> Self {
        Changes { catalogue, newest: HashMap::default() }
    }

    /// Takes the change that stands in the columns from `at` on; returns its transaction.
    pub(super) fn add(&mut self, row: &PgRow, at: usize) -> Result<u64, sqlx::Error> {
        let xid = number(row.try_get(at)?);
        // A collection tracked since this node started is not served by it.
        let Some(collection) = self.catalogue.find(row.try_get(at + 1)?) else { return Ok(xid) };
        let key = Key::from_database(row.try_get::<&str, _>(at + 2)?);
        let version = row.try_get::<i64, _>(at + 3)?.unsigned_abs();
        let change = Change { collection: collection.id, key: key.clone(), version, deleted: row.try_get(at + 4)? };
        let held = self.newest.entry((collection.id, key)).or_insert_with(|| change.clone());
        if held.version < version {
            *held = change;
        }
        Ok(xid)
    }

    pub(super) fn take(self) -> Vec<Change> {
        self.newest.into_values().collect()
    }
}

/// The snapshot of a mark, if that is there. What the generations were is not known, so the next poll reports them.
pub(super) async fn place_at(connection: &mut PgConnection, mark: Position) -> Result<Option<Place>, sqlx::Error> {
    let begun = Instant::now();
    let query = sqlx::query_scalar("SELECT snap::text FROM feed.mark WHERE n = $1").bind(mark.0.cast_signed());
    let snapshot: Option<String> = query.fetch_optional(connection).await?;
    Ok(snapshot.map(|snapshot| {
        let (xmax, in_progress) = xids_of(&snapshot);
        Place { xmax, in_progress, position: mark, generations: 0, begun }
    }))
}

fn snapshot_of(snapshot: &str, row: &PgRow, begun: Instant) -> Result<Place, sqlx::Error> {
    let (xmax, in_progress) = xids_of(snapshot);
    Ok(Place {
        xmax,
        in_progress,
        position: Position(row.try_get::<Option<i64>, _>(1)?.unwrap_or(0).unsigned_abs()),
        generations: row.try_get::<Option<i64>, _>(3)?.unwrap_or(0),
        begun,
    })
}

/// Reads `xmin:xmax:xip,...`, the text of a `pg_snapshot`: xmax, and the transactions in progress.
fn xids_of(snapshot: &str) -> (u64, Vec<u64>) {
    let mut parts = snapshot.splitn(3, ':').skip(1);
    let xmax = number(parts.next().unwrap_or_default());
    let in_progress = parts.next().unwrap_or_default().split(',').filter(|xid| !xid.is_empty());
    (xmax, in_progress.map(number).collect())
}

/// A transaction's number as PostgreSQL prints it.
fn number(xid: &str) -> u64 {
    xid.parse().unwrap_or(0)
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
