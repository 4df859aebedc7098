//! A node that is measured.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The program that is measured, and measures.
pub const FRESHET: &str = env!("CARGO_BIN_EXE_freshet");
const START_LIMIT: Duration = Duration::from_secs(60);

/// A node in a process of its own, ended with this value.
pub struct Running {
    child: Child,
    address: SocketAddr,
    /// Its operations listener.
    pub operations: SocketAddr,
}

impl Running {
    /// Starts it with a configuration; L1 has room for `cache`.
    pub fn start(configuration: &str, cache: &str) -> Self {
        let text = format!("{configuration}[tiers.local]\ncapacity = \"{cache}\"\n");
        let config = std::env::temp_dir().join(format!("freshet-bench-{}.toml", std::process::id()));
        fs::write(&config, text).expect("the configuration is written");
        let [address, operations] = [(); 2].map(|()| free_address());
        let mut command = Command::new(FRESHET);
        command.arg("serve").arg("--config").arg(&config).args(["--listen", &address.to_string()]);
        command.args(["--operations", &operations.to_string()]).env("RUST_LOG", "error").stdout(Stdio::null());
        let node = Running { child: command.spawn().expect("the node starts"), address, operations };
        let until = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < until, "the node does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        node
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self) -> String {
        format!("ws://{}/v1/ws", self.address)
    }

    /// Ends it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}
