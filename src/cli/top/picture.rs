//! The whole screen: who is looked at, how it stands, and where each tile goes.

use std::time::Instant;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Paragraph, Wrap},
};

use super::{
    databases::Tile,
    node::{Node, State},
    overview,
    snapshot::Snapshot,
    tiles,
};
use crate::cli::{
    figures::{grouped, lasting},
    pretty::harmless,
    table::{Paint, Palette},
};

/// Below this, only the most important figures are shown.
const WIDTH_MIN: u16 = 50;
const HEIGHT_MIN: u16 = 16;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Every node, a row each.
    All,
    /// The node with that number.
    One(usize),
}

/// What is drawn.
pub(super) struct Picture<'a> {
    pub(super) nodes: &'a [Node],
    pub(super) view: View,
    pub(super) paused: bool,
    pub(super) palette: Palette,
    pub(super) now: Instant,
}

impl Picture<'_> {
    /// Draws everything.
    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let [head, body, help] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
        frame.render_widget(self.head(), head);
        frame.render_widget(self.help(), help);
        match self.view {
            View::All => overview::draw(frame, body, self.nodes, self.palette, self.now),
            View::One(number) => {
                if let Some(node) = self.nodes.get(number) {
                    self.node(frame, body, node);
                }
            }
        }
    }

    fn head(&self) -> Line<'_> {
        let mut spans = vec![Span::styled("freshet top ", self.palette.style(Paint::Strong))];
        let mut tab = |text: String, view: View| {
            let style = if view == self.view { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
            spans.push(Span::styled(format!(" {text} "), style));
        };
        if self.nodes.len() > 1 {
            tab("all".into(), View::All);
        }
        for (number, node) in self.nodes.iter().enumerate() {
            tab(harmless(&node.address.to_string()), View::One(number));
        }
        if self.paused {
            spans.push(Span::styled("  paused", self.palette.style(Paint::Warn)));
        }
        Line::from(spans)
    }

    fn help(&self) -> Line<'_> {
        let nodes = if self.nodes.len() > 1 { "   ← → or 0-9 nodes" } else { "" };
        let pause = if self.paused { "go on" } else { "pause" };
        Line::styled(format!("q leave   p {pause}{nodes}"), self.palette.style(Paint::Quiet))
    }

    fn node(&self, frame: &mut Frame<'_>, area: Rect, node: &Node) {
        let lines = status_lines(node, self.palette, self.now);
        let [status, area] = Layout::vertical([Constraint::Length(lines.len() as u16), Constraint::Min(0)]).areas(area);
        frame.render_widget(Paragraph::new(lines), status);
        let Some(last) = &node.last else {
            return frame.render_widget(waiting(node, self.palette), area);
        };
        let palette = self.palette;
        let now = node.now().map(|second| &second.rates);
        if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
            return self.tile(frame, area, ["a second"], |frame, area| tiles::rates(frame, area, node, palette));
        }
        let tile = Tile::fitting(&last.databases, area.width, area.height.saturating_sub(HEIGHT_MIN + 1), palette);
        let height = tile.as_ref().map_or(0, |tile| 1 + tile.height());
        let [reads, databases, middle, bottom] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(height),
            Constraint::Min(7),
            Constraint::Length(5),
        ])
        .areas(area);
        if let Some(tile) = tile {
            self.tile(frame, databases, ["databases", "how far behind "], |frame, area| tile.draw(frame, area));
        }
        let [rates, latency] = columns(middle);
        let [writes, errors, local] = columns(bottom);
        self.tile(frame, reads, tiles::reads_title(node, palette), |frame, area| {
            tiles::reads(frame, area, node, palette);
        });
        self.tile(frame, rates, ["a second, for two minutes"], |frame, area| {
            tiles::rates(frame, area, node, palette);
        });
        self.tile(frame, latency, tiles::latency_title(node, palette), |frame, area| {
            tiles::latency(frame, area, node, palette);
        });
        self.tile(frame, writes, ["writes"], |frame, area| {
            tiles::counts(frame, area, &last.writes, now.map(|now| &now.writes), palette);
        });
        self.tile(frame, errors, ["errors"], |frame, area| {
            tiles::counts(frame, area, &last.errors, now.map(|now| &now.errors), palette);
        });
        self.tile(frame, local, ["L1"], |frame, area| tiles::local(frame, area, last.local, palette));
    }

    /// Draws a rule with a title, and the content below it. The title's first part is its name.
    fn tile<T: Into<Span<'static>>>(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        title: impl IntoIterator<Item = T>,
        content: impl FnOnce(&mut Frame<'_>, Rect),
    ) {
        let mut title: Vec<Span<'static>> = title.into_iter().map(Into::into).collect();
        if let Some(name) = title.first_mut() {
            *name = Span::styled(format!("{} ", name.content), self.palette.style(Paint::Strong));
        }
        let rule = self.palette.style(Paint::Quiet);
        let block = Block::new().borders(Borders::TOP).border_style(rule).title(Line::from(title));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        content(frame, inner);
    }
}

