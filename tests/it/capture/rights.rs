//! An application's ordinary role needs rights on its own table only.

use sqlx::{Executor, PgConnection, Row};

use super::{assert_faithful, polled};
use crate::harness::{self, Poller, TestDatabase};

/// A session as a role that has nothing but the four rights on products.
async fn ordinary_session(database: &TestDatabase) -> PgConnection {
    let role = database.value::<String>("SELECT 'clerk_' || current_database()").await;
    database.run(&format!("CREATE ROLE {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON products TO {role}")).await;
    let mut session = database.connect().await;
    session.execute(sqlx::AssertSqlSafe(format!("SET ROLE {role}"))).await.expect("become the clerk");
    session
}

/// Roles are the cluster's, so they do not go with the database.
async fn drop_role(database: &TestDatabase) {
    let role = database.value::<String>("SELECT 'clerk_' || current_database()").await;
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_role_with_rights_on_products_alone_writes_and_is_captured() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    let mut session = ordinary_session(&database).await;
    for sql in [
        "INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1), ('b', 'B', 2)",
        "UPDATE products SET price = 3 WHERE sku = 'a'",
        "DELETE FROM products WHERE sku = 'b'",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO products (sku, name, price) VALUES ('b', 'B', 2); COMMIT",
    ] {
        session.execute(sqlx::raw_sql(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    assert_eq!(polled(&mut poller).await, ["D b", "U a", "U a", "U b", "U b"]);
    assert_faithful(&database, &poller).await;
    drop_role(&database).await;
}

#[tokio::test]
async fn an_ordinary_role_reaches_nothing_of_the_feed() {
    let database = harness::database().await;
    let mut session = ordinary_session(&database).await;
    for sql in ["SELECT * FROM feed.outbox", "SELECT nextval('feed.vseq')", "SELECT freshet.track('products')"] {
        let error = session.execute(sql).await.expect_err(sql).to_string();
        assert!(error.contains("permission denied"), "{sql}: {error}");
    }
    drop_role(&database).await;
}

#[tokio::test]
async fn names_planted_in_a_session_do_not_mislead_the_triggers() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    let mut session = ordinary_session(&database).await;
    let planted = "CREATE TEMP TABLE outbox (x int); CREATE TEMP TABLE tomb (version bigint); \
                   CREATE FUNCTION pg_temp.nextval(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'; \
                   SET search_path = pg_temp, pg_catalog, public; \
                   INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1)";
    session.execute(sqlx::raw_sql(planted)).await.expect("insert");
    assert_eq!(polled(&mut poller).await, ["U a"]);
    drop(session);
    drop_role(&database).await;
}

#[tokio::test]
async fn operators_that_come_first_on_a_sessions_path_do_not_mislead_the_triggers() {
    let database = harness::database().await;
    let mut poller = Poller::start(&database).await;
    let traps = ["text, text", "bigint, integer", "record, record"].map(|types| {
        let (left, right) = types.split_once(", ").expect("two types");
        let trap = |name: &str| {
            format!("CREATE OPERATOR trap.{name} (FUNCTION = trap.sprung, LEFTARG = {left}, RIGHTARG = {right});")
        };
        let body = "LANGUAGE plpgsql AS $$ BEGIN RAISE 'a trap was sprung'; END $$;";
        format!("CREATE FUNCTION trap.sprung({types}) RETURNS boolean {body} {}", ["=", "<>", "*="].map(trap).concat())
    });
    database.run(&format!("CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO PUBLIC; {}", traps.concat())).await;
    let mut session = ordinary_session(&database).await;
    let writes = "SET search_path = trap, pg_catalog, public; \
                  INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1); UPDATE products SET price = 2";
    session.execute(sqlx::raw_sql(writes)).await.expect("written");
    assert_eq!(polled(&mut poller).await, ["U a", "U a"]);
    drop(session);
    drop_role(&database).await;
}

#[tokio::test]
async fn trigger_functions_belong_to_a_role_that_can_not_log_in() {
    let database = harness::database().await;
    let rows = sqlx::query(
        "SELECT p.proname::text, r.rolcanlogin, r.rolsuper FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner \
          WHERE p.pronamespace = 'feed'::regnamespace AND p.prosecdef",
    );
    let rows = rows.fetch_all(database.pool()).await.expect("functions");
    assert_eq!(rows.len(), 12);
    for row in rows {
        assert_eq!((row.get(1), row.get(2)), (false, false), "{}", row.get::<String, _>(0));
    }
}

#[tokio::test]
async fn a_session_that_says_it_logs_its_updates_is_captured_unless_it_may() {
    let database = harness::database().await;
    database.run("INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1)").await;
    let mut poller = Poller::start(&database).await;
    let mut session = ordinary_session(&database).await;
    session.execute("SET freshet.logs = 'updates'").await.expect("anybody may say so");
    session.execute("UPDATE products SET price = 2 WHERE sku = 'a'").await.expect("an update");
    assert_eq!(polled(&mut poller).await, ["U a"]);
    assert_faithful(&database, &poller).await;
    drop_role(&database).await;
}

#[tokio::test]
async fn what_a_trigger_changes_beside_a_nodes_update_is_captured() {
    let database = harness::database().await;
    database
        .run(
            "INSERT INTO products (sku, name, price) VALUES ('a', 'A', 1), ('b', 'B', 1);
             CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN UPDATE products SET price = NEW.price WHERE sku = 'b' AND NEW.sku = 'a'; RETURN NULL; END $$;
             CREATE TRIGGER follow AFTER UPDATE ON products FOR EACH ROW EXECUTE FUNCTION follow();",
        )
        .await;
    let node = harness::Node::over(&database.url(), harness::node::config()).await;
    let mut poller = Poller::start(&database).await;
    let mut socket = harness::Socket::open(&node).await;
    let patch = serde_json::json!({"collection": "products", "key": "a", "value": {"price": 7}});
    socket.ok("patch", patch).await;
    assert_eq!(polled(&mut poller).await, ["U a", "U b"]);
    assert_faithful(&database, &poller).await;
    node.stop().await;
}
