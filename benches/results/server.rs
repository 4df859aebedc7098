//! The servers that are measured: processes of their own, on the first core, ended with their value.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{client::Cores, database::SHARDS, process::freshet};

/// How long a server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A server that listens.
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// A limit server of this program's.
    pub fn limit(name: &str) -> Self {
        let own = std::env::current_exe().expect("this program has a path");
        Self::start(Command::new(own).args(["serve", name]))
    }

    /// The naive build on `database`, with all cores and as many threads.
    pub fn naive(database: &str) -> Self {
        let own = std::env::current_exe().expect("this program has a path");
        Self::listening(Command::new("taskset").args(["-c", Cores::All.list()]).arg(own).args(["naive", database]))
    }

    /// A node that keeps its records in memory.
    pub fn memory_node() -> Self {
        Self::start(Command::new(freshet()).args(["serve", "--memory", "--operations", "127.0.0.1:0", "--listen"]))
    }

    /// A node on `database`, with `settings` as environment variables.
    pub fn node(database: &str, settings: &[(&str, &str)]) -> Self {
        let config = std::env::temp_dir().join(format!("freshet-results-{}.toml", std::process::id()));
        std::fs::write(&config, format!("shards = {SHARDS}\n[[database]]\nurl = \"{database}\"\n"))
            .expect("the configuration is written");
        let mut command = Command::new(freshet());
        command.arg("serve").arg("--config").arg(&config).args(["--operations", "127.0.0.1:0", "--listen"]);
        command.envs(settings.iter().copied());
        let server = Self::start(&mut command);
        drop(std::fs::remove_file(config));
        server
    }

    /// A node on `database` with all cores and as many threads as it takes by itself; `shards` is all that is set.
    pub fn node_at_defaults(database: &str, shards: u32) -> Self {
        let config = std::env::temp_dir().join(format!("freshet-results-{}.toml", std::process::id()));
        std::fs::write(&config, format!("shards = {shards}\n[[database]]\nurl = \"{database}\"\n"))
            .expect("the configuration is written");
        let mut command = Command::new("taskset");
        command.args(["-c", Cores::All.list()]).arg(freshet()).arg("serve").arg("--config").arg(&config);
        command.args(["--operations", "127.0.0.1:0", "--listen"]);
        let server = Self::listening(&mut command);
        drop(std::fs::remove_file(config));
        server
    }

    /// Starts `command` with a free address as its last argument. The servers get one core, so one thread.
    fn start(command: &mut Command) -> Self {
        Self::listening(command.env("TOKIO_WORKER_THREADS", "1"))
    }

    fn listening(command: &mut Command) -> Self {
        let address = free_address();
        command.arg(address.to_string()).env("RUST_LOG", "error");
        let child = command.stdout(Stdio::null()).spawn().expect("the server starts");
        let mut server = Server { child, address };
        let until = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none() && Instant::now() < until, "the server does not listen: {command:?}");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A WebSocket's URL.
    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("a bound listener has an address")
}
