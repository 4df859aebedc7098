//! The catalogue, put into the store as any client would.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};

use super::{COLLECTION, catalogue::Product, sales::Sales, stock};
use crate::{
    cli::Error,
    record::Stamp,
    service::{Conditions, Service},
    store::{self, Store},
};

/// Writes under way at once: enough to fill groups.
const IN_FLIGHT: usize = 512;

/// Puts every product that is not there yet; one that is, is left as it stands.
pub(super) async fn run(service: &Service, store: &Store, products: &[Product]) -> Result<(), Error> {
    if is_imported(store, products.len()).await? {
        return Ok(());
    }
    let known = products.iter().map(|product| product.sku.as_str());
    let lines = Sales::embedded().map_err(demo)?;
    let stocks = stock::initial(lines, known).map_err(demo)?;
    let bar = ProgressBar::new(products.len() as u64).with_message("importing products");
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:32} {pos}/{len}") {
        bar.set_style(style);
    }
    stream::iter(products)
        .map(|product| {
            let (key, value) = product.record(stocks.get(&product.sku).copied().unwrap_or(stock::MARGIN));
            let bar = bar.clone();
            async move {
                put_new(service, &key, &value).await?;
                bar.inc(1);
                Ok::<(), Error>(())
            }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<()>()
        .await?;
    bar.finish_and_clear();
    eprintln!("imported {} products", products.len());
    Ok(())
}

async fn put_new(service: &Service, key: &str, value: &str) -> Result<(), Error> {
    let id = service.record(COLLECTION, key).map_err(demo)?;
    let conditions = Conditions { if_stamp: Some(Stamp::ABSENT), idempotency_key: None };
    match service.put(id, value, conditions).await {
        Ok(_) | Err(crate::service::Error::Store(store::Error::Conflict { .. })) => Ok(()),
        Err(error) => Err(demo(error)),
    }
}

/// Whether every product is there already, counted rather than remembered.
async fn is_imported(store: &Store, products: usize) -> Result<bool, Error> {
    let Some(collection) = store.catalogue().find(COLLECTION) else {
        return Err(Error::Demo(format!("the store has no collection \"{COLLECTION}\"")));
    };
    let mut held = 0;
    for database in store.databases() {
        store.scan(database, collection.id, |keys| held += keys.len()).await.map_err(demo)?;
    }
    Ok(held >= products)
}

fn demo(error: impl std::fmt::Display) -> Error {
    Error::Demo(error.to_string())
}
