//! Every node, a row each.

use std::time::Instant;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Rect},
    text::{Line, Text},
    widgets::{Cell, Row, Table},
};

use super::{node::Node, picture::standing};
use crate::cli::{
    figures::{grouped, latency, rate, share},
    pretty::harmless,
    table::{Paint, Palette},
};

const COLUMNS: [(&str, u16); 8] = [
    ("state", 16),
    ("conns", 8),
    ("reads/s", 9),
    ("hits", 7),
    ("store/s", 8),
    ("writes/s", 8),
    ("pushes/s", 9),
    ("p99", 8),
];

/// Draws a table of `nodes`.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, nodes: &[Node], palette: Palette, now: Instant) {
    let widest = nodes.iter().map(|node| node.address.to_string().len()).max().unwrap_or_default();
    let name = Constraint::Length(u16::try_from(widest.clamp(4, 40)).unwrap_or(40));
    let widths = std::iter::once(name).chain(COLUMNS.iter().map(|(_, width)| Constraint::Length(*width)));
    let heads = std::iter::once(Cell::from("node")).chain(COLUMNS.iter().enumerate().map(|(at, (head, _))| match at {
        0 => Cell::from(*head),
        _ => figure((*head).to_owned()),
    }));
    let head = Row::new(heads).style(palette.style(Paint::Quiet)).bottom_margin(0);
    let rows = nodes.iter().map(|node| row(node, palette, now));
    frame.render_widget(Table::new(rows, widths).header(head).column_spacing(1), area);
}

fn row(node: &Node, palette: Palette, now: Instant) -> Row<'static> {
    let mut cells =
        vec![Cell::from(harmless(&node.address.to_string())), Cell::from(Line::from(standing(node, palette, now)))];
    if let (Some(second), Some(last)) = (node.now(), &node.last) {
        let rates = &second.rates;
        let p99 = second.delivery.and_then(|delivery| delivery.p99_ms);
        cells.extend([
            figure(grouped(last.connections)),
            figure(rate(rates.reads())),
            figure(rates.share("local").map_or("-".into(), share)),
            figure(rate(rates.store_reads)),
            figure(rate(rates.writes())),
            figure(rate(rates.pushes)),
            figure(p99.map_or("-".into(), latency)),
        ]);
    }
    Row::new(cells)
}

fn figure(text: String) -> Cell<'static> {
    Cell::from(Text::from(text).alignment(Alignment::Right))
}
