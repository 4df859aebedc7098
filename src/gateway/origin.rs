//! Which web pages may connect: browsers tell, and nobody else needs to.

use axum::http::{HeaderMap, StatusCode, header};

use super::{host, refusal::Refusal};
use crate::protocol::Code;

/// The origins that are admitted.
///
/// A browser sends a page's origin with every WebSocket and every write, and lets no page forge it; without this check
/// any page that a client visits could use the client's network position. A request without `Origin` comes from no
/// page, and is admitted.
///
/// # Source
/// RFC 6455, section 10.2; RFC 6454, section 7, by which a browser sends at most one `Origin`.
#[derive(Clone, Debug)]
pub struct Origins {
    listed: Vec<String>,
}

impl Origins {
    /// `listed`, compared without regard to case; when empty, pages from this machine and from the host asked.
    pub fn new(listed: &[String]) -> Self {
        Origins { listed: listed.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect() }
    }

    /// Refuses a request that a page of another origin has made.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut given = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = given.next() else { return Ok(()) };
        if given.next().is_some() {
            return Err(Refusal::bad_request("origin", "\"Origin\" is given more than once"));
        }
        let origin = String::from_utf8_lossy(origin.as_bytes()).to_ascii_lowercase();
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if self.admits(&origin, &host.to_ascii_lowercase()) {
            return Ok(());
        }
        let shown: String = origin.chars().take(200).collect();
        let message = format!("pages of origin {shown:?} are not admitted; the operator lists them in gateway.origins");
        Err(Refusal::new(StatusCode::FORBIDDEN, Code::Forbidden, "origin", message))
    }

    fn admits(&self, origin: &str, host: &str) -> bool {
        if !self.listed.is_empty() {
            return self.listed.iter().any(|listed| listed == "*" || listed == origin);
        }
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let default_port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => return false,
        };
        let plain = |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_owned();
        host::name(authority).is_some_and(host::is_loopback) || (!host.is_empty() && plain(authority) == plain(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_list_this_machine_and_the_host_asked_are_admitted() {
        let origins = Origins::new(&[]);
        for (origin, host) in [
            ("http://localhost:5173", "10.0.0.1:8080"),
            ("http://127.0.0.1:9", "x"),
            ("http://[::1]:9", "x"),
            ("https://app.localhost", "x"),
            ("https://shop.example", "shop.example"),
            ("https://shop.example", "shop.example:443"),
            ("http://shop.example:8080", "shop.example:8080"),
        ] {
            assert!(origins.admits(origin, host), "{origin} at {host}");
        }
        for (origin, host) in [
            ("https://evil.example", "shop.example"),
            ("https://localhost.evil.example", "shop.example"),
            ("https://127.0.0.1.evil.example", "shop.example"),
            ("https://evil.example:8080", "shop.example:8080"),
            ("https://shop.example:8443", "shop.example"),
            ("null", "shop.example"),
            ("", ""),
            ("file://", ""),
        ] {
            assert!(!origins.admits(origin, host), "{origin} at {host}");
        }
    }

    #[test]
    fn a_list_is_taken_at_its_word() {
        let origins = Origins::new(&["https://Shop.example/".into()]);
        assert!(origins.admits("https://shop.example", "api.example"));
        assert!(!origins.admits("http://shop.example", "api.example"));
        assert!(!origins.admits("http://localhost", "localhost"));
        assert!(Origins::new(&["*".into()]).admits("null", "x"));
    }
}
