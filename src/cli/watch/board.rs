//! What is known of the watched keys: the newest state of each, and what changed in it.

use std::{
    cmp::{Ordering, Reverse},
    collections::HashMap,
    time::{Duration, Instant},
};

use super::columns::Columns;
use crate::{
    client::{Freshness, Record},
    record::Stamp,
};

/// Which row comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The lowest key; numbers by their size.
    Key,
    /// The latest change.
    Latest,
}

/// The watched keys that have been heard of, in order.
#[derive(Clone, Debug)]
pub(super) struct Board {
    pub(super) order: Order,
    columns: Columns,
    /// The keys that are not fresh, with what is known of that.
    stale: HashMap<String, Freshness>,
    rows: Vec<Row>,
    places: HashMap<String, usize>,
    is_sorted: bool,
}

/// A key and its newest state.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) stamp: Stamp,
    /// When that state came.
    pub(super) arrived: Instant,
    /// Whether it followed another one here.
    pub(super) has_changed: bool,
    /// Whether it came when it was made: it followed another one while the server vouched for the key. Otherwise the record may
    /// have stood so for any time before, which no state tells.
    pub(super) is_prompt: bool,
    pub(super) is_absent: bool,
    pub(super) cells: Vec<Cell>,
}

/// What stands in a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    /// When it became another one.
    pub(super) changed: Option<Instant>,
}

impl Board {
    /// An empty board that shows those members, or all of a value when there are none.
    pub(super) fn new(fields: Vec<String>) -> Self {
        Board {
            order: Order::Key,
            columns: Columns::new(fields),
            stale: HashMap::new(),
            rows: Vec::new(),
            places: HashMap::new(),
            is_sorted: true,
        }
    }

    /// Takes a state in that came `now`.
    pub(super) fn take(&mut self, record: &Record, now: Instant) {
        let texts = self.columns.read(record);
        let place = self.places.get(&record.key).copied();
        let mut cells: Vec<_> = texts.into_iter().map(|text| Cell { text, changed: None }).collect();
        if let Some(older) = place.map(|place| &self.rows[place]) {
            let is_rewritten = older.is_absent || record.value.is_none();
            for (at, cell) in cells.iter_mut().enumerate() {
                let then = older.cells.get(at);
                let is_same = then.map_or("", |then| &then.text) == cell.text;
                cell.changed = if is_same { then.and_then(|then| then.changed) } else { Some(now) };
                // A record that comes or goes changes in all of its columns, which says nothing of any.
                if !is_same && !is_rewritten {
                    self.columns.note_change(at);
                }
            }
        }
        let row = Row {
            key: record.key.clone(),
            stamp: record.stamp,
            arrived: now,
            has_changed: place.is_some(),
            is_prompt: place.is_some() && !self.is_stale(&record.key),
            is_absent: record.value.is_none(),
            cells,
        };
        match place {
            Some(place) => self.rows[place] = row,
            None => {
                self.places.insert(row.key.clone(), self.rows.len());
                self.rows.push(row);
            }
        }
        self.is_sorted &= place.is_some() && self.order == Order::Key;
    }

    /// Notes that a key has become fresh, or no longer is.
    pub(super) fn judge(&mut self, key: String, freshness: Freshness) {
        match freshness.is_fresh() {
            true => drop(self.stale.remove(&key)),
            false => drop(self.stale.insert(key, freshness)),
        }
    }

    /// Whether a key is not fresh.
    pub(super) fn is_stale(&self, key: &str) -> bool {
        self.stale.contains_key(key)
    }

    /// How many keys are not fresh, and for how long changes of them may be missing.
    pub(super) fn stale(&self) -> Option<(usize, Duration)> {
        let age = self.stale.values().filter_map(Freshness::age).max()?;
        Some((self.stale.len(), age))
    }

    /// Sorts the other way from here on.
    pub(super) fn turn_order(&mut self) {
        self.order = match self.order {
            Order::Key => Order::Latest,
            Order::Latest => Order::Key,
        };
        self.is_sorted = false;
    }

