//! `freshet serve`: runs a node until it is told to stop.

use super::{
    Error,
    database::{DatabaseUrl, Named, variable},
    node::{NodeArgs, default_folder, start_log, stop_on_signal},
    output::Format,
};
use crate::{
    app::{App, Place},
    config::Config,
    store::postgres::session,
};

/// Options of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// The database, as postgres://user:password@host:port/name; DATABASE_URL is read after the configuration.
    #[arg(long, value_name = "URL", conflicts_with_all = ["data_dir", "memory"])]
    database_url: Option<DatabaseUrl>,
}

/// Builds the node, runs it, drains it.
///
/// # Errors
/// [`Error::Config`] and [`Error::App`]: the node never served, or one of its tasks ended unexpectedly.
/// [`Error::Usage`]: it was not said where records are kept.
pub async fn run(args: Args, format: Format) -> Result<(), Error> {
    start_log("info", format);
    let stop = stop_on_signal()?;
    let config = args.node.configuration()?;
    let place = args.place(&config)?;
    say(&place)?;
    let app = App::build(&config, &place, None).await?;
    let (public, operations) = app.addresses();
    let collections: Vec<_> = app.store().catalogue().iter().map(|collection| collection.name.clone()).collect();
    tracing::info!(%public, %operations, ?collections, "serves");
    if collections.is_empty() {
        tracing::warn!("no table is tracked: call freshet.track('your_table') in a migration and restart");
    }
    Ok(app.run(stop).await?)
}

impl Args {
    /// The place for records, in the order of [`Named`]. There is no default: an operator would not find data again in a
    /// folder that was not chosen, and data in memory is lost.
    fn place(&self, config: &Config) -> Result<Place, Error> {
        if self.node.memory {
            return Ok(Place::Memory);
        }
        let (url, folder) = (self.database_url.as_ref().map(DatabaseUrl::as_str), self.node.data_dir.as_deref());
        match Named::first(url, folder, config, variable().as_deref()) {
            Some(Named::Databases(databases)) => Ok(Place::Databases(databases)),
            Some(Named::Folder(folder)) => Ok(Place::Private(folder)),
            None => Err(unnamed()),
        }
    }
}

fn unnamed() -> Error {
    let folder = default_folder().join("serve");
    Error::Usage(format!(
        "say where the records are kept\n  \
         in a database:                 freshet serve --database-url postgres://freshet@db1/shop\n  \
         (or by DATABASE_URL, or by [[database]] in --config FILE)\n  \
         in a private PostgreSQL:       freshet serve --data-dir {}\n  \
         in memory, lost with the node: freshet serve --memory\n  \
         to look around, with a shop's data and a page: freshet demo",
        folder.display()
    ))
}

fn say(place: &Place) -> Result<(), Error> {
    match place {
        Place::Databases(databases) => {
            for database in databases {
                tracing::info!(name = database.name, database = %session::Place::of(&database.url)?, "uses the database");
            }
        }
        Place::Private(folder) | Place::Demo(folder) => {
            tracing::info!(data = %folder.display(), "starts a private PostgreSQL");
        }
        Place::Memory => tracing::warn!("keeps records in memory: they are gone when the node ends"),
    }
    Ok(())
}
