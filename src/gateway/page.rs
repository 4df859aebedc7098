//! The demonstration page, embedded: what a browser needs to watch records live.
//!
//! It comes with the stream of the node's counters on the public listener, too: the page may ask nobody but its own
//! host. A node without the page keeps them on the operations listener.

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;

use super::{
    Edge,
    document::Document,
    refusal::Refusal,
    rest::{RecordPath, Segments},
    shop::Shop,
    stats,
};
use crate::{
    service,
    store::{Login, Role, ServerState},
};

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const FONT: &str = "font/woff2";

/// What a browser may do with the page: run our files, ask this host, and nothing else.
///
/// # Source
/// Content Security Policy Level 3, section 6; `connect-src 'self'` covers the WebSocket of the same host.
const PROTECTION: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

/// Path, media type and bytes of files of `web/`.
macro_rules! files {
    ($($media:ident: $($name:literal)*;)*) => {
        &[$($((concat!("/", $name), $media, include_bytes!(concat!("../../web/", $name)))),*),*]
    };
}

const INDEX: &[u8] = include_bytes!("../../web/index.html");
const FILES: &[(&str, &str, &[u8])] = files! {
    STYLE: "style.css" "catalogue.css" "node.css";
    SCRIPT: "app.js"
        "change.js" "changes.js" "chart.js" "command.js" "element.js" "figure.js" "finder.js" "format.js"
        "history.js" "keys.js" "link.js" "node.js" "pins.js" "place.js" "product.js" "roundtrip.js" "search.js"
        "shop.js" "stats.js" "tile.js" "tour.js" "wall.js" "where.js";
    FONT: "inter.woff2";
};

/// What the page needs beside its own files.
#[derive(Clone, Debug)]
pub struct Page {
    /// The list of products it searches, as JSON.
    pub products_index: Bytes,
    /// What is played beside the node.
    pub shop: watch::Receiver<Shop>,
}

impl Page {
    /// The page's routes.
    pub(super) fn routes(&self) -> Router<Edge> {
        let files = FILES.iter().map(|&(path, media, body)| (path, Document::new(media, body)));
        let others = [
            ("/", Document::new(HTML, INDEX)),
            ("/products.json", Document::new("application/json", self.products_index.clone())),
        ];
        let answers =
            Router::new().route("/v1/stats/events", get(stats::events)).route("/where/{collection}/{key}", get(place));
        files.chain(others).fold(answers, |router, (path, document)| {
            let document = document.with(PROTECTION);
            router.route(path, get(async move |headers: HeaderMap| document.answer(&headers)))
        })
    }
}

/// Which of the databases has a record.
#[derive(Serialize)]
struct Place<'a> {
    shard: u32,
    database: &'a str,
    /// Its servers.
    servers: Vec<Server>,
    /// How many databases there are.
    databases: usize,
    /// How its primary is reached with `psql`; nothing in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<Login>,
}

/// One of them, without the reason why it may be away: that is for operators.
#[derive(Serialize)]
struct Server {
    server: String,
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<u64>,
}

impl From<ServerState> for Server {
    fn from(state: ServerState) -> Self {
        Server { server: state.server, role: state.role, lag_ms: state.lag_ms }
    }
}

async fn place(
    State(edge): State<Edge>,
    Segments((collection, key)): Segments<RecordPath>,
) -> Result<Response, Refusal> {
    let service = edge.gateway.service();
    let id = service.record(&collection, &key)?;
    let service::Place { shard, database, servers, login } = service.place_of(&id)?;
    let servers = servers.into_iter().map(Server::from).collect();
    let place = Place { shard: shard.0, database, servers, databases: service.tiers().databases().count(), login };
    let json = serde_json::to_vec(&place).expect("names and numbers are JSON");
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, json).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_embedded() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/web")).expect("the folder");
        let names = folder.map(|file| file.expect("an entry").file_name().into_string().expect("UTF-8"));
        for file in names.filter(|file| !file.ends_with(".txt")) {
            let is_elsewhere = ["index.html", "freshet.js"].contains(&&*file);
            assert!(is_elsewhere || FILES.iter().any(|(path, ..)| path[1..] == file), "{file}");
        }
    }
}
