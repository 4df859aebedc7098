//! A tour of the client: reads a product, watches it, sells one, and lists the products beside it.
//!
//! ```sh
//! freshet demo                                                     # in another terminal
//! cargo run -p freshet-client --example tour -- 127.0.0.1:8080 85123A
//! ```

use std::error::Error;

use freshet_client::{Client, ListOptions, Options, Patch, ReadOptions, WriteOptions};
use futures_util::{StreamExt as _, TryStreamExt as _};

/// What of a product is looked at; a value may have more.
#[derive(serde::Deserialize)]
struct Product {
    name: String,
    stock: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let node = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let key = arguments.next().unwrap_or_else(|| "85123A".to_owned());
    let client = Client::connect(&node, Options::new()).await?;
    tour(&client, &key, |line| println!("{line}")).await?;
    client.close().await;
    Ok(())
}

/// Takes the tour of the product with that `key`, and tells of each step.
///
/// # Errors
/// Those of the client, and a product that is not there.
pub async fn tour(client: &Client, key: &str, mut tell: impl FnMut(String)) -> Result<(), Box<dyn Error>> {
    // Read. An absent record is an answer with `value: None`.
    let read = client.get("products", key).await?;
    let Product { name, stock } = read.parse()?.ok_or("there is no such product")?;
    tell(format!("{name}: {stock} in stock at stamp {}", read.stamp));

    // Watch. `since` leaves out the state that is known already; every newer one comes.
    let mut watched = client.subscribe("products", &[key], [(key.to_owned(), read.stamp)]).await?;

    // Write. The name makes it harmless to repeat, so the client does so if the connection is lost.
    let order = format!("tour of {key} at {}", read.stamp);
    let sold = Patch::new().increment("stock", -1);
    let written = client.patch("products", key, &sold, WriteOptions::new().idempotency_key(order)).await?;
    tell(format!("sold one, which made stamp {}", written.stamp));

    // States may be skipped, order never: the watch comes to that stamp, or to a later one.
    while let Some(record) = watched.next().await {
        let left = record.parse::<Product>()?.map_or(0, |product| product.stock);
        tell(format!("the watch shows {left} in stock at stamp {}", record.stamp));
        if record.stamp >= written.stamp {
            break;
        }
    }

    // A read anywhere that is no older than the own write.
    let own = ReadOptions::new().min_stamp(written.stamp);
    tell(format!("a read after the write is at stamp {}", client.get_with("products", key, own).await?.stamp));

    // List, in the order of the keys.
    let prefix: String = key.chars().take(3).collect();
    let beside = client.records("products", ListOptions::new().prefix(&prefix).limit(5)).take(5);
    let keys: Vec<_> = beside.map_ok(|record| record.key).try_collect().await?;
    tell(format!("the first of those that begin with {prefix}: {}", keys.join(", ")));
    Ok(())
}
