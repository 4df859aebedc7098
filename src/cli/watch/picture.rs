//! The board on a screen: a table, the connection's state above it and the keys below.

use std::time::{Duration, Instant};

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Cell as TableCell, Row as TableRow, Table},
};

use super::board::{Board, Cell, Order, Row};
use crate::cli::{
    figures::grouped,
    pretty::harmless,
    table::{Paint, Palette},
};
use crate::client::Status;

/// How long a change is highlighted.
const HIGHLIGHT: Duration = Duration::from_secs(2);
/// The widest a column of keys or of a field becomes.
const COLUMN_MAX: usize = 32;
/// The room between two columns.
const GAP: usize = 2;

/// What is drawn.
pub(super) struct Picture<'a> {
    pub(super) collection: &'a str,
    /// How many keys were asked for.
    pub(super) keys: usize,
    pub(super) status: &'a Status,
    pub(super) paused: bool,
    pub(super) palette: Palette,
    pub(super) now: Instant,
}

impl Picture<'_> {
    /// Draws `board` from its row number `top` on; returns how many rows there was room for.
    pub(super) fn draw(&self, frame: &mut Frame<'_>, board: &mut Board, top: usize) -> usize {
        let [head, body, help] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
        let room = usize::from(body.height.saturating_sub(1));
        let (order, fields) = (board.order, board.fields.clone());
        frame.render_widget(self.head(board.stale()), head);
        let rows = board.rows();
        frame.render_widget(self.help(rows.len(), top, room, order), help);
        let shown = rows[top.min(rows.len())..(top + room).min(rows.len())].to_vec();
        self.table(frame, body, &shown, &fields, |row| board.is_stale(&row.key));
        room
    }

    /// `stale`: how many keys are not fresh, and for how long.
    fn head(&self, stale: Option<(usize, Duration)>) -> Line<'static> {
        let keys = if self.keys == 1 { "1 key".into() } else { format!("{} keys", grouped(self.keys as u64)) };
        let mut spans = vec![
            Span::styled(harmless(self.collection), self.palette.style(Paint::Strong)),
            Span::raw(format!("  {keys}  ")),
        ];
        spans.extend(match self.status {
            Status::Connected => vec![Span::styled("connected", self.palette.style(Paint::Good))],
            Status::Draining(_) => vec![Span::styled("the node drains; moving on", self.palette.style(Paint::Warn))],
            Status::Reconnecting { reason, .. } => vec![
                Span::styled("connection lost", self.palette.style(Paint::Bad)),
                Span::raw(format!(": {}; trying again", harmless(reason))),
            ],
            Status::Closed { reason } => vec![Span::styled(harmless(reason), self.palette.style(Paint::Bad))],
        });
        if let Some((keys, age)) = stale.filter(|_| *self.status == Status::Connected) {
            let text = format!("  {} not proven for {}", grouped(keys as u64), short(age));
            spans.push(Span::styled(text, self.palette.style(Paint::Warn)));
        }
        if self.paused {
            spans.push(Span::styled("  paused", self.palette.style(Paint::Warn)));
        }
        Line::from(spans)
    }

    fn help(&self, rows: usize, top: usize, room: usize, order: Order) -> Line<'static> {
        let sort = match order {
            Order::Key => "latest first",
            Order::Latest => "by key",
        };
        let pause = if self.paused { "go on" } else { "pause" };
        let scroll = match rows > room {
            true => format!("   ↑ ↓ scroll ({}-{} of {rows})", top + 1, (top + room).min(rows)),
            false => String::new(),
        };
        Line::styled(format!("q leave   s {sort}   p {pause}{scroll}"), self.palette.style(Paint::Quiet))
    }

    fn table(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        rows: &[Row],
        fields: &[String],
        is_stale: impl Fn(&Row) -> bool,
    ) {
        let versions: Vec<_> = rows.iter().map(|row| row.stamp.version.to_string()).collect();
        let mut columns = vec![
            ("key".to_owned(), widest(rows.iter().map(|row| &*row.key), 3)),
            ("version".to_owned(), widest(versions.iter().map(String::as_str), 7)),
            ("  age".to_owned(), 5),
        ];
        for (at, field) in fields.iter().enumerate() {
            let texts = rows.iter().filter_map(|row| row.cells.get(at)).map(|cell| &*cell.text);
            // The first one must also hold "absent".
            let least = Span::raw(field).width().max(if at == 0 { 6 } else { 0 });
            columns.push((harmless(field), widest(texts, least)));
        }
        if fields.is_empty() {
            columns.push(("value".into(), usize::from(area.width)));
        }
        // What has no room is cut off at the right: the first columns matter most.
        let mut left = usize::from(area.width);
        let widths: Vec<_> = columns
            .iter()
            .map(|(_, width)| {
                let width = left.min(*width);
                left = left.saturating_sub(width + GAP);
                Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX))
            })
            .collect();
        let head = TableRow::new(columns.into_iter().map(|(head, _)| head)).style(self.palette.style(Paint::Quiet));
        let rows = rows.iter().map(|row| self.row(row, fields.is_empty(), is_stale(row)));
        frame.render_widget(Table::new(rows, widths).header(head).column_spacing(GAP as u16), area);
    }

    fn row(&self, row: &Row, whole: bool, is_stale: bool) -> TableRow<'static> {
        let fresh = row.has_changed && self.is_recent(row.arrived);
        let mark =
            |text: String| TableCell::from(Span::styled(text, if fresh { self.highlight() } else { Style::new() }));
        let age = self.now.saturating_duration_since(row.arrived);
        let mut cells = vec![
            TableCell::from(harmless(&row.key)),
            mark(row.stamp.version.to_string()),
            TableCell::from(format!("{:>5}", short(age))),
        ];
        match () {
            () if row.is_absent => cells.push(TableCell::from(Span::styled("absent", self.palette.style(Paint::Warn)))),
            () if whole => cells.push(TableCell::from(self.whole(row))),
            () => cells
                .extend(row.cells.iter().map(|cell| TableCell::from(Span::styled(cell.text.clone(), self.cell(cell))))),
        }
        let style = if is_stale { self.palette.style(Paint::Quiet) } else { Style::new() };
        TableRow::new(cells).style(style)
    }

    /// A value on one line: what changed is what stands out.
    fn whole(&self, row: &Row) -> Line<'static> {
        let mut spans = Vec::with_capacity(row.cells.len() * 3);
        for cell in &row.cells {
            spans.push(Span::styled(format!("{} ", harmless(&cell.name)), self.palette.style(Paint::Quiet)));
            spans.push(Span::styled(cell.text.clone(), self.cell(cell)));
            spans.push(Span::raw("  "));
        }
        Line::from(spans)
    }

    fn cell(&self, cell: &Cell) -> Style {
        match cell.changed {
            Some(changed) if self.is_recent(changed) => self.highlight(),
            _ => Style::new(),
        }
    }

    fn is_recent(&self, moment: Instant) -> bool {
        self.now.saturating_duration_since(moment) < HIGHLIGHT
    }

    fn highlight(&self) -> Style {
        match self.palette.colours {
            true => self.palette.style(Paint::Good).add_modifier(Modifier::BOLD),
            false => Style::new().add_modifier(Modifier::REVERSED),
        }
    }
}

