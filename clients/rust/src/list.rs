//! A collection page by page, in the order of its keys.

use serde::Deserialize;

use super::{Client, Error, Record, pending::Kind, record, request::Params};

/// What of a collection is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// What keys begin with; for collections whose keys are text. Empty: all.
    pub prefix: String,
    /// The most records of a page; the server's default otherwise.
    pub limit: Option<usize>,
    /// Where to go on: the cursor of the page before.
    pub cursor: Option<String>,
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
    ///
    /// # Errors
    /// As [`Client::get`]; the server refuses more lists than it can take with a [`Refusal::retry_after`].
    ///
    /// [`Refusal::retry_after`]: super::Refusal::retry_after
    pub async fn list(&self, collection: &str, options: &ListOptions) -> Result<Page, Error> {
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
        record::read(&self.call(params.method("list"), Kind::Read).await?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Options, testing::Server};

    #[tokio::test]
    async fn a_page_is_asked_for_with_what_was_given_and_says_where_it_goes_on() {
        let (server, url) = Server::start().await;
        let (client, mut peer) = tokio::join!(Client::connect(&url, Options::default()), server.accept());
        let client = client.expect("a connection");
        let serve = async {
            for (params, answer) in [
                (json!({"collection": "c", "prefix": "a", "limit": 2}), json!({"records": [], "cursor": "x"})),
                (json!({"collection": "c", "cursor": "x"}), json!({"records": []})),
            ] {
                let (id, method, given) = peer.request().await.expect("a request");
                assert_eq!((&*method, given), ("list", params));
                peer.answer(id, answer).await;
            }
        };
        let ask = async {
            let first = ListOptions { prefix: "a".into(), limit: Some(2), cursor: None };
            let page = client.list("c", &first).await.expect("a page");
            assert_eq!(page.cursor.as_deref(), Some("x"));
            let next = ListOptions { cursor: page.cursor, ..ListOptions::default() };
            assert_eq!(client.list("c", &next).await.expect("a page").cursor, None);
        };
        tokio::join!(serve, ask);
    }
}
