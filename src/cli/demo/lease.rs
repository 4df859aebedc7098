//! Which of several demo nodes plays the sales: the one that holds a lease in a file, where the replay's position is noted.
//!
//! For: nodes over the same databases, on one machine. Each of them shows what time it is in the shop.
//! Promises: while any of them runs, one plays, at the latest some seconds after the one that did was killed or stopped where it
//! stood. For about a second two may play at once, as when a stopped holder goes on; no sale counts twice, because each has
//! an idempotency key (`a_sale_counts_once_while_nodes_take_the_lease_from_each_other`).
//! Leaves to others: what is played ([`replay`](super::replay)).
//!
//! The holder is not locked out by a file lock, because a process that is stopped keeps its locks.

use std::{
    fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::gateway::{Hours, Shop};

/// How often the holder renews the lease, and others look.
const BEAT: Duration = Duration::from_secs(1);
/// How long a lease is left alone that is not renewed.
const TERM: Duration = Duration::from_secs(4);
/// How long a node that took it waits for others that do.
const SETTLE: Duration = Duration::from_millis(100);

/// The lease as one node sees it.
pub(super) struct Lease {
    /// `None`: nothing is noted.
    file: Option<PathBuf>,
    /// Whether no other node has these databases, so that a holder in the file is one that crashed.
    is_alone: bool,
    own: Uuid,
    /// The last line before which every sale has been answered.
    line: Arc<AtomicU64>,
    /// What time it is in the shop.
    shop: watch::Sender<Shop>,
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Note {
    line: u64,
    /// `None` when the last holder gave it back.
    holder: Option<Uuid>,
    /// Another number each time that the lease is renewed.
    beat: u64,
    at: Option<i64>,
    hours: Hours,
}

impl Lease {
    /// A lease that others over the same `file` may hold, unless this node `is_alone`.
    pub(super) fn new(file: Option<PathBuf>, is_alone: bool, shop: watch::Sender<Shop>) -> Self {
        Lease { file, is_alone, own: Uuid::new_v4(), line: Arc::default(), shop }
    }

    /// Where the replay has come to, for the replay to set.
    pub(super) fn line(&self) -> &Arc<AtomicU64> {
        &self.line
    }

    /// Whether another node holds it, as far as the file says.
    pub(super) fn is_taken(&self) -> bool {
        self.is_others(&self.read())
    }

    /// Waits until no other node holds it, and takes it; meanwhile the page shows the holder's time. `None` at `stop`.
    pub(super) async fn acquire(&self, stop: &CancellationToken) -> Option<()> {
        while !stop.is_cancelled() {
            let free = self.wait_until_free(stop).await?;
            self.line.store(free.line, Relaxed);
            self.shop.send_modify(|shop| (shop.at, shop.hours) = (free.at, free.hours));
            self.write(Some(self.own), free.beat + 1);
            if self.is_alone || self.file.is_none() {
                return Some(());
            }
            // Nodes that are started together find it free together; the last one that wrote has it.
            stop.run_until_cancelled(sleep(SETTLE)).await;
            if !self.is_taken() {
                return Some(());
            }
        }
        None
    }

    async fn wait_until_free(&self, stop: &CancellationToken) -> Option<Note> {
        let (mut seen, mut since) = (self.read(), Instant::now());
        while self.is_others(&seen) && since.elapsed() < TERM {
            self.shop.send_modify(|shop| (shop.at, shop.hours) = (seen.at, seen.hours));
            stop.run_until_cancelled(sleep(BEAT)).await?;
            let now = self.read();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        Some(seen)
    }

    /// Renews it until `stop`. When another node has taken it, fires `stop` itself.
    pub(super) async fn keep(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(BEAT)).await.is_some() {
            let seen = self.read();
            if self.is_others(&seen) {
                stop.cancel();
                return;
            }
            self.write(Some(self.own), seen.beat + 1);
        }
    }

    /// Notes how far the replay came, and lets others have the lease at once, unless another node has taken it.
    pub(super) fn release(&self) {
        let seen = self.read();
        if !self.is_others(&seen) {
            self.write(None, seen.beat + 1);
        }
    }

    fn is_others(&self, note: &Note) -> bool {
        !self.is_alone && note.holder.is_some_and(|holder| holder != self.own)
    }

    fn write(&self, holder: Option<Uuid>, beat: u64) {
        let Some(file) = &self.file else { return };
        let Shop { at, hours, .. } = *self.shop.borrow();
        let note = Note { line: self.line.load(Relaxed), holder, beat, at, hours };
        let text = serde_json::to_string(&note).expect("numbers and names are JSON");
        // Others never read a half of it.
        let fresh = file.with_extension(format!("replay.{}", self.own.simple()));
        if let Err(error) = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, file)) {
            tracing::warn!(%error, file = %file.display(), "could not note the replay's position");
        }
    }

    fn read(&self) -> Note {
        let Some(file) = &self.file else { return Note::default() };
        match fs::read_to_string(file) {
            Ok(text) => Note::of(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Note::default(),
            Err(error) => {
                tracing::warn!(%error, "could not read the replay's position; it starts over, and no sale counts twice");
                Note::default()
            }
        }
    }
}

impl Note {
    fn of(text: &str) -> Self {
        // The line alone is what earlier releases noted.
        let line = || Note { line: text.trim().parse().unwrap_or(0), ..Note::default() };
        serde_json::from_str(text).unwrap_or_else(|_| line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(file: &std::path::Path) -> Lease {
        Lease::new(Some(file.to_owned()), false, watch::Sender::default())
    }

    async fn holds(lease: &Lease, limit: Duration) -> bool {
        tokio::time::timeout(limit, lease.acquire(&CancellationToken::new())).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_was_given_back_is_free_and_names_the_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("demo.replay");
        fs::write(&file, "41\n").expect("write");
        let (first, second) = (lease(&file), lease(&file));
        assert!(holds(&first, BEAT).await && second.is_taken() && !first.is_taken());
        assert_eq!(first.line().load(Relaxed), 41, "as an earlier release noted it");
        first.line().store(57, Relaxed);
        first.release();
        assert!(!second.is_taken() && holds(&second, BEAT).await);
        assert_eq!(second.line().load(Relaxed), 57);
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_that_is_not_heard_of_is_replaced_and_gives_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("demo.replay");
        let (first, second) = (lease(&file), lease(&file));
        assert!(holds(&first, BEAT).await);
        first.shop.send_modify(|shop| (shop.at, shop.hours) = (Some(7), Hours::Open));
        let stop = CancellationToken::new();
        let kept = tokio::time::timeout(TERM + BEAT, first.keep(stop.clone()));
        let (kept, taken) = tokio::join!(kept, holds(&second, TERM + BEAT));
        assert!(kept.is_err() && !taken && !stop.is_cancelled(), "a holder that renews it keeps it");
        assert_eq!((second.shop.borrow().at, second.shop.borrow().hours), (Some(7), Hours::Open));
        assert!(holds(&second, TERM * 10).await);
        first.keep(stop.clone()).await;
        assert!(stop.is_cancelled());
        first.release();
        assert!(first.is_taken(), "it does not take back what it gives");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_alone_waits_for_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("demo.replay");
        assert!(holds(&lease(&file), BEAT).await);
        let alone = Lease::new(Some(file), true, watch::Sender::default());
        assert!(!alone.is_taken() && holds(&alone, BEAT).await);
    }
}
