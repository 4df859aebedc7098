//! The demonstration page, embedded: what a browser needs to watch records live.
//!
//! It comes with the stream of the node's counters on the public listener, too: the page may ask nobody but its own
//! host. A node without the page keeps them on the operations listener.

use axum::{Router, http::HeaderMap, routing::get};
use bytes::Bytes;
use tokio::sync::watch;

use super::{Edge, document::Document, shop::Shop, stats};

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What a browser may do with the page: run our files, ask this host, and nothing else.
///
/// # Source
/// Content Security Policy Level 3, section 6; `connect-src 'self'` covers the WebSocket of the same host.
const PROTECTION: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
];

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
        let files: [(&str, &'static str, Bytes); 10] = [
            ("/", "text/html; charset=utf-8", Bytes::from_static(include_bytes!("../../web/index.html"))),
            ("/style.css", "text/css; charset=utf-8", Bytes::from_static(include_bytes!("../../web/style.css"))),
            ("/app.js", SCRIPT, Bytes::from_static(include_bytes!("../../web/app.js"))),
            ("/socket.js", SCRIPT, Bytes::from_static(include_bytes!("../../web/socket.js"))),
            ("/finder.js", SCRIPT, Bytes::from_static(include_bytes!("../../web/finder.js"))),
            ("/product.js", SCRIPT, Bytes::from_static(include_bytes!("../../web/product.js"))),
            ("/search.js", SCRIPT, Bytes::from_static(include_bytes!("../../web/search.js"))),
            ("/format.js", SCRIPT, Bytes::from_static(include_bytes!("../../web/format.js"))),
            ("/figure.js", SCRIPT, Bytes::from_static(include_bytes!("../../web/figure.js"))),
            ("/products.json", "application/json", self.products_index.clone()),
        ];
        let counters = Router::new().route("/v1/stats/events", get(stats::events));
        files.into_iter().fold(counters, |router, (path, media, body)| {
            let document = Document::new(media, body).with(PROTECTION);
            router.route(path, get(async move |headers: HeaderMap| document.answer(&headers)))
        })
    }
}
