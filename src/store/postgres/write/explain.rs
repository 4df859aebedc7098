//! Why the database refused a write: in its words, and with the column at fault where it named none.

use crate::store::{
    Error, Operation,
    postgres::{
        failure,
        pool::PooledConnection,
        statement::Statements,
        write::{Common, Job},
    },
};

/// Says which column is at fault where the database did not: its conversions name none, its checks only the
/// constraint. And a client knows of collections, not of partitions.
pub(super) async fn explain(common: &Common, job: &Job, error: sqlx::Error) -> Error {
    let error = failure::error(error);
    let Error::InvalidValue { message, column, constraint } = error else { return error };
    let statements = common.shared.statements(job.write.id.collection, job.shard, job.deadline).await;
    let Ok(statements) = statements else { return Error::InvalidValue { message, column, constraint } };
    let message = message.replace(statements.table_name(), &statements.table().collection.name);
    if column.is_some() {
        return Error::InvalidValue { message, column, constraint };
    }
    let column = match common.explains.acquire(job.deadline).await {
        Ok(mut connection) => {
            let look = async {
                match &constraint {
                    Some(constraint) => column_of(&mut connection, &statements, constraint).await,
                    None => column_at_fault(&mut connection, &statements, &job.write.operation).await,
                }
            };
            let found = job.deadline.limit(look).await;
            if found.is_ok() {
                connection.release();
            }
            found.unwrap_or_default()
        }
        Err(_) => None,
    };
    Error::InvalidValue { message, column, constraint }
}

/// The column that a constraint is about, if it is about one.
async fn column_of(connection: &mut PooledConnection<'_>, statements: &Statements, constraint: &str) -> Option<String> {
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT a.attname::text FROM pg_constraint c
           JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey)
          WHERE c.conrelid = $1::regclass AND c.conname = $2",
    )
    .bind(statements.relation())
    .bind(constraint)
    .fetch_all(connection.connection())
    .await
    .ok()?;
    <[String; 1]>::try_from(columns).ok().map(|[column]| column)
}

/// The first column whose value the database does not take.
async fn column_at_fault(
    connection: &mut PooledConnection<'_>,
    statements: &Statements,
    operation: &Operation,
) -> Option<String> {
    let members = match operation {
        Operation::Put(members) => members,
        Operation::Patch(patch) => &patch.merge,
        Operation::Delete => return None,
    };
    let text = members.to_text();
    for (name, _) in members.iter() {
        let probe = sqlx::query(statements.probe(name)).bind(&text).execute(connection.connection()).await;
        if probe.as_ref().is_err_and(failure::is_refusal) {
            return Some(name.to_owned());
        }
    }
    None
}
