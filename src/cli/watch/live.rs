//! Watching on a terminal: the board, redrawn in place.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::KeyCode;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{board::Board, ended, picture::Picture};
use crate::{
    cli::{
        Error,
        node::stop_on_signal,
        screen::{Input, Screen},
        table::Palette,
    },
    client::{Event, Status, Subscription},
};

/// The time between two pictures: changes faster than that are seen as one.
const PICTURE_EVERY: Duration = Duration::from_millis(100);

/// What the screen shows, and what the keys have made of it.
pub(super) struct Live {
    collection: String,
    keys: usize,
    board: Board,
    /// The board as it stood when the picture was paused.
    frozen: Option<Board>,
    /// The first row shown, and how many there was room for.
    top: usize,
    room: usize,
}

impl Live {
    /// A board of `keys` keys that shows `fields`.
    pub(super) fn new(collection: &str, keys: usize, fields: Vec<String>) -> Self {
        Live { collection: collection.to_owned(), keys, board: Board::new(fields), frozen: None, top: 0, room: 1 }
    }

    /// Shows every state until the person leaves.
    ///
    /// # Errors
    /// [`Error::Ended`] when the server will not have us back; [`Error::Output`] when the terminal fails.
    pub(super) async fn show(
        mut self,
        subscription: &mut Subscription,
        mut status: watch::Receiver<Status>,
        palette: Palette,
    ) -> Result<(), Error> {
        let stop = stop_on_signal()?;
        let mut screen = Screen::open()?;
        let mut pictures = interval(PICTURE_EVERY);
        pictures.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = subscription.event() => match event {
                    Some(Event::State(record)) => self.board.take(&record, Instant::now()),
                    Some(Event::Freshness { key, freshness }) => self.board.judge(key, freshness),
                    Some(_) => {}
                    None => return Err(ended(subscription, &status)),
                },
                _ = pictures.tick() => {
                    let seen = status.borrow_and_update().clone();
                    screen.draw(|frame| self.draw(frame, &seen, palette))?;
                }
                input = screen.input() => match input {
                    Input::Leave => return Ok(()),
                    Input::Key(key) => self.press(key),
                    Input::Resize => {}
                },
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    fn draw(&mut self, frame: &mut ratatui::Frame<'_>, status: &Status, palette: Palette) {
        let (keys, paused) = (self.keys, self.frozen.is_some());
        let picture = Picture { collection: &self.collection, keys, status, paused, palette, now: Instant::now() };
        let board = self.frozen.as_mut().unwrap_or(&mut self.board);
        self.top = self.top.min(board.rows().len().saturating_sub(self.room));
        self.room = picture.draw(frame, board, self.top).max(1);
    }

    fn press(&mut self, key: KeyCode) {
        match key {
            KeyCode::Char('s') => {
                self.board.turn_order();
                self.frozen.iter_mut().for_each(Board::turn_order);
                self.top = 0;
            }
            KeyCode::Char('p' | ' ') => {
                self.frozen = if self.frozen.is_none() { Some(self.board.clone()) } else { None };
            }
            KeyCode::Down | KeyCode::Char('j') => self.top += 1,
            KeyCode::Up | KeyCode::Char('k') => self.top = self.top.saturating_sub(1),
            KeyCode::PageDown => self.top += self.room,
            KeyCode::PageUp => self.top = self.top.saturating_sub(self.room),
            KeyCode::Home | KeyCode::Char('g') => self.top = 0,
            // Drawing takes it back to the last page.
            KeyCode::End | KeyCode::Char('G') => self.top = self.keys,
            _ => {}
        }
    }
}
