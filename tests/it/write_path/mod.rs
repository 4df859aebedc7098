//! What a group of writes promises each of them, whatever its neighbours do.

mod conditions;
mod cut;
mod echoes;
mod feed_locks;
mod full_disk;
mod held;
mod merges;
mod order;
mod poison;
mod repeats;
mod stock;
mod trips;
mod unsent;
mod values;

use freshet::{
    record::Patch,
    service::{Conditions, Error, Service},
    store::{self, Written},
};
use futures_util::future::join_all;

use crate::harness::{Node, TestDatabase, blank_database, database, node::config};

/// A migrated database whose products have so many shards.
async fn sharded(shards: u32) -> TestDatabase {
    if shards == 64 {
        return database().await;
    }
    let database = blank_database().await;
    let all = format!("ARRAY(SELECT generate_series(0, {shards} - 1))");
    database.run(&format!("SELECT freshet.create_shards('products', {shards}, {all})")).await;
    database
}

/// A node over it, and products k0, k1 and so on with 1,000 in stock.
async fn node_with_products(shards: u32, products: u32) -> (Node, TestDatabase) {
    let database = sharded(shards).await;
    database
        .run(&format!(
            "INSERT INTO products (sku, name, price, stock)
             SELECT 'k' || n, 'made', 1, 1000 FROM generate_series(0, {products} - 1) n"
        ))
        .await;
    (Node::over(&database.url(), config()).await, database)
}

fn parse(patch: &str, increment: &[(&str, i64)]) -> Patch {
    Patch {
        merge: freshet::record::patch::Members::parse(patch).expect("an object"),
        increment: increment.iter().map(|(column, amount)| ((*column).to_owned(), (*amount).into())).collect(),
    }
}

async fn patch(service: &Service, key: &str, text: &str) -> Result<Written, Error> {
    let id = service.record("products", key).expect("a key");
    service.patch(id, parse(text, &[]), Conditions::default()).await
}

async fn patch_all(service: &Service, patches: &[(String, String)]) -> Vec<Result<Written, Error>> {
    join_all(patches.iter().map(|(key, text)| patch(service, key, text))).await
}

fn is_refused(written: &Result<Written, Error>) -> bool {
    matches!(written, Err(Error::Store(store::Error::InvalidValue { .. })))
}
