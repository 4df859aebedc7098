//! The shop beside the node: its catalogue is imported, its visitors read, its sales are replayed.

use std::{
    num::NonZeroU32,
    sync::{Arc, Once},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{catalogue::Product, import, lease::Lease, readers::Readers, replay::Replay};
use crate::{cli::Error, gateway::Shop, service::Service, store::Store};

/// What is played, and on what.
pub(super) struct Play<'a, F> {
    pub service: Service,
    pub store: Store,
    pub products: &'a [Product],
    /// How many reads a second the visitors make, if any.
    pub readers: Option<NonZeroU32>,
    /// How fast sales are replayed, if they are.
    pub speed: Option<NonZeroU32>,
    /// Whether the node is of no use without the whole catalogue.
    pub needs_catalogue: bool,
    /// Which node imports and replays.
    pub lease: Lease,
    pub shop: watch::Sender<Shop>,
    /// Called once there is something to see.
    pub ready: F,
    pub said: Once,
}

impl<F: Fn()> Play<'_, F> {
    /// Plays until `stop`, or until all sales have been replayed and there are no visitors.
    ///
    /// # Errors
    /// [`Error::Demo`] when the shipped data is corrupt or cannot be imported.
    pub(super) async fn run(&self, stop: &CancellationToken) -> Result<(), Error> {
        let readers = self.readers.and_then(|rate| Readers::new(self.service.clone(), self.products, rate));
        let readers = readers.map(|readers| tokio::spawn(readers.run(stop.clone())));
        match self.speed {
            Some(speed) => self.replay_in_turn(speed, stop).await?,
            None => self.import(stop).await?,
        }
        match readers {
            Some(readers) => readers.await.map_err(|_| Error::Demo("the visitors are gone; the log says why".into())),
            None => Ok(()),
        }
    }

    /// Imports and replays whenever this node holds the lease.
    async fn replay_in_turn(&self, speed: NonZeroU32, stop: &CancellationToken) -> Result<(), Error> {
        if self.lease.is_taken() {
            self.say_ready();
        }
        while self.lease.acquire(stop).await.is_some() {
            let turn = stop.child_token();
            let playing = async {
                let replayed = self.replay(speed, &turn).await;
                let is_over = !turn.is_cancelled();
                turn.cancel();
                replayed.map(|()| is_over)
            };
            let (is_over, ()) = tokio::join!(playing, self.lease.keep(turn.clone()));
            self.lease.release();
            if is_over? {
                break;
            }
        }
        Ok(())
    }

    async fn replay(&self, speed: NonZeroU32, turn: &CancellationToken) -> Result<(), Error> {
        self.import(turn).await?;
        let line = Arc::clone(self.lease.line());
        Replay::new(self.service.clone(), self.products, speed, line, self.shop.clone()).run(turn.clone()).await
    }

    async fn import(&self, stop: &CancellationToken) -> Result<(), Error> {
        match stop.run_until_cancelled(import::run(&self.service, &self.store, self.products)).await {
            None => return Ok(()),
            Some(Err(error)) if self.needs_catalogue => return Err(error),
            Some(Err(error)) => tracing::warn!(%error, "goes on without knowing that the catalogue is whole"),
            Some(Ok(())) => {}
        }
        self.say_ready();
        Ok(())
    }

    fn say_ready(&self) {
        self.said.call_once(|| (self.ready)());
    }
}
