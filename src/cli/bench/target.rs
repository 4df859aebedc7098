//! Where the load goes.

use std::net::{SocketAddr, ToSocketAddrs};

use tungstenite::http::Uri;

use super::Error;

/// A node's WebSocket, resolved.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// As the `Host` header names it.
    pub(super) host: String,
    pub(super) path: String,
}

impl Target {
    /// Understands `ws://host:port/path`.
    ///
    /// # Errors
    /// [`Error::Url`], also for `wss`: the load is made by hand, and encrypting it would measure this side.
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let wrong = |problem: &str| Error::Url { url: url.to_owned(), problem: problem.to_owned() };
        let uri: Uri = url.parse().map_err(|_| wrong("it is no URL such as ws://127.0.0.1:8080/v1/ws"))?;
        if uri.scheme_str() != Some("ws") {
            return Err(wrong("only ws:// is measured; go past what terminates TLS"));
        }
        let host = uri.host().ok_or_else(|| wrong("it names no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        let mut addresses = (host.trim_matches(['[', ']']), port)
            .to_socket_addrs()
            .map_err(|source| Error::Connect { address: format!("{host}:{port}"), source })?;
        let address = addresses.next().ok_or_else(|| wrong("its host has no address"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Target { address, host: format!("{host}:{port}"), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood_or_refused_by_name() {
        let target = Target::parse("ws://127.0.0.1:8080/v1/ws?x=1").expect("a target");
        assert_eq!((target.address.port(), &*target.path, &*target.host), (8080, "/v1/ws?x=1", "127.0.0.1:8080"));
        assert_eq!(Target::parse("ws://[::1]:9/v1/ws").expect("a target").address.port(), 9);
        for (url, expected) in [("wss://127.0.0.1/", "only ws://"), ("nonsense", "ws://"), ("", "no URL")] {
            let error = Target::parse(url).expect_err(url).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
