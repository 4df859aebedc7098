//! Shapes of writes: what rows have in common that one statement writes.

/// What becomes of a row, and which of its columns are given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    pub kind: Kind,
    /// The columns given, by their places in the collection, in rising order.
    pub columns: Vec<(usize, Source)>,
    /// Whether rows come with the version they must have.
    pub asks: bool,
    /// Whether a row that another transaction holds is waited for, and not passed by.
    pub waits: bool,
    /// Whether the statement waits for rows, or keys, that other transactions hold, and an update of it does not tell of rows
    /// that it did not write.
    pub is_plain: bool,
    /// Whether the statement is for one row, and its parameters no arrays: that takes a tenth less.
    pub is_single: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Inserts rows that are not there; others are passed by.
    Insert,
    /// Updates rows; columns that are not given get their defaults.
    Replace,
    /// Updates rows; columns that are not given stay.
    Patch,
    /// Deletes rows.
    Delete,
}

/// Where a column's new value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// It is given.
    Given,
    /// A JSON object that is merged into what stands.
    Merged,
    /// An amount is added to what stands.
    Added,
    /// A value is given, and an amount added to it.
    GivenAndAdded,
}

impl Source {
    pub fn has_value(self) -> bool {
        self != Source::Added
    }

    pub fn has_amount(self) -> bool {
        matches!(self, Source::Added | Source::GivenAndAdded)
    }
}
