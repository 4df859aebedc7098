//! A page of a collection, in the order of its keys. All pages are `pages`'.

use serde::Deserialize;

use super::{Client, Error, Record, pending::Kind, record, request::Params};
use freshet_wire::protocol::Method;

/// What of a collection is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    pub(super) prefix: String,
    pub(super) limit: Option<usize>,
    pub(super) cursor: Option<String>,
}

impl ListOptions {
    /// All of it, from the beginning, in pages of the server's size.
    pub fn new() -> Self {
        ListOptions::default()
    }

    /// What keys begin with; for collections whose keys are text. Empty: all.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        ListOptions { prefix: prefix.into(), ..self }
    }

    /// The most records of a page; the server's default unless set.
    pub fn limit(self, records: usize) -> Self {
        ListOptions { limit: Some(records), ..self }
    }

    /// Where to go on: [`Page::cursor`] of the page before, with the same collection and prefix.
    pub fn cursor(self, cursor: impl Into<String>) -> Self {
        ListOptions { cursor: Some(cursor.into()), ..self }
    }
}

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Page {
    /// Its records, none absent.
    pub records: Vec<Record>,
    /// Where the list goes on; `None` on the last page.
    pub cursor: Option<String>,
}

impl Client {
    /// Reads a page of a collection in the order of its keys: each record's state was committed, but a page is no snapshot, and
    /// may be older than what this client has seen, since it may come from replicas. What is watched is left as it is.
    /// [`Client::records`] goes through all pages.
    ///
    /// # Errors
    /// As [`Client::get`]; the server refuses more lists than it can take with a [`Refusal::retry_after`].
    ///
    /// [`Refusal::retry_after`]: super::Refusal::retry_after
    pub async fn list(&self, collection: &str, options: ListOptions) -> Result<Page, Error> {
        let mut params = Params::new(collection);
        if !options.prefix.is_empty() {
            params = params.text("prefix", &options.prefix);
        }
        if let Some(limit) = options.limit {
            params = params.raw("limit", &limit.to_string());
        }
        if let Some(cursor) = &options.cursor {
            params = params.text("cursor", cursor);
        }
        record::read(&self.call(params.method(Method::List), Kind::Read).await?)
    }
}
