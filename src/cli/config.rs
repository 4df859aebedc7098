//! `freshet config print` and `freshet config check`.

use std::{fs, path::PathBuf};

use toml::{Table, Value};

use super::{Error, Output};
use crate::{
    config::{self, Config},
    store::postgres::session,
};

/// What to do with the configuration.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print what a node would run with: defaults, file and environment together. Passwords are left out.
    Print(File),
    /// Say "ok", or what is wrong and where.
    Check(File),
}

#[derive(Debug, clap::Args)]
struct File {
    /// The configuration; without it the defaults and the environment.
    #[arg(long, short, value_name = "FILE", env = "FRESHET_CONFIG")]
    config: Option<PathBuf>,
}

/// Prints or checks.
///
/// # Errors
/// [`Error::Config`] and [`Error::Usage`], exit code 2, naming file and line.
pub fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    match args.action {
        Action::Print(file) => {
            let shown = without_secrets(&file.load()?)?;
            let text = toml::to_string_pretty(&shown).map_err(unprintable)?;
            output.summary(&shown, text.trim_end())
        }
        Action::Check(file) => {
            file.load()?;
            let origin = file.config.as_ref().map_or("the defaults".into(), |path| path.display().to_string());
            output.summary(&serde_json::json!({"ok": true, "origin": origin}), &format!("ok: {origin}"))
        }
    }
}

impl File {
    fn load(&self) -> Result<Config, Error> {
        let config = Config::load(self.config.as_deref()).map_err(|error| self.placed(error))?;
        for database in &config.databases {
            let message = |error: session::Error| format!("{error}; {}", error.hint());
            session::Place::of(&database.url).map_err(|error| self.at("database.url", &message(error)))?;
        }
        Ok(config)
    }

    /// A value that cannot work is found after the text was read: its line is looked up by its key.
    fn placed(&self, error: config::Error) -> Error {
        match error {
            config::Error::Impossible { key, message } => self.at(key, &message),
            other => other.into(),
        }
    }

    fn at(&self, key: &str, message: &str) -> Error {
        let text = self.config.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let origin =
            self.config.as_ref().map_or("the defaults and the environment".into(), |p| p.display().to_string());
        match line_of(&text, key) {
            Some(line) => Error::Usage(format!("{origin}, line {line}: {key}: {message}")),
            None => Error::Usage(format!("{origin}: {key}: {message}")),
        }
    }
}

/// The line, counted from 1, that sets `key`, such as `tiers.local.ttl`, or opens the table of that name.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let mut table = String::new();
    let lines = text.lines().zip(1..);
    let mut places = lines.filter_map(|(line, number)| {
        let line = line.trim();
        if line.starts_with('[') {
            line.trim_start_matches('[').split(']').next()?.trim().clone_into(&mut table);
            return (table == key).then_some(number);
        }
        let name = line.split('=').next()?.trim();
        let full = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
        (full == key).then_some(number)
    });
    // Of a table that may stand once, the last is the one too many.
    let first = places.next();
    places.last().or(first)
}

/// The configuration as a table, in the order of the code, with `***` where secrets are.
fn without_secrets(config: &Config) -> Result<Table, Error> {
    let text = toml::to_string(config).map_err(unprintable)?;
    let mut table: Table = toml::from_str(&text).map_err(|error| Error::Found(error.to_string()))?;
    hide(&mut table);
    Ok(table)
}

fn unprintable(error: toml::ser::Error) -> Error {
    Error::Found(format!("failed to print the configuration: {error}"))
}

fn hide(table: &mut Table) {
    for (name, value) in table.iter_mut() {
        hide_value(name, value);
    }
}

fn hide_value(name: &str, value: &mut Value) {
    let is_secret = ["password", "secret", "token"].iter().any(|word| name.contains(word));
    match value {
        Value::String(text) if is_secret => *text = "***".into(),
        Value::String(text) if text.contains("://") => *text = session::without_password(text),
        Value::String(text) if name == "url" => *text = session::without_password(text),
        Value::Array(values) => values.iter_mut().for_each(|value| hide_value(name, value)),
        Value::Table(table) => hide(table),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres;

    #[test]
    fn what_is_printed_is_the_configuration_without_its_secrets() {
        let mut config = Config { shards: 7, ..Config::default() };
        config.databases.push(postgres::Config::at("postgres://u:hush@db1/shop?password=hush"));
        let text = toml::to_string(&without_secrets(&config).expect("prints")).expect("prints");
        assert!(!text.contains("hush") && text.contains("postgres://u:***@db1/shop?password=***"), "{text}");
        let read: Config = toml::from_str(&text).expect("reads");
        assert_eq!((read.shards, read.databases.len()), (7, 1));
    }

    #[test]
    fn a_key_is_found_in_its_table() {
        let text = "shards = 0\n[tiers.local]\nttl = \"1s\"\n[[database]]\nurl = \"a\"\n[[database]]\nurl = \"b\"\n";
        assert_eq!(line_of(text, "shards"), Some(1));
        assert_eq!(line_of(text, "tiers.local.ttl"), Some(3));
        assert_eq!(line_of(text, "database"), Some(6));
        assert_eq!(line_of(text, "ttl"), None);
    }
}
