//! What of the values has a column, and how wide: where room is scarce, members that change come before those that do not.

use std::cmp::Reverse;

use ratatui::text::Span;

use crate::{
    cli::pretty::{Layout, harmless, lay_out},
    client::Record,
    record::patch::Members,
};

/// The room between two columns.
pub(super) const GAP: usize = 2;
/// What stands in the first column of a record that does not exist.
pub(super) const ABSENT: &str = "absent";
/// The least that a column of texts is cut to. Numbers are not cut: what is left of one is another one.
const TEXT_MIN: usize = 10;

/// The columns of all values, in the order of their members.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    /// Whether they are those that were asked for; otherwise they are the members that the values have.
    are_given: bool,
}

/// What is known of a column.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    /// How often a record's member became another one here.
    changes: u64,
    /// Whether it held nothing but numbers.
    is_figure: bool,
    /// Whether it held nothing but the keys of its records, which have a column of their own.
    is_key: bool,
    /// The width of its widest text or of its name. It never shrinks, so that columns do not move with every change.
    widest: usize,
}

/// A column that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown<'a> {
    /// Its place among all columns.
    pub(super) place: usize,
    pub(super) name: &'a str,
    pub(super) width: usize,
    /// Whether it is aligned at the right.
    pub(super) is_figure: bool,
}

impl Columns {
    /// Those of `fields`, or of all members when there are none.
    pub(super) fn new(fields: Vec<String>) -> Self {
        let are_given = !fields.is_empty();
        let columns = fields.into_iter().map(|name| Column::new(name, false)).collect();
        Columns { columns, are_given }
    }

    /// The text of each column in `record`, which is taken into account.
    pub(super) fn read(&mut self, record: &Record) -> Vec<String> {
        let Some(value) = &record.value else {
            return vec![String::new(); self.columns.len()];
        };
        let members = Members::parse(value.get()).unwrap_or_default();
        if !self.are_given {
            for (name, _) in members.iter() {
                if !self.columns.iter().any(|column| column.name == name) {
                    self.columns.push(Column::new(name.to_owned(), true));
                }
            }
        }
        let read = |column: &mut Column| column.read(member(&members, &column.name), &record.key);
        self.columns.iter_mut().map(read).collect()
    }

    /// Notes that the column at that place has changed in a record.
    pub(super) fn note_change(&mut self, place: usize) {
        self.columns[place].changes += 1;
    }

    /// The columns that `room` suffices for, in their order, and the names of the others.
    ///
    /// What changed more often comes first, by orders of magnitude: else columns would take turns.
    pub(super) fn fit(&self, room: usize) -> (Vec<Shown<'_>>, Vec<&str>) {
        let mut ranked: Vec<_> = (0..self.columns.len()).filter(|place| !self.columns[*place].is_key).collect();
        ranked.sort_by_key(|place| Reverse(self.columns[*place].changes.checked_ilog2()));
        let widths = self.widths(&ranked, room);
        let (mut shown, mut hidden) = (Vec::new(), Vec::new());
        for (place, column) in self.columns.iter().enumerate().filter(|(_, column)| !column.is_key) {
            match widths[place] {
                Some(width) => shown.push(Shown { place, name: &column.name, width, is_figure: column.is_figure }),
                None => hidden.push(&*column.name),
            }
        }
        (shown, hidden)
    }

    /// The width of each column that there is room for: first the least of as many as possible, then as much as they want.
    fn widths(&self, ranked: &[usize], room: usize) -> Vec<Option<usize>> {
        let mut widths = vec![None; self.columns.len()];
        let mut left = room;
        for place in ranked {
            let (gap, least) = match left == room {
                // One is shown in any case, cut to the room.
                true => (0, self.columns[*place].least().min(room)),
                false => (GAP, self.columns[*place].least()),
            };
            if gap + least <= left && least > 0 {
                widths[*place] = Some(least);
                left -= gap + least;
            }
        }
        let first = widths.iter().position(Option::is_some);
        let mut widen = |place: usize, wanted: usize| {
            if let Some(width) = &mut widths[place] {
                let more = wanted.saturating_sub(*width).min(left);
                *width += more;
                left -= more;
            }
        };
        first.into_iter().for_each(|first| widen(first, ABSENT.len()));
        ranked.iter().for_each(|place| widen(*place, self.columns[*place].widest));
        widths
    }
}

impl Column {
    fn new(name: String, is_key: bool) -> Self {
        let widest = Span::raw(harmless(&name)).width();
        Column { name, changes: 0, is_figure: true, is_key, widest }
    }

