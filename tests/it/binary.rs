//! The real binary as a user runs it: it starts, serves, continues and ends, and says what is wrong.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use freshet::client::{Client, Options, WriteOptions};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::harness::{Process, command::freshet, empty_database, folder, until, within};

/// A running `freshet`, killed with this value if a test fails.
struct Freshet {
    child: Child,
    url: String,
    operations: String,
}

impl Freshet {
    /// Starts `freshet` with `arguments`, on ports of its own, and waits until it says that it runs.
    async fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[]).await
    }

    /// The same with environment variables.
    async fn start_with(arguments: &[&str], variables: &[(&str, &Path)]) -> Self {
        let [public, operations] = [free_address(), free_address()];
        let mut child = Command::new(env!("CARGO_BIN_EXE_freshet"))
            .args(arguments)
            .args(["--listen", &public, "--operations", &operations])
            .env_remove("FRESHET_CONFIG")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start freshet");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let says =
            tokio::task::spawn_blocking(move || out.lines().map_while(Result::ok).any(|l| l.contains("is running")));
        assert!(within("it says that it runs", says).await.expect("read"), "{}", errors(&mut child));
        Freshet { child, url: format!("ws://{public}/v1/ws"), operations }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.url, Options::new()).await.expect("connect")
    }

    /// What `/readyz?verbose` says.
    async fn checks(&self) -> String {
        let answer = reqwest::get(format!("http://{}/readyz?verbose", self.operations)).await.expect("an answer");
        answer.text().await.expect("text")
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end.
    async fn interrupt(mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).expect("signal");
        until("it ends", async || self.child.try_wait().expect("a status").is_some()).await;
        let status = self.child.wait().expect("a status");
        assert_eq!(status.code(), Some(0), "{}", errors(&mut self.child));
    }
}

impl Drop for Freshet {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn errors(child: &mut Child) -> String {
    drop(child.kill());
    let mut text = String::new();
    drop(child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut text)));
    text
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("an address").to_string()
}

/// Processes whose command line names `folder`, zombies left out.
fn processes_of(folder: &Path) -> Vec<(i32, String)> {
    let of_process = |entry: fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let pid = entry.file_name().to_string_lossy().parse().ok()?;
        Some((pid, String::from_utf8_lossy(&line).replace('\0', " ")))
    };
    let all = fs::read_dir("/proc").expect("/proc").filter_map(|entry| of_process(entry.ok()?));
    all.filter(|(_, line)| line.contains(&folder.display().to_string())).collect()
}

/// Redis itself, which tells its socket in its name; its supervisor was given the path as an argument.
fn redis_of(folder: &Path) -> Option<i32> {
    let is_redis = |line: &str| line.contains("/redis.sock") && !line.contains("/bin/sh");
    processes_of(folder).into_iter().find(|(_, line)| is_redis(line)).map(|(pid, _)| pid)
}

#[tokio::test]
async fn the_demo_continues_where_it_was_interrupted_and_leaves_no_process_behind() {
    let folder = folder();
    let data = folder.path().join("demo").display().to_string();
    let demo = Freshet::start_with(&["demo", "--no-replay", "--data-dir", &data], &[("TMPDIR", folder.path())]).await;
    until("it uses a Redis of its own", async || demo.checks().await.contains("main is kept by this node")).await;
    let redis = redis_of(folder.path()).expect("it runs");
    let client = demo.client().await;
    let heart = client.get("products", "85123A").await.expect("get").value.expect("the catalogue is there");
    assert!(heart.get().contains("WHITE HANGING HEART T-LIGHT HOLDER"), "{heart}");
    let sold = r#"{"name":"SOLD OUT","price":1}"#;
    let written = client.put("products", "85123A", sold, WriteOptions::new()).await.expect("put");
    kill(Pid::from_raw(redis), Signal::SIGKILL).expect("kill Redis");
    until("it is started again", async || redis_of(folder.path()).is_some_and(|pid| pid != redis)).await;
    assert_eq!(client.get("products", "85123A").await.expect("get").stamp, written.stamp);
    until("it is used again", async || demo.checks().await.contains("main is kept by this node")).await;
    client.close().await;
    demo.interrupt().await;
    assert_eq!(processes_of(folder.path()), []);

    let again = Freshet::start(&["demo", "--no-replay", "--data-dir", &data]).await;
    let client = again.client().await;
    let heart = client.get("products", "85123A").await.expect("get");
    assert_eq!(heart.stamp, written.stamp, "nothing was lost and nothing imported over it");
    client.close().await;
    again.interrupt().await;
}