/// The width of a column of `texts`.
fn widest<'a>(texts: impl Iterator<Item = &'a str>, least: usize) -> usize {
    texts.map(|text| Span::raw(text).width()).max().unwrap_or_default().clamp(least, COLUMN_MAX.max(least))
}

/// An age in at most four letters: `now`, `45s`, `12m`, `5h`, `3d`.
fn short(age: Duration) -> String {
    match age.as_secs() {
        0 => "now".into(),
        s @ ..100 => format!("{s}s"),
        s @ ..6_000 => format!("{}m", s / 60),
        s @ ..360_000 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::{super::board::tests::record, *};
    use crate::client::Freshness;

    struct Shown {
        text: String,
        /// The texts that stand out.
        reversed: String,
        room: usize,
    }

    fn drawn(board: &mut Board, top: usize, status: &Status, now: Instant) -> Shown {
        let mut terminal = Terminal::new(TestBackend::new(80, 8)).expect("a screen");
        let palette = Palette { colours: false };
        let picture = Picture { collection: "products", keys: 9, status, paused: false, palette, now };
        let mut room = 0;
        terminal.draw(|frame| room = picture.draw(frame, board, top)).expect("drawn");
        let buffer = terminal.backend().buffer();
        let line = |y| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        let text = (0..8).map(line).collect::<Vec<_>>().join("\n");
        let stands_out = buffer.content().iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED));
        let reversed = stands_out.map(ratatui::buffer::Cell::symbol).collect();
        Shown { text, reversed, room }
    }

    #[track_caller]
    fn shows(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{part:?} is not shown in:\n{text}");
        }
    }

    #[test]
    fn a_changed_cell_stands_out_for_a_moment() {
        let mut board = Board::new(vec!["price".into(), "stock".into()]);
        let began = Instant::now();
        board.take(&record("85123A", 1, r#"{"price":295,"stock":41}"#), began);
        let first = drawn(&mut board, 0, &Status::Connected, began);
        shows(
            &first.text,
            &["products  9 keys  connected", "key     version    age  price   stock", "85123A  1", "295     41"],
        );
        assert_eq!(first.reversed, "", "a first state is no change");
        board.take(&record("85123A", 12, r#"{"price":295,"stock":40}"#), began);
        assert_eq!(drawn(&mut board, 0, &Status::Connected, began).reversed, "1240");
        let later = drawn(&mut board, 0, &Status::Connected, began + HIGHLIGHT);
        assert_eq!(later.reversed, "");
        shows(&later.text, &["   2s  295"]);
    }

    #[test]
    fn without_fields_a_value_is_shown_in_short() {
        let mut board = Board::new(Vec::new());
        board.take(&record("a", 1, r#"{"sku":"a","name":"HEART","price":295}"#), Instant::now());
        board.take(&record("b", 2, "null"), Instant::now());
        shows(&drawn(&mut board, 0, &Status::Connected, Instant::now()).text, &["name HEART  price 295", "absent"]);
    }

    #[test]
    fn more_keys_than_lines_are_scrolled() {
        let mut board = Board::new(Vec::new());
        (1..=9).for_each(|key| board.take(&record(&key.to_string(), 1, "{}"), Instant::now()));
        let shown = drawn(&mut board, 4, &Status::Connected, Instant::now());
        assert_eq!(shown.room, 5);
        shows(&shown.text, &["\n5 ", "\n9 ", "↑ ↓ scroll (5-9 of 9)"]);
        assert!(!shown.text.contains("\n4 "), "{}", shown.text);
    }

    #[test]
    fn a_lost_connection_is_said() {
        let status = Status::Reconnecting { reason: "connection refused".into(), wait: Duration::from_secs(1) };
        let shown = drawn(&mut Board::new(Vec::new()), 0, &status, Instant::now());
        shows(&shown.text, &["connection lost: connection refused; trying again"]);
    }

    #[test]
    fn keys_that_are_not_fresh_are_counted_with_their_age_and_quiet() {
        let mut board = Board::new(Vec::new());
        for key in ["a", "b"] {
            board.take(&record(key, 1, r#"{"price":1}"#), Instant::now());
            board.judge(key.into(), Freshness::Fresh);
        }
        let silent = Freshness::Stale { since: Instant::now().checked_sub(Duration::from_secs(12)) };
        assert!(!drawn(&mut board, 0, &Status::Connected, Instant::now()).text.contains("not proven"));
        board.judge("b".into(), silent);
        shows(&drawn(&mut board, 0, &Status::Connected, Instant::now()).text, &["connected  1 not proven for 12s"]);
        assert!(board.is_stale("b") && !board.is_stale("a"));
        board.judge("b".into(), Freshness::Fresh);
        assert!(!board.is_stale("b") && board.stale().is_none());
    }

    #[test]
    fn ages_are_short() {
        let ages = [0, 99, 100, 5_999, 6_000, 400_000].map(|seconds| short(Duration::from_secs(seconds)));
        assert_eq!(ages, ["now", "99s", "1m", "99m", "1h", "4d"]);
    }
}
