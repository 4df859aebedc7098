//! The parts of a node's picture.

use std::collections::BTreeMap;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Style},
    symbols::Marker,
    text::{Line, Span},
    widgets::{Axis, Chart, Dataset, GraphType, LineGauge, Paragraph, RenderDirection, Sparkline, SparklineBar},
};

use super::{
    node::{Node, SECONDS_KEPT, Second},
    snapshot::{Counts, Local},
};
use crate::cli::{
    figures::{grouped, latency as shown, rate, share, size},
    pretty::harmless,
    table::{Paint, Palette},
};

/// The tiers from the fastest to the last resort, with what tells them apart: a colour, or a shape without colours.
const TIERS: [Tier; 5] = [
    Tier { label: "local", name: "local", colour: Color::Green, mark: "█" },
    Tier { label: "filter", name: "filter", colour: Color::Cyan, mark: "▓" },
    Tier { label: SHARED, name: "redis", colour: Color::Yellow, mark: "▚" },
    Tier { label: "store", name: "store", colour: Color::Magenta, mark: "▒" },
    Tier { label: "stale", name: "stale", colour: Color::Red, mark: "░" },
];

/// What Redis is called in a node's counts.
const SHARED: &str = "shared";

/// Where reads are answered.
struct Tier {
    /// In a node's counts.
    label: &'static str,
    /// For people.
    name: &'static str,
    colour: Color,
    mark: &'static str,
}

/// How a figure is read from a second.
type Figure = fn(&Second) -> f64;

/// The figures that have a line of their own.
const RATES: [(&str, Figure); 6] = [
    ("reads", |second| second.rates.reads()),
    ("store reads", |second| second.rates.store_reads),
    ("writes", |second| second.rates.writes()),
    ("pushes", |second| second.rates.pushes),
    ("conflated", |second| second.rates.conflations),
    ("messages", |second| second.rates.messages),
];

/// How many reads there are.
pub(super) fn reads_title(node: &Node, palette: Palette) -> Vec<Span<'static>> {
    let Some(second) = node.now() else { return vec!["reads".into()] };
    let mut title = vec![format!("reads {}/s", rate(second.rates.reads())).into()];
    let hits = second.rates.share("local");
    title.extend(hits.map(|hits| Span::styled(format!("{} hits ", share(hits)), palette.style(Paint::Good))));
    title
}

/// Which tier answered: a stacked bar and its legend.
pub(super) fn reads(frame: &mut Frame<'_>, area: Rect, node: &Node, palette: Palette) {
    let has_redis = node.last.as_ref().is_some_and(|last| last.redis.is_some());
    let tiers: Vec<&Tier> = TIERS.iter().filter(|tier| has_redis || tier.label != SHARED).collect();
    let share_of = |tier: &&Tier| node.now().and_then(|second| second.rates.share(tier.label)).unwrap_or_default();
    let shares: Vec<f64> = tiers.iter().map(share_of).collect();
    let widths = parts(&shares, usize::from(area.width));
    let style = |colour| if palette.colours { Style::new().fg(colour) } else { Style::new() };
    let shape = |shape: &'static str| if palette.colours { "█" } else { shape };
    let bar =
        tiers.iter().zip(widths).map(|(tier, width)| Span::styled(shape(tier.mark).repeat(width), style(tier.colour)));
    let mut legend = Vec::new();
    for (tier, part) in tiers.iter().zip(shares) {
        legend.push(Span::styled(shape(tier.mark), style(tier.colour)));
        legend.push(Span::raw(format!(" {} {}   ", tier.name, share(part))));
    }
    let bar = match node.now().map(|second| second.rates.reads() > 0.0) {
        Some(true) => bar.into_iter().collect(),
        _ => Line::styled("no reads", palette.style(Paint::Quiet)),
    };
    frame.render_widget(Paragraph::new(vec![bar, Line::from(legend)]), area);
}

