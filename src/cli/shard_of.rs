//! `freshet shard-of products 85123A`

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    Error, Output,
    database::DatabaseArgs,
    pretty::harmless,
    table::{Cell, Paint, Table},
};
use crate::{
    record::{Key, KeyKind, shard},
    store::postgres::{servers, survey},
};

/// Whose shards to tell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The collection, which is a tracked table's name, such as products.
    collection: String,
    /// The keys.
    #[arg(required = true, allow_negative_numbers = true)]
    keys: Vec<String>,
    #[command(flatten)]
    database: DatabaseArgs,
    /// Ask no database: keys are text, uuid, int2, int4 or int8.
    #[arg(long, value_name = "TYPE", requires = "shards", conflicts_with_all = ["database_url", "data_dir"], value_parser = key_kind)]
    key_type: Option<KeyKind>,
    /// Ask no database: there are so many logical shards.
    #[arg(long, value_name = "NUMBER", requires = "key_type", value_parser = clap::value_parser!(u32).range(1..))]
    shards: Option<u32>,
}

fn key_kind(name: &str) -> Result<KeyKind, String> {
    KeyKind::from_name(name).ok_or_else(|| "it is one of text, uuid, int2, int4, int8".into())
}

/// Where a key's record lies.
#[derive(Serialize)]
struct Place {
    key: String,
    shard: u32,
    /// `None` when no database that was asked has it.
    partition: Option<String>,
    /// The database that has it; `None` as well when no database was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
}

/// Prints the shard and the partition of each key, computed by the rule that nodes route by.
///
/// # Errors
/// [`Error::Usage`] naming the keys that are none, after the others were printed.
pub async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let routing = match (args.key_type, args.shards) {
        (Some(kind), Some(shards)) => Routing::offline(&args.collection, kind, shards),
        _ => Routing::read(&args).await?,
    };
    let (mut places, mut wrong) = (Vec::new(), Vec::new());
    for text in &args.keys {
        match routing.place(text) {
            Ok(place) => places.push(place),
            Err(reason) => wrong.push(format!("\n  {}: {reason}", harmless(text))),
        }
    }
    print(&places, output)?;
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Error::Usage(format!("not a key of {}:{}", harmless(&args.collection), wrong.concat()))),
    }
}

fn print(places: &[Place], output: &mut Output) -> Result<(), Error> {
    let mut table = Table::headed(["key", ">shard", "partition", "database"]);
    for place in places {
        let partition = match &place.partition {
            Some(name) => name.into(),
            None => Cell::painted(Paint::Bad, "in no database here"),
        };
        let database = place.database.as_deref().unwrap_or_default();
        table.push([(&place.key).into(), Cell::figure(place.shard.to_string()), partition, database.into()]);
    }
    match places.is_empty() {
        true => Ok(()),
        false => output.each(places, table.lay_out(output.palette()).trim_end()),
    }
}

/// What decides where a key lies.
struct Routing {
    kind: KeyKind,
    modulus: u32,
    /// Of each shard, its partition and the database that has it.
    partitions: Vec<Option<(String, Option<String>)>>,
}

impl Routing {
    /// By the names that `freshet.create_shards` gives.
    fn offline(collection: &str, kind: KeyKind, modulus: u32) -> Self {
        let digits = (modulus - 1).to_string().len().max(3);
        let partition = |shard| Some((format!("{collection}_{shard:0digits$}"), None));
        let partitions = (0..modulus).map(partition).collect();
        Routing { kind, modulus, partitions }
    }

    async fn read(args: &Args) -> Result<Self, Error> {
        let mut found = Vec::new();
        for target in args.database.targets()? {
            let mut session = servers::open_primary(target.database.urls(), "shard-of").await?;
            let collections = survey::collections(&mut session).await?;
            session.close().await;
            found.extend(collections.into_iter().map(|collection| (target.name.clone(), collection)));
        }
        let mut own = found.iter().filter(|(_, collection)| collection.name == args.collection).peekable();
        let Some((_, collection)) = own.peek() else { return Err(unknown(&args.collection, &found)) };
        let kind = KeyKind::from_name(&collection.key_kind)
            .ok_or_else(|| Error::Found(format!("the key type {} is unknown here", collection.key_kind)))?;
        let mut partitions = vec![None; collection.shards.len()];
        for (database, collection) in own {
            let owned = collection.shards.iter().filter(|shard| shard.is_owned());
            for (shard, partition) in owned.filter_map(|shard| Some((shard, shard.partition.clone()?))) {
                if let Some(place) = partitions.get_mut(shard.number.unsigned_abs() as usize) {
                    *place = Some((partition, Some(database.clone())));
                }
            }
        }
        match u32::try_from(partitions.len()) {
            Ok(modulus) if modulus > 0 => Ok(Routing { kind, modulus, partitions }),
            _ => Err(Error::Found(format!("{} has no shards yet; run `freshet migrate`", args.collection))),
        }
    }

    fn place(&self, text: &str) -> Result<Place, String> {
        let key = Key::parse(self.kind, text).map_err(|error| error.to_string())?;
        let shard = shard::shard_of(self.kind, key.as_str(), self.modulus).ok_or("it has no shard")?;
        let (partition, database) = self.partitions.get(shard as usize).cloned().flatten().unzip();
        Ok(Place { key: key.as_str().to_owned(), shard, partition, database: database.flatten() })
    }
}

fn unknown(name: &str, found: &[(String, survey::Collection)]) -> Error {
    let names: BTreeSet<_> = found.iter().map(|(_, collection)| harmless(&collection.name)).collect();
    let tracked = if names.is_empty() { "none".into() } else { names.into_iter().collect::<Vec<_>>().join(", ") };
    Error::Usage(format!("there is no collection {}; tracked are: {tracked}", harmless(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_as_the_database_names_them() {
        for (modulus, shard, name) in [(64, 7, "t_007"), (1, 0, "t_000"), (4_096, 7, "t_0007")] {
            let routing = Routing::offline("t", KeyKind::Text, modulus);
            assert_eq!(routing.partitions[shard].as_ref().map(|(partition, _)| &**partition), Some(name));
        }
    }

    #[test]
    fn a_key_of_another_type_is_refused_with_the_reason() {
        let routing = Routing::offline("t", KeyKind::Int4, 64);
        assert_eq!(routing.place("+7").map(|place| place.key), Ok("7".into()));
        let reason = routing.place("seven").map(|place| place.key).expect_err("no number");
        assert!(reason.contains("int4"), "{reason}");
    }
}
