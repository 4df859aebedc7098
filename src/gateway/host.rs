//! Which hosts this node answers to: the guard against DNS rebinding.
//!
//! A page of `evil.example` may point that name at the address of a node that its visitor can reach, a node on loopback
//! included. To the browser the node then is the page's own host: it sends the same `Origin` and `Host`, and lets the
//! page read every answer. The name in `Host` is the only trace, so a request is served only if its host is
//!
//! - `localhost`, or a name below it, which resolve to loopback by definition;
//! - an IP address: no name was resolved, so none can have been rebound. Probes that use a pod's address, and clients
//!   of a node that listens on 0.0.0.0, need no configuration;
//! - a name in `gateway.hosts`, or any name if that list has `*`: for a proxy that checks names itself.
//!
//! A name without a dot, such as a service of Docker Compose, is not admitted by itself: the network that a laptop has
//! joined can resolve it to anything.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, Version, header, uri::Authority},
    response::{IntoResponse as _, Response},
};
use futures_util::future::Either;
use tower_layer::Layer;
use tower_service::Service;

use super::refusal::Refusal;
use crate::protocol::Code;

/// Admits every host.
const ANY: &str = "*";

/// The hosts that are served beside loopback and IP addresses.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    listed: Arc<[String]>,
}

impl Hosts {
    /// `listed` names, compared without regard to case, with any port.
    pub(super) fn new(listed: &[String]) -> Self {
        Hosts { listed: listed.iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect() }
    }

    /// Refuses a request for a host that is not served: 421, which says that the connection, not the client's identity
    /// or rights, is the wrong one. From here on the `Host` header of `request` is the host that was asked for.
    ///
    /// # Source
    /// RFC 9112, section 3.2: 400 without exactly one sound `Host` in HTTP/1.1, and section 3.2.2: the host in an
    /// absolute request target replaces the header. RFC 9110, sections 7.4 and 15.5.20: 421. Requests of HTTP/1.0, as
    /// some balancers probe with, need no `Host`; browsers do not send them.
    fn check(&self, request: &mut Request) -> Result<(), Refusal> {
        let mut given = request.headers().get_all(header::HOST).iter();
        let (first, more) = (given.next(), given.next());
        if more.is_some() {
            return Err(malformed("\"Host\" is given more than once"));
        }
        if first.is_none() && request.version() >= Version::HTTP_11 {
            return Err(malformed("\"Host\" is missing"));
        }
        if let Some(target) = request.uri().authority().map(Authority::as_str) {
            let host = HeaderValue::from_str(target).map_err(|_| malformed("the request target names no host"))?;
            request.headers_mut().insert(header::HOST, host);
        }
        let Some(host) = request.headers().get(header::HOST) else { return Ok(()) };
        let name = host.to_str().ok().and_then(name).ok_or_else(|| malformed("\"Host\" is no host and port"))?;
        match self.admits(name) {
            true => Ok(()),
            false => Err(misdirected(name)),
        }
    }

    fn admits(&self, name: &str) -> bool {
        is_localhost(name)
            || address(name).is_some()
            || self.listed.iter().any(|listed| listed == ANY || listed.eq_ignore_ascii_case(name))
    }
}

fn malformed(message: &str) -> Refusal {
    Refusal::bad_request("host", message)
}

fn misdirected(name: &str) -> Refusal {
    let shown: String = name.chars().take(200).collect();
    let message = format!("this node does not serve the host {shown:?}; the operator lists its names in gateway.hosts");
    Refusal::new(StatusCode::MISDIRECTED_REQUEST, Code::Forbidden, "host", message)
}

/// Whether `text` can stand in `gateway.hosts`: a name without scheme, port and path, an IP address, or `*`.
pub fn can_be_listed(text: &str) -> bool {
    text == ANY || text.parse::<IpAddr>().is_ok() || name(text) == Some(text.trim_end_matches('.'))
}

