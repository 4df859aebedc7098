//! What an operator can set: every module's own configuration, nested.
//!
//! Read from a TOML file, then from the environment: `FRESHET__SESSION__BATCH_MAX=10` sets `batch_max` of
//! `[session]`. Unknown keys and values that cannot work are refused, named. `config/freshet.toml` lists every key
//! with its default and the reason to change it; a test keeps it equal to this code.

mod variables;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::{
    gateway, service, session, shared,
    store::{
        memory::Schema,
        postgres::{
            self, placement,
            session::{Place, without_password},
        },
    },
    tiers,
};

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where a private PostgreSQL keeps its data when neither a `[[database]]` nor DATABASE_URL is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The number of logical shards. Fixed when a database is first set up.
    pub shards: u32,
    /// The HTTP edge.
    pub gateway: gateway::Config,
    /// WebSocket connections.
    pub session: session::Config,
    /// Operations.
    pub service: service::Config,
    /// The read path.
    pub tiers: tiers::Config,
    /// The cache that all nodes share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<shared::Config>,
    /// The databases that hold the records.
    #[serde(rename = "database")]
    pub databases: Vec<postgres::Config>,
    /// What the memory store serves; its columns are read from nowhere else.
    #[serde(rename = "collection")]
    pub collections: Vec<Schema>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: None,
            shards: 64,
            gateway: gateway::Config::default(),
            session: session::Config::default(),
            service: service::Config::default(),
            tiers: tiers::Config::default(),
            redis: None,
            databases: Vec::new(),
            collections: Vec::new(),
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("failed to read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The text is no TOML, or has an unknown key or a value of the wrong kind.
    #[error("{origin}: {message}")]
    Invalid {
        /// The file or variable.
        origin: String,
        /// What is wrong, with the place.
        message: String,
    },
    /// The keys are all known, and cannot work together.
    #[error("{key}: {message}")]
    Impossible {
        /// The key to change.
        key: &'static str,
        /// Why, and to what.
        message: String,
    },
}

impl Config {
    /// Reads `path`, if any, and the environment.
    ///
    /// # Errors
    /// [`Error`], naming file, key or variable.
    pub fn load(path: Option<&Path>) -> Result<Self, Error> {
        let text = match path {
            None => String::new(),
            Some(path) => fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?,
        };
        let origin = path.map_or("the defaults".into(), |path| path.display().to_string());
        Self::from_text(&origin, &text, variables::of_process())
    }

    /// The collections that the shipped configuration gives the memory store.
    pub fn shipped_collections() -> Vec<Schema> {
        let shipped =
            Self::from_text("config/freshet.toml", include_str!("../config/freshet.toml"), std::iter::empty());
        shipped.expect("a test reads the shipped configuration").collections
    }

    fn from_text(origin: &str, text: &str, variables: impl Iterator<Item = (String, String)>) -> Result<Self, Error> {
        let invalid = |error: toml::de::Error| Error::Invalid {
            origin: origin.to_owned(),
            message: without_passwords(error.to_string().trim_end()),
        };
        // Once for its messages, which show the line; once more after the environment was laid over it.
        let mut config: Config = toml::from_str(text).map_err(invalid)?;
        let mut table: Table = toml::from_str(text).map_err(invalid)?;
        for (name, value) in variables {
            (table, config) = variables::lay_over(&table, &name, &value)?;
        }
        config.check()?;
        Ok(config)
    }

