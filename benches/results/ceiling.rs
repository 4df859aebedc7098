//! What PostgreSQL alone reaches on its cores with the work that Freshet gives it, in the same batches: about the most
//! that a node can reach which shares the cores with it. pgbench sends it, over as many connections as keep them busy.

use super::{
    database::{Database, Script},
    pace::Pace,
};

/// One of these measurements: rows a second.
pub type Measure = fn(&Database, &Pace) -> Result<f64, String>;

/// As many keys as a node reads in one statement.
const KEYS: u32 = 256;
/// As many rows as a node writes in one transaction.
const ROWS: u32 = 512;
/// As many connections as a node writes over, where all cores are PostgreSQL's.
const LANES: u32 = 4;

/// Rows a second, read by key as JSON text.
pub fn reads(database: &Database, pace: &Pace) -> Result<f64, String> {
    let script = format!(
        "SELECT k.number, p.freshet_version, (SELECT row_to_json(v) FROM (SELECT {PRODUCT}) v)::text \
         FROM unnest((SELECT array_agg({KEY}) FROM generate_series(1, {KEYS}))) WITH ORDINALITY k (key, number) \
         LEFT JOIN products p ON p.sku = k.key;"
    );
    Ok(alone(database, "reads", &script, 1, pace)? * f64::from(KEYS))
}

/// Rows a second, changed, captured and committed.
pub fn updates(database: &Database, pace: &Pace) -> Result<f64, String> {
    let script = format!(
        "SELECT array_agg(DISTINCT {KEY})::text AS keys FROM generate_series(1, {ROWS}) \\gset\n\
         WITH w AS (UPDATE products p SET stock = p.stock + 1 FROM unnest(:keys::text[]) k (key) WHERE p.sku = k.key \
         RETURNING p.sku AS key, p.freshet_version, (SELECT row_to_json(v) FROM (SELECT {PRODUCT}) v)::text), \
         {} SELECT * FROM w;",
        logged("products")
    );
    Ok(alone(database, "updates", &script, 1, pace)? * f64::from(ROWS))
}

/// Orders a second, made of JSON, captured and committed.
pub fn inserts(database: &Database, pace: &Pace) -> Result<f64, String> {
    // Keys that rise, as a client's do, and the texts at the least cost.
    let order = "format('{\"id\":\"P%s-%s\",\"customer\":\"C\",\"sku\":\"85123A\",\"quantity\":1,\"total\":295}', \
                 (SELECT pg_current_xact_id()), n)::json";
    let script = format!(
        "INSERT INTO orders AS p (id, customer, sku, quantity, total) \
         SELECT r.id, r.customer, r.sku, r.quantity, r.total FROM (SELECT {order} FROM generate_series(1, {ROWS}) n) o (j) \
         CROSS JOIN LATERAL json_populate_record(NULL::orders, o.j) r ON CONFLICT (id) DO NOTHING \
         RETURNING p.id, p.freshet_version, (SELECT row_to_json(v) FROM (SELECT {ORDER}) v)::text;"
    );
    Ok(alone(database, "inserts", &script, LANES, pace)? * f64::from(ROWS))
}

/// Payments a second: orders changed and captured, idempotency keys kept, and all committed.
pub fn payments(database: &Database, pace: &Pace) -> Result<f64, String> {
    // Each connection has keys of its own, so that none waits for another.
    let key = format!("'K' || lpad(((random() * {})::int * {LANES} + :client_id)::text, 5, '0')", 100_000 / LANES - 1);
    let script = format!(
        "SELECT array_agg(DISTINCT {key})::text AS keys FROM generate_series(1, {ROWS}) \\gset\n\
         WITH w AS (UPDATE orders p SET status = 'paid', payment = p.payment + 1 FROM unnest(:keys::text[]) k (key) \
         WHERE p.id = k.key RETURNING p.id AS key, p.freshet_version, (SELECT row_to_json(v) FROM (SELECT {ORDER}) v)::text), \
         i AS (INSERT INTO feed.idempotency (collection, key, token, fingerprint, gen, version) \
         SELECT 'orders', w.key, gen_random_uuid()::text, md5(w.key), 1, w.freshet_version FROM w), \
         {} SELECT * FROM w;",
        logged("orders")
    );
    Ok(alone(database, "payments", &script, LANES, pace)? * f64::from(ROWS))
}

/// The outbox rows of an update `w`.
fn logged(collection: &str) -> String {
    format!(
        "o AS (INSERT INTO feed.outbox (collection, key, version, op) \
         SELECT '{collection}', w.key, w.freshet_version, 'U' FROM w)"
    )
}

/// Transactions a second, with a node's settings: the same plans, and updates that log themselves.
fn alone(database: &Database, title: &str, sql: &str, clients: u32, pace: &Pace) -> Result<f64, String> {
    let settings = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c enable_material=off \
                    -c plan_cache_mode=force_generic_plan -c jit=off -c freshet.logs=updates";
    let script = Script { sql, settings, ..Script::on("freshet", title, clients) };
    Ok(database.transactions(&script, pace)?.per_second)
}

const KEY: &str = "'K' || lpad((random() * 99999)::int::text, 5, '0')";
const PRODUCT: &str = "p.sku, p.name, p.currency, p.price, p.stock, p.attributes";
const ORDER: &str = "p.id, p.customer, p.sku, p.quantity, p.total, p.status, p.payment";
