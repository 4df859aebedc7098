//! A collection from its first key to its last: its pages, and the records on them.
//!
//! For: exports, and pages that list a part of a collection.
//!
//! Promises: those of [`Client::list`]; a key that is there from the first page to the last comes exactly once. One page is held
//! and asked for at a time. A page that the server cannot give now is asked for again when the server says, for as long as
//! `patience` allows.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::{Stream, future::BoxFuture};
use tokio::time::{Instant, sleep};

use super::{Client, Error, ListOptions, Page, Record};

/// The pause before a page is asked for again, unless the server says.
const PAUSE: Duration = Duration::from_millis(500);

impl Client {
    /// The records of a collection in the order of their keys, page by page, from where `options` say to the end.
    ///
    /// ```no_run
    /// # async fn example(client: freshet_client::Client) -> Result<(), freshet_client::Error> {
    /// use freshet_client::ListOptions;
    ///
    /// let mut hearts = client.records("products", ListOptions::new().prefix("851"));
    /// while let Some(record) = hearts.next().await {
    ///     println!("{}", record?.key);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn records(&self, collection: &str, options: ListOptions) -> Records {
        Records { pages: self.pages(collection, options), page: Vec::new().into_iter() }
    }

    /// The pages of a collection, each with the cursor behind it, for programs that go on later where they were.
    pub fn pages(&self, collection: &str, options: ListOptions) -> Pages {
        Pages {
            client: self.clone(),
            collection: collection.to_owned(),
            options,
            patience: self.inner.options.request_timeout,
            asked: None,
            is_done: false,
        }
    }
}

/// A [`Stream`] of the pages of a collection. It ends after the last one, or after an error.
///
/// # Cancel safety
/// Dropping what waits for the next page loses nothing: it goes on being asked for when the stream is polled again.
pub struct Pages {
    client: Client,
    collection: String,
    options: ListOptions,
    patience: Duration,
    /// The next page, if it is being asked for.
    asked: Option<BoxFuture<'static, Result<Page, Error>>>,
    is_done: bool,
}

impl Pages {
    /// How long to go on asking for a page while the server is busy or away. Unless set, as long as a request may take.
    pub fn patience(self, patience: Duration) -> Self {
        Pages { patience, ..self }
    }

    /// The next page; `None` behind the last one, and behind an error.
    ///
    /// # Errors
    /// As [`Client::list`]: what the server refuses for good, or its last failure when patience is over.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Page, Error>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Pages {
    type Item = Result<Page, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Pages { client, collection, options, patience, asked, is_done } = self.get_mut();
        if *is_done {
            return Poll::Ready(None);
        }
        let page =
            asked.get_or_insert_with(|| Box::pin(ask(client.clone(), collection.clone(), options.clone(), *patience)));
        let page = ready!(page.as_mut().poll(context));
        *asked = None;
        options.cursor = page.as_ref().ok().and_then(|page| page.cursor.clone());
        *is_done = options.cursor.is_none();
        Poll::Ready(Some(page))
    }
}

/// A [`Stream`] of the records of a collection. It ends after the last one, or after an error.
///
/// # Cancel safety
/// As for [`Pages`].
pub struct Records {
    pages: Pages,
    page: std::vec::IntoIter<Record>,
}

impl Records {
    /// [`Pages::patience`] for each page.
    pub fn patience(self, patience: Duration) -> Self {
        Records { pages: self.pages.patience(patience), ..self }
    }

