//! Whether databases describe their collections alike: a record's columns must not depend on where it lies.

use super::describe::Table;

/// The place of the description that most others agree with; of several, the first.
pub(super) fn reference(descriptions: &[&[Table]]) -> usize {
    let followers =
        |at: usize| descriptions.iter().filter(|other| difference(descriptions[at], other).is_none()).count();
    (0..descriptions.len()).rev().max_by_key(|at| followers(*at)).unwrap_or_default()
}

/// What is not alike, in words for an operator; `None` where all is.
pub(super) fn difference(reference: &[Table], tables: &[Table]) -> Option<String> {
    let find = |among: &[Table], name: &str| among.iter().any(|table| table.collection.name == name);
    for table in tables {
        let name = &table.collection.name;
        if !find(reference, name) {
            return Some(format!("it has a collection \"{name}\" that the others have not; run `freshet migrate`"));
        }
    }
    for expected in reference {
        let name = &expected.collection.name;
        let Some(table) = tables.iter().find(|table| table.collection.name == *name) else {
            return Some(format!("it has no collection \"{name}\"; run `freshet migrate`"));
        };
        if let Some(what) = difference_of(expected, table) {
            return Some(format!("its collection \"{name}\" {what}"));
        }
    }
    None
}

fn difference_of(expected: &Table, table: &Table) -> Option<String> {
    let (ours, theirs) = (&table.collection, &expected.collection);
    if ours.modulus != theirs.modulus {
        let (ours, theirs) = (ours.modulus, theirs.modulus);
        return Some(format!("has {ours} shards where the others have {theirs}; set it up anew with as many"));
    }
    if (&ours.key_column, ours.key_kind) != (&theirs.key_column, theirs.key_kind) {
        let key = |of: &crate::record::Collection| format!("{} {}", of.key_column, of.key_kind.name());
        return Some(format!("has the key {} where the others have {}", key(ours), key(theirs)));
    }
    for column in &expected.columns {
        match table.columns.iter().find(|other| other.name == column.name) {
            None => return Some(format!("has no column \"{}\"; run the migration that adds it", column.name)),
            Some(other) if (&other.sql, other.is_generated) != (&column.sql, column.is_generated) => {
                let (name, ours, theirs) = (&column.name, &other.sql, &column.sql);
                return Some(format!("has a column \"{name}\" of type {ours} where the others have {theirs}"));
            }
            Some(_) => {}
        }
    }
    let more = table.columns.iter().find(|column| !expected.columns.iter().any(|other| other.name == column.name))?;
    Some(format!("has a column \"{}\" that the others have not; run the migration that adds it there", more.name))
}
