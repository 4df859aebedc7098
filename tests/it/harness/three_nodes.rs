//! Three nodes in processes of their own, over a test's database, behind the balancer of `examples/cluster`.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use freshet_client::{Client, Options};
use tempfile::TempDir;
use tokio::process::Command;

#[path = "../../../examples/cluster/balancer.rs"]
mod balancer;
#[path = "../../../examples/cluster/node.rs"]
mod node;
#[path = "../../../examples/cluster/nodes.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod nodes;

pub use balancer::Health;
pub use nodes::Nodes;

use super::{TestDatabase, folder, instance, redis::next_port};

/// The nodes, killed with this value.
pub struct ThreeNodes {
    pub nodes: Nodes,
    folder: TempDir,
}

impl ThreeNodes {
    /// Starts `freshet` with `words` three times over the same database, with a Redis where one is named.
    pub async fn start(words: &'static [&str], database: &TestDatabase, redis: Option<&str>) -> Self {
        let folder = folder();
        let path = folder.path().join("freshet.toml");
        // A busy machine is not what these tests are about.
        let mut text = format!(
            "[service]\ndeadline = \"20s\"\n[[database]]\nname = \"main\"\nurl = \"{}\"\nshards = \"0-63\"\n",
            database.url()
        );
        if let Some(url) = redis {
            text.push_str(&format!("[redis]\nurls = [\"{url}\"]\nlimit = \"2s\"\n"));
        }
        fs::write(&path, text).expect("write the configuration");
        let program = move || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_freshet"));
            command.args(words).arg("--config").arg(&path).env_remove("RUST_LOG");
            command
        };
        let at = || ([127, 0, 0, 1], free_port()).into();
        let all = ["n1", "n2", "n3"].map(|name| node::Node::new(name, (at(), at()), folder.path(), program.clone()));
        let mut nodes = Nodes::new(([127, 0, 0, 1], 0).into(), all.into()).await.expect("a free port");
        nodes.start().await.expect("start the nodes");
        ThreeNodes { nodes, folder }
    }

    /// Where the configuration is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The balancer's WebSocket.
    pub fn url(&self) -> String {
        format!("ws://{}/v1/ws", self.nodes.balancer.address())
    }

    /// A client that learns only from its connection's end that a node is gone, and hurries back.
    pub async fn client(&self) -> Client {
        let options = Options::new()
            .heartbeat(Duration::from_secs(600))
            .request_timeout(Duration::from_secs(60))
            .backoff_base(Duration::from_millis(50))
            .backoff_limit(Duration::from_millis(500));
        Client::connect(&self.url(), options).await.expect("connect")
    }
}

/// One that stays free until a node takes it, and while that node is down.
fn free_port() -> u16 {
    loop {
        let port = next_port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
