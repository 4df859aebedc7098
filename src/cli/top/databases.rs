//! How each database stands, where a node serves several.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::snapshot::Database;
use crate::cli::{
    figures::{grouped, lasting},
    pretty::harmless,
    table::{Paint, Palette},
};

/// Columns between two databases.
const GAP: usize = 3;
/// Beyond this age, seconds say more than milliseconds.
const MILLIS_MAX: u64 = 9_999;

/// The lines that `databases` take in `width` columns.
pub(super) fn lines(databases: &[Database], width: u16) -> u16 {
    let rows = databases.len().div_ceil(per_line(databases, width));
    u16::try_from(rows).unwrap_or(u16::MAX)
}

/// Each database with its age, as many in a line as there is room for.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, databases: &[Database], palette: Palette) {
    let widest = widest(databases);
    let cell = |database: &Database| {
        let text = text(database);
        let gap = " ".repeat(widest + GAP - text.chars().count());
        let paint = if database.fresh { Paint::Good } else { Paint::Bad };
        [Span::styled("● ", palette.style(paint)), Span::raw(text + &gap)]
    };
    let lines = databases.chunks(per_line(databases, area.width)).map(|line| line.iter().flat_map(cell).collect());
    frame.render_widget(Paragraph::new(lines.collect::<Vec<Line<'_>>>()), area);
}

fn text(database: &Database) -> String {
    let age = match database.age_ms {
        millis @ 0..=MILLIS_MAX => format!("{} ms", grouped(millis)),
        millis => lasting(millis as f64 / 1e3),
    };
    let state = if database.fresh { "" } else { "not fresh, " };
    format!("{} {state}{age} behind", harmless(&database.name))
}

fn widest(databases: &[Database]) -> usize {
    databases.iter().map(|database| text(database).chars().count()).max().unwrap_or_default()
}

fn per_line(databases: &[Database], width: u16) -> usize {
    // A cell begins with its dot; the last of a line needs no gap.
    ((usize::from(width) + GAP) / (widest(databases) + 2 + GAP)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_share_lines_as_far_as_they_fit() {
        let database = |age_ms| Database { name: "shop-1".into(), fresh: age_ms < 3_000, age_ms };
        let fresh = vec![database(12); 8];
        assert_eq!((lines(&fresh, 80), lines(&fresh, 200), lines(&fresh, 1)), (3, 1, 8));
        assert_eq!(text(&database(12)), "shop-1 12 ms behind");
        assert_eq!(text(&database(4_250)), "shop-1 not fresh, 4,250 ms behind");
        assert_eq!(text(&database(90_000)), "shop-1 not fresh, 90 s behind");
    }
}