/// Equal columns with room between them.
fn columns<const N: usize>(area: Rect) -> [Rect; N] {
    Layout::horizontal([Constraint::Fill(1); N]).spacing(2).areas(area)
}

/// How a node stands: a word, painted.
pub(super) fn standing(node: &Node, palette: Palette, now: Instant) -> Span<'static> {
    match (&node.state, &node.last) {
        (State::Connecting, _) => Span::styled("connecting", palette.style(Paint::Warn)),
        (State::Away { .. }, _) => {
            let away = whole(node.away_for(now).unwrap_or_default().as_secs());
            Span::styled(format!("away for {away}"), palette.style(Paint::Bad))
        }
        (State::Live, Some(last)) if last.fresh => Span::styled("fresh", palette.style(Paint::Good)),
        (State::Live, last) => {
            let old = last.as_ref().and_then(Snapshot::not_fresh).map_or_else(String::new, |old| format!(": {old}"));
            Span::styled(harmless(&format!("not fresh{old}")), palette.style(Paint::Bad))
        }
    }
}

/// A length of time in whole seconds or more.
fn whole(seconds: u64) -> String {
    lasting(seconds as f64).replace(".0 ", " ")
}

/// How the node stands; in a second line, how its Redis does, if it has one; in a third, what an audit has found to be wrong.
fn status_lines(node: &Node, palette: Palette, now: Instant) -> Vec<Line<'static>> {
    let last = node.last.as_ref().filter(|_| node.state == State::Live);
    let redis = last.and_then(|last| last.redis.as_ref()).map(|redis| {
        let (usable, all) = redis.usable();
        let paint = if redis.open && usable == all { Paint::Plain } else { Paint::Warn };
        Line::styled(harmless(&redis.to_string()), palette.style(paint))
    });
    let wrong = last.and_then(|last| last.audit.as_ref()).filter(|audit| audit.wrong > 0);
    let wrong = wrong.map(|audit| Line::styled(harmless(&audit.to_string()), palette.style(Paint::Bad)));
    [status_line(node, palette, now)].into_iter().chain(redis).chain(wrong).collect()
}

fn status_line(node: &Node, palette: Palette, now: Instant) -> Line<'static> {
    let mut spans = vec![standing(node, palette, now)];
    match (&node.state, &node.last) {
        (State::Live, Some(last)) => spans.push(Span::raw(format!(
            ", {} ms behind   {} connections   {} watchers   up {}",
            grouped(last.age_ms),
            grouped(last.connections),
            grouped(last.watchers),
            whole(last.uptime_s)
        ))),
        (State::Away { reason, .. }, _) => spans.push(Span::raw(format!(": {}; trying again", harmless(reason)))),
        _ => {}
    }
    Line::from(spans)
}