    /// What stands in it for `raw`, the member's JSON text.
    fn read(&mut self, raw: Option<String>, key: &str) -> String {
        let text = raw.as_deref().map(shown).unwrap_or_default();
        let is_number =
            raw.is_none_or(|raw| raw == "null" || raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()));
        self.is_figure &= is_number;
        self.is_key &= text == key;
        self.widest = self.widest.max(Span::raw(&text).width());
        text
    }

    /// The least width that it is shown with.
    fn least(&self) -> usize {
        if self.is_figure { self.widest } else { self.widest.min(TEXT_MIN) }
    }
}

/// The member whose name is `path`; without such a member, the nested one that `path` names part by part.
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

#[cfg(test)]
mod tests {
    use super::{super::board::tests::record, *};

    /// A shop's product, whose name is the widest.
    const PRODUCT: &str =
        r#"{"sku":"85123A","name":"WHITE HANGING HEART T-LIGHT HOLDER","currency":"GBP","price":295,"stock":41}"#;

    fn columns(changes: &[(usize, usize)]) -> Columns {
        let mut columns = Columns::new(Vec::new());
        columns.read(&record("85123A", 1, PRODUCT));
        for (place, times) in changes {
            (0..*times).for_each(|_| columns.note_change(*place));
        }
        columns
    }

    fn fitted(columns: &Columns, room: usize) -> Vec<(&str, usize)> {
        columns.fit(room).0.iter().map(|shown| (shown.name, shown.width)).collect()
    }

    #[test]
    fn fields_are_found_in_the_value_and_inside_of_it() {
        let fields = ["price", "attributes.colour.name", "a.b", "none"];
        let mut columns = Columns::new(fields.map(str::to_owned).to_vec());
        let value = r#"{"price":1.50,"attributes":{"colour":{"name":"red\u001b"}},"a.b":[1, 2]}"#;
        assert_eq!(columns.read(&record("x", 1, value)), ["1.50", r"red\u001b", "[1,2]", ""]);
        let (shown, _) = columns.fit(80);
        let figures: Vec<_> = shown.iter().filter(|shown| shown.is_figure).map(|shown| shown.name).collect();
        assert_eq!(figures, ["price", "none"], "what holds numbers only, or nothing");
    }

    #[test]
    fn all_members_but_the_key_are_shown_where_there_is_room_and_texts_give_way_first() {
        let columns = columns(&[]);
        let all = [("name", 34), ("currency", 8), ("price", 5), ("stock", 5)];
        assert_eq!(fitted(&columns, 58), all);
        assert_eq!(fitted(&columns, 200), all);
        assert_eq!(fitted(&columns, 57)[0], ("name", 33));
        assert_eq!(fitted(&columns, 34), [("name", 10), ("currency", 8), ("price", 5), ("stock", 5)]);
    }

    #[test]
    fn what_changes_is_shown_before_what_does_not() {
        let shown = |columns: &Columns, room| {
            let (shown, hidden) = columns.fit(room);
            (shown.iter().map(|shown| shown.name.to_owned()).collect::<Vec<_>>(), hidden.join(" "))
        };
        let quiet = columns(&[]);
        assert_eq!(shown(&quiet, 26), (vec!["name".into(), "currency".into()], "price stock".into()));
        let moving = columns(&[(4, 9), (3, 1)]);
        assert_eq!(shown(&moving, 26), (vec!["name".into(), "price".into(), "stock".into()], "currency".into()));
        assert_eq!(shown(&moving, 12), (vec!["price".into(), "stock".into()], "name currency".into()));
        assert_eq!(shown(&moving, 6).0, ["stock"], "it changes most");
        assert_eq!(fitted(&moving, 3), [("stock", 3)], "one is shown in any case");
        assert_eq!(fitted(&moving, 0), []);
    }

    #[test]
    fn columns_do_not_take_turns() {
        let mut columns = columns(&[(3, 9), (4, 10)]);
        let names = |columns: &Columns| columns.fit(5).0[0].name.to_owned();
        assert_eq!(names(&columns), "price", "about as often counts as often");
        (0..6).for_each(|_| columns.note_change(4));
        assert_eq!(names(&columns), "stock");
    }

    #[test]
    fn a_column_keeps_its_width_when_its_texts_become_shorter() {
        let mut columns = Columns::new(vec!["n".into()]);
        for value in [r#"{"n":1234567}"#, r#"{"n":1}"#] {
            columns.read(&record("a", 1, value));
        }
        assert_eq!(fitted(&columns, 80), [("n", 7)]);
    }
}
