//! Which database a command works on, a node included.
//!
//! Promise: the one that the command line names; else the one of the configuration's `[[database]]`; else DATABASE_URL;
//! else the private one in the configuration's `data_dir`. An operator's command takes, failing that, the private one that
//! runs in a usual place, and none where two run; a node is started on nothing that was not named.

use std::{
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use super::{Error, node::default_folder};
use crate::{
    app,
    config::Config,
    store::postgres::{self, placement, server::running_url, session},
};

/// The variable many programs share.
const VARIABLE: &str = "DATABASE_URL";

/// Where the database is.
#[derive(clap::Args, Clone, Debug)]
pub struct DatabaseArgs {
    /// The configuration; the database that it names is worked on.
    #[arg(long, short, value_name = "FILE", env = "FRESHET_CONFIG")]
    config: Option<PathBuf>,
    /// The database, as postgres://user:password@host:port/name; DATABASE_URL is read after the configuration.
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    database_url: Option<DatabaseUrl>,
    /// The data folder of a node's private PostgreSQL, which must be running.
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

/// A URL that is printed without its password.
#[derive(Clone)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        DatabaseUrl(url)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&session::without_password(&self.0))
    }
}

/// A database to work on, and what is configured for it.
#[derive(Clone, Debug)]
pub struct Target {
    /// How to reach it, and how much a node asks of it.
    pub database: postgres::Config,
    /// What it is called in reports: its name in the configuration where several are told apart, else PostgreSQL's.
    pub name: String,
    /// `shop on db1:5432`.
    pub place: session::Place,
    /// The number of logical shards.
    pub shards: u32,
    /// Those that the configuration places there in the beginning.
    pub initial: Option<RangeInclusive<u32>>,
}

/// What a command was told to work on.
#[derive(Clone, Debug)]
pub enum Named {
    /// Databases that somebody else runs.
    Databases(Vec<postgres::Config>),
    /// The folder of a private PostgreSQL.
    Folder(PathBuf),
}

impl Named {
    /// The first of: `url` and `folder`, which the command line gave; the configured databases; `variable`, which is the
    /// value of DATABASE_URL; the configured folder. A URL of a configured database
    /// stands for all of its servers; another has the settings of the first one, if there is one.
    pub fn first(url: Option<&str>, folder: Option<&Path>, config: &Config, variable: Option<&str>) -> Option<Self> {
        let given = url.map(|url| Named::Databases(vec![configured(config, url)]));
        given
            .or_else(|| folder.map(|folder| Named::Folder(folder.to_owned())))
            .or_else(|| Some(config.databases.clone()).filter(|all| !all.is_empty()).map(Named::Databases))
            .or_else(|| variable.map(|url| Named::Databases(vec![postgres::Config::at(url)])))
            .or_else(|| config.data_dir.clone().map(Named::Folder))
    }
}

/// The value of DATABASE_URL, unless it is empty.
pub fn variable() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|url| !url.is_empty())
}