fn waiting(node: &Node, palette: Palette) -> Paragraph<'static> {
    let text = match node.state {
        State::Away { .. } => {
            "Is the node running? `freshet demo` starts one. Its operations listener is named with \
             --operations when it starts, and is http://127.0.0.1:8081 by default."
        }
        _ => "Waiting for the first second.",
    };
    Paragraph::new(vec![Line::default(), Line::styled(text, palette.style(Paint::Quiet))]).wrap(Wrap { trim: true })
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend, style::Color};

    use super::{
        super::{feed::News, node::tests::busy, snapshot::Database},
        *,
    };

    fn drawn(nodes: &[Node], view: View, size: (u16, u16), colours: bool) -> (String, Terminal<TestBackend>) {
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).expect("a screen");
        let palette = Palette { colours };
        let picture = Picture { nodes, view, paused: false, palette, now: Instant::now() };
        terminal.draw(|frame| picture.draw(frame)).expect("drawn");
        let buffer = terminal.backend().buffer();
        let line = |y| (0..size.0).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        let text = (0..size.1).map(line).collect::<Vec<_>>().join("\n");
        (text, terminal)
    }

    #[track_caller]
    fn shows(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{part:?} is not shown in:\n{text}");
        }
    }

    #[test]
    fn a_node_is_shown_whole_on_a_small_and_on_a_wide_terminal() {
        let nodes = [busy("127.0.0.1:8081", 200)];
        for size in [(80, 24), (160, 50)] {
            let (text, _) = drawn(&nodes, View::One(0), size, true);
            shows(
                &text,
                &[
                    "127.0.0.1:8081",
                    "fresh, 12 ms behind   12 connections   34 watchers   up 3 min",
                    "reads 1,400/s",
                    "local 71.4%",
                    "filter 0.1%",
                    "store 28.5%",
                    "pushes",
                    "conflated",
                    "p50 1.5 ms",
                    "p99 8.0 ms",
                    "committed",
                    "overloaded",
                    "4,064 records",
                    "2.0 MiB of 256.0 MiB",
                    "q leave",
                ],
            );
        }
    }

    #[test]
    fn several_databases_are_shown_each_with_its_age() {
        let text = |fresh, size| {
            let mut node = busy("a:1", 9);
            let last = node.last.as_mut().expect("it was heard");
            last.databases = (0..8)
                .map(|n| Database {
                    name: format!("shop-{n}"),
                    fresh: n != 3 || fresh,
                    age_ms: 12 + n * 1_000,
                    servers: Vec::new(),
                })
                .collect();
            drawn(&[node], View::One(0), size, true).0
        };
        shows(&text(true, (80, 24)), &["databases", "● shop-0 12 ms behind", "● shop-7 7,012 ms behind", "errors"]);
        shows(&text(false, (160, 24)), &["● shop-3 not fresh, 3,012 ms behind"]);
        assert!(!text(true, (80, 17)).contains("shop-0"), "there is too little room");
    }

    /// A node with so many databases, each with a primary on one server and a replica on another; some of the latter are away.
    fn replicated(databases: u64, away: &[u64]) -> Node {
        let mut node = busy("a:1", 9);
        let last = node.last.as_mut().expect("it was heard");
        let database = |n: u64| {
            let replica = match away.contains(&n) {
                false => {
                    format!(r#"{{"server":"/var/lib/pg/b{}","role":"replica","lag_ms":{},"reads":7}}"#, n / 4, 40 + n)
                }
                true => format!(
                    r#"{{"server":"/var/lib/pg/b{}","role":"banned","reads":7,
                         "reason":"connect to the database: No such file or directory (os error 2), and it was a long story"}}"#,
                    n / 4
                ),
            };
            let text = format!(
                r#"{{"name":"shop-{n}","fresh":true,"age_ms":12,
                     "servers":[{{"server":"/var/lib/pg/a","role":"primary","reads":9}},{replica}]}}"#
            );
            serde_json::from_str::<Database>(&text).expect("a database")
        };
        last.databases = (0..databases).map(database).collect();
        node
    }

    #[test]
    fn replicas_are_shown_with_their_database_and_those_that_are_away_with_the_reason() {
        let text = |databases, away: &[u64], size| drawn(&[replicated(databases, away)], View::One(0), size, true).0;
        for size in [(80, 24), (160, 50)] {
            shows(&text(1, &[], size), &["● shop-0 12 ms, replicas 1/1 40 ms"]);
            shows(
                &text(1, &[0], size),
                &["● shop-0 12 ms, replicas 0/1", "b0 is asked nothing: connect to the database"],
            );
            shows(&text(8, &[], size), &["● shop-0 12 ms, replicas 1/1 40 ms", "● shop-7 12 ms, replicas 1/1 47 ms"]);
            shows(&text(8, &[4, 5], size), &["● shop-4 12 ms, replicas 0/1", "errors"]);
        }
        let wide = text(8, &[3, 4, 5], (160, 50));
        shows(
            &wide,
            &["/var/lib/pg/b0 is asked nothing for shop-3: connect", "b1 is asked nothing for shop-4, shop-5: connect"],
        );
        let narrow = text(8, &[3, 4, 5], (80, 30));
        shows(&narrow, &["b1 is asked nothing for shop-4, shop-5: connect to the database: …"]);
    }

    #[test]
    fn redis_has_a_line_and_a_share_of_the_reads_where_there_is_one() {
        let mut node = busy("a:1", 9);
        assert!(!drawn(std::slice::from_ref(&node), View::One(0), (80, 24), true).0.to_lowercase().contains("redis"));
        let last = node.last.as_mut().expect("it was heard");
        let redis = r#"{"open":true,"databases":[{"slices":1,"usable":1,"kept_here":1,"behind_ms":250}]}"#;
        last.redis = serde_json::from_str(redis).expect("how it stands");
        for size in [(80, 24), (160, 50)] {
            let (text, _) = drawn(std::slice::from_ref(&node), View::One(0), size, true);
            shows(
                &text,
                &["Redis in use, 250 ms behind, kept by this node", "redis 0.0%", "stale 0.0%", "4,064 records"],
            );
        }
    }

    #[test]
    fn a_record_that_an_audit_has_found_to_be_wrong_has_a_line() {
        let mut node = busy("a:1", 9);
        let last = node.last.as_mut().expect("it was heard");
        let audit =
            |wrong| format!(r#"{{"audited":1204,"wrong":{wrong},"last":{{"ago_s":12,"found":"shared held c/k"}}}}"#);
        last.audit = serde_json::from_str(&audit(0)).expect("what was found");
        assert!(!drawn(std::slice::from_ref(&node), View::One(0), (80, 24), true).0.contains("audited"));
        let last = node.last.as_mut().expect("it was heard");
        last.audit = serde_json::from_str(&audit(1)).expect("what was found");
        let (text, _) = drawn(std::slice::from_ref(&node), View::One(0), (80, 24), true);
        shows(&text, &["audited 1,204, wrong 1; 12 s ago: shared held c/k"]);
    }

    #[test]
    fn a_tiny_terminal_shows_the_rates() {
        let (text, _) = drawn(&[busy("a:1", 9)], View::One(0), (40, 10), true);
        shows(&text, &["a second", "reads", "pushes"]);
        drawn(&[busy("a:1", 9)], View::One(0), (1, 1), true);
    }

    #[test]
    fn a_lost_node_says_so_and_keeps_its_past() {
        let mut node = busy("a:1", 30);
        node.hear(News::Away("connection refused".into()), Instant::now());
        node.tick();
        let (text, _) = drawn(&[node], View::One(0), (80, 24), true);
        shows(&text, &["away for 0 s: connection refused; trying again", "a second, for two minutes", "█"]);
        assert!(!text.contains("ms behind"), "{text}");
    }

    #[test]
    fn a_node_never_reached_says_what_to_do() {
        let mut node = Node::new("a:1".parse().expect("an address"));
        shows(
            &drawn(&[node.clone()], View::One(0), (80, 24), true).0,
            &["connecting", "Waiting for the first second."],
        );
        node.hear(News::Away("connection refused".into()), Instant::now());
        shows(&drawn(&[node], View::One(0), (80, 24), true).0, &["connection refused", "`freshet demo` starts one"]);
    }

    #[test]
    fn several_nodes_are_rows_and_tabs() {
        let mut away = busy("b:2", 5);
        away.hear(News::Away("connection refused".into()), Instant::now());
        let nodes = [busy("a:1", 5), away];
        let (text, _) = drawn(&nodes, View::All, (100, 24), true);
        shows(&text, &[" all ", "a:1", "b:2", "reads/s", "1,010", "99.0%", "away for", "nodes"]);
        shows(&drawn(&nodes, View::One(1), (100, 24), true).0, &["b:2", "away for", "trying again"]);
    }

    #[test]
    fn without_colours_the_tiers_differ_by_their_shape() {
        let (text, terminal) = drawn(&[busy("a:1", 200)], View::One(0), (80, 24), false);
        let coloured =
            terminal.backend().buffer().content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert!(!coloured);
        shows(&text, &["█ local", "▓ filter", "▒ store"]);
    }
}
