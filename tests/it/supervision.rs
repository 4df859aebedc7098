//! A node that loses one of its tasks stops and says which.

use freshet::{
    app::{App, Error, Place},
    store::postgres,
};
use tokio_util::sync::CancellationToken;

use crate::harness::{database, node::config, within};

#[tokio::test]
async fn a_node_ends_with_the_first_task_that_ends_and_says_which() {
    let database = database().await;
    for place in [Place::Memory, Place::Database(postgres::Config::at(database.url()))] {
        let app = App::build(&config(), &place, None).await.expect("a node");
        app.tasks().spawn("planted", |_| async { panic!("a fault of the test") });
        let ended = within("the node's end", app.run(CancellationToken::new())).await;
        assert!(matches!(ended, Err(Error::TaskEnded { task: "planted" })), "{ended:?}");
    }
}
