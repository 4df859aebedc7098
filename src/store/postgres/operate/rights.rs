//! The rights of a role that nodes log in with: what it lacks, and how the owner gives it that.
//!
//! Promises: one list says what a node needs, for `freshet doctor`, which shows it as statements, and for `freshet migrate`, which
//! runs them (`tests/it/rights.rs`). It is read from the catalogues, which a role without any right may read.

use sqlx::{Connection as _, PgConnection};

use crate::store::{
    Error,
    postgres::{failure, session::Session},
};

/// What `$1` lacks, as statements. A tracked table is known by its trigger: `feed.collection` may not be readable yet.
const MISSING: &str = "
    WITH node AS (SELECT oid, rolname FROM pg_roles WHERE rolname = $1),
    tracked AS (
        SELECT DISTINCT t.tgrelid AS oid FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
          JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE t.tgname = 'zz_freshet_stamp' AND n.nspname = 'feed'),
    relation (place, oid, rights) AS (
        SELECT 2, c.oid, w.rights
          FROM (VALUES ('collection', '{SELECT}'::text[]), ('shard_table', '{SELECT}'), ('meta', '{SELECT,UPDATE}'),
                       ('shard_state', '{SELECT,UPDATE}'), ('leader', '{SELECT,UPDATE}'), ('mark', '{SELECT,INSERT,DELETE}'),
                       ('outbox', '{SELECT,INSERT,DELETE}'), ('idempotency', '{SELECT,INSERT,DELETE}'),
                       ('tomb', '{SELECT,DELETE}')) w (name, rights)
          JOIN pg_class c ON c.relname = w.name JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'feed'
         UNION ALL SELECT 5, oid, '{SELECT,INSERT,UPDATE,DELETE}' FROM tracked
         UNION ALL SELECT 6, to_regclass('_sqlx_migrations'), '{SELECT}'),
    lacking (place, rights, object) AS (
        SELECT 1, 'USAGE', 'SCHEMA ' || quote_ident(n.nspname) FROM pg_namespace n, node
         WHERE (n.nspname = 'feed' OR n.oid IN (SELECT c.relnamespace FROM pg_class c JOIN tracked USING (oid)))
           AND NOT has_schema_privilege(node.oid, n.oid, 'USAGE')
        UNION ALL
        SELECT r.place, string_agg(w.name, ', ' ORDER BY w.at), format('%I.%I', n.nspname, c.relname)
          FROM node CROSS JOIN relation r JOIN pg_class c ON c.oid = r.oid JOIN pg_namespace n ON n.oid = c.relnamespace
         CROSS JOIN unnest(r.rights) WITH ORDINALITY w (name, at)
         WHERE NOT has_table_privilege(node.oid, c.oid, w.name) GROUP BY r.place, n.nspname, c.relname
        UNION ALL
        SELECT 3, string_agg(w, ', ' ORDER BY w DESC), 'SEQUENCE feed.vseq'
          FROM node, unnest('{USAGE,SELECT,UPDATE}'::text[]) w, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'feed' AND c.relname = 'vseq' AND NOT has_sequence_privilege(node.oid, c.oid, w) GROUP BY c.oid
        UNION ALL
        SELECT 4, 'EXECUTE', format('FUNCTION feed.%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid))
          FROM node, pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE n.nspname = 'feed' AND p.prorettype <> 'trigger'::regtype AND NOT has_function_privilege(node.oid, p.oid, 'EXECUTE'))
    SELECT format('GRANT %s ON %s TO %I', l.rights, string_agg(l.object, ', ' ORDER BY l.object), node.rolname)
      FROM lacking l, node GROUP BY l.place, l.rights, node.rolname, CASE WHEN l.place IN (1, 4) THEN l.object END
     ORDER BY l.place, l.rights";

/// Roles that were given a node's rights: only a node writes marks.
const NODES: &str = "
    SELECT r.rolname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     CROSS JOIN aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
     WHERE n.nspname = 'feed' AND c.relname = 'mark' AND a.privilege_type = 'INSERT' AND a.grantee <> c.relowner ORDER BY 1";

/// What a node that logs in as the role of this session would lack, as statements that give it.
///
/// # Errors
/// [`Error::Unavailable`] when the connection is lost.
pub async fn missing(session: &mut Session) -> Result<Vec<String>, Error> {
    let role = sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut session.connection).await;
    let role: String = role.map_err(failure::error)?;
    of(&mut session.connection, &role).await.map_err(failure::error)
}

/// What `role` lacks.
pub(super) async fn of(connection: &mut PgConnection, role: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(MISSING).bind(role).fetch_all(connection).await
}

/// The roles that nodes log in with, as far as the database knows.
pub(super) async fn nodes(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(NODES).fetch_all(connection).await
}

/// Whether there is such a role.
pub(super) async fn is_role(connection: &mut PgConnection, role: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)").bind(role).fetch_one(connection).await
}

/// Gives `role` what it lacks, all of it or nothing. Returns the statements that did it.
pub(super) async fn grant(connection: &mut PgConnection, role: &str) -> Result<Vec<String>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let statements = of(&mut transaction, role).await?;
    for statement in &statements {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.as_str())).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(statements)
}
