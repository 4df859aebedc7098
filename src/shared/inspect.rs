//! What can be asked of Redis about its fitness to be used. Facts only: judging them is the caller's.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use redis::{FromRedisValue, RedisError, Value};

use super::{
    Chain, Config, Error, Slice, StoredChain,
    connection::{Connection, Purpose, Target},
};

/// The rights that a node needs, as `ACL SETUSER` takes them. `INFO` is for `freshet doctor` alone. docs/operations.md, "Redis", has the
/// same.
pub const RULE: &str = "resetkeys ~freshet1:* resetchannels -@all \
                        +ping +mget +get +getrange +set +del +unlink +xadd +xread +xrevrange +evalsha +script|load +info";

/// What it needs in a cluster beside them.
pub const CLUSTER_RULE: &str = "+cluster|slots +asking";

/// How long each answer is waited for.
const LIMIT: Duration = Duration::from_secs(5);
/// What commands are tried on. No node reads it.
const PROBE: &str = "freshet1:{doctor}:probe";
const STREAM: &str = "freshet1:{doctor}:stream";
/// The commands that a node uses, in its scripts or itself, with what does no harm.
const COMMANDS: [(&str, &[&str]); 13] = [
    ("ping", &["PING"]),
    ("mget", &["MGET", PROBE]),
    ("get", &["GET", PROBE]),
    ("getrange", &["GETRANGE", PROBE, "0", "1"]),
    ("set", &["SET", PROBE, "x", "PX", "1000"]),
    ("del", &["DEL", PROBE]),
    ("xadd", &["XADD", STREAM, "MAXLEN", "1", "*", "probe", "1"]),
    ("xrevrange", &["XREVRANGE", STREAM, "+", "-", "COUNT", "1"]),
    ("xread", &["XREAD", "COUNT", "1", "STREAMS", STREAM, "0"]),
    ("unlink", &["UNLINK", STREAM]),
    ("script|load", &["SCRIPT", "LOAD", "return 0"]),
    // The digest of the script above.
    ("evalsha", &["EVALSHA", "06d3d9b2060dd51343d5f19f0e531f15c507e3d1", "1", PROBE]),
    ("info", &["INFO", "server"]),
];

/// A connection for a look around.
pub struct Inspection {
    connection: Connection,
    /// How long it took to answer a ping.
    pub answered_in: Duration,
}

/// A server, as it describes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// `Redis` or `Valkey`.
    pub product: &'static str,
    /// `7.0.15`.
    pub version: String,
    /// Whether it is a member of a cluster.
    pub is_cluster: bool,
    /// Whether it follows another server.
    pub is_replica: bool,
    /// Bytes in use.
    pub used: u64,
    /// Bytes that it may use; 0 where it may use all.
    pub used_max: u64,
    /// What it does when those are used up, such as `allkeys-lru`.
    pub policy: String,
    /// Whether it writes every command to a file.
    pub is_logged: bool,
}

/// What the user may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Who is logged in; `None` where the user may not know.
    pub user: Option<String>,
    /// Commands that a node uses, and that the user may not run.
    pub missing: Vec<&'static str>,
    /// Why a command fails that the user may run, in the server's words.
    pub refused: Option<String>,
    /// Rights that a node has no use for: `+@all` or `+@dangerous`; `None` where the user may not look, and so has neither.
    pub excess: Option<&'static str>,
}

impl Inspection {
    /// Connects as a node does, but with more patience.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::Away`].
    pub async fn open(config: &Config) -> Result<Self, Error> {
        let target = Target::new(&Config { limit: LIMIT, ..config.clone() })?;
        let opened = target.open(Purpose::Operations, LIMIT).await;
        let connection = opened.map_err(|reason| Error::Away { reason })?;
        let mut inspection = Inspection { connection, answered_in: Duration::ZERO };
        let begun = Instant::now();
        inspection.ask::<Value>(&["PING"]).await.map_err(failed)?;
        inspection.answered_in = begun.elapsed();
        Ok(inspection)
    }

