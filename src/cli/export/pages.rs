//! The pages of a list, one after the other, through refusals and outages.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::{
    cli::Error,
    client::{self, Client, ListOptions, Page},
};

/// The pause before a page is asked for again, unless the server says.
const PAUSE: Duration = Duration::from_millis(500);

/// The pages that are left.
pub(in crate::cli) struct Pages<'a> {
    client: &'a Client,
    collection: &'a str,
    options: ListOptions,
    patience: Duration,
    is_done: bool,
}

impl<'a> Pages<'a> {
    /// All pages, of so many records at most.
    pub(in crate::cli) fn new(
        client: &'a Client,
        collection: &'a str,
        prefix: &str,
        limit: usize,
        patience: Duration,
    ) -> Self {
        let options = ListOptions { prefix: prefix.to_owned(), limit: Some(limit), cursor: None };
        Pages { client, collection, options, patience, is_done: false }
    }

    /// Those behind a cursor.
    pub(in crate::cli) fn go_on(&mut self, cursor: String) {
        self.options.cursor = Some(cursor);
    }

    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// What the server refuses, or its last failure when patience is over.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(in crate::cli) async fn next(&mut self) -> Result<Option<Page>, Error> {
        if self.is_done {
            return Ok(None);
        }
        let begun = Instant::now();
        loop {
            match self.client.list(self.collection, &self.options).await {
                Ok(page) => {
                    self.is_done = page.cursor.is_none();
                    self.options.cursor.clone_from(&page.cursor);
                    return Ok(Some(page));
                }
                Err(error) if error.is_retryable() && begun.elapsed() < self.patience => {
                    sleep(error.refusal().and_then(|refusal| refusal.retry_after).unwrap_or(PAUSE)).await;
                }
                Err(error) => return Err(client::Error::into(error)),
            }
        }
    }
}