    /// A name that two databases have.
    fn repeated_name(&self) -> Option<&str> {
        let names: Vec<&str> = self.databases.iter().map(|database| &*database.name).collect();
        names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| *name)
    }

    /// A replica that is no URL of a database, with what is wrong.
    fn malformed_replica(&self) -> Option<String> {
        let replicas =
            self.databases.iter().flat_map(|database| database.replicas.iter().map(|url| (&database.name, url)));
        replicas.into_iter().find_map(|(name, url)| {
            let error = Place::of(url).err()?;
            let shown = without_password(url);
            Some(format!("of \"{name}\" has \"{shown}\": failed to {error}; {}", error.hint()))
        })
    }

    /// A server that is named twice, with those that name it.
    fn repeated_url(&self) -> Option<String> {
        let urls = self.databases.iter().flat_map(|database| database.urls().map(|url| (&*database.name, url)));
        let urls: Vec<(&str, &str)> = urls.collect();
        urls.iter().enumerate().find_map(|(at, (name, url))| {
            let (first, _) = urls[..at].iter().find(|(_, other)| other == url)?;
            let shown = without_password(url);
            Some(match first == name {
                true => format!("of \"{name}\" names {shown} twice; each server stands once, in url or in replicas"),
                false => format!("of \"{name}\" names {shown}, and so does \"{first}\"; a server of a database belongs to one of them"),
            })
        })
    }

    /// Refuses what cannot work.
    fn check(&self) -> Result<(), Error> {
        let rate = self.tiers.filter.false_positive_rate;
        let freshness = &self.tiers.freshness;
        let impossible = |key, message: &str| Err(Error::Impossible { key, message: message.to_owned() });
        if let Some((key, message)) = self.redis.as_ref().and_then(shared::Config::misconfigured) {
            return impossible(key, &message);
        }
        match () {
            () if self.shards == 0 || self.shards > 10_000 => impossible("shards", "must be between 1 and 10000"),
            () if let Some(name) = self.repeated_name() => impossible(
                "database.name",
                &format!("\"{name}\" is given to two databases; give each a name of its own"),
            ),
            () if let Some(message) = self.malformed_replica() => impossible("database.replicas", &message),
            () if let Some(message) = self.repeated_url() => impossible("database.url", &message),
            () if self.databases.iter().any(|database| database.replica_lag_max.is_zero()) => impossible(
                "database.replica_lag_max",
                "must be above zero, such as \"5s\"; to read from the primary alone, leave replicas out",
            ),
            () if let Some(message) = placement::misconfigured(&self.databases, self.shards) => {
                impossible("database.shards", &message)
            }
            () if !(rate > 0.0 && rate < 1.0) => {
                impossible("tiers.filter.false_positive_rate", "must be above 0 and below 1, such as 0.01")
            }
            () if !(0.0..=1.0).contains(&self.tiers.audit.share) => {
                impossible("tiers.audit.share", "must be a share from 0 to 1, such as 0.001")
            }
            () if self.tiers.audit.per_second_max == 0 => {
                impossible("tiers.audit.per_second_max", "must be at least 1; to audit nothing, set share = 0")
            }
            () if self.tiers.filter.headroom < 1.0 => impossible("tiers.filter.headroom", "must be at least 1"),
            () if freshness.fresh < tiers::freshness::FRESH_MIN => impossible(
                "tiers.freshness.fresh",
                "must be at least 250ms: a node without watchers and readers polls every 100 ms",
            ),
            () if freshness.fresh > freshness.usable => {
                impossible("tiers.freshness.fresh", "must not be above tiers.freshness.usable")
            }
            () if self.gateway.listen == self.gateway.operations && self.gateway.listen.port() != 0 => {
                impossible("gateway.operations", "must be another address than gateway.listen")
            }
            () if !self.gateway.hosts.iter().all(|listed| gateway::host::can_be_listed(listed)) => impossible(
                "gateway.hosts",
                "takes names without scheme, port and path, such as \"shop.example\", or \"*\"",
            ),
            () if self.session.heartbeat_interval.is_zero() || self.session.heartbeat_timeout.is_zero() => {
                impossible("session.heartbeat_interval", "and heartbeat_timeout must be above zero")
            }
            () if self.session.requests_max == 0 => impossible("session.requests_max", "must be at least 1"),
            () if self.session.batch_max == 0 => impossible("session.batch_max", "must be at least 1"),
            () if self.service.keys_max == 0 => impossible("service.keys_max", "must be at least 1"),
            () => Ok(()),
        }
    }
}