    /// What the server says of itself; `None` where the user may not ask. Of a cluster, each server is asked on a connection of
    /// its own.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub async fn server(&mut self) -> Result<Option<Server>, Error> {
        match self.ask::<String>(&["INFO"]).await {
            Ok(text) => Ok(Some(read(&text))),
            Err(error) if is_forbidden(&error) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Tries what a node does, on a key that no node reads, which is gone afterwards.
    ///
    /// # Errors
    /// [`Error::Failed`] when the connection is lost.
    pub async fn rights(&mut self) -> Result<Rights, Error> {
        let mut rights = Rights::default();
        for (name, words) in COMMANDS {
            match self.ask::<Value>(words).await {
                Ok(_) => {}
                Err(error) if is_forbidden(&error) => rights.missing.push(name),
                // A script that could not be loaded is not there.
                Err(error) if error.code() == Some("NOSCRIPT") => {}
                Err(error) if error.code().is_some() => rights.refused = Some(error.to_string()),
                Err(error) => return Err(failed(error)),
            }
        }
        rights.user = self.ask(&["ACL", "WHOAMI"]).await.ok();
        if let Some(user) = &rights.user {
            let words = ["ACL", "GETUSER", user].map(str::to_owned);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let described: Option<HashMap<String, Value>> = self.ask(&words).await.ok();
            let commands = described.and_then(|mut described| described.remove("commands"));
            rights.excess = commands.and_then(|commands| excess(&String::from_redis_value(commands).ok()?));
        }
        Ok(rights)
    }

    /// A slice's chain, if it has one.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub async fn chain(&mut self, slice: &Slice) -> Result<Option<Chain>, Error> {
        let stored: (Option<Vec<u8>>,) = self.ask(&["MGET", &slice.chain()]).await.map_err(failed)?;
        Ok(StoredChain(stored.0.unwrap_or_default()).chain())
    }

    async fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T, RedisError> {
        let mut command = redis::Cmd::new();
        command.arg(words);
        let asked = tokio::time::timeout(LIMIT, command.query_async(&mut self.connection)).await;
        asked.unwrap_or_else(|_| Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))))
    }
}

fn is_forbidden(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

fn failed(error: RedisError) -> Error {
    Error::Failed { reason: error.to_string() }
}

fn excess(commands: &str) -> Option<&'static str> {
    let has = |right: &str| commands.split(' ').any(|given| given == right);
    ["+@all", "+@dangerous"].into_iter().find(|right| has(right))
}

/// Reads the answer to `INFO`.
///
/// # Source
/// Valkey's says `redis_version:7.2.4` for old clients, and its own in `valkey_version`.
fn read(text: &str) -> Server {
    let fields: HashMap<&str, &str> = text.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let field = |name: &str| fields.get(name).copied().unwrap_or_default();
    let number = |name: &str| field(name).parse().unwrap_or_default();
    let (product, version) = match fields.get("valkey_version") {
        Some(version) => ("Valkey", *version),
        None => ("Redis", field("redis_version")),
    };
    Server {
        product,
        version: version.to_owned(),
        is_cluster: field("cluster_enabled") == "1",
        is_replica: field("role") == "slave",
        used: number("used_memory"),
        used_max: number("maxmemory"),
        policy: field("maxmemory_policy").to_owned(),
        is_logged: field("aof_enabled") == "1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_from_its_own_words() {
        let text = "# Server\r\nredis_version:7.0.15\r\nrole:master\r\nused_memory:1048576\r\nmaxmemory:0\r\n\
                    maxmemory_policy:noeviction\r\naof_enabled:1\r\ncluster_enabled:0\r\n";
        let redis = Server {
            product: "Redis",
            version: "7.0.15".into(),
            used: 1 << 20,
            policy: "noeviction".into(),
            is_logged: true,
            ..Server::default()
        };
        assert_eq!(read(text), redis);
        let valkey = read("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\nrole:slave\r\n");
        assert_eq!((valkey.product, &*valkey.version, valkey.is_replica), ("Valkey", "8.1.0", true));
    }

    #[test]
    fn rights_beyond_what_a_node_needs_are_seen() {
        assert_eq!(excess("+@all"), Some("+@all"));
        assert_eq!(excess("-@all +get +@dangerous"), Some("+@dangerous"));
        assert_eq!(excess("-@all +get"), None);
    }

    #[test]
    fn the_rule_allows_what_is_tried_and_is_documented() {
        for (command, _) in COMMANDS {
            assert!(RULE.split(' ').any(|right| right.strip_prefix('+') == Some(command)), "{command}");
        }
        let documented = include_str!("../../docs/operations.md");
        assert!(
            documented.contains(&format!("ACL SETUSER freshet on >secret {RULE}\n"))
                && documented.contains(CLUSTER_RULE)
        );
        let words = |name| COMMANDS.iter().find(|(command, _)| *command == name).expect("it is tried").1;
        let [script, digest] = [words("script|load")[2], words("evalsha")[1]];
        assert_eq!(redis::Script::new(script).get_hash(), digest);
    }
}
