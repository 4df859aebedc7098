//! `describe` and `rpc.discover`: what a collection consists of, and what is served here.

use serde::Serialize;

use super::{Call, Failure, Reply};
use crate::{
    protocol::{Code, DescribeParams, RpcError},
    record::{self, Collection, ColumnKind},
};

/// The OpenRPC document, for people and programs.
const DOCUMENT: &str = include_str!("../../../docs/openrpc.json");

#[derive(Serialize)]
struct Description<'a> {
    collection: &'a str,
    key_column: &'a str,
    key_type: &'static str,
    columns: Vec<Column<'a>>,
}

#[derive(Serialize)]
struct Column<'a> {
    name: &'a str,
    kind: &'static str,
    r#type: &'a str,
    nullable: bool,
}

impl<'a> Column<'a> {
    fn of(column: &'a record::Column) -> Self {
        let record::Column { name, kind, sql, is_nullable } = column;
        Column { name, kind: kind_name(*kind), r#type: sql, nullable: *is_nullable }
    }
}

pub(super) async fn describe(call: Call<'_>) -> Result<Reply, Failure> {
    let params = DescribeParams::parse(call.params)?;
    let collection = call.service().collection(&params.collection)?;
    let body = serde_json::to_vec(&Description::of(collection));
    let body = body.map_err(|error| RpcError::new(Code::Internal, format!("failed to write it as JSON: {error}")))?;
    Ok(body.into())
}

pub(super) async fn discover(_: Call<'_>) -> Result<Reply, Failure> {
    Ok(DOCUMENT.as_bytes().to_vec().into())
}

impl<'a> Description<'a> {
    fn of(collection: &'a Collection) -> Self {
        Description {
            collection: &collection.name,
            key_column: &collection.key_column,
            key_type: collection.key_kind.name(),
            columns: collection.columns.iter().map(Column::of).collect(),
        }
    }
}

fn kind_name(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Plain => "plain",
        ColumnKind::Json => "json",
        ColumnKind::Jsonb => "jsonb",
        ColumnKind::Generated => "generated",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::DOCUMENT;
    use crate::protocol::Method;

    /// A client cannot name another method: those of the Rust client are `Method`s, and the server carries out each.
    #[test]
    fn the_document_has_the_methods_of_the_protocol_and_no_others() {
        let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
        let listed = document["methods"].as_array().into_iter().flatten().filter_map(|method| method["name"].as_str());
        assert_eq!(listed.collect::<BTreeSet<_>>(), BTreeSet::from(Method::ALL.map(Method::name)));
    }
}
