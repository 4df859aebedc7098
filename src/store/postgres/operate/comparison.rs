//! How databases describe their collections, one beside the other: a node serves those that are alike.

use std::collections::BTreeMap;

use crate::store::{
    Error,
    postgres::{agreement, describe, failure, session::Session},
};

/// What a database says of its collections.
pub struct Description {
    tables: Vec<describe::Table>,
    triggers: Triggers,
}

/// How each trigger of each collection is defined, by the names of both.
type Triggers = BTreeMap<(String, String), String>;

/// Reads it.
///
/// # Errors
/// [`Error::Broken`] when the database was not migrated; [`Error::Unavailable`] when the connection is lost.
pub async fn describe(session: &mut Session) -> Result<Description, Error> {
    let tables = describe::tables(&mut session.connection).await?;
    let query = sqlx::query_as(
        "SELECT c.name, t.tgname::text, pg_get_triggerdef(t.oid, true) || CASE t.tgenabled
                    WHEN 'O' THEN '' WHEN 'D' THEN ', disabled' ELSE ', enabled as ' || t.tgenabled::text END
           FROM feed.collection c JOIN pg_trigger t ON t.tgrelid = c.relation AND NOT t.tgisinternal",
    );
    let rows: Vec<(String, String, String)> = query.fetch_all(&mut session.connection).await.map_err(failure::error)?;
    let triggers = rows.into_iter().map(|(collection, name, definition)| ((collection, name), definition)).collect();
    Ok(Description { tables, triggers })
}

/// In what a database differs from most of the others, in words for an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What of its collections keeps nodes from serving it.
    pub collections: Option<String>,
    /// What of their triggers: its rows follow other rules.
    pub triggers: Option<String>,
}

/// In what each differs from most of the others.
pub fn differences(descriptions: &[&Description]) -> Vec<Difference> {
    let tables: Vec<&[describe::Table]> = descriptions.iter().map(|description| &description.tables[..]).collect();
    let triggers: Vec<&Triggers> = descriptions.iter().map(|description| &description.triggers).collect();
    let Some(usual) = tables.get(agreement::reference(&tables)) else { return Vec::new() };
    let usual_triggers = most(&triggers);
    let difference = |description: &&Description| Difference {
        collections: agreement::difference(usual, &description.tables),
        triggers: usual_triggers.and_then(|usual| difference(usual, &description.triggers)),
    };
    descriptions.iter().map(difference).collect()
}

/// Those that most have; of several, the first.
fn most<'a>(all: &[&'a Triggers]) -> Option<&'a Triggers> {
    let followers = |triggers: &&&Triggers| all.iter().filter(|other| *other == *triggers).count();
    all.iter().rev().max_by_key(followers).copied()
}

fn difference(usual: &Triggers, triggers: &Triggers) -> Option<String> {
    for ((collection, name), definition) in usual {
        match triggers.get(&(collection.clone(), name.clone())) {
            Some(own) if own == definition => {}
            Some(own) => {
                return Some(format!(
                    "its trigger \"{name}\" of \"{collection}\" differs from the others': {own}, where they have {definition}"
                ));
            }
            None => {
                return Some(format!(
                    "its collection \"{collection}\" has no trigger \"{name}\", which the others have"
                ));
            }
        }
    }
    let ((collection, name), _) = triggers.iter().find(|(key, _)| !usual.contains_key(key))?;
    Some(format!("its collection \"{collection}\" has a trigger \"{name}\" that the others have not"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triggers(all: &[(&str, &str)]) -> Triggers {
        all.iter().map(|(name, definition)| (("c".into(), (*name).into()), (*definition).into())).collect()
    }

    #[test]
    fn the_one_that_differs_from_most_is_named() {
        let (usual, without) = (triggers(&[("a", "x"), ("b", "y")]), triggers(&[("a", "x")]));
        let (with, other) =
            (triggers(&[("a", "x"), ("b", "y"), ("z", "z")]), triggers(&[("a", "x, disabled"), ("b", "y")]));
        assert_eq!(most(&[&without, &usual, &with, &usual]), Some(&usual));
        assert_eq!(most(&[&without, &usual]), Some(&without), "of several, the first");
        let named = |triggers| difference(&usual, triggers).unwrap_or_default();
        for (triggers, part) in
            [(&usual, ""), (&without, "no trigger \"b\""), (&with, "\"z\" that"), (&other, "x, disabled")]
        {
            assert!(
                named(triggers).contains(part) && named(triggers).is_empty() == part.is_empty(),
                "{}",
                named(triggers)
            );
        }
    }
}