/// The message shows the line at fault, and a URL in it with all that it has.
fn without_passwords(message: &str) -> String {
    let hidden = |line: &str| match line.find("://").and_then(|at| line[..at].rfind('"')) {
        Some(at) => format!("{}{}", &line[..=at], without_password(&line[at + 1..])),
        None => line.to_owned(),
    };
    message.lines().map(hidden).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use toml::Value;

    use super::*;

    pub(super) fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_text("test.toml", text, variables).map_err(|error| error.to_string())
    }

    #[test]
    fn values_read_as_people_write_them() {
        let config = read("[tiers.local]\ncapacity = \"64MiB\"\nttl = \"250ms\"", &[]).expect("reads");
        assert_eq!(config.tiers.local.capacity.as_u64(), 64 << 20);
        assert_eq!(config.tiers.local.ttl.as_millis(), 250);
    }

    /// Two databases, with more keys for each.
    fn two(first: &str, second: &str) -> String {
        let entry = |name, more| format!("[[database]]\nname = \"{name}\"\nurl = \"{name}\"\n{more}\n");
        entry("a", first) + &entry("b", second)
    }

    /// One database, with more keys.
    fn with(more: &str) -> String {
        format!("[[database]]\nurl = \"postgres://h/d\"\n{more}")
    }

    #[test]
    fn the_example_of_a_cluster_can_be_used() {
        let config = read(include_str!("../config/cluster-64x8.toml"), &[]).expect("the example is valid");
        assert_eq!((config.shards, config.databases.len()), (64, 8));
    }

    #[test]
    fn several_databases_share_the_shards() {
        let config = read(&two("shards = \"0-31\"", "shards = \"32-63\""), &[]).expect("reads");
        assert_eq!(config.databases.len(), 2);
        let config = read(&two("shards = \"0-63\"", ""), &[]).expect("one may begin without any");
        assert_eq!(config.databases[1].shards, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, variables, expected) in [
            ("sharts = 3", &[][..], "sharts"),
            ("[session]\nbatch_max = \"many\"", &[], "batch_max"),
            ("[tiers.freshness]\nfresh = \"200ms\"", &[], "at least 250ms"),
            ("shards = 0", &[], "shards"),
            ("[service]\nkeys_max = 0", &[], "keys_max"),
            ("[gateway]\nhosts = [\"https://shop.example\"]", &[], "gateway.hosts"),
            ("[tiers.filter]\nfalse_positive_rate = 2.0", &[], "false_positive_rate"),
            ("[tiers.audit]\nshare = 1.5", &[], "tiers.audit.share: must be a share from 0 to 1"),
            ("[tiers.audit]\nper_second_max = 0", &[], "tiers.audit.per_second_max"),
            ("[tiers.local]\nttl = \"soon\"", &[], "ttl"),
            ("[[database]]\nurl = \"a\"\n[[database]]\nurl = \"b\"", &[], "database.name"),
            ("shards = 4\n[[database]]\nurl = \"a\"\nshards = \"0-4\"", &[], "there are 4"),
            ("[[database]]\nurl = \"a\"\nshards = \"7-0\"", &[], "names no shards"),
            (&with("replicas = [\"\"]"), &[], "database.replicas: of \"main\" has \"***\": failed to read"),
            (&with("replicas = [\"h:5432/d\"]"), &[], "write it as postgres://"),
            (&with("replicas = [\"postgres://h:port/d\"]"), &[], "database.replicas"),
            (&with("replicas = [\"postgres://h/d\"]"), &[], "of \"main\" names postgres://h/d twice"),
            (&with("replicas = [\"postgres://r/d\", \"postgres://r/d\"]"), &[], "names postgres://r/d twice"),
            (&two("replicas = [\"postgres://r/d\"]", "replicas = [\"postgres://r/d\"]"), &[], "and so does \"a\""),
            (&with("replica_lag_max = \"0s\""), &[], "database.replica_lag_max: must be above zero"),
            (&two("shards = \"0-31\"", "shards = \"\""), &[], "leave it out"),
            (&two("shards = \"0-31\"", ""), &[], "32 belongs to no database"),
            ("", &[("FRESHET__SESSION__BATCH", "1")], "FRESHET__SESSION__BATCH"),
            ("", &[("FRESHET__SHARDS__X", "1")], "FRESHET__SHARDS__X"),
            ("shards = ", &[], "test.toml"),
        ] {
            let error = read(text, variables).expect_err(text);
            assert!(error.contains(expected), "{text:?} {variables:?}: {error}");
        }
    }

    #[test]
    fn a_redis_that_cannot_be_used_is_refused_with_the_key_and_the_cure() {
        let at = "urls = [\"redis://h\"]\n";
        for (text, expected) in [
            ("", "redis.urls: must name a server, such as [\"redis://cache1:6379\"]; without Redis, leave [redis] out"),
            (
                "cluster = true",
                "redis.urls: must name a server, such as [\"redis://cache1:6379\"]; without Redis, leave [redis] out",
            ),
            (
                "urls = [\"redis://a\", \"redis://b\"]",
                "redis.urls: names 2 servers, as only a Redis Cluster has: set cluster = true, or name one",
            ),
            (
                "urls = [\"http://u:secret@h\"]",
                "redis.urls: has \"http://u:***@h\", which is no URL of Redis: write it as redis://host:6379, rediss://host:6379 \
                 with TLS, or redis+unix:///path",
            ),
            (
                "urls = [\"h:6379\"]",
                "redis.urls: has \"h:6379\", which is no URL of Redis: write it as redis://host:6379, rediss://host:6379 \
                 with TLS, or redis+unix:///path",
            ),
            (
                "urls = [\"rediss://u:secret@h/#insecure\"]",
                "redis.urls: has \"rediss://u:***@h/#insecure\", and a server that nothing vouches for is not used: name the \
                 certificate of its CA in redis.ca",
            ),
            (
                "urls = [\"redis://u:secret@h\"]\nca = \"ca.pem\"",
                "redis.ca: is of no use for \"redis://u:***@h\", which is reached without TLS: write it as rediss://host:6379",
            ),
            (
                "urls = [\"redis://a\", \"redis+unix:///s\"]\ncluster = true",
                "redis.urls: has \"redis+unix:///s\", and the nodes of a cluster are reached over TCP: write them as \
                 redis://host:6379",
            ),
            (
                "urls = [\"redis://a/1\"]\ncluster = true",
                "redis.urls: has \"redis://a/1\", and a cluster has no numbered databases: leave the number out",
            ),
            (
                &format!("{at}slices = 1025"),
                "redis.slices: must be at most 1024: each has a chain that its keeper moves four times a second; a few for each \
                 master of a cluster will do",
            ),
            (&format!("{at}limit = \"0s\""), "redis.limit: must be above zero, such as \"30ms\""),
            (&format!("{at}ttl = \"0s\""), "redis.ttl: must be above zero, such as \"30m\""),
            (&format!("{at}absent_ttl = \"0s\""), "redis.absent_ttl: must be above zero, such as \"30s\""),
            (
                &format!("{at}[redis.switches]\nshadow = 5.0"),
                "redis.switches.shadow: must be a share from 0 to 1, such as 0.05",
            ),
        ] {
            assert_eq!(read(&format!("[redis]\n{text}"), &[]).expect_err(text), expected);
        }
        for sound in [at, "urls = [\"redis+unix:///s\"]", "urls = [\"redis://a\", \"redis://b\"]\ncluster = true"] {
            read(&format!("[redis]\n{sound}\nslices = 1024"), &[]).expect(sound);
        }
        let set = [("FRESHET__REDIS__URLS", "[\"redis://h\"]")];
        assert_eq!(read("", &set).expect("set by the environment").redis.expect("a cache").urls, ["redis://h"]);
    }

    #[test]
    fn the_shipped_file_lists_every_key_with_its_default() {
        let shipped = include_str!("../config/freshet.toml");
        let config = read(shipped, &[]).expect("the shipped file is valid");
        let collections = config.collections.clone();
        let defaults = Config { collections, ..Config::default() };
        let as_table = |config: &Config| Table::try_from(config).expect("serialises");
        assert_eq!(as_table(&config), as_table(&defaults), "a value differs from its default");
        let listed: Table = toml::from_str(shipped).expect("parses");
        let mut missing = Vec::new();
        compare("", &as_table(&defaults), &listed, &mut missing);
        assert!(missing.is_empty(), "not listed in config/freshet.toml: {missing:?}");
    }

    fn compare(path: &str, all: &Table, listed: &Table, missing: &mut Vec<String>) {
        for (key, value) in all {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match (value, listed.get(key)) {
                (Value::Table(all), Some(Value::Table(listed))) => compare(&path, all, listed, missing),
                (_, Some(_)) => {}
                (Value::Array(empty), None) if empty.is_empty() => {}
                (_, None) => missing.push(path),
            }
        }
    }
}