impl DatabaseArgs {
    /// The configuration that is named, or the defaults.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn configuration(&self) -> Result<Config, Error> {
        Ok(Config::load(self.config.as_deref())?)
    }

    /// Whether a database is named; else only a private one in a usual place can be worked on.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn is_named(&self) -> Result<bool, Error> {
        let (url, folder) = (self.database_url.as_ref().map(DatabaseUrl::as_str), self.data_dir.as_deref());
        Ok(Named::first(url, folder, &self.configuration()?, variable().as_deref()).is_some())
    }

    /// Every database to work on.
    ///
    /// # Errors
    /// [`Error::Config`]; [`Error::Usage`] telling the choices when no database is named and none, or more than one
    /// private one runs; [`Error::Database`] when the URL is none.
    pub fn targets(&self) -> Result<Vec<Target>, Error> {
        let config = self.configuration()?;
        let (url, folder, variable) =
            (self.database_url.as_ref().map(DatabaseUrl::as_str), self.data_dir.as_deref(), variable());
        if let Some(url) = url
            && config.databases.len() > 1
            && !config.databases.iter().any(|database| database.has(url))
        {
            return Err(Error::Usage(
                "--database-url names none of the configured databases, and which shards it shall have is not known\n  \
                 leave --database-url or --config out, or give a URL as it stands in a [[database]]"
                    .into(),
            ));
        }
        let running = |folders: &[PathBuf]| Ok::<_, Error>(vec![configured(&config, &private(folders)?)]);
        let databases = match Named::first(url, folder, &config, variable.as_deref()) {
            Some(Named::Databases(databases)) => databases,
            Some(Named::Folder(folder)) => running(&[folder])?,
            None => running(&["serve", "demo"].map(|purpose| default_folder().join(purpose)))?,
        };
        targets(databases, &config)
    }

    /// Every database of the service, for what must know them all.
    ///
    /// # Errors
    /// As [`DatabaseArgs::targets`]; [`Error::Usage`] when one of several configured databases is chosen.
    pub fn all_targets(&self) -> Result<Vec<Target>, Error> {
        let targets = self.targets()?;
        let configured = Config::load(self.config.as_deref())?.databases.len();
        match targets.len() {
            1 if configured > 1 => Err(Error::Usage(
                "this works on all configured databases, because which shards one may get depends on the others\n  \
                 leave --database-url and --data-dir out"
                    .into(),
            )),
            _ => Ok(targets),
        }
    }
}

fn targets(databases: Vec<postgres::Config>, config: &Config) -> Result<Vec<Target>, Error> {
    let are_several = databases.len() > 1;
    // The one that was chosen of several has what its own entry says.
    let is_only = databases.len().max(config.databases.len()) == 1;
    let target = |database: postgres::Config| {
        let place = session::Place::of(&database.url)?;
        let name = if are_several { database.name.clone() } else { place.database.clone() };
        let initial = placement::initial(&database, is_only, config.shards);
        Ok(Target { name, place, database, shards: config.shards, initial })
    };
    databases.into_iter().map(target).collect()
}

/// The configured database that has `url`, whichever of its servers that is; else `url` alone, with the settings of the first
/// one, if there is one.
fn configured(config: &Config, url: &str) -> postgres::Config {
    if let Some(database) = config.databases.iter().find(|database| database.has(url)) {
        return database.clone();
    }
    match config.databases.first() {
        Some(first) => postgres::Config { url: url.to_owned(), replicas: Vec::new(), ..first.clone() },
        None => postgres::Config::at(url),
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
             or start a private one with `freshet serve --data-dir FOLDER` or `freshet demo`",
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
    fn what_is_named_closer_to_the_command_wins() {
        let configured: Config = toml::from_str(
            "data_dir = \"/configured\"\n[[database]]\nurl = \"postgres://h/configured\"\nread_connections = 3",
        )
        .expect("a configuration");
        let only_folder: Config = toml::from_str("data_dir = \"/configured\"").expect("a configuration");
        let told = |url, folder, config: &Config, variable| match Named::first(url, folder, config, variable) {
            Some(Named::Databases(all)) => format!("{} by {}", all[0].url, all[0].read_connections),
            Some(Named::Folder(folder)) => folder.display().to_string(),
            None => "nothing".into(),
        };
        let (url, folder) = (Some("postgres://h/given"), Some(Path::new("/given")));
        let variable = Some("postgres://h/variable");
        assert_eq!(told(url, None, &configured, variable), "postgres://h/given by 3");
        assert_eq!(told(None, folder, &configured, variable), "/given");
        assert_eq!(told(None, None, &configured, variable), "postgres://h/configured by 3");
        assert_eq!(told(None, None, &only_folder, variable), "postgres://h/variable by 9");
        assert_eq!(told(None, None, &only_folder, None), "/configured");
        assert_eq!(told(None, None, &Config::default(), None), "nothing");
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
        let url = Some("postgres://u:secret@h/d".to_owned().into());
        let args = DatabaseArgs { config: None, database_url: url, data_dir: None };
        assert!(!format!("{args:?}").contains("secret"));
        assert_eq!(args.targets().expect("a target")[0].place.to_string(), "d on h:5432");
    }
}
