//! What PostgreSQL alone reaches on its core with the work that Freshet gives it, in the same batches: no node that
//! shares the core with it can be faster. pgbench sends it over one connection.

use super::{database::Database, pace::Pace};

/// One of these measurements: rows a second.
pub type Measure = fn(&Database, &Pace) -> Result<f64, String>;

/// As many keys as a node reads in one statement.
const KEYS: u32 = 256;
/// As many rows as a node writes in one transaction.
const ROWS: u32 = 512;

/// Rows a second, read by key as JSON text.
pub fn reads(database: &Database, pace: &Pace) -> Result<f64, String> {
    let script = format!(
        "SELECT k.number, p.freshet_version, (SELECT row_to_json(v) FROM (SELECT {PRODUCT}) v)::text \
         FROM unnest((SELECT array_agg({KEY}) FROM generate_series(1, {KEYS}))) WITH ORDINALITY k (key, number) \
         LEFT JOIN products p ON p.sku = k.key;"
    );
    Ok(database.pgbench_script("freshet", "reads", &script, 1, pace)? * f64::from(KEYS))
}

/// Rows a second, locked and read, changed, captured and committed.
pub fn updates(database: &Database, pace: &Pace) -> Result<f64, String> {
    let script = format!(
        "SELECT array_agg(DISTINCT {KEY})::text AS keys FROM generate_series(1, {ROWS}) \\gset\n\
         BEGIN;\n\
         SELECT p.freshet_version, (SELECT row_to_json(v) FROM (SELECT {PRODUCT}) v)::text FROM products p \
         WHERE sku = ANY(:keys::text[]) ORDER BY sku FOR UPDATE SKIP LOCKED;\n\
         UPDATE products p SET stock = p.stock + 1 FROM unnest(:keys::text[]) k (key) WHERE p.sku = k.key \
         RETURNING p.freshet_version, (SELECT row_to_json(v) FROM (SELECT {PRODUCT}) v)::text;\n\
         COMMIT;"
    );
    Ok(database.pgbench_script("freshet", "updates", &script, 1, pace)? * f64::from(ROWS))
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
    Ok(database.pgbench_script("freshet", "inserts", &script, 1, pace)? * f64::from(ROWS))
}

const KEY: &str = "'K' || lpad((random() * 99999)::int::text, 5, '0')";
const PRODUCT: &str = "p.sku, p.name, p.currency, p.price, p.stock, p.attributes";
const ORDER: &str = "p.id, p.customer, p.sku, p.quantity, p.total, p.status, p.payment";
