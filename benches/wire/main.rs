//! L1 hits and fan-out over the wire, each as a ratio to a bare axum server in the same run.
//!
//! `cargo bench --bench wire`. Servers run on core 0 and the clients on core 1 (taskset), in turns, several rounds;
//! the figures are medians. Freshet keeps its records in memory here: nothing below L1 is measured.

mod echo;
mod load;

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use freshet::client::{Client, Options, WriteOptions};

/// Rounds of each measurement, in turns between the servers.
const ROUNDS: usize = 5;
/// One measurement.
const WINDOW: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 16;
const HOT_KEYS: usize = 100;
const WATCHERS: usize = 1_000;
const ECHO: &str = "127.0.0.1:18210";
const FRESHET: &str = "127.0.0.1:18211";

/// A server in a process of its own, on core 0; killed with this value.
struct Server(Child);

impl Server {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("taskset");
        command.args(["-c", "0", program]).args(arguments).env("TOKIO_WORKER_THREADS", "1").env("RUST_LOG", "error");
        Server(command.stdout(Stdio::null()).spawn().expect("taskset starts the server"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match arguments.get(1).map(String::as_str) {
        Some("echo") => runtime.block_on(echo::serve(ECHO)),
        // `cargo test --benches` only wants to know that it starts.
        Some("--test") => {}
        _ => {
            pin_to_core_1();
            runtime.block_on(measure());
        }
    }
}

fn pin_to_core_1() {
    let pid = std::process::id().to_string();
    drop(Command::new("taskset").args(["-cp", "1", &pid]).stdout(Stdio::null()).status());
}

async fn measure() {
    let own = std::env::current_exe().expect("this program").display().to_string();
    let _echo = Server::start(&own, &["echo"]);
    let freshet = ["serve", "--memory", "--listen", FRESHET, "--operations", "127.0.0.1:0"];
    let _freshet = Server::start(env!("CARGO_BIN_EXE_freshet"), &freshet);
    load::wait_for(ECHO).await;
    load::wait_for(FRESHET).await;
    put_hot_keys().await;
    println!("| measurement | echo | freshet | ratio |\n|---|---|---|---|");
    for depth in [1, 16] {
        let (mut echo, mut freshet) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            echo.push(load::closed_loop(ECHO, CONNECTIONS, depth, HOT_KEYS, WINDOW).await);
            freshet.push(load::closed_loop(FRESHET, CONNECTIONS, depth, HOT_KEYS, WINDOW).await);
        }
        report(&format!("gets/s, {CONNECTIONS} connections x {depth} in flight"), &mut echo, &mut freshet);
    }
    let (mut echo, mut freshet) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        echo.push(load::fan_out_echo(ECHO, WATCHERS, WINDOW).await);
        freshet.push(load::fan_out_freshet(FRESHET, WATCHERS, WINDOW).await);
    }
    report(&format!("states delivered/s to {WATCHERS} watchers of one key, saturated"), &mut echo, &mut freshet);
}

fn report(what: &str, echo: &mut [f64], freshet: &mut [f64]) {
    let (echo, freshet) = (median(echo), median(freshet));
    println!("| {what} | {echo:.0} | {freshet:.0} | {:.2} |", freshet / echo);
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

async fn put_hot_keys() {
    let client = Client::connect(&format!("ws://{FRESHET}/v1/ws"), Options::default()).await.expect("connect");
    for n in 0..HOT_KEYS {
        let text = "x".repeat(420);
        let value = format!(r#"{{"name":"{text}","price":100,"stock":1000000}}"#);
        client.put("products", &load::key(n), &value, WriteOptions::default()).await.expect("put");
    }
    client.close().await;
}
