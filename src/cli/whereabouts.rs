//! `freshet where products 85123A`

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Error, Output,
    figures::{grouped, lasting},
    operations::{Asked, NodesArgs},
    pretty::harmless,
    table::{Cell, Paint, Table},
};
use crate::record::Stamp;

/// Which record, and which nodes to ask.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freshet where products 85123A                                      as the node on this machine sees it
  freshet where products 85123A --node web1:8081 --node web2:8081    several nodes

Servers and Redis are shown as the first node sees them that answers. No value is shown.
A stamp that is not the primary's stands out: a change is on its way, or something holds it up.")]
pub struct Args {
    /// The collection, which is a tracked table's name, such as products.
    collection: String,
    /// The key.
    #[arg(allow_negative_numbers = true)]
    key: String,
    #[command(flatten)]
    nodes: NodesArgs,
}

/// What a node answers; see `tiers/whereabouts.rs`. What another release leaves out is taken as nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Whereabouts {
    shard: u32,
    database: String,
    generation: u32,
    applied: u64,
    age_ms: u64,
    fresh: bool,
    floor: Option<String>,
    local: Option<Local>,
    filter: String,
    redis: Option<Redis>,
    servers: Vec<Server>,
    watchers: u64,
    published: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Held {
    stamp: String,
    bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Local {
    #[serde(flatten)]
    held: Held,
    expires_s: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Redis {
    applied: Option<u64>,
    held: Option<Held>,
    leased: Option<String>,
    reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Server {
    server: String,
    role: String,
    held: Option<Held>,
    position: Option<u64>,
    lag_ms: Option<u64>,
    reason: Option<String>,
}

/// A node's answer as it came, for programs.
#[derive(Serialize)]
struct Answer {
    node: String,
    #[serde(flatten)]
    said: Value,
}

/// Prints where the record stands.
///
/// # Errors
/// [`Error::Unanswered`] naming the nodes that were not reached or refused, after the others were printed.
pub async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let asked = Asked::get(&format!("/where/{}/{}", encoded(&args.collection), encoded(&args.key)));
    let (answers, asked) = args.nodes.ask(&asked).await;
    let answers: Vec<_> = answers.into_iter().map(|(node, said)| Answer { node, said }).collect();
    if !answers.is_empty() {
        let record = format!("{}/{}", harmless(&args.collection), harmless(&args.key));
        output.each(&answers, &format!("{record}\n{}", describe(&answers).lay_out(output.palette()).trim_end()))?;
    }
    asked
}

/// The servers and Redis once, then each node.
fn describe(answers: &[Answer]) -> Table {
    let read = |answer: &Answer| serde_json::from_value(answer.said.clone()).unwrap_or_default();
    let first: Whereabouts = answers.first().map(read).unwrap_or_default();
    let primary = first.servers.iter().find(|server| server.role == "primary");
    let newest = primary.and_then(|server| stamp(&server.held.as_ref()?.stamp));
    let mut table = Table::default();
    table.title(&format!("shard {} of {}, generation {}", first.shard, first.database, first.generation));
    first.servers.iter().for_each(|server| push_server(&mut table, server, newest));
    first.redis.iter().for_each(|redis| push_redis(&mut table, redis, newest));
    for answer in answers {
        table.title(&format!("node {}", answer.node));
        push_node(&mut table, &read(answer), newest);
    }
    table
}

fn push_server(table: &mut Table, server: &Server, newest: Option<Stamp>) {
    let said = [
        server.position.map(|position| format!("shows mark {}", grouped(position))),
        server.lag_ms.map(|lag| format!("{} ms behind", grouped(lag))),
        server.reason.clone(),
    ];
    push(table, &format!("{} {}", server.role, server.server), server.held.as_ref(), newest, &said);
}

fn push_redis(table: &mut Table, redis: &Redis, newest: Option<Stamp>) {
    let said = [
        redis.applied.map(|applied| format!("brought to mark {}", grouped(applied))),
        redis.leased.as_ref().map(|stamp| format!("leased to a node that reads {stamp} or newer")),
        redis.reason.clone(),
    ];
    push(table, "redis", redis.held.as_ref(), newest, &said);
}

fn push_node(table: &mut Table, said: &Whereabouts, newest: Option<Stamp>) {
    let local = said.local.as_ref();
    let expires = local.map(|local| format!("expires in {}", lasting(local.expires_s as f64)));
    push(table, "L1", local.map(|local| &local.held), newest, &[expires]);
    let (floor, meaning) = match &said.floor {
        Some(floor) => (floor.as_str(), "nothing older is answered"),
        None => ("-", "any state is answered"),
    };
    table.push(["floor".into(), floor.into(), Cell::default(), meaning.into()]);
    table.push(["filter".into(), Cell::default(), Cell::default(), (&said.filter).into()]);
    let watchers = match said.watchers {
        0 => "none".to_owned(),
        watchers => grouped(watchers),
    };
    table.push([
        "subscriptions".into(),
        published(said, newest),
        Cell::figure(watchers),
        if said.published.is_some() { "were offered it last" } else { "" }.into(),
    ]);
    let age = format!("all is applied up to {} ms ago, mark {}", grouped(said.age_ms), grouped(said.applied));
    let paint = if said.fresh { Paint::Plain } else { Paint::Warn };
    table.push(["feed".into(), Cell::default(), Cell::default(), Cell::painted(paint, age)]);
}

fn published(said: &Whereabouts, newest: Option<Stamp>) -> Cell {
    said.published.as_ref().map_or_else(Cell::default, |published| stamped(published, newest))
}

fn push(table: &mut Table, place: &str, held: Option<&Held>, newest: Option<Stamp>, said: &[Option<String>]) {
    let (stamp, size) = match held {
        Some(Held { stamp, bytes: Some(bytes) }) => (stamped(stamp, newest), format!("{} bytes", grouped(*bytes))),
        Some(Held { stamp, bytes: None }) => (stamped(stamp, newest), "absent".into()),
        None => ("-".into(), String::new()),
    };
    let said: Vec<&str> = said.iter().flatten().map(String::as_str).collect();
    table.push([place.into(), stamp, Cell::figure(size), said.join(", ").into()]);
}

/// A stamp, which stands out where it is not that of the primary.
fn stamped(text: &str, newest: Option<Stamp>) -> Cell {
    let is_other = newest.is_some_and(|newest| stamp(text).is_none_or(|stamp| stamp != newest));
    Cell::painted(if is_other { Paint::Warn } else { Paint::Plain }, text)
}

fn stamp(text: &str) -> Option<Stamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::table::Palette;

    #[test]
    fn servers_and_redis_are_shown_once_and_each_node_by_itself() {
        let said = json!({
            "shard": 17, "database": "main", "generation": 1, "applied": 52_310, "age_ms": 12, "fresh": true,
            "floor": "1.7", "local": {"stamp": "1.7", "bytes": 212, "expires_s": 1_740}, "filter": "passes",
            "redis": {"slot": "s", "applied": 52_309, "held": {"stamp": "1.6", "bytes": 210}, "leased": null},
            "servers": [
                {"server": "db1:5432", "role": "primary", "held": {"stamp": "1.7", "bytes": 212}, "position": 52_311},
                {"server": "db2:5432", "role": "banned", "reason": "it did not answer"},
            ],
            "watchers": 3, "published": "1.7",
        });
        let older =
            json!({"age_ms": 9_000, "floor": null, "local": {"stamp": "1.6", "expires_s": 5}, "filter": "denies"});
        let answers = [("web1:8081", said), ("web2:8081", older)];
        let answers = answers.map(|(node, said)| Answer { node: node.into(), said });
        let text = describe(&answers).lay_out(Palette { colours: false });
        let expected = "
shard 17 of main, generation 1
  primary db1:5432  1.7  212 bytes  shows mark 52,311
  banned db2:5432   -               it did not answer
  redis             1.6  210 bytes  brought to mark 52,309

node web1:8081
  L1                1.7  212 bytes  expires in 29 min
  floor             1.7             nothing older is answered
  filter                            passes
  subscriptions     1.7          3  were offered it last
  feed                              all is applied up to 12 ms ago, mark 52,310

node web2:8081
  L1                1.6     absent  expires in 5.0 s
  floor             -               any state is answered
  filter                            denies
  subscriptions               none
  feed                              all is applied up to 9,000 ms ago, mark 0
";
        assert_eq!(text, expected);
    }
}
