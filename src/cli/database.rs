//! Which database an operator's command works on.
//!
//! Promise: the one that the command line names; else the one a node of this configuration serves; else DATABASE_URL;
//! else the private one that runs. Where two would do, neither is taken.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{Error, node::default_folder};
use crate::{
    app,
    config::Config,
    store::postgres::{self, server::running_url, session},
};

/// The variable many programs share.
const VARIABLE: &str = "DATABASE_URL";

/// Where the database is.
#[derive(clap::Args, Clone)]
pub struct DatabaseArgs {
    /// The configuration; the database that it names is worked on.
    #[arg(long, short, value_name = "FILE", env = "FRESHET_CONFIG")]
    config: Option<PathBuf>,
    /// The database, as postgres://user:password@host:port/name; DATABASE_URL is read after the configuration.
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    database_url: Option<String>,
    /// The data folder of a node's private PostgreSQL, which must be running.
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

impl fmt::Debug for DatabaseArgs {
    /// Leaves the password out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.database_url.as_deref().map(session::without_password);
        f.debug_struct("DatabaseArgs").field("config", &self.config).field("database_url", &url).finish_non_exhaustive()
    }
}

/// A database to work on, and what is configured for it.
#[derive(Debug)]
pub struct Target {
    /// How to reach it, and how much a node asks of it.
    pub database: postgres::Config,
    /// `shop on db1:5432`.
    pub place: String,
    /// The number of logical shards it shall have.
    pub shards: u32,
}

impl DatabaseArgs {
    /// Every database to work on; one today.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::Usage`] telling the choices when no database is named and none, or more than one
    /// private one runs; [`Error::Database`] when the URL is none.
    pub fn targets(&self) -> Result<Vec<Target>, Error> {
        let config = Config::load(self.config.as_deref())?;
        let databases = match (&self.database_url, &self.data_dir) {
            (Some(url), _) => vec![configured(&config, url)],
            (None, Some(folder)) => vec![configured(&config, &private(std::slice::from_ref(folder))?)],
            (None, None) if !config.databases.is_empty() => config.databases.clone(),
            (None, None) => vec![configured(&config, &unnamed(&config)?)],
        };
        let target = |database: postgres::Config| {
            Ok(Target { place: session::shown(&database.url)?, database, shards: config.shards })
        };
        databases.into_iter().map(target).collect()
    }
}

/// `url` with the settings of the configured database, if there is one.
fn configured(config: &Config, url: &str) -> postgres::Config {
    match config.databases.first() {
        Some(database) => postgres::Config { url: url.to_owned(), ..database.clone() },
        None => postgres::Config::at(url),
    }
}

fn unnamed(config: &Config) -> Result<String, Error> {
    match std::env::var(VARIABLE) {
        Ok(url) if !url.is_empty() => Ok(url),
        _ => match &config.data_dir {
            Some(folder) => private(std::slice::from_ref(folder)),
            None => private(&["serve", "demo"].map(|purpose| default_folder().join(purpose))),
        },
    }
}

/// The one private server that runs on one of `folders`.
fn private(folders: &[PathBuf]) -> Result<String, Error> {
    let urls = folders.iter().map(|folder| (folder, running_url(folder, app::DATABASE)));
    only(folders, urls.filter_map(|(folder, url)| Some((folder, url?))).collect())
}

fn only(folders: &[PathBuf], mut running: Vec<(&PathBuf, String)>) -> Result<String, Error> {
    match running.len() {
        1 => Ok(running.remove(0).1),
        0 => Err(Error::Usage(format!(
            "no database is named, and no private PostgreSQL runs in {}\n  \
             name one with --database-url, with [[database]] in --config FILE or with {VARIABLE},\n  \
             or start a private one with `freshet serve` or `freshet demo`",
            joined(folders.iter(), " or ")
        ))),
        _ => Err(Error::Usage(format!(
            "no database is named, and more than one private PostgreSQL runs\n  choose with --data-dir {}",
            joined(running.iter().map(|(folder, _)| *folder), " or --data-dir ")
        ))),
    }
}

fn joined<'a>(folders: impl Iterator<Item = &'a PathBuf>, between: &str) -> String {
    folders.map(|folder| Path::display(folder).to_string()).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_server_tells_the_choices() {
        let args = DatabaseArgs { config: None, database_url: None, data_dir: Some("/nowhere/at/all".into()) };
        let error = args.targets().expect_err("nothing runs there");
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(
            ["/nowhere/at/all", "--database-url", "freshet serve"].iter().all(|part| text.contains(part)),
            "{text}"
        );
    }

    #[test]
    fn of_two_servers_neither_is_taken() {
        let folders = ["/a/serve".into(), "/a/demo".into()];
        let running: Vec<_> = folders.iter().map(|folder| (folder, "url".to_owned())).collect();
        assert_eq!(only(&folders, running[..1].to_vec()).expect("the one"), "url");
        let text = only(&folders, running).expect_err("two").to_string();
        assert!(text.contains("--data-dir /a/serve or --data-dir /a/demo"), "{text}");
    }

    #[test]
    fn a_password_is_not_printed() {
        let url = Some("postgres://u:secret@h/d".to_owned());
        let args = DatabaseArgs { config: None, database_url: url, data_dir: None };
        assert!(!format!("{args:?}").contains("secret"));
        assert_eq!(args.targets().expect("a target")[0].place, "d on h:5432");
    }
}
