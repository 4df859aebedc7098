//! Tables in Markdown.

/// A table that grows row by row.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; the first two hold names and all others figures.
    pub fn new(columns: &[&str]) -> Self {
        let rule = |at| if at < 2 { "---" } else { "---:" };
        let head = columns.iter().map(ToString::to_string).collect();
        Table { rows: vec![head, (0..columns.len()).map(|at| rule(at).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, names: [&str; 2], figures: impl IntoIterator<Item = f64>) {
        let figures = figures.into_iter().map(|figure| format!("{figure:.1}"));
        self.rows.push(names.iter().map(ToString::to_string).chain(figures).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.rows.iter().try_for_each(|row| writeln!(f, "| {} |", row.join(" | ")))
    }
}