/// `width` cells shared out by `shares`; what is there at all has a cell.
fn parts(shares: &[f64], width: usize) -> Vec<usize> {
    let cells = |share: &f64| match (share * width as f64).round() as usize {
        0 if *share > 0.0 => 1,
        cells => cells,
    };
    let mut widths: Vec<usize> = shares.iter().map(cells).collect();
    // Rounding may be off by some cells; the largest part can bear it.
    if let Some(largest) =
        (0..shares.len()).max_by(|&a, &b| shares[a].total_cmp(&shares[b])).filter(|&at| shares[at] > 0.0)
    {
        let others: usize = widths.iter().sum::<usize>() - widths[largest];
        widths[largest] = width.saturating_sub(others);
    }
    widths
}

/// Rates with a line of two minutes each, as high as there is room.
pub(super) fn rates(frame: &mut Frame<'_>, area: Rect, node: &Node, palette: Palette) {
    let height = (area.height / RATES.len() as u16).max(1);
    let room = u16::from(height > 2);
    let rows = Layout::vertical([Constraint::Length(height - room); RATES.len()]).spacing(room).split(area);
    for ((name, figure), row) in RATES.iter().zip(rows.iter()) {
        let [label, value, line] =
            Layout::horizontal([Constraint::Length(11), Constraint::Length(9), Constraint::Min(0)])
                .spacing(1)
                .areas(*row);
        let [label, value] = [label, value].map(baseline);
        frame.render_widget(Span::styled(*name, palette.style(Paint::Quiet)), label);
        let now = node.now().map_or("-".into(), |second| rate(figure(second)));
        frame.render_widget(Paragraph::new(now).alignment(Alignment::Right), value);
        // A sparkline takes whole numbers; hundredths keep what happens less than once a second visible.
        let bar = |value: Option<f64>| SparklineBar::from(value.map(|value| (value * 100.0).round() as u64));
        let series = node.series(|second| Some(figure(second)));
        let sparkline = Sparkline::default()
            .data(series.into_iter().map(|(_, value)| bar(value)))
            .direction(RenderDirection::RightToLeft)
            .absent_value_symbol("·")
            .absent_value_style(palette.style(Paint::Quiet))
            .style(if palette.colours { Style::new().fg(Color::Blue) } else { Style::new() });
        frame.render_widget(sparkline, line);
    }
}

/// The last line of `area`, on which a sparkline stands.
fn baseline(area: Rect) -> Rect {
    Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area }
}

/// The latest latency from commit to screen.
pub(super) fn latency_title(node: &Node, palette: Palette) -> Vec<Span<'static>> {
    let mut title = vec!["commit to screen".into()];
    let delivery = node.now().and_then(|second| second.delivery);
    if let Some((p50, p99)) = delivery.and_then(|delivery| Some((delivery.p50_ms?, delivery.p99_ms?))) {
        title.push(Span::styled(format!("p50 {} ", shown(p50)), percentile(palette, Color::Green)));
        title.push(Span::styled(format!("p99 {} ", shown(p99)), percentile(palette, Color::Magenta)));
    }
    title
}

fn percentile(palette: Palette, colour: Color) -> Style {
    if palette.colours { Style::new().fg(colour) } else { Style::new() }
}

