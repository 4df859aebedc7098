//! The shop's sales, replayed as ordinary writes.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    COLLECTION,
    catalogue::Product,
    prices::{self, Prices},
    sales::{Sale, Sales},
    schedule::Schedule,
};
use crate::{
    cli::Error,
    gateway::{Hours, Shop},
    record::{Patch, patch::Members},
    service::{self, Conditions, Service},
    store,
    tiers::ReadOptions,
};

/// Sales under way at once, of different products.
const IN_FLIGHT: usize = 64;
/// How often the position is set and the status line drawn.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a sale waits that could not be made, before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// A sale that was answered, and the price that it has set or found.
type Sold = (Sale, Result<Option<i64>, service::Error>);

/// A replay under way.
pub(super) struct Replay {
    service: Service,
    skus: HashSet<String>,
    speed: NonZeroU32,
    prices: Prices,
    /// The last line before which every sale has been answered.
    position: Arc<AtomicU64>,
    /// Lines handed over and not answered, with their products: the next sale of a product waits for the one before.
    under_way: HashMap<String, u64>,
    writes: FuturesUnordered<BoxFuture<'static, Sold>>,
    done: u64,
    sold: u64,
    refused: u64,
    failed: u64,
    /// Failures since the last note: how many, and the last.
    failure: Option<(u64, service::Error)>,
    bar: ProgressBar,
    noted: Instant,
    shop: watch::Sender<Shop>,
}

impl Replay {
    /// Goes on from `position`, and sets it. `shop` is told what time it is there.
    pub(super) fn new(
        service: Service,
        products: &[Product],
        speed: NonZeroU32,
        position: Arc<AtomicU64>,
        shop: watch::Sender<Shop>,
    ) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        Replay {
            service,
            skus: products.iter().map(|product| product.sku.clone()).collect(),
            speed,
            prices: match position.load(Relaxed) {
                0 => Prices::of_catalogue(products),
                _ => Prices::unknown(),
            },
            done: position.load(Relaxed),
            position,
            under_way: HashMap::new(),
            writes: FuturesUnordered::new(),
            sold: 0,
            refused: 0,
            failed: 0,
            failure: None,
            bar,
            noted: Instant::now(),
            shop,
        }
    }

    /// Replays until the file ends or `stop`.
    ///
    /// # Errors
    /// [`Error::Demo`] when the shipped file is corrupt.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        let mut sales = Sales::embedded().map_err(|error| Error::Demo(error.to_string()))?;
        sales.skip_to(self.done).map_err(|error| Error::Demo(error.to_string()))?;
        let mut schedule = None;
        for sale in sales {
            let sale = sale.map_err(|error| Error::Demo(error.to_string()))?;
            if !self.skus.contains(&sale.sku) {
                continue;
            }
            let schedule = schedule.get_or_insert_with(|| Schedule::new(sale.at, self.speed, Instant::now()));
            if schedule.is_closed_until(sale.at) {
                self.shop.send_modify(|shop| shop.hours = Hours::Closed);
            }
            let due = schedule.due(sale.at);
            if self.wait_until(due, &sale, &stop).await.is_none() {
                break;
            }
            self.shop.send_modify(|shop| (shop.hours, shop.at) = (Hours::Open, Some(sale.at)));
            self.under_way.insert(sale.sku.clone(), sale.line);
            self.note(&sale);
            self.sell(sale, Duration::ZERO, &stop);
        }
        if !stop.is_cancelled() {
            self.shop.send_modify(|shop| shop.hours = Hours::Over);
        }
        while let Some(sold) = self.writes.next().await {
            self.settle(sold, &stop);
        }
        self.set_position();
        self.bar.finish_and_clear();
        Ok(())
    }

    /// Waits until a sale is due and its product is free; `None` when it is time to stop.
    async fn wait_until(&mut self, due: Instant, sale: &Sale, stop: &CancellationToken) -> Option<()> {
        loop {
            let early = due.checked_duration_since(Instant::now());
            let busy = self.writes.len() >= IN_FLIGHT || self.under_way.contains_key(&sale.sku);
            if early.is_none() && !busy {
                return (!stop.is_cancelled()).then_some(());
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                Some(sold) = self.writes.next() => self.settle(sold, stop),
                () = sleep(early.unwrap_or(NOTE_INTERVAL).min(NOTE_INTERVAL)) => {}
            }
            self.note(sale);
        }
    }

    /// Makes a sale after `pause`, which `stop` ends early.
    fn sell(&mut self, sale: Sale, pause: Duration, stop: &CancellationToken) {
        let (service, known, stop) = (self.service.clone(), self.prices.of(&sale.sku), stop.clone());
        self.writes.push(Box::pin(async move {
            if !pause.is_zero() {
                stop.run_until_cancelled(sleep(pause)).await;
            }
            let result = sell(&service, &sale, known).await;
            (sale, result)
        }));
    }

    /// Counts a sale that was made or refused, and tries one again that the node could not make, unless it is time to stop: then
    /// the position stays before it.
    fn settle(&mut self, (sale, result): Sold, stop: &CancellationToken) {
        match result {
            Ok(price) => {
                self.sold += 1;
                price.into_iter().for_each(|pence| self.prices.set(&sale.sku, pence));
            }
            // It was made before a crash, when the price was, or was not, another's.
            Err(service::Error::Store(store::Error::TokenReused)) => self.sold += 1,
            Err(service::Error::Store(store::Error::InvalidValue { .. })) => self.refused += 1,
            Err(error) => {
                self.failed += 1;
                let may_pass = may_pass(&error);
                self.failure = Some((self.failure.take().map_or(0, |(count, _)| count) + 1, error));
                match (may_pass, stop.is_cancelled()) {
                    (true, false) => return self.sell(sale, PAUSE, stop),
                    (true, true) => return,
                    (false, _) => {}
                }
            }
        }
        self.under_way.remove(&sale.sku);
        self.done = self.done.max(sale.line);
    }

    fn note(&mut self, sale: &Sale) {
        if self.noted.elapsed() < NOTE_INTERVAL {
            return;
        }
        self.noted = Instant::now();
        self.set_position();
        if let Some((count, error)) = self.failure.take() {
            tracing::warn!(count, %error, "sales failed; those that may succeed later are made again; the last error");
        }
        let Replay { sold, refused, failed, .. } = self;
        let at = clock(sale.at);
        self.bar.set_message(format!("{at} in the shop, {sold} sales replayed, {refused} refused, {failed} failed"));
        self.bar.tick();
    }

    fn set_position(&self) {
        let position = self.under_way.values().min().map_or(self.done, |first| self.done.min(first - 1));
        self.position.store(position, Relaxed);
    }
}