/// The host of `authority`, a host with or without a port, without its final dot. IPv6 addresses keep their brackets.
/// `None` if `authority` is malformed.
///
/// # Source
/// RFC 9110, section 7.2, with `uri-host` of RFC 3986, section 3.2.2.
pub(super) fn name(authority: &str) -> Option<&str> {
    let port = match authority.strip_prefix('[') {
        Some(rest) => &rest[rest.find(']')? + 1..],
        None => &authority[authority.find(':').unwrap_or(authority.len())..],
    };
    let host = &authority[..authority.len() - port.len()];
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|byte| byte.is_ascii_digit()));
    let is_host = match host.starts_with('[') {
        true => address(host).is_some(),
        false => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    (is_port && is_host && !host.is_empty()).then_some(host)
}

/// Whether `name` is this machine by its very name or address.
pub(super) fn is_loopback(name: &str) -> bool {
    is_localhost(name) || address(name).is_some_and(|address| address.is_loopback())
}

/// # Source
/// RFC 6761, section 6.3: `localhost` and the names below it.
fn is_localhost(name: &str) -> bool {
    const LOCALHOST: &str = "localhost";
    let Some(at) = name.len().checked_sub(LOCALHOST.len()) else { return false };
    let (below, last) = (&name.as_bytes()[..at], &name.as_bytes()[at..]);
    last.eq_ignore_ascii_case(LOCALHOST.as_bytes()) && (below.is_empty() || below.ends_with(b"."))
}

fn address(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => name.parse().ok().map(IpAddr::V4),
    }
}

/// Puts the check before a service. It costs no allocation: axum's own middleware boxes each request's future.
impl<S> Layer<S> for Hosts {
    type Service = Checked<S>;

    fn layer(&self, served: S) -> Checked<S> {
        Checked { hosts: self.clone(), served }
    }
}

/// A service that is asked only for hosts that are served.
#[derive(Clone)]
pub(super) struct Checked<S> {
    hosts: Hosts,
    served: S,
}

impl<S> Service<Request> for Checked<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.served.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.hosts.check(&mut request) {
            Ok(()) => Either::Right(self.served.call(request)),
            Err(refusal) => Either::Left(ready(Ok(refusal.into_response()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(listed: &[&str], authority: &str) -> bool {
        let listed: Vec<String> = listed.iter().map(|&name| name.to_owned()).collect();
        Hosts::new(&listed).admits(name(authority).unwrap_or_else(|| panic!("{authority:?} is no host")))
    }

    #[test]
    fn loopback_and_addresses_are_served_and_other_names_are_not() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "shop.localhost:1",
            "127.0.0.1:8080",
            "127.8.8.8",
            "10.0.3.7:8081",
            "203.0.113.9",
            "[::1]:8080",
            "[2001:db8::7]",
        ] {
            assert!(admits(&[], host), "{host}");
        }
        for host in [
            "evil.example:8080",
            "freshet",
            "notlocalhost",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
        ] {
            assert!(!admits(&[], host), "{host}");
        }
    }

    #[test]
    fn listed_names_are_served_at_any_port() {
        for host in ["shop.example", "SHOP.example:8080", "shop.example.:443", "localhost"] {
            assert!(admits(&["Shop.Example."], host), "{host}");
        }
        assert!(!admits(&["shop.example"], "www.shop.example"));
        assert!(admits(&["*"], "evil.example"));
    }

    #[test]
    fn what_is_no_host_has_no_name() {
        for wrong in ["", ":80", ".", "a b", "a@b", "http://a", "a/b", "a:b", "a:1:2", "[::1", "[::1]x", "[a]", "é"] {
            assert_eq!(name(wrong), None, "{wrong:?}");
        }
        assert_eq!(name("a:"), Some("a"));
    }

    #[test]
    fn the_list_takes_names_without_scheme_and_port() {
        for right in ["*", "shop.example", "freshet", "10.0.0.1", "::1", "shop.example."] {
            assert!(can_be_listed(right), "{right}");
        }
        for wrong in ["https://shop.example", "shop.example:8080", "shop.example/", ""] {
            assert!(!can_be_listed(wrong), "{wrong}");
        }
    }
}
