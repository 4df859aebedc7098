//! `[redis]` of the configuration.

use std::{fmt, fs, num::NonZeroU32, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use memchr::memmem;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, TlsCertificates, io::tcp::TcpSettings};
use serde::{Deserialize, Serialize};

use super::{Error, switches::Switches};

/// The most slices of a database.
const SLICES_MAX: u32 = 1_024;

/// How to reach Redis and what to ask of it. Debugging shows no password; serializing does.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `redis://host:port/number`, `rediss://` with TLS, or `redis+unix:///path`; of a cluster, some of its nodes.
    #[serde(default)]
    pub urls: Vec<String>,
    /// Whether it is a Redis Cluster.
    #[serde(default)]
    pub cluster: bool,
    /// The user that nodes log in as; `None` is the default user, or that of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's password; it wins over that of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A file of the certificates, in PEM, one of which vouches for each server that is reached by `rediss://`; `None`: those
    /// that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Shares of each database that are kept apart, and so may lie on different masters of a cluster: 1, or 16 in a cluster. The
    /// same on all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slices: Option<NonZeroU32>,
    /// The longest that one operation is waited for.
    #[serde(default = "Config::limit_default", with = "humantime_serde")]
    pub limit: Duration,
    /// A larger value is not put there.
    #[serde(default = "Config::value_max_default")]
    pub value_max: ByteSize,
    /// How long a record is kept; the keeper removes it when it changes.
    #[serde(default = "Config::ttl_default", with = "humantime_serde")]
    pub ttl: Duration,
    /// How long an absence is kept.
    #[serde(default = "Config::absent_ttl_default", with = "humantime_serde")]
    pub absent_ttl: Duration,
    /// What the node uses of it, until an operator switches it.
    #[serde(default)]
    pub switches: Switches,
}

impl Config {
    /// The defaults, at `url`.
    pub fn at(url: impl Into<String>) -> Self {
        Config {
            urls: vec![url.into()],
            cluster: false,
            user: None,
            password: None,
            ca: None,
            slices: None,
            limit: Self::limit_default(),
            value_max: Self::value_max_default(),
            ttl: Self::ttl_default(),
            absent_ttl: Self::absent_ttl_default(),
            switches: Switches::default(),
        }
    }

    const fn limit_default() -> Duration {
        Duration::from_millis(30)
    }

    const fn value_max_default() -> ByteSize {
        ByteSize::kib(64)
    }

    const fn ttl_default() -> Duration {
        Duration::from_secs(30 * 60)
    }

    const fn absent_ttl_default() -> Duration {
        Duration::from_secs(30)
    }

    /// Shares of each database.
    pub fn slices(&self) -> u32 {
        self.slices.map_or(if self.cluster { 16 } else { 1 }, NonZeroU32::get)
    }

    /// Its URLs as they may be shown.
    pub fn shown(&self) -> String {
        self.urls.iter().map(|url| without_password(url)).collect::<Vec<_>>().join(", ")
    }

    /// The first key whose value cannot work, with what is wrong and how to mend it.
    pub fn misconfigured(&self) -> Option<(&'static str, String)> {
        match () {
            () if let Some(message) = self.wrong_urls() => Some(("redis.urls", message)),
            () if let Some(message) = self.wrong_ca() => Some(("redis.ca", message)),
            () if self.slices() > SLICES_MAX => Some((
                "redis.slices",
                format!(
                    "must be at most {SLICES_MAX}: each has a chain that its keeper moves four times a second; a few for each master \
                 of a cluster will do"
                ),
            )),
            () if self.limit.is_zero() => Some(("redis.limit", "must be above zero, such as \"30ms\"".into())),
            () if self.ttl.is_zero() => Some(("redis.ttl", "must be above zero, such as \"30m\"".into())),
            () if self.absent_ttl.is_zero() => Some(("redis.absent_ttl", "must be above zero, such as \"30s\"".into())),
            () => self.switches.misconfigured().map(|(_, message)| ("redis.switches.shadow", message)),
        }
    }

