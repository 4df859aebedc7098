//! `freshet delete products 85123A`

use super::{Error, Output, ServerArgs, put};

/// What to remove.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The collection, which is a tracked table's name, such as products.
    collection: String,
    /// The key.
    key: String,
    #[command(flatten)]
    condition: put::Condition,
}

/// Removes the record and prints its tombstone's stamp.
///
/// # Errors
/// A conflict is exit code 4.
pub async fn run(args: Args, server: &ServerArgs, output: &mut Output) -> Result<(), Error> {
    let client = server.connect().await?;
    let written = client.delete(&args.collection, &args.key, args.condition.options()).await;
    client.close().await;
    output.written("deleted", &written?)
}
