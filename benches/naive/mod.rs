//! The same service as most people would write it first: axum, one PostgreSQL, no cache, one query for each request, an
//! answer flushed as soon as it is made.
//!
//! It is fair: the same messages over the same WebSocket, the same durability (each answer follows its commit), prepared
//! statements, as many database connections as Freshet has, plain tables with the same columns and no triggers. What it
//! lacks beside speed: subscriptions, versions, and every other promise of Freshet's.
//!
//! No table is empty when its statements are planned, on either side: see [`EARLIER_PAYMENTS`].
//!
//! - `get` of a product is one SELECT.
//! - `put` of an order is one INSERT; an order that is there already is refused, as Freshet's `if_stamp: "0"` refuses it.
//! - `patch` of an order with an idempotency key is a transaction: look whether the key was used, change the order, keep
//!   the key.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{
        State,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};

/// As many as a node of Freshet opens: 6 for reads, 6 for writes.
const CONNECTIONS: u32 = 12;

/// The tables. Freshet's have a version column and triggers beside.
pub const TABLES: &str = "
    CREATE TABLE products (
        sku        text PRIMARY KEY,
        name       text NOT NULL,
        currency   text NOT NULL DEFAULT 'GBP',
        price      bigint NOT NULL,
        stock      integer NOT NULL DEFAULT 0,
        attributes json NOT NULL DEFAULT '{}'
    );
    CREATE TABLE orders (
        id       text PRIMARY KEY,
        customer text NOT NULL,
        sku      text NOT NULL,
        quantity integer NOT NULL,
        total    bigint NOT NULL,
        status   text NOT NULL DEFAULT 'new',
        payment  bigint
    );
    CREATE TABLE idempotency (
        key      text PRIMARY KEY,
        order_id text NOT NULL,
        made_at  timestamptz NOT NULL DEFAULT now()
    );
";

/// The idempotency keys of payments made before, one an order; run before the tables are analyzed.
///
/// A prepared statement keeps the plan it gets at its sixth execution. One made for an empty table is a sequential scan,
/// which reads every key that has come since for each payment, until autovacuum analyzes the table. No shop in use is in
/// that state, so it would be the measurement's fault and not the naive build's. Freshet's table of idempotency keys is
/// given as many.
pub const EARLIER_PAYMENTS: &str = "
    INSERT INTO idempotency (key, order_id) SELECT 'earlier ' || id, id FROM orders;
";

#[derive(Deserialize)]
struct Request {
    id: Value,
    method: String,
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    key: String,
    value: Option<Value>,
    idempotency_key: Option<String>,
}

/// Serves `/v1/ws` until the process is killed.
pub async fn serve(database: &str, address: &str) {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(Duration::from_secs(60));
    let pool = pool.connect(database).await.expect("the database answers");
    let app = Router::new().route("/v1/ws", get(upgrade)).with_state(Arc::new(pool));
    let listener = tokio::net::TcpListener::bind(address).await.expect("bind");
    let listener = axum::serve::ListenerExt::tap_io(listener, |tcp| drop(tcp.set_nodelay(true)));
    axum::serve(listener, app).await.expect("serve");
}

async fn upgrade(ws: WebSocketUpgrade, State(pool): State<Arc<PgPool>>) -> axum::response::Response {
    ws.on_upgrade(|socket| talk(socket, pool))
}

async fn talk(mut socket: WebSocket, pool: Arc<PgPool>) {
    while let Some(Ok(Message::Text(text))) = socket.recv().await {
        let answer = match serde_json::from_str::<Request>(&text) {
            Ok(request) => answer(&pool, request).await,
            Err(error) => json!({"jsonrpc": "2.0", "id": null, "error": {"message": error.to_string()}}).to_string(),
        };
        if socket.send(Message::Text(answer.into())).await.is_err() {
            return;
        }
    }
}

async fn answer(pool: &PgPool, request: Request) -> String {
    let Request { id, method, params } = request;
    let done = match method.as_str() {
        "get" => product(pool, &params).await,
        "put" => create_order(pool, &params).await,
        "patch" => take_payment(pool, &params).await,
        _ => Err(sqlx::Error::InvalidArgument(format!("there is no method {method}"))),
    };
    match done {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Err(error) => json!({"jsonrpc": "2.0", "id": id, "error": {"message": error.to_string()}}).to_string(),
    }
}

/// The product query.
async fn product(pool: &PgPool, params: &Params) -> Result<String, sqlx::Error> {
    let query = sqlx::query_scalar("SELECT row_to_json(p)::text FROM products p WHERE sku = $1");
    let row: Option<String> = query.bind(&params.key).fetch_optional(pool).await?;
    let (key, value) = (json!(params.key), row.as_deref().unwrap_or("null"));
    Ok(format!(r#"{{"key":{key},"version":1,"stamp":"1.1","value":{value}}}"#))
}

/// The new order.
async fn create_order(pool: &PgPool, params: &Params) -> Result<String, sqlx::Error> {
    let order = params.value.as_ref().unwrap_or(&Value::Null);
    let query = sqlx::query("INSERT INTO orders (id, customer, sku, quantity, total) VALUES ($1, $2, $3, $4, $5)");
    query
        .bind(&params.key)
        .bind(order["customer"].as_str())
        .bind(order["sku"].as_str())
        .bind(order["quantity"].as_i64().map(|quantity| quantity as i32))
        .bind(order["total"].as_i64())
        .execute(pool)
        .await?;
    Ok(written(&params.key))
}

/// The payment callback, which may come more than once.
async fn take_payment(pool: &PgPool, params: &Params) -> Result<String, sqlx::Error> {
    let payment = params.value.as_ref().unwrap_or(&Value::Null);
    let mut transaction = pool.begin().await?;
    let used: Option<String> = sqlx::query_scalar("SELECT order_id FROM idempotency WHERE key = $1")
        .bind(&params.idempotency_key)
        .fetch_optional(&mut *transaction)
        .await?;
    if used.is_none() {
        sqlx::query("UPDATE orders SET status = $2, payment = $3 WHERE id = $1")
            .bind(&params.key)
            .bind(payment["status"].as_str())
            .bind(payment["payment"].as_i64())
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO idempotency (key, order_id) VALUES ($1, $2)")
            .bind(&params.idempotency_key)
            .bind(&params.key)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(written(&params.key))
}

fn written(key: &str) -> String {
    format!(r#"{{"key":{},"version":1,"stamp":"1.1"}}"#, json!(key))
}
