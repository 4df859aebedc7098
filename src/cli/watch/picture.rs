//! The board on a screen: a table, the connection's state above it and the keys below.

use std::time::{Duration, Instant};

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Cell as TableCell, Row as TableRow, Table},
};

use super::{
    board::{Board, Cell, Order, Row},
    columns::{ABSENT, GAP, Shown},
};
use crate::cli::{
    figures::grouped,
    pretty::harmless,
    screen::cut,
    table::{Paint, Palette},
};
use crate::client::Status;

/// How long a change is highlighted.
const HIGHLIGHT: Duration = Duration::from_secs(2);
/// The width of an age.
const AGE: usize = 5;

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
        let (order, all) = (board.order, board.rows().len());
        let shown = board.rows()[top.min(all)..(top + room).min(all)].to_vec();
        let hidden = self.table(frame, body, board, &shown);
        frame.render_widget(self.head(board.stale(), &hidden, usize::from(head.width)), head);
        frame.render_widget(self.help(all, top, room, order, usize::from(help.width)), help);
        room
    }

    /// `stale`: how many keys are not fresh, and for how long. `hidden`: the columns that there was no room for.
    fn head(&self, stale: Option<(usize, Duration)>, hidden: &[String], width: usize) -> Line<'static> {
        let keys = if self.keys == 1 { "1 key".into() } else { format!("{} keys", grouped(self.keys as u64)) };
        let mut parts = vec![(harmless(self.collection), Paint::Strong), (format!("  {keys}  "), Paint::Plain)];
        match self.status {
            Status::Connected => parts.push(("connected".into(), Paint::Good)),
            Status::Draining(_) => parts.push(("the node drains; moving on".into(), Paint::Warn)),
            Status::Reconnecting { reason, .. } => parts.extend([
                ("connection lost".into(), Paint::Bad),
                (format!(": {}; trying again", harmless(reason)), Paint::Plain),
            ]),
            Status::Closed { reason } => parts.push((harmless(reason), Paint::Bad)),
        }
        if let Some((keys, age)) = stale.filter(|_| *self.status == Status::Connected) {
            parts.push((format!("  {} not proven for {}", grouped(keys as u64), short(age)), Paint::Warn));
        }
        if self.paused {
            parts.push(("  paused".into(), Paint::Warn));
        }
        if !hidden.is_empty() {
            parts.push((format!("  no room for {}", hidden.join(", ")), Paint::Quiet));
        }
        let mut left = width;
        let spans = parts.into_iter().map(|(text, paint)| {
            let span = Span::styled(cut(&text, left), self.palette.style(paint));
            left -= span.width();
            span
        });
        Line::from(spans.collect::<Vec<_>>())
    }

    fn help(&self, rows: usize, top: usize, room: usize, order: Order, width: usize) -> Line<'static> {
        let sort = match order {
            Order::Key => "latest first",
            Order::Latest => "by key",
        };
        let pause = if self.paused { "go on" } else { "pause" };
        let scroll = match rows > room {
            true => format!("   ↑ ↓ scroll ({}-{} of {rows})", top + 1, (top + room).min(rows)),
            false => String::new(),
        };
        let help = format!("q leave   s {sort}   p {pause}{scroll}");
        Line::styled(cut(&help, width), self.palette.style(Paint::Quiet))
    }

    /// Draws `rows`; returns the names of the columns that there was no room for.
    fn table(&self, frame: &mut Frame<'_>, area: Rect, board: &Board, rows: &[Row]) -> Vec<String> {
        let room = usize::from(area.width);
        let keys: Vec<_> = rows.iter().map(|row| harmless(&row.key)).collect();
        let versions: Vec<_> = rows.iter().map(|row| row.stamp.version.to_string()).collect();
        let key = widest(keys.iter().map(String::as_str), "key").min(room / 2);
        let version = widest(versions.iter().map(String::as_str), "version");
        let before = key + GAP + version + GAP + AGE + GAP;
        let (mut columns, hidden) = board.columns().fit(room.saturating_sub(before));
        if columns.is_empty() {
            // Where no record has been there yet, or room for it, there may still be some to say so of.
            columns.push(Shown { place: usize::MAX, name: "", width: ABSENT.len(), is_figure: false });
        }
        let quiet = self.palette.style(Paint::Quiet);
        let mut head = vec![Line::raw("key"), Line::raw("version").right_aligned(), Line::raw("age").right_aligned()];
        head.extend(columns.iter().map(|column| aligned(cut(&harmless(column.name), column.width), quiet, column)));
        let widths = [key, version, AGE].into_iter().chain(columns.iter().map(|column| column.width));
        let widths = widths.map(|width| Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)));
        let rows = rows.iter().map(|row| {
            let style = if board.is_stale(&row.key) { quiet } else { Style::new() };
            self.row(row, key, &columns).style(style)
        });
        let table = Table::new(rows, widths).header(TableRow::new(head).style(quiet)).column_spacing(GAP as u16);
        frame.render_widget(table, area);
        hidden.into_iter().map(harmless).collect()
    }

    fn row(&self, row: &Row, key: usize, columns: &[Shown<'_>]) -> TableRow<'static> {
        let is_marked = row.has_changed && self.is_recent(row.arrived);
        let style = if is_marked { self.highlight() } else { Style::new() };
        let version = Line::from(Span::styled(row.stamp.version.to_string(), style));
        let age = self.age(row);
        let mut cells = vec![Line::raw(cut(&harmless(&row.key), key)), version.right_aligned(), age.right_aligned()];
        match columns.first().filter(|_| row.is_absent) {
            Some(first) => cells.push(aligned(cut(ABSENT, first.width), self.palette.style(Paint::Warn), first)),
            None => cells.extend(columns.iter().map(|column| match row.cells.get(column.place) {
                Some(cell) => aligned(cut(&cell.text, column.width), self.cell(cell), column),
                None => Line::default(),
            })),
        }
        TableRow::new(cells.into_iter().map(TableCell::from))
    }

    /// How long the record has stood so; `>` where it may have done so for longer.
    fn age(&self, row: &Row) -> Line<'static> {
        let age = self.now.saturating_duration_since(row.arrived);
        match row.is_prompt {
            true => Line::raw(short(age)),
            false if age.as_secs() == 0 => Line::raw(">0s"),
            false => Line::raw(format!(">{}", short(age))),
        }
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

/// A text in a column, where figures are at the right.
fn aligned(text: String, style: Style, column: &Shown<'_>) -> Line<'static> {
    let line = Line::from(Span::styled(text, style));
    if column.is_figure { line.right_aligned() } else { line }
}

/// The width of a column of `texts` below `head`.
fn widest<'a>(texts: impl Iterator<Item = &'a str>, head: &str) -> usize {
    texts.map(|text| Span::raw(text).width()).max().unwrap_or_default().max(head.len())
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

    struct Drawn {
        text: String,
        /// The texts that stand out.
        reversed: String,
        room: usize,
    }

    fn drawn_at(width: u16, board: &mut Board) -> String {
        sized(width, board, 0, &Status::Connected, Instant::now()).text
    }

    fn drawn(board: &mut Board, top: usize, status: &Status, now: Instant) -> Drawn {
        sized(80, board, top, status, now)
    }

    fn sized(width: u16, board: &mut Board, top: usize, status: &Status, now: Instant) -> Drawn {
        let mut terminal = Terminal::new(TestBackend::new(width, 8)).expect("a screen");
        let palette = Palette { colours: false };
        let picture = Picture { collection: "products", keys: 9, status, paused: false, palette, now };
        let mut room = 0;
        terminal.draw(|frame| room = picture.draw(frame, board, top)).expect("drawn");
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        let text = (0..8).map(line).collect::<Vec<_>>().join("\n");
        let stands_out = buffer.content().iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED));
        let reversed = stands_out.map(ratatui::buffer::Cell::symbol).collect();
        Drawn { text, reversed, room }
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
            &[
                "products  9 keys  connected",
                "key     version    age   price  stock",
                "85123A        1    >0s     295     41",
            ],
        );
        assert_eq!(first.reversed, "", "a first state is no change");
        board.take(&record("85123A", 12, r#"{"price":295,"stock":40}"#), began);
        assert_eq!(drawn(&mut board, 0, &Status::Connected, began).reversed, "1240");
        let later = drawn(&mut board, 0, &Status::Connected, began + HIGHLIGHT);
        assert_eq!(later.reversed, "");
        shows(&later.text, &["85123A       12     2s     295     40"]);
    }

    #[test]
    fn an_age_is_a_bound_where_the_change_itself_was_not_seen() {
        let mut board = Board::new(Vec::new());
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        for key in ["a", "b"] {
            board.take(&record(key, 1, r#"{"n":1}"#), began);
            board.judge(key.into(), Freshness::Fresh);
        }
        board.take(&record("b", 2, r#"{"n":2}"#), at(50));
        shows(&drawn(&mut board, 0, &Status::Connected, at(53)).text, &["a          1   >53s", "b          2     3s"]);
    }

    #[test]
    fn what_moves_is_shown_where_there_is_no_room_for_all() {
        let mut board = Board::new(Vec::new());
        let value = |price: u64| {
            format!(
                r#"{{"sku":"85123A","name":"WHITE HANGING HEART T-LIGHT HOLDER","currency":"GBP","colour":"{}","price":{price}}}"#,
                "cream ".repeat(5)
            )
        };
        board.take(&record("85123A", 1, &value(295)), Instant::now());
        board.take(&record("22423", 2, "null"), Instant::now());
        let all = drawn(&mut board, 0, &Status::Connected, Instant::now()).text;
        shows(&all, &["WHITE HANGING HEART T-LIGH…  GBP ", "cream cre…", "295", "absent"]);
        board.take(&record("85123A", 3, &value(1_295)), Instant::now());
        let narrow = drawn_at(40, &mut board);
        shows(&narrow, &["price", " 1295", "absent", "no room f"]);
        assert!(!narrow.contains("name"), "{narrow}");
    }

    #[test]
    fn a_record_that_was_never_there_is_said_to_be_absent() {
        let mut board = Board::new(Vec::new());
        board.take(&record("a", 0, "null"), Instant::now());
        shows(&drawn_at(60, &mut board), &["a          0    >0s  absent"]);
    }

    #[test]
    fn keys_and_texts_that_are_too_wide_are_cut_with_a_mark() {
        let mut board = Board::new(vec!["n".into()]);
        let key = "0123456789".repeat(6);
        board.take(&record(&key, 1, r#"{"n":"日本日本日本日本日本日本日本日本日本日本"}"#), Instant::now());
        let text = drawn_at(60, &mut board);
        shows(&text, &[&format!("{}…  ", &key[..29]), "日 本 日 本 日 …"]);
        let status = Status::Reconnecting { reason: "x".repeat(90), wait: Duration::from_secs(1) };
        assert!(
            drawn(&mut board, 0, &status, Instant::now()).text.lines().next().is_some_and(|line| line.ends_with("x…"))
        );
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