#[tokio::test]
async fn the_demo_replays_sales_in_memory_where_there_is_no_postgresql() {
    let demo = Freshet::start(&["demo", "--memory", "--speed", "100000"]).await;
    let client = demo.client().await;
    // The first product sold in the file.
    let mut watch = client.subscribe("products", &["85048"], []).await.expect("subscribe");
    let first = within("the snapshot", watch.next()).await.expect("a state");
    let next = within("a sale", watch.next()).await.expect("a state");
    assert!(next.stamp > first.stamp);
    client.close().await;
    demo.interrupt().await;
}

/// Runs `freshet serve` to its end and returns its exit code and what it said.
fn serve(arguments: &[&str]) -> (Option<i32>, String) {
    serve_with(arguments, &[])
}

/// The same with environment variables.
fn serve_with(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshet"));
    command.arg("serve").args(arguments).env_remove("FRESHET_CONFIG").env_remove("DATABASE_URL");
    let ran = command.envs(variables.iter().copied()).output().expect("run");
    (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

#[test]
fn a_node_is_started_on_nothing_that_was_not_named() {
    let (code, said) = serve(&[]);
    assert_eq!(code, Some(2), "{said}");
    for choice in [
        "freshet serve --database-url postgres://",
        "DATABASE_URL",
        "[[database]]",
        "freshet serve --data-dir /",
        "freshet serve --memory",
        "freshet demo",
    ] {
        assert!(said.contains(choice), "{said}");
    }
    for two in [["--memory", "--data-dir=/nowhere"], ["--memory", "--database-url=postgres://h/d"]] {
        assert_eq!(serve(&two).0, Some(2), "{two:?}");
    }
}

#[tokio::test]
async fn a_node_serves_the_database_that_is_named_closest() {
    let database = empty_database().await;
    let folder = folder();
    let config = folder.path().join("freshet.toml");
    fs::write(&config, "[[database]]\nurl = \"postgres://h/configured\"").expect("write");
    let (config, url) = (config.display().to_string(), database.url());
    let ran = tokio::task::spawn_blocking(move || {
        let ports = ["--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"];
        let variable = [("DATABASE_URL", &*url)];
        let by_variable = serve_with(&ports, &variable);
        let over_the_file = serve(&[&ports[..], &["--config", &config, "--database-url", &url]].concat());
        let malformed = serve(&["--database-url", "mysql://u:secret@h/d"]);
        (by_variable, over_the_file, malformed)
    });
    let (by_variable, over_the_file, malformed) = within("they give up", ran).await.expect("ran");
    for (code, said) in [by_variable, over_the_file] {
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("uses the database") && said.contains("run `freshet migrate`"), "{said}");
    }
    assert_eq!(malformed.0, Some(2), "{}", malformed.1);
    assert!(!malformed.1.contains("secret"), "{}", malformed.1);
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, said) = serve(&["--memory", "--listen", &address, "--operations", "127.0.0.1:0"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("in use") && said.contains("--listen"), "{said}");
    let (_, said) = serve(&["--memory", "--listen", "127.0.0.1:0", "--operations", &address]);
    assert!(said.contains("--operations, or `operations` of [gateway]"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_increment_of_a_record_that_is_not_there_says_so_at_any_form_of_the_address() {
    let node = Process::start(&[]).await;
    for url in [format!("ws://{}", node.public), format!("http://{}/", node.public), node.public.to_string()] {
        let arguments = ["patch", "products", "nothing", "--increment", "stock=-1", "--url", &url];
        freshet(&arguments).says(3, &["products/nothing", "nothing to add to", "`freshet put`"]);
    }
}

#[test]
fn a_log_for_programs_is_json_from_first_to_last_and_one_for_people_has_no_colours_in_a_file() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address").to_string();
    let arguments = ["--memory", "--listen", &address, "--operations", "127.0.0.1:0"];
    let (code, said) = serve(&[&arguments[..], &["--format", "json"]].concat());
    assert_eq!(code, Some(1), "{said}");
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{said}"))).collect();
    let (first, last) = (lines.first().expect("a line"), lines.last().expect("a line"));
    assert_eq!((&first["level"], &last["level"]), (&"WARN".into(), &"ERROR".into()));
    assert!(first["timestamp"].is_string() && first["message"].as_str().is_some_and(|text| text.contains("in memory")));
    assert!(
        last["message"].as_str().is_some_and(|text| text.contains(&address) && text.contains("--listen")),
        "{last}"
    );
    let (_, plain) = serve(&arguments);
    assert!(plain.contains("WARN keeps records in memory") && !plain.contains('\u{1b}'), "{plain:?}");
}

#[tokio::test]
async fn a_node_ends_with_the_reason_when_its_private_postgresql_has_ended() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshet"));
    command.args(["demo", "--no-replay", "--readers", "0", "--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"]);
    command.arg("--data-dir").arg(&data).env("TMPDIR", folder.path()).env_remove("FRESHET_CONFIG");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let says = tokio::task::spawn_blocking(move || out.lines().map_while(Result::ok).any(|l| l.contains("is running")));
    assert!(within("it says that it runs", says).await.expect("read"), "{}", errors(&mut child));
    let lock = fs::read_to_string(data.join("postmaster.pid")).expect("read");
    let pid = lock.lines().next().expect("a line").parse().expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGQUIT).expect("end PostgreSQL at once");
    until("the node ends", async || child.try_wait().expect("a status").is_some()).await;
    let status = child.wait().expect("a status");
    let said = errors(&mut child);
    assert_eq!(status.code(), Some(70), "{said}");
    assert!(said.contains("the private PostgreSQL ended") && said.contains("immediate shutdown"), "{said}");
    assert!(said.lines().count() < 100, "{said}");
}

#[test]
fn a_database_that_is_not_there_is_said() {
    let folder = folder();
    let config = folder.path().join("freshet.toml");
    let free = free_address();
    let port = free.rsplit(':').next().expect("a port");
    fs::write(&config, format!("[[database]]\nurl = \"postgres://nobody@127.0.0.1:{port}/none\"")).expect("write");
    let config = config.display().to_string();
    let (code, said) = serve(&["--config", &config, "--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"]);
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("store is unavailable") && said.contains("is the database running"), "{said}");
}

#[tokio::test]
async fn a_database_without_the_migrations_says_what_to_run() {
    let database = empty_database().await;
    let folder = folder();
    let config = folder.path().join("freshet.toml");
    fs::write(&config, format!("[[database]]\nurl = \"{}\"", database.url())).expect("write");
    let config = config.display().to_string();
    let ran = tokio::task::spawn_blocking(move || {
        serve(&["--config", &config, "--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"])
    });
    let (code, said) = within("it gives up", ran).await.expect("ran");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("run `freshet migrate`"), "{said}");
}

#[test]
fn a_wrong_key_of_the_configuration_is_named_with_its_line() {
    let folder = folder();
    let config = folder.path().join("freshet.toml");
    fs::write(&config, "[session]\nbatch_maximum = 5\n").expect("write");
    let (code, said) = serve(&["--config", &config.display().to_string()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("batch_maximum") && said.contains("line 2"), "{said}");
}
