//! What stands before a run begins: the nodes answer and serve the same records, and the table takes ours.
//!
//! Every fault of the arguments is found here, before anything is measured. A record that exists is never written.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    databases::Databases,
    field::Field,
    history::Outcome,
    keys,
    links::Links,
    plan::Plan,
    requests::{Change, Way},
};
use crate::{
    cli::{Error, ServerArgs, database::DatabaseArgs, run_word::run_word, template::Template},
    client::{self, Client, Description, ReadOptions, WriteOptions},
    protocol::Code,
    record::{KeyKind, Stamp},
};

/// The number in the record that tries the table; small, so that it fits wherever those of the run do.
const TRIAL: u64 = 1;
/// Records that are put at once.
const IN_FLIGHT: usize = 32;

/// What the arguments say of the records.
pub(super) struct Records<'a> {
    pub(super) collection: &'a str,
    pub(super) record: Option<&'a str>,
    pub(super) field: &'a str,
    pub(super) keys: u32,
}

/// The record of the collection that every database has from the beginning.
const USUAL: (&str, &str) = ("products", r#"{"name":"made by freshet verify","price":100,"stock":%n}"#);

/// Tries every node with a record of its own, and plans the run.
///
/// # Errors
/// [`Error::Client`] when a node cannot be reached or refuses; [`Error::Usage`] when the arguments do not fit the
/// collection, or the nodes do not serve the same records.
pub(super) async fn plan(
    nodes: &[String],
    server: &ServerArgs,
    records: &Records<'_>,
) -> Result<(Arc<Plan>, KeyKind), Error> {
    let mut clients = Vec::new();
    for node in nodes {
        clients.push(Client::connect(node, server.options()).await?);
    }
    let described = clients[0].describe(records.collection).await?;
    let kind = KeyKind::from_name(&described.key_type)
        .ok_or_else(|| Error::Found(format!("the key type {} is unknown here", described.key_type)))?;
    let template = template(records, &described)?;
    let field = Field::of(&template, records.field)?;
    let word = run_word();
    let names = keys::own(kind, &word, records.keys + 1).and_then(|mut names| Some((names.pop()?, names)));
    let (trial, names) = names.ok_or_else(|| {
        Error::Usage(format!("keys of type {} do not suffice for --keys {}", kind.name(), records.keys))
    })?;
    let plan = Plan::new(&described, template, field, server.clone(), word, names);
    let tried = try_nodes(&plan, nodes, &clients, &trial).await;
    for client in clients {
        client.close().await;
    }
    tried.map(|()| (Arc::new(plan), kind))
}

fn template(records: &Records<'_>, described: &Description) -> Result<Template, Error> {
    let usual = (records.collection == USUAL.0).then_some(USUAL.1);
    let text = records.record.or(usual).ok_or_else(|| {
        let columns: Vec<&str> = described.columns.iter().map(|column| &*column.name).collect();
        Error::Usage(format!(
            "what a record of {} holds is not known: give one with --record, such as '{{\"count\":%n}}',\n  \
             and with --field the column in which %n tells writes apart; it has the columns {}",
            records.collection,
            columns.join(", ")
        ))
    })?;
    Template::parse(text).map_err(|problem| Error::Usage(format!("--record {problem}")))
}

/// Puts a record through the first node, reads it through each, and deletes it.
async fn try_nodes(plan: &Plan, nodes: &[String], clients: &[Client], key: &str) -> Result<(), Error> {
    let value = plan.template.text(TRIAL);
    let created = WriteOptions::new().if_stamp(Stamp::ABSENT);
    let found = match clients[0].put(&plan.collection, key, &value, created).await {
        Ok(written) => try_reads(plan, nodes, clients, key, written.stamp).await,
        // It may be another's record: it is not touched.
        Err(client::Error::OutcomeUnknown) => {
            return Err(Error::Found(format!(
                "it is not known whether the record {key} was made; look, and run again"
            )));
        }
        Err(error) => return Err(unfit(plan, key, error)),
    };
    match clients[0].delete(&plan.collection, key, WriteOptions::new()).await {
        Ok(_) => found,
        Err(error) => found.and(Err(Error::Found(format!("the record {key} could not be deleted: {error}")))),
    }
}

async fn try_reads(plan: &Plan, nodes: &[String], clients: &[Client], key: &str, stamp: Stamp) -> Result<(), Error> {
    for (node, client) in nodes.iter().zip(clients) {
        let options = ReadOptions::new().min_stamp(stamp);
        judge_trial(plan, node, &nodes[0], client.get_with(&plan.collection, key, options).await?)?;
    }
    Ok(())
}

fn judge_trial(plan: &Plan, node: &str, first: &str, record: client::Record) -> Result<(), Error> {
    let Some(value) = &record.value else {
        return Err(Error::Usage(format!(
            "{node} does not serve the records of {first}: name nodes of one deployment"
        )));
    };
    match plan.field.content(value).number {
        Some(TRIAL) => Ok(()),
        _ => {
            let (name, text) = (&plan.field.name, value.get());
            let shown = serde_json::from_str::<Value>(text).map(|value| value[name].to_string()).unwrap_or_default();
            Err(Error::Usage(format!(
                "the field {name} does not come back as it was written, but as {shown}\n  \
                 name with --field a column that keeps a number or a text as it is"
            )))
        }
    }
}

/// What the first write of a run says when the table does not take it.
fn unfit(plan: &Plan, key: &str, error: client::Error) -> Error {
    let refusal = error.refusal().map(|refusal| (refusal.kind(), refusal.message.clone()));
    match refusal {
        Some((Some(Code::InvalidValue), message)) => Error::Usage(format!(
            "{} refuses the record {}: {message}\n  give one that it takes with --record",
            plan.collection,
            plan.template.text(TRIAL)
        )),
        Some((Some(Code::VersionConflict), _)) => exists(key),
        _ => error.into(),
    }
}

fn exists(key: &str) -> Error {
    Error::Found(format!(
        "the record {key} exists already, and is left as it is\n  run again: each run has keys of its own"
    ))
}

/// Creates every record, until one cannot be made or `stop`. Those that were made are noted.
///
/// # Errors
/// [`Error::Found`] when one exists, or could not be made.
pub(super) async fn create(plan: &Plan, links: &Links, stop: &CancellationToken) -> Result<(), Error> {
    let ended = stop.child_token();
    let creations = (0..plan.keys.len() as u32).map(async |key| {
        if ended.is_cancelled() {
            return None;
        }
        let (way, number, if_stamp) = (Way::Put, Some(plan.number()), Some(Stamp::ABSENT));
        let change = Change { key, way, number, if_stamp, token: None, is_repeat: false };
        let write = change.make(plan, links.at(key as usize % links.all().len())).await;
        if !write.as_ref().is_some_and(|write| matches!(write.outcome, Outcome::Acknowledged { .. })) {
            ended.cancel();
        }
        Some((key, write.map(|write| write.outcome)))
    });
    // Those under way are waited for, so that what they made can be deleted.
    let created: Vec<_> = stream::iter(creations).buffer_unordered(IN_FLIGHT).collect().await;
    if stop.is_cancelled() {
        return Err(Error::Found("it was stopped before it had made its records".to_owned()));
    }
    for (key, outcome) in created.into_iter().flatten() {
        let name = plan.key(key);
        match outcome {
            Some(Outcome::Acknowledged { .. }) => {}
            Some(Outcome::Refused { current: Some(_), .. }) => return Err(exists(name)),
            Some(Outcome::Refused { reason, .. } | Outcome::Unknown { reason }) => {
                return Err(Error::Found(format!("the record {name} could not be made: {reason}")));
            }
            None => return Err(Error::Found(format!("the record {name} could not be made: no connection"))),
        }
    }
    Ok(())
}

/// The databases behind the nodes; else why they are left out, in words.
///
/// # Errors
/// Those of the databases that are named.
pub(super) async fn databases(
    args: &DatabaseArgs,
    no_sql: bool,
    plan: &Plan,
    kind: KeyKind,
) -> Result<Result<Databases, String>, Error> {
    if no_sql {
        return Ok(Err("--no-sql".to_owned()));
    }
    let is_named = args.is_named()?;
    let found = match args.targets() {
        Ok(targets) => Databases::open(targets, plan, kind).await,
        Err(error) => Err(error),
    };
    let fitting = match found {
        Ok(databases) => fitting(databases, plan).await,
        Err(error) => Err(error),
    };
    match fitting {
        Ok(databases) => Ok(Ok(databases)),
        Err(error) if is_named => Err(error),
        // What runs in a usual place need not be what these nodes serve.
        Err(_) => Ok(Err("no database is named: --config, --database-url or DATABASE_URL".to_owned())),
    }
}

/// Whether the records that were created through the nodes are there.
async fn fitting(databases: Databases, plan: &Plan) -> Result<Databases, Error> {
    let truths = databases.truths(plan).await?;
    match truths.iter().all(|truth| !truth.state.is_absent()) {
        true => Ok(databases),
        false => {
            let places: Vec<&str> = databases.all.iter().map(|database| &*database.place).collect();
            Err(Error::Usage(format!(
                "{} does not hold the records of the nodes\n  name the databases that they serve, or leave them out with --no-sql",
                places.join(", ")
            )))
        }
    }
}