    /// The next record; `None` behind the last one, and behind an error.
    ///
    /// # Errors
    /// As [`Pages::next`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Record, Error>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Records {
    type Item = Result<Record, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(record) = self.page.next() {
                return Poll::Ready(Some(Ok(record)));
            }
            match ready!(Pin::new(&mut self.pages).poll_next(context)) {
                Some(Ok(page)) => self.page = page.records.into_iter(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Asks for a page until it is answered, refused for good, or patience is over.
async fn ask(client: Client, collection: String, options: ListOptions, patience: Duration) -> Result<Page, Error> {
    let begun = Instant::now();
    loop {
        match client.list(&collection, options.clone()).await {
            Err(error) if error.is_retryable() && begun.elapsed() < patience => {
                sleep(error.refusal().and_then(|refusal| refusal.retry_after).unwrap_or(PAUSE)).await;
            }
            answered => return answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        Options,
        testing::{Peer, Server},
    };

    async fn connected() -> (Client, Peer) {
        let (server, url) = Server::start().await;
        let (client, peer) = tokio::join!(Client::connect(&url, Options::new()), server.accept());
        (client.expect("a connection"), peer)
    }

    fn record(key: &str) -> Value {
        json!({"key": key, "version": 1, "stamp": "1.1", "value": {}})
    }

    fn page(keys: &[&str], cursor: Option<&str>) -> Value {
        let records: Vec<_> = keys.iter().map(|key| record(key)).collect();
        match cursor {
            Some(cursor) => json!({"records": records, "cursor": cursor}),
            None => json!({"records": records}),
        }
    }

    #[tokio::test]
    async fn records_come_from_page_after_page_and_then_end() {
        let (client, mut peer) = connected().await;
        let serve = async {
            for (params, answer) in [
                (json!({"collection": "c", "prefix": "a", "limit": 2}), page(&["a1", "a2"], Some("x"))),
                (json!({"collection": "c", "prefix": "a", "limit": 2, "cursor": "x"}), page(&[], Some("y"))),
                (json!({"collection": "c", "prefix": "a", "limit": 2, "cursor": "y"}), page(&["a3"], None)),
            ] {
                let (id, given) = peer.expect("list").await;
                assert_eq!(given, params);
                peer.answer(id, answer).await;
            }
        };
        let mut records = client.records("c", ListOptions::new().prefix("a").limit(2));
        let read = async {
            let keys: Vec<_> = records.by_ref().map_ok(|record| record.key).try_collect().await.expect("all of them");
            assert_eq!(keys, ["a1", "a2", "a3"]);
        };
        tokio::join!(serve, read);
        assert!(records.next().await.is_none(), "the end is an end");
    }

    #[tokio::test]
    async fn a_page_that_was_refused_is_asked_for_again_when_the_server_says() {
        let (client, mut peer) = connected().await;
        let wait = Duration::from_millis(120);
        let serve = async {
            let (id, _) = peer.expect("list").await;
            let refused = Instant::now();
            peer.refuse(id, -32009, json!({"reason": "overloaded", "retry_after_ms": 120})).await;
            let (id, params) = peer.expect("list").await;
            assert!(refused.elapsed() >= wait, "it was asked for again after {:?}", refused.elapsed());
            assert_eq!(params, json!({"collection": "c"}));
            peer.answer(id, page(&["a"], None)).await;
        };
        let read = async {
            let keys: Vec<_> =
                client.records("c", ListOptions::new()).map_ok(|record| record.key).try_collect().await.expect("read");
            assert_eq!(keys, ["a"]);
        };
        tokio::join!(serve, read);
    }

    #[tokio::test]
    async fn an_error_ends_it_once_patience_is_over_or_waiting_would_not_help() {
        let (client, mut peer) = connected().await;
        let refusals = [(-32009, json!({"reason": "overloaded", "retry_after_ms": 60_000})), (-32003, json!({}))];
        for (code, data) in refusals {
            let serve = async {
                let (id, _) = peer.expect("list").await;
                peer.refuse(id, code, data).await;
            };
            let mut records = client.records("c", ListOptions::new()).patience(Duration::ZERO);
            let (first, ()) = tokio::join!(records.next(), serve);
            let error = first.expect("an item").expect_err("refused");
            assert_eq!(error.refusal().map(|refusal| refusal.code), Some(i64::from(code)));
            assert!(records.next().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_read_that_is_dropped_loses_nothing() {
        let (client, mut peer) = connected().await;
        let mut records = client.records("c", ListOptions::new());
        assert!(records.next().now_or_never().is_none(), "it has been asked for");
        let (id, _) = peer.expect("list").await;
        peer.answer(id, page(&["a", "b"], None)).await;
        for key in ["a", "b"] {
            assert_eq!(records.next().await.expect("an item").expect("a record").key, key);
        }
        assert!(records.next().await.is_none());
        drop((records, client));
        assert!(peer.request().await.is_none(), "it was asked for once");
    }
}
