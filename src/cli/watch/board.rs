//! What is known of the watched keys: the newest state of each, and what changed in it.

use std::{
    cmp::{Ordering, Reverse},
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    cli::pretty::{Layout, harmless, lay_out},
    client::{Freshness, Record},
    record::{Stamp, patch::Members},
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
    /// Members to show; all of a value when there are none.
    pub(super) fields: Vec<String>,
    pub(super) order: Order,
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
    pub(super) is_absent: bool,
    pub(super) cells: Vec<Cell>,
}

/// A member of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) name: String,
    pub(super) text: String,
    /// When it became another one.
    pub(super) changed: Option<Instant>,
}

impl Board {
    /// An empty board.
    pub(super) fn new(fields: Vec<String>) -> Self {
        Board {
            fields,
            order: Order::Key,
            stale: HashMap::new(),
            rows: Vec::new(),
            places: HashMap::new(),
            is_sorted: true,
        }
    }

    /// Takes a state in that came `now`.
    pub(super) fn take(&mut self, record: &Record, now: Instant) {
        let mut cells = self.cells(record);
        let place = self.places.get(&record.key).copied();
        if let Some(older) = place.map(|place| &self.rows[place]) {
            for cell in &mut cells {
                let then = older.cells.iter().find(|then| then.name == cell.name);
                let is_same = then.is_some_and(|then| then.text == cell.text);
                cell.changed = if is_same { then.and_then(|then| then.changed) } else { Some(now) };
            }
        }
        let row = Row {
            key: record.key.clone(),
            stamp: record.stamp,
            arrived: now,
            has_changed: place.is_some(),
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

    fn cells(&self, record: &Record) -> Vec<Cell> {
        let members = record.value.as_ref().and_then(|value| Members::parse(value.get()).ok()).unwrap_or_default();
        let cell = |name: &str, text: String| Cell { name: name.to_owned(), text, changed: None };
        if self.fields.is_empty() {
            // The key stands in a column of its own already.
            let others = members.iter().map(|(name, raw)| cell(name, shown(raw)));
            return others.filter(|cell| cell.text != record.key).collect();
        }
        self.fields
            .iter()
            .map(|field| cell(field, member(&members, field).map_or(String::new(), |raw| shown(&raw))))
            .collect()
    }
}

/// The member called `path` or, where there is none, the one that its dots lead to.
fn member(members: &Members, path: &str) -> Option<String> {
    if let Some(raw) = members.get(path) {
        return Some(raw.to_owned());
    }
    let (outer, inner) = path.split_once('.')?;
    member(&Members::parse(members.get(outer)?).ok()?, inner)
}

/// A JSON text as a cell: a string's content, anything else on one line.
fn shown(raw: &str) -> String {
    match serde_json::from_str::<String>(raw) {
        Ok(text) => harmless(&text),
        Err(_) => lay_out(raw, Layout::Compact),
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
        let changed: Vec<_> = row.cells.iter().map(|cell| (&*cell.name, &*cell.text, cell.changed)).collect();
        assert_eq!(changed, [("price", "2", Some(later)), ("stock", "5", None)]);
        assert_eq!((row.stamp, row.arrived), (Stamp::new(1, 2), later));
    }

    #[test]
    fn fields_are_found_in_the_value_and_inside_of_it() {
        let mut board = Board::new(["price", "attributes.colour.name", "a.b", "none"].map(str::to_owned).to_vec());
        let value = r#"{"price":1.50,"attributes":{"colour":{"name":"red\u001b"}},"a.b":[1, 2]}"#;
        board.take(&record("x", 1, value), Instant::now());
        let texts: Vec<_> = board.rows()[0].cells.iter().map(|cell| cell.text.clone()).collect();
        assert_eq!(texts, ["1.50", r"red\u001b", "[1,2]", ""]);
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
    fn a_record_that_goes_keeps_its_row() {
        let mut board = Board::new(Vec::new());
        board.take(&record("a", 1, r#"{"price":1}"#), Instant::now());
        board.take(&record("a", 2, "null"), Instant::now());
        assert!(board.rows()[0].is_absent && board.rows().len() == 1);
    }
}
