//! The records that a run needs, put first.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    cli::{self, ServerArgs},
    client::WriteOptions,
};

/// Puts under way at once: enough to fill groups.
const IN_FLIGHT: usize = 256;
/// With it a product's record is about as long as one with a paragraph of description.
const NAME_CHARS: usize = 420;

/// Options of the records to put first.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct FillArgs {
    /// Put every record before the run begins.
    #[arg(long)]
    fill: bool,
    /// The value they get; unless given, one that fits the products of the demo, about 500 bytes long.
    #[arg(long, value_name = "JSON", requires = "fill")]
    fill_value: Option<String>,
}

impl FillArgs {
    /// Puts the records, if that was asked for.
    pub(super) async fn run(&self, server: &ServerArgs, collection: &str, keys: &[String]) -> Result<(), cli::Error> {
        if !self.fill {
            return Ok(());
        }
        let value = self.fill_value.clone().unwrap_or_else(product);
        let client = server.connect().await?;
        let puts = keys.iter().map(|key| client.put(collection, key, &value, WriteOptions::new()));
        let put = stream::iter(puts).buffer_unordered(IN_FLIGHT).try_for_each(async |_| Ok(())).await;
        client.close().await;
        Ok(put?)
    }
}

fn product() -> String {
    format!(r#"{{"name":"{}","price":100,"stock":1000000}}"#, "x".repeat(NAME_CHARS))
}
