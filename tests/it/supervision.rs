//! A node that loses one of its tasks stops and says which.

use freshet::{
    app::{App, Error, Place},
    store::postgres,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::harness::{database, node::config, until, within};

/// Every task that a node cannot do without. Those of the store are PostgreSQL's.
const OF_ANY_NODE: [&str; 8] =
    ["relay", "follower", "hub", "heartbeat", "filters", "certificates", "public listener", "operations listener"];
const OF_THE_STORE: [&str; 2] = ["writer", "held writes"];

#[tokio::test]
async fn a_node_ends_with_the_first_task_that_ends_and_says_which() {
    let database = database().await;
    let durable = || Place::Databases(vec![postgres::Config::at(database.url())]);
    let on_postgres = OF_ANY_NODE.iter().chain(&OF_THE_STORE).map(|&task| (durable(), task));
    let in_memory = OF_ANY_NODE.iter().map(|&task| (Place::Memory, task));
    for (place, task) in on_postgres.chain(in_memory) {
        let app = App::build(&config(), &place, None).await.expect("a node");
        let groups = app.tasks();
        let running = tokio::spawn(app.run(CancellationToken::new()));
        until("the task runs, and is ended", async || groups.iter().any(|group| group.abort(task))).await;
        let ended = within("the node's end", running).await.expect("no panic");
        assert!(matches!(ended, Err(Error::TaskEnded { task: named }) if named == task), "{task}: {ended:?}");
    }
}

#[tokio::test]
async fn a_panic_ends_the_node_as_well() {
    let app = App::build(&config(), &Place::Memory, None).await.expect("a node");
    app.tasks()[0].spawn("planted", |_| async { panic!("a fault of the test") });
    let ended = within("the node's end", app.run(CancellationToken::new())).await;
    assert!(matches!(ended, Err(Error::TaskEnded { task: "planted" })), "{ended:?}");
}

#[tokio::test]
async fn clients_are_told_when_a_listener_is_lost() {
    let app = App::build(&config(), &Place::Memory, None).await.expect("a node");
    let (groups, (public, _)) = (app.tasks(), app.addresses());
    let running = tokio::spawn(app.run(CancellationToken::new()));
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{public}/v1/ws")).await.expect("connected");
    assert!(groups.iter().any(|group| group.abort("public listener")));
    let told =
        within("the drain", futures_util::StreamExt::next(&mut socket)).await.expect("a message").expect("sound");
    let told: Value = serde_json::from_str(told.to_text().expect("text")).expect("JSON");
    assert_eq!(told["method"], "freshet_drain", "{told}");
    drop(socket);
    let ended = within("the node's end", running).await.expect("no panic");
    assert!(matches!(ended, Err(Error::TaskEnded { task: "public listener" })), "{ended:?}");
}

#[tokio::test]
async fn a_node_that_is_stopped_has_lost_no_task() {
    let app = App::build(&config(), &Place::Memory, None).await.expect("a node");
    let (stop, page) = (CancellationToken::new(), format!("http://{}/", app.addresses().0));
    let running = tokio::spawn(app.run(stop.clone()));
    until("it serves", async || reqwest::get(&page).await.is_ok_and(|answer| answer.status().is_success())).await;
    stop.cancel();
    within("the node's end", running).await.expect("no panic").expect("an end in order");
}
