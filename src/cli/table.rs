//! Columns and colours for people.

use super::pretty::harmless;

/// How a text stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Paint {
    /// Not at all.
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// An aside.
    Quiet,
    /// All is well.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
}

/// Paints where colours are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    pub(super) colours: bool,
}

impl Palette {
    /// `text`, made harmless and painted.
    ///
    /// # Source
    /// ECMA-48, section 8.3.117: select graphic rendition.
    pub(super) fn paint(self, paint: Paint, text: &str) -> String {
        let text = harmless(text);
        let code = match paint {
            Paint::Plain => return text,
            _ if !self.colours => return text,
            Paint::Strong => "1",
            Paint::Quiet => "2",
            Paint::Good => "32",
            Paint::Warn => "33",
            Paint::Bad => "1;31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// What stands before each column.
const GAP: &str = "  ";
/// The least that the last column is broken to.
const ROOM_MIN: usize = 24;

/// One field of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    paint: Paint,
    is_right: bool,
}

impl Cell {
    /// A text, painted.
    pub(super) fn painted(paint: Paint, text: impl Into<String>) -> Self {
        Cell { text: text.into(), paint, is_right: false }
    }

    /// A figure, at the right of its column.
    pub(super) fn figure(text: impl Into<String>) -> Self {
        Cell { text: text.into(), paint: Paint::Plain, is_right: true }
    }

    /// The same, painted.
    pub(super) fn paint(self, paint: Paint) -> Self {
        Cell { paint, ..self }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::painted(Paint::Plain, text)
    }
}

/// Rows whose columns stand under each other, with titles between them.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
enum Row {
    Title(String),
    Cells(Vec<Cell>),
}

impl Table {
    /// A table under quiet headings; one that begins with `>` stands over figures.
    pub(super) fn headed<const N: usize>(names: [&str; N]) -> Self {
        let heading = |name: &str| match name.strip_prefix('>') {
            Some(name) => Cell::figure(name).paint(Paint::Quiet),
            None => Cell::painted(Paint::Quiet, name),
        };
        Table { rows: vec![Row::Cells(names.map(heading).into())] }
    }

    /// Whether nothing was added yet.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Begins a part of the table: a blank line and its name.
    pub(super) fn title(&mut self, name: &str) {
        self.rows.push(Row::Title(name.to_owned()));
    }

    /// Adds a row.
    pub(super) fn push<const N: usize>(&mut self, row: [Cell; N]) {
        self.rows.push(Row::Cells(row.into()));
    }

    /// The lines, each indented by two, without spaces at their ends.
    pub(super) fn lay_out(&self, palette: Palette) -> String {
        self.lay_out_within(palette, usize::MAX)
    }

    /// The same, with texts of the last column broken between words where lines would be longer than `width`.
    pub(super) fn lay_out_within(&self, palette: Palette, width: usize) -> String {
        let widths = self.widths();
        let before: usize = widths.iter().rev().skip(1).map(|width| width + GAP.len()).sum();
        let room = width.saturating_sub(before + GAP.len()).max(ROOM_MIN);
        let mut out = String::new();
        for row in &self.rows {
            match row {
                Row::Title(name) => out.push_str(&format!("\n{}\n", palette.paint(Paint::Strong, name))),
                Row::Cells(cells) => {
                    for cells in broken(cells, widths.len(), room) {
                        out.push_str(line(&cells, &widths, palette).trim_end());
                        out.push('\n');
                    }
                }
            }
        }
        out
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.rows {
            let Row::Cells(cells) = row else { continue };
            widths.resize(widths.len().max(cells.len()), 0);
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = width_of(cell).max(*width);
            }
        }
        widths
    }
}

/// The lines of a row whose last of `columns` has `room`.
fn broken(cells: &[Cell], columns: usize, room: usize) -> Vec<Vec<Cell>> {
    let Some((last, before)) = cells.split_last().filter(|(last, _)| cells.len() == columns && width_of(last) > room)
    else {
        return vec![cells.to_vec()];
    };
    let mut lines: Vec<String> = Vec::new();
    for word in last.text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let row = |(at, text): (usize, String)| {
        let before = before.iter().map(|cell| if at == 0 { cell.clone() } else { Cell::default() });
        before.chain([Cell { text, ..last.clone() }]).collect()
    };
    lines.into_iter().enumerate().map(row).collect()
}

fn line(cells: &[Cell], widths: &[usize], palette: Palette) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let gap = " ".repeat(width - width_of(cell));
        let text = palette.paint(cell.paint, &cell.text);
        line.push_str(GAP);
        line.push_str(&if cell.is_right { gap + &text } else { text + &gap });
    }
    line
}

fn width_of(cell: &Cell) -> usize {
    harmless(&cell.text).chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::headed(["shard", ">rows"]);
        table.push(["0-63".into(), Cell::figure("9")]);
        table.push(["a\u{1b}".into(), Cell::figure("1,000")]);
        let text = table.lay_out(Palette { colours: false });
        assert_eq!(text, "  shard     rows\n  0-63         9\n  a\\u001b  1,000\n");
        let coloured = table.lay_out(Palette { colours: true });
        assert!(coloured.starts_with("  \u{1b}[2mshard\u{1b}[0m  "), "{coloured:?}");
    }

    #[test]
    fn long_texts_of_the_last_column_are_broken_between_words() {
        let mut table = Table::default();
        table.push(["a".into(), "one two three four five six seven".into()]);
        table.push(["b".into(), "short".into()]);
        let text = table.lay_out_within(Palette { colours: false }, 30);
        assert_eq!(text, "  a  one two three four five\n     six seven\n  b  short\n");
        assert_eq!(table.lay_out(Palette { colours: false }).lines().count(), 2);
    }
}
