//! The client for browsers, embedded: a page that has no build step imports it from a node, which has that of its own release.

use super::document::Document;

/// Any page may run the script: a page's right to connect is checked where the script connects.
///
/// # Source
/// HTML, "fetch a single module script": modules of another origin need CORS.
const FOR_ALL: &[(&str, &str)] = &[
    ("access-control-allow-origin", "*"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("x-content-type-options", "nosniff"),
];

/// The module `freshet.js`.
pub(super) fn document() -> Document {
    Document::new("text/javascript; charset=utf-8", &include_bytes!("../../web/freshet.js")[..]).with(FOR_ALL)
}
