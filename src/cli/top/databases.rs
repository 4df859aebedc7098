//! How each database stands, where a node serves several or reads from replicas.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::Paragraph,
};

use super::snapshot::{Database, Replicas, Role, Server, age};
use crate::cli::{
    pretty::harmless,
    screen::cut,
    table::{Paint, Palette},
};

/// Columns between two databases.
const GAP: usize = 3;

/// The lines of the tile.
pub(super) struct Tile {
    lines: Vec<Line<'static>>,
}

impl Tile {
    /// Each database with its age, as many in a line as `width` has room for; then the replicas that are asked nothing, as far as
    /// `height` goes. Nothing where there is only one server, or too little room. Where room is short, replicas are left out.
    pub(super) fn fitting(databases: &[Database], width: u16, height: u16, palette: Palette) -> Option<Self> {
        let has_replicas = databases.iter().any(|database| database.replicas().next().is_some());
        if databases.len() < 2 && !has_replicas {
            return None;
        }
        let (width, height) = (usize::from(width), usize::from(height));
        let mut lines = [true, false].into_iter().find_map(|tells_replicas| {
            let cells: Vec<_> = databases.iter().map(|database| cell(database, tells_replicas, palette)).collect();
            Some(grid(cells, width)).filter(|lines| lines.len() <= height)
        })?;
        lines.extend(notes(databases, width, height - lines.len(), palette));
        Some(Tile { lines })
    }

    pub(super) fn height(&self) -> u16 {
        u16::try_from(self.lines.len()).unwrap_or(u16::MAX)
    }

    pub(super) fn draw(self, frame: &mut Frame<'_>, area: Rect) {
        frame.render_widget(Paragraph::new(self.lines), area);
    }
}

/// `● shop-1 12 ms behind`, or with its replicas `● shop-1 12 ms, replicas 1/2 40 ms`.
fn cell(database: &Database, tells_replicas: bool, palette: Palette) -> Vec<Span<'static>> {
    let dot = palette.style(if database.fresh { Paint::Good } else { Paint::Bad });
    let state = if database.fresh { "" } else { "not fresh, " };
    let text = format!("{} {state}{}", harmless(&database.name), age(database.age_ms));
    let replicas = Replicas::of(database.replicas());
    let rest = match tells_replicas && replicas.all > 0 {
        false => vec![Span::raw(" behind")],
        true => {
            let paint = if replicas.asked == replicas.all { Paint::Plain } else { Paint::Warn };
            vec![Span::raw(", "), Span::styled(replicas.to_string(), palette.style(paint))]
        }
    };
    [Span::styled("● ", dot), Span::raw(text)].into_iter().chain(rest).collect()
}

/// Cells of one width, as many in a line as there is room for.
fn grid(cells: Vec<Vec<Span<'static>>>, width: usize) -> Vec<Line<'static>> {
    let width_of = |cell: &[Span<'_>]| cell.iter().map(Span::width).sum::<usize>();
    let widest = cells.iter().map(|cell| width_of(cell)).max().unwrap_or_default();
    // The last of a line needs no gap.
    let per_line = ((width + GAP) / (widest + GAP)).max(1);
    let padded = |mut cell: Vec<Span<'static>>| {
        cell.push(Span::raw(" ".repeat(widest + GAP - width_of(&cell))));
        cell
    };
    let cells: Vec<_> = cells.into_iter().map(padded).collect();
    cells.chunks(per_line).map(|cells| cells.concat().into()).collect()
}

/// A line for each server that is asked nothing, as a replica of some databases; the last one counts those without a line.
fn notes(databases: &[Database], width: usize, height: usize, palette: Palette) -> Vec<Line<'static>> {
    let mut banned: Vec<(&Server, Vec<&str>)> = Vec::new();
    for database in databases {
        for server in database.replicas().filter(|server| server.role == Role::Banned) {
            match banned.iter_mut().find(|(known, _)| known.server == server.server) {
                Some((_, names)) => names.push(&database.name),
                None => banned.push((server, vec![&database.name])),
            }
        }
    }
    let shown = if banned.len() > height { height.saturating_sub(1) } else { banned.len() };
    let mut texts: Vec<String> = banned[..shown]
        .iter()
        .map(|(server, names)| {
            let of = if databases.len() > 1 { format!(" for {}", names.join(", ")) } else { String::new() };
            format!(
                "{} is asked nothing{of}: {}",
                server.server,
                server.reason.as_deref().unwrap_or("it was not asked yet")
            )
        })
        .collect();
    if shown < banned.len() && height > 0 {
        texts.push(format!("{} more servers are asked nothing", banned.len() - shown));
    }
    let note =
        |text: String| Line::styled(format!("  {}", cut(&harmless(&text), width - 2)), palette.style(Paint::Warn));
    texts.into_iter().map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(databases: &[Database], width: u16, height: u16) -> Vec<String> {
        let tile = Tile::fitting(databases, width, height, Palette { colours: false });
        tile.map_or_else(Vec::new, |tile| {
            tile.lines.iter().map(|line| line.to_string().trim_end().to_owned()).collect()
        })
    }

    fn database(age_ms: u64, roles: &[Role]) -> Database {
        let server = |(n, &role): (usize, &Role)| Server {
            server: format!("h{n}:5432"),
            role,
            lag_ms: Some(40 * n as u64),
            reads: 0,
            reason: (role == Role::Banned).then(|| "it is 7.5 s behind".into()),
        };
        let servers = roles.iter().enumerate().map(server).collect();
        Database { name: "shop-1".into(), fresh: age_ms < 3_000, age_ms, servers }
    }

    #[test]
    fn databases_share_lines_as_far_as_they_fit() {
        let fresh = vec![database(12, &[]); 8];
        let count = |width, height| lines(&fresh, width, height).len();
        assert_eq!((count(80, 9), count(200, 9), count(10, 9), count(80, 2)), (3, 1, 8, 0));
        let said = |age_ms| lines(&[database(age_ms, &[]), database(12, &[])], 40, 9)[0].clone();
        assert_eq!(said(12), "● shop-1 12 ms behind");
        assert_eq!(said(4_250), "● shop-1 not fresh, 4,250 ms behind");
        assert_eq!(said(90_000), "● shop-1 not fresh, 90 s behind");
        assert!(lines(&fresh[..1], 80, 9).is_empty(), "one database on one server is told in the line above");
    }

    #[test]
    fn replicas_are_counted_and_those_that_are_asked_nothing_are_named() {
        use Role::{Banned, Primary, Replica};
        let one = [database(12, &[Primary, Replica, Replica])];
        assert_eq!(lines(&one, 80, 9), ["● shop-1 12 ms, replicas 2/2 80 ms"]);
        let one = [database(12, &[Primary, Replica, Banned])];
        let both = ["● shop-1 12 ms, replicas 1/2 40 ms", "  h2:5432 is asked nothing: it is 7.5 s behind"];
        assert_eq!(lines(&one, 80, 9), both);
        assert_eq!(lines(&one, 36, 9)[1], "  h2:5432 is asked nothing: it is 7…");
        assert_eq!(lines(&one, 80, 1), both[..1]);
        let none = [database(12, &[Banned, Primary, Banned])];
        assert_eq!(lines(&none, 80, 2), ["● shop-1 12 ms, replicas 0/2", "  2 more servers are asked nothing"]);
        let eight = vec![database(4_250, &[Primary, Replica]); 8];
        assert_eq!(
            lines(&eight, 80, 4)[0],
            "● shop-1 not fresh, 4,250 ms behind   ● shop-1 not fresh, 4,250 ms behind"
        );
    }
}