/// Latency over two minutes; the upper line is p99.
pub(super) fn latency(frame: &mut Frame<'_>, area: Rect, node: &Node, palette: Palette) {
    let [p50, p99] =
        [runs(&node.series(|second| second.delivery?.p50_ms)), runs(&node.series(|second| second.delivery?.p99_ms))];
    let highest = p99.iter().flatten().map(|(_, ms)| *ms).fold(0.0, f64::max);
    if highest == 0.0 {
        let measured = node.series(|second| second.delivery.map(|_| 0.0)).iter().any(|(_, known)| known.is_some());
        let text = if measured { "nothing was pushed" } else { "not measured by this node" };
        return frame.render_widget(Span::styled(text, palette.style(Paint::Quiet)), area);
    }
    let dataset = |run, colour| {
        Dataset::default()
            .data(run)
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(percentile(palette, colour))
    };
    let lines =
        p99.iter().map(|run| dataset(run, Color::Magenta)).chain(p50.iter().map(|run| dataset(run, Color::Green)));
    let quiet = palette.style(Paint::Quiet);
    let time = Axis::default().style(quiet).bounds([1.0 - SECONDS_KEPT as f64, 0.0]).labels(["2 min ago", "now"]);
    let top = highest * 1.1;
    let height = Axis::default().style(quiet).bounds([0.0, top]).labels(["0".to_owned(), shown(top)]);
    frame.render_widget(Chart::new(lines.collect()).x_axis(time).y_axis(height), area);
}

/// The points of a chart, in runs without gaps.
fn runs(series: &[(usize, Option<f64>)]) -> Vec<Vec<(f64, f64)>> {
    let runs = series.split(|(_, value)| value.is_none()).filter(|run| !run.is_empty());
    runs.map(|run| run.iter().filter_map(|(age, value)| Some((-(*age as f64), (*value)?))).collect()).collect()
}

/// Counts by label, the busiest first, with their rates.
pub(super) fn counts(
    frame: &mut Frame<'_>,
    area: Rect,
    counts: &Counts,
    rates: Option<&BTreeMap<String, f64>>,
    palette: Palette,
) {
    if counts.is_empty() {
        return frame.render_widget(Span::styled("none", palette.style(Paint::Quiet)), area);
    }
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let width = usize::from(area.width);
    let lines = sorted.into_iter().take(usize::from(area.height)).map(|(label, count)| {
        let now = rates.and_then(|rates| rates.get(label)).filter(|now| **now >= 0.05);
        let now = now.map_or(String::new(), |now| format!("{}/s ", rate(*now)));
        let figures = format!("{now}{}", grouped(*count));
        let room = width.saturating_sub(figures.chars().count() + 1);
        let name: String = harmless(label).chars().take(room).collect();
        Line::from(format!("{name:<room$} {figures}"))
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

/// How full L1 is.
pub(super) fn local(frame: &mut Frame<'_>, area: Rect, local: Local, palette: Palette) {
    let rows: [Rect; 3] = Layout::vertical([Constraint::Length(1); 3]).areas(area);
    frame.render_widget(Line::from(format!("{} records", grouped(local.entries))), rows[0]);
    if local.capacity == 0 {
        return frame.render_widget(Line::from(size(local.bytes)), rows[1]);
    }
    frame.render_widget(Line::from(format!("{} of {}", size(local.bytes), size(local.capacity))), rows[1]);
    let full = (local.bytes as f64 / local.capacity as f64).clamp(0.0, 1.0);
    let gauge = LineGauge::default()
        .ratio(full)
        .label(share(full))
        .filled_style(percentile(palette, Color::Green))
        .unfilled_style(palette.style(Paint::Quiet));
    frame.render_widget(gauge, rows[2]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_wide_as_its_parts_and_no_part_is_lost() {
        assert_eq!(parts(&[0.98, 0.001, 0.019, 0.0], 76), [74, 1, 1, 0]);
        assert_eq!(parts(&[1.0, 0.0, 0.0, 0.0], 10), [10, 0, 0, 0]);
        assert_eq!(parts(&[0.0; 4], 10), [0; 4]);
        assert_eq!(parts(&[0.25; 4], 10).iter().sum::<usize>(), 10);
    }

    #[test]
    fn a_gap_parts_a_line() {
        let series = [(0, Some(1.0)), (1, None), (2, Some(2.0)), (3, Some(3.0))];
        assert_eq!(runs(&series), [vec![(0.0, 1.0)], vec![(-2.0, 2.0), (-3.0, 3.0)]]);
    }
}
