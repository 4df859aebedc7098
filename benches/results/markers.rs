//! Parts of a page that are written apart from the rest: each stands between two markers.

/// The table that README shows.
pub const HEADLINE: Part = Part("headline");
/// What `cargo bench --bench nodes` writes into docs/results.md.
pub const NODES: Part = Part("nodes");

/// A part, by the name in its markers.
pub struct Part(&'static str);

impl Part {
    /// The part in `page`, if that has one.
    pub fn of<'p>(&self, page: &'p str) -> Option<&'p str> {
        let [begin, end] = self.markers();
        let (_, rest) = page.split_once(&begin)?;
        rest.split_once(&end).map(|(part, _)| part)
    }

    /// `page` with `part` in place of its own; `None` where it has none.
    pub fn replace(&self, page: &str, part: &str) -> Option<String> {
        let [begin, end] = self.markers();
        let (before, rest) = page.split_once(&begin)?;
        let (_, after) = rest.split_once(&end)?;
        Some(format!("{before}{begin}{part}{end}{after}"))
    }

    fn markers(&self) -> [String; 2] {
        ["begin", "end"].map(|which| format!("<!-- {}: {which} -->", self.0))
    }
}