    fn wrong_urls(&self) -> Option<String> {
        match &self.urls[..] {
            [] => {
                Some("must name a server, such as [\"redis://cache1:6379\"]; without Redis, leave [redis] out".into())
            }
            [_, _, ..] if !self.cluster => Some(format!(
                "names {} servers, as only a Redis Cluster has: set cluster = true, or name one",
                self.urls.len()
            )),
            urls => urls.iter().find_map(|url| self.wrong_url(url)),
        }
    }

    fn wrong_url(&self, url: &str) -> Option<String> {
        let has = |what: &str| Some(format!("has \"{}\", {what}", without_password(url)));
        let Ok(server) = self.server(url) else {
            return has(
                "which is no URL of Redis: write it as redis://host:6379, rediss://host:6379 with TLS, or redis+unix:///path",
            );
        };
        match server.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                has("and a server that nothing vouches for is not used: name the certificate of its CA in redis.ca")
            }
            ConnectionAddr::Unix(_) if self.cluster => {
                has("and the nodes of a cluster are reached over TCP: write them as redis://host:6379")
            }
            _ if self.cluster && server.redis_settings().db() != 0 => {
                has("and a cluster has no numbered databases: leave the number out")
            }
            _ => None,
        }
    }

    /// A file of certificates for a server that shows none promises what is not kept.
    fn wrong_ca(&self) -> Option<String> {
        self.ca.as_ref()?;
        let is_encrypted = |server: ConnectionInfo| matches!(server.addr(), ConnectionAddr::TcpTls { .. });
        let is_plain = |url: &&String| !self.server(url).is_ok_and(is_encrypted);
        let plain = without_password(self.urls.iter().find(is_plain)?);
        Some(format!("is of no use for \"{plain}\", which is reached without TLS: write it as rediss://host:6379"))
    }

    /// What vouches for the servers, if [`Self::ca`] does.
    ///
    /// # Errors
    /// [`Error::Url`] when the file cannot be read, or holds none.
    pub(super) fn certificates(&self) -> Result<Option<TlsCertificates>, Error> {
        let Some(path) = &self.ca else { return Ok(None) };
        let refused =
            |what: String| Error::Url { url: self.shown(), reason: format!("redis.ca, {}, {what}", path.display()) };
        let read = fs::read(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
        // A file without one would vouch for no server, and be told of as the servers' fault.
        match memmem::find(&read, b"-----BEGIN CERTIFICATE-----") {
            Some(_) => Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(read) })),
            None => Err(refused("holds no certificate in PEM".into())),
        }
    }

    /// Where its servers are.
    ///
    /// # Errors
    /// [`Error::Url`] when a URL cannot be read.
    pub(super) fn servers(&self) -> Result<Vec<ConnectionInfo>, Error> {
        self.urls.iter().map(|url| self.server(url)).collect()
    }

    fn server(&self, url: &str) -> Result<ConnectionInfo, Error> {
        let read = url.into_connection_info();
        let info = read.map_err(|error| Error::Url { url: without_password(url), reason: error.to_string() })?;
        let mut settings = info.redis_settings().clone();
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password);
        }
        Ok(info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
    }
}

/// A URL that may be shown.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((user, place)) => format!("{scheme}://{}:***@{place}", user.split(':').next().unwrap_or_default()),
        None => url.to_owned(),
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("urls", &self.shown())
            .field("cluster", &self.cluster)
            .field("user", &self.user)
            .field("ca", &self.ca)
            .field("slices", &self.slices())
            .field("limit", &self.limit)
            .field("value_max", &self.value_max)
            .field("ttl", &self.ttl)
            .field("absent_ttl", &self.absent_ttl)
            .field("switches", &self.switches)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debugging_a_config_shows_no_password() {
        let config = Config { password: Some("secret".into()), ..Config::at("redis://u:secret@h:6379/1") };
        let shown = format!("{config:?}");
        assert!(shown.contains("u:***@h:6379/1") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn a_url_that_is_none_is_named_without_its_password() {
        let error = Config::at("http://u:secret@h").servers().expect_err("it is no redis");
        assert!(error.to_string().contains("http://u:***@h") && !error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn a_cluster_has_more_slices() {
        assert_eq!(Config::at("redis://h").slices(), 1);
        assert_eq!(Config { cluster: true, ..Config::at("redis://h") }.slices(), 16);
    }
}
