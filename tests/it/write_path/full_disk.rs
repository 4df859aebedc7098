//! A disk that is full for some rows while PostgreSQL goes on: their writes fail, others do not, and the log says it once.

use serde_json::json;

use crate::harness::{Process, Socket, command::Configuration, database, until};

/// What PostgreSQL does when a file cannot grow, for records whose name says so. Where the system reports another fault than a full
/// disk, such as an exceeded limit of a file, its code is that of an internal error.
const FULL: &str = "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF NEW.name = 'full' THEN
      RAISE EXCEPTION 'could not extend file \"base/5/%\": No space left on device', NEW.price USING ERRCODE = 'disk_full';
    ELSIF NEW.name = 'limited' THEN
      RAISE EXCEPTION 'could not extend file \"base/5/%\": File too large', NEW.price USING ERRCODE = 'internal_error';
    END IF;
    RETURN NEW;
  END $$;
  CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON products FOR EACH ROW EXECUTE FUNCTION fail()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_a_full_disk_refuses_cost_themselves_and_a_line_of_the_log_in_all() {
    let database = database().await;
    database.run(FULL).await;
    let configuration = Configuration::of(crate::harness::MODULUS).with("main", &database.url(), "");
    let node = Process::configured(configuration.write().as_ref()).await;
    let mut socket = Socket::at(&node.url()).await;
    let put = |key: String, name: &str, price: u32| json!(["products", key, {"name": name, "price": price}]);
    for n in 0..300 {
        socket.ok("put", put(format!("sound{n}"), "x", n)).await;
        let refused = socket.refused("put", put(format!("full{n}"), "full", n % 3)).await;
        assert_eq!(refused["data"]["reason"], "unavailable", "{refused}");
        let refused = socket.refused("put", put(format!("limited{n}"), "limited", n % 3)).await;
        assert_eq!(refused["data"]["reason"], "internal", "{refused}");
    }
    assert_eq!(node.metric(r#"freshet_service_writes_total{outcome="failed"}"#).await, 600.0);
    let lines_with = |part: &str| node.said().iter().filter(|line| line.contains(part)).count();
    until("the log says why", async || lines_with("No space left on device") > 0 && lines_with("File too large") > 0)
        .await;
    // One of each at once, and one a minute while only the file is another.
    assert!(lines_with("No space left on device") <= 2 && lines_with("File too large") <= 2, "{:#?}", node.said());
    assert!(node.said().len() < 20, "{:#?}", node.said());
}