/// One sale: stock goes down by what was sold, or up by what came back, and the price becomes what was paid, unless somebody else
/// has set another.
async fn sell(service: &Service, sale: &Sale, known: Option<i64>) -> Result<Option<i64>, service::Error> {
    let id = service.record(COLLECTION, &sale.sku)?;
    let current = service.get(&id, &ReadOptions::default()).await?.state.value;
    let price = prices::after(sale, current.as_deref().and_then(price_of), known);
    let mut patch = Patch::default();
    patch.increment.insert("stock".into(), sale.stock_change().into());
    if let Some(pence) = price {
        patch.merge = Members::default().with("price", &pence.to_string());
    }
    // A sale that was committed, and whose position was not noted before a crash, is not made twice.
    let conditions = Conditions { if_stamp: None, idempotency_key: Some(format!("sale-{}", sale.line)) };
    service.patch(id, patch, conditions).await.map(|_| price)
}

/// Whether the same sale may be made later; that the outcome is not known does no harm, because of its idempotency key.
fn may_pass(error: &service::Error) -> bool {
    use store::Error::{Deadline, Disputed, NotOwned, OutcomeUnknown, Overloaded, Unavailable};
    let service::Error::Store(error) = error else { return false };
    matches!(error, Deadline | Unavailable { .. } | NotOwned { .. } | Disputed { .. } | Overloaded | OutcomeUnknown)
}

fn price_of(record: &[u8]) -> Option<i64> {
    serde_json::from_slice::<serde_json::Value>(record).ok()?.get("price")?.as_i64()
}

/// Unix seconds as `YYYY-MM-DD HH:MM`.
///
/// # Source
/// H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn clock(at: i64) -> String {
    let (days, seconds) = (at.div_euclid(86_400), at.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", seconds / 3_600, seconds % 3_600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_shows_the_shops_days() {
        assert_eq!(clock(1_259_653_500), "2009-12-01 07:45");
        assert_eq!(clock(951_782_400), "2000-02-29 00:00");
        assert_eq!(clock(0), "1970-01-01 00:00");
    }
}
