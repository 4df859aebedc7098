//! A database of a test's own.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::runtime::Builder;

use super::server;

/// A fresh database, dropped with this value, open sessions or not.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    pool: PgPool,
}

/// Migrated, with all shards of products, readings and parcels, and no row.
pub async fn database() -> TestDatabase {
    TestDatabase::copy_of("freshet_template").await
}

/// Migrated, without any shard.
pub async fn blank_database() -> TestDatabase {
    TestDatabase::copy_of("freshet_blank").await
}

/// Not migrated.
pub async fn empty_database() -> TestDatabase {
    TestDatabase::copy_of("template0").await
}

impl TestDatabase {
    async fn copy_of(template: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        admin(format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY wal_log")).await;
        let pool = PgPoolOptions::new().max_connections(16).connect_lazy(&server::url(&name));
        Self { name, pool: pool.expect("the server's URL is sound") }
    }

    /// For sqlx and libpq, as the superuser.
    pub fn url(&self) -> String {
        server::url(&self.name)
    }

    /// At most 16 connections, opened when asked for.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection outside the pool, for a session whose state matters.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.expect("connect")
    }

    /// Runs one or more statements without parameters.
    pub async fn run(&self, sql: &str) {
        self.try_run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Like [`Self::run`], for statements that may be refused.
    pub async fn try_run(&self, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.map(drop)
    }

    /// The message and hint with which `sql` is refused.
    pub async fn refusal(&self, sql: &str) -> (String, String) {
        let error = self.try_run(sql).await.expect_err(sql);
        let error = error.into_database_error().expect("the server refuses, not the driver");
        let error = error.downcast_ref::<sqlx::postgres::PgDatabaseError>();
        (error.message().to_owned(), error.hint().unwrap_or_default().to_owned())
    }

    /// The one value of the one row that `sql` returns.
    pub async fn value<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let query = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
        query.fetch_one(&self.pool).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let sql = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // The test's own runtime can not be blocked on from within.
        let dropping = thread::spawn(|| {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(admin(sql));
        });
        let _ = dropping.join();
    }
}

async fn admin(sql: String) {
    let mut connection = PgConnection::connect(&server::url("postgres")).await.expect("connect");
    connection.execute(AssertSqlSafe(sql)).await.expect("create or drop a database");
    connection.close().await.expect("close");
}
