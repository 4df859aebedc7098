//! What is more than one poll reads: a difference of any size, page by page.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::page::{Changes, PAGE_ROWS, Place, difference};
use crate::{
    record::{Change, Position},
    resilience::Deadline,
    store::{
        Error,
        postgres::{Shared, failure, pool, replication::Connected},
    },
};

/// The cursor and what is said beside it have the transaction's one snapshot.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// The newest mark, and whether nothing after mark $1 was pruned.
const HEAD: &str = "SELECT coalesce((SELECT n FROM feed.mark ORDER BY n DESC LIMIT 1), 0), EXISTS (SELECT FROM feed.mark WHERE n = $1)";
const CURSOR: &str =
    concat!("DECLARE backlog NO SCROLL CURSOR FOR ", difference!("{xmax}", "{in_progress}", "ALL", "ALL", ""));

/// Reads everything that became visible after a place. Holds no more than a page of it.
pub(super) struct Backlog {
    shared: Arc<Shared>,
    since: Place,
    open: Option<Open>,
}

/// A cursor that stands open.
struct Open {
    connection: PgConnection,
    /// The primary's when it was opened.
    term: u64,
    position: Position,
    /// After its snapshot was taken.
    opened: Instant,
}

/// What comes next of a backlog.
pub(super) enum Rest {
    Page {
        /// The newest mark that the cursor's snapshot shows.
        position: Position,
        /// After the cursor's snapshot was taken.
        opened: Instant,
        changes: Vec<Change>,
        /// There may be another page.
        more: bool,
    },
    /// Some of it was pruned before it could be read.
    Lost,
}

impl Backlog {
    pub(super) fn new(shared: Arc<Shared>, since: Place) -> Self {
        Backlog { shared, since, open: None }
    }

    /// The next page, after a pause. After an error the one after that is the first again, in a later snapshot.
    pub(super) async fn next(mut self, pause: Duration) -> (Self, Result<Rest, Error>) {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let rest = self.read().await;
        (self, rest)
    }

    async fn read(&mut self) -> Result<Rest, Error> {
        let deadline = Deadline::after(self.shared.config.statement_limit);
        // Taken out: a read that fails closes its connection.
        let mut open = match self.open.take() {
            Some(open) => open,
            None => match self.open(deadline).await? {
                Some(open) => open,
                None => return Ok(Rest::Lost),
            },
        };
        let fetch = format!("FETCH {PAGE_ROWS} FROM backlog");
        let fetch = sqlx::query(AssertSqlSafe(fetch)).fetch_all(&mut open.connection);
        let rows = pool::step(deadline, fetch).await?;
        if !self.shared.servers.is_current(open.term) {
            return Err(Error::primary_changed());
        }
        let mut changes = Changes::new(&self.shared.catalogue);
        for row in &rows {
            changes.add(row, 0).map_err(failure::error)?;
        }
        let (position, opened, more) = (open.position, open.opened, rows.len() >= PAGE_ROWS as usize);
        match more {
            true => self.open = Some(open),
            // Everything was read: how this connection ends is of no interest.
            false => drop(deadline.limit(open.connection.close()).await),
        }
        Ok(Rest::Page { position, opened, changes: changes.take(), more })
    }

    /// Opens the cursor; `None` when the mark of the place is gone, and so may be changes after it.
    async fn open(&self, deadline: Deadline) -> Result<Option<Open>, Error> {
        let Connected { mut connection, term } = self.shared.follow("backlog", 0, deadline).await?;
        pool::step(deadline, sqlx::raw_sql(BEGIN).execute(&mut connection)).await?;
        let since = self.since.position.0;
        let head = sqlx::query_as(HEAD).bind(since.cast_signed()).fetch_one(&mut connection);
        let (newest, kept): (i64, bool) = pool::step(deadline, head).await?;
        let opened = Instant::now();
        if !kept && since > 0 {
            return Ok(None);
        }
        let in_progress: Vec<_> = self.since.in_progress.iter().map(u64::to_string).collect();
        let cursor = CURSOR
            .replace("{xmax}", &format!("'{}'", self.since.xmax))
            .replace("{in_progress}", &format!("'{{{}}}'", in_progress.join(",")));
        let cursor = sqlx::raw_sql(AssertSqlSafe(cursor)).execute(&mut connection);
        pool::step(deadline, cursor).await?;
        Ok(Some(Open { connection, term, position: Position(newest.unsigned_abs()), opened }))
    }
}