    /// What of the values is shown.
    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Every row, sorted.
    pub(super) fn rows(&mut self) -> &[Row] {
        if !self.is_sorted {
            match self.order {
                Order::Key => self.rows.sort_by(|a, b| by_key(&a.key, &b.key)),
                Order::Latest => self.rows.sort_by_key(|row| Reverse((row.has_changed, row.arrived))),
            }
            self.places = self.rows.iter().enumerate().map(|(place, row)| (row.key.clone(), place)).collect();
            self.is_sorted = true;
        }
        &self.rows
    }
}

fn by_key(a: &str, b: &str) -> Ordering {
    match (a.parse::<i64>(), b.parse::<i64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli::watch) fn record(key: &str, version: u64, value: &str) -> Record {
        let text = format!(r#"{{"key":"{key}","version":{version},"stamp":"1.{version}","value":{value}}}"#);
        serde_json::from_str(&text).expect("a record")
    }

    fn keys(board: &mut Board) -> Vec<String> {
        board.rows().iter().map(|row| row.key.clone()).collect()
    }

    #[test]
    fn only_what_became_another_is_marked_as_changed() {
        let mut board = Board::new(Vec::new());
        let began = Instant::now();
        board.take(&record("a", 1, r#"{"sku":"a","price":1,"stock":5}"#), began);
        let later = began + Duration::from_secs(1);
        board.take(&record("a", 2, r#"{"sku":"a","price":2,"stock":5}"#), later);
        let row = &board.rows()[0];
        let changed: Vec<_> = row.cells.iter().map(|cell| (&*cell.text, cell.changed)).collect();
        assert_eq!(changed, [("a", None), ("2", Some(later)), ("5", None)]);
        assert_eq!((row.stamp, row.arrived), (Stamp::new(1, 2), later));
    }

    #[test]
    fn rows_are_sorted_by_key_or_by_the_latest_change() {
        let mut board = Board::new(Vec::new());
        let began = Instant::now();
        let at = |second| began + Duration::from_secs(second);
        for (second, key) in [(0, "10"), (1, "9"), (2, "100")] {
            board.take(&record(key, 1, "{}"), at(second));
        }
        assert_eq!(keys(&mut board), ["9", "10", "100"]);
        board.turn_order();
        board.take(&record("10", 2, "{}"), at(3));
        board.take(&record("9", 2, "{}"), at(4));
        assert_eq!(keys(&mut board), ["9", "10", "100"]);
        board.take(&record("10", 3, "{}"), at(5));
        assert_eq!(keys(&mut board), ["10", "9", "100"], "what never changed comes last");
    }

    #[test]
    fn a_state_is_prompt_if_it_follows_another_while_the_server_vouches_for_the_key() {
        let mut board = Board::new(Vec::new());
        let take = |board: &mut Board, version| {
            board.take(&record("a", version, "{}"), Instant::now());
            board.rows()[0].is_prompt
        };
        assert!(!take(&mut board, 1), "it may have stood so for long");
        board.judge("a".into(), Freshness::Fresh);
        assert!(take(&mut board, 2));
        board.judge("a".into(), Freshness::Stale { since: None });
        assert!(!take(&mut board, 3), "it may have come late");
        board.judge("a".into(), Freshness::Fresh);
        assert!(take(&mut board, 4));
    }

    #[test]
    fn a_record_that_comes_or_goes_says_nothing_of_what_moves() {
        let mut board = Board::new(Vec::new());
        for (version, value) in [(1, r#"{"p":1,"q":1}"#), (2, "null"), (3, r#"{"p":1,"q":1}"#), (4, r#"{"p":1,"q":2}"#)]
        {
            board.take(&record("a", version, value), Instant::now());
        }
        assert_eq!(board.columns().fit(1).0[0].name, "q");
    }

    #[test]
    fn a_record_that_goes_keeps_its_row() {
        let mut board = Board::new(Vec::new());
        board.take(&record("a", 1, r#"{"price":1}"#), Instant::now());
        board.take(&record("a", 2, "null"), Instant::now());
        assert!(board.rows()[0].is_absent && board.rows().len() == 1);
    }
}
