//! Where a node is: any address that it is known by.

use tokio_tungstenite::tungstenite::http::Uri;

use super::Error;

/// Where a node's WebSocket is, and the port it usually listens on.
const PATH: &str = "/v1/ws";
const PORT: u16 = 8080;

/// An address that no node can have. Its text says how to write one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as ws://host:8080/v1/ws, http://host:8080 or host:8080")]
pub struct Malformed;

/// The URL of a node's WebSocket. Without a path it is `/v1/ws`, `http` is read as `ws`, and without a scheme it is a host, at
/// port 8080 unless it names another.
///
/// # Errors
/// [`Error::Address`] for any other text.
pub fn websocket(address: &str) -> Result<String, Error> {
    parse(address).map_err(|source| Error::Address { address: address.to_owned(), source })
}

fn parse(address: &str) -> Result<String, Malformed> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let uri: Uri = format!("ws://{rest}").parse().map_err(|_| Malformed)?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or(Malformed)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let path = match path.strip_prefix('/') {
        Some(query) if query.is_empty() || query.starts_with('?') => format!("{PATH}{query}"),
        _ => path.to_owned(),
    };
    match scheme {
        "ws" | "http" => Ok(format!("ws://{authority}{path}")),
        "wss" | "https" => Ok(format!("wss://{authority}{path}")),
        "" if authority.port().is_none() => Ok(format!("ws://{authority}:{PORT}{path}")),
        "" => Ok(format!("ws://{authority}{path}")),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_found_by_any_address_it_is_known_by() {
        for (text, expected) in [
            ("ws://h:1/v1/ws", "ws://h:1/v1/ws"),
            ("ws://h:1", "ws://h:1/v1/ws"),
            ("ws://h:1/?a=b", "ws://h:1/v1/ws?a=b"),
            ("http://h:1/", "ws://h:1/v1/ws"),
            ("https://shop.example", "wss://shop.example/v1/ws"),
            ("wss://shop.example/live/v1/ws", "wss://shop.example/live/v1/ws"),
            ("127.0.0.1:9000", "ws://127.0.0.1:9000/v1/ws"),
            ("[::1]:9000", "ws://[::1]:9000/v1/ws"),
            ("db1", "ws://db1:8080/v1/ws"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "ftp://h", "ws://", "ws:///v1/ws", "a b"] {
            assert!(parse(text).is_err(), "{text} was taken");
        }
    }
}
