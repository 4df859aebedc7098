//! The private server: started on any directory of ours, refused with a reason, never left behind.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use freshet::store::postgres::server::{Error, Options, PrivateServer, find_binaries};
use sqlx::{Connection, PgConnection};

use crate::harness::{
    durable_server, folder,
    holder::{Holder, await_end, given, hold, is_running},
};

fn quick(data_dir: impl Into<PathBuf>) -> Options {
    let mut options = Options::new(data_dir);
    options.sync = false;
    options
}

async fn answer(server: &PrivateServer, sql: &'static str) -> i32 {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.expect("connect");
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect(sql)
}

fn postmaster(data_dir: &Path) -> Option<i32> {
    fs::read_to_string(data_dir.join("postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()
}

#[tokio::test]
async fn committed_data_outlives_a_stop_and_a_second_start() {
    let (server, folder) = durable_server(&[("max_connections", "7")]).await;
    assert_eq!(answer(&server, "SELECT current_setting('max_connections')::integer").await, 7);
    let mut connection = PgConnection::connect(&server.url("postgres")).await.expect("connect");
    sqlx::raw_sql("CREATE TABLE kept AS SELECT 42 AS n").execute(&mut connection).await.expect("create");
    let data_dir = folder.path().join("data");
    let pid = postmaster(&data_dir).expect("a lock file");
    server.stop().await;
    assert!(!is_running(pid));
    let server = PrivateServer::start(Options::new(&data_dir)).await.expect("start again");
    assert_eq!(answer(&server, "SELECT n FROM kept").await, 42);
    server.stop().await;
}

#[tokio::test]
async fn a_server_with_a_port_answers_on_it() {
    let folder = folder();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = free.local_addr().expect("address").port();
    drop(free);
    let mut options = quick(folder.path().join("data"));
    options.port = Some(port);
    let server = PrivateServer::start(options).await.expect("start");
    assert_eq!(answer(&server, "SELECT 1").await, 1);
    let url = format!("postgres://{}@127.0.0.1:{port}/postgres", server.user());
    assert!(PgConnection::connect(&url).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_still_starts() {
    let folder = folder();
    let data_dir = folder.path().join("long ü".repeat(20)).join("data");
    let server = PrivateServer::start(quick(&data_dir)).await.expect("start");
    let socket_dir = server.socket_dir().to_owned();
    assert!(socket_dir.starts_with(std::env::temp_dir()) && socket_dir.as_os_str().len() < 90);
    assert_eq!(answer(&server, "SELECT 1").await, 1);
    server.stop().await;
    assert!(!socket_dir.exists());
}

#[tokio::test]
async fn an_ephemeral_server_takes_its_data_with_it() {
    let folder = folder();
    // Its account removes the directory, so it must be its account's parent too.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("open");
    let mut options = quick(folder.path().join("data"));
    options.is_ephemeral = true;
    PrivateServer::start(options).await.expect("start").stop().await;
    assert!(!folder.path().join("data").exists());
}

#[tokio::test]
async fn a_directory_of_a_running_server_is_refused() {
    let (server, folder) = durable_server(&[]).await;
    let data_dir = folder.path().join("data");
    let error = PrivateServer::start(quick(&data_dir)).await.expect_err("two on one directory");
    let pid = postmaster(&data_dir).expect("a lock file");
    assert!(matches!(error, Error::Locked { pid: found, .. } if found == pid), "{error}");
    assert!(error.to_string().contains("stop that server"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn a_directory_of_another_major_version_is_refused() {
    let (server, folder) = durable_server(&[]).await;
    server.stop().await;
    let data_dir = folder.path().join("data");
    fs::write(data_dir.join("PG_VERSION"), "9\n").expect("write");
    let error = PrivateServer::start(quick(&data_dir)).await.expect_err("another version");
    assert!(matches!(&error, Error::OtherMajor { found, .. } if found == "9"), "{error}");
}

#[tokio::test]
async fn a_directory_of_other_files_is_refused_and_left_alone() {
    let folder = folder();
    fs::write(folder.path().join("letter"), "dear").expect("write");
    let error = PrivateServer::start(quick(folder.path())).await.expect_err("not empty");
    assert!(matches!(error, Error::NotPostgres { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1);
}

#[tokio::test]
async fn a_directory_that_can_not_be_written_is_refused() {
    let error = PrivateServer::start(quick("/proc/freshet")).await.expect_err("not writable");
    assert!(matches!(error, Error::Write { .. }), "{error}");
}

#[tokio::test]
async fn a_directory_that_the_servers_account_can_not_reach_or_own_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        return; // Only root runs the server as somebody else.
    }
    let closed = folder();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).expect("close");
    let error = PrivateServer::start(quick(closed.path().join("data"))).await.expect_err("unreachable");
    assert!(matches!(&error, Error::Unreachable { barrier, .. } if barrier == closed.path()), "{error}");
    let (server, folder) = durable_server(&[]).await;
    server.stop().await;
    std::os::unix::fs::chown(folder.path().join("data"), Some(0), Some(0)).expect("chown");
    let error = PrivateServer::start(quick(folder.path().join("data"))).await.expect_err("not ours");
    assert!(matches!(error, Error::NotOurs { .. }), "{error}");
}

#[tokio::test]
async fn a_setting_that_the_server_refuses_is_quoted() {
    let folder = folder();
    let mut options = quick(folder.path().join("data"));
    options.settings = vec![("shared_buffers".to_owned(), "a lot".to_owned())];
    let error = PrivateServer::start(options).await.expect_err("a bad setting");
    assert!(matches!(&error, Error::Ended { output, .. } if output.contains("shared_buffers")), "{error}");
}

#[tokio::test]
async fn a_killed_initialisation_is_made_anew() {
    let folder = folder();
    let half_made = folder.path().join("data.new");
    fs::create_dir(&half_made).expect("create");
    fs::write(half_made.join("PG_VERSION"), "15\n").expect("write");
    let server = PrivateServer::start(quick(folder.path().join("data"))).await.expect("start");
    assert_eq!(answer(&server, "SELECT 1").await, 1);
    server.stop().await;
    assert!(!half_made.exists());
}

#[tokio::test]
async fn a_server_recovers_after_it_was_killed() {
    let (server, folder) = durable_server(&[]).await;
    let mut connection = PgConnection::connect(&server.url("postgres")).await.expect("connect");
    sqlx::raw_sql("CREATE TABLE kept AS SELECT 42 AS n").execute(&mut connection).await.expect("create");
    let data_dir = folder.path().join("data");
    kill(postmaster(&data_dir).expect("a lock file"));
    server.stop().await;
    assert!(data_dir.join("postmaster.pid").exists(), "the stale lock file is the point");
    let server = PrivateServer::start(Options::new(&data_dir)).await.expect("start over a stale lock file");
    assert_eq!(answer(&server, "SELECT n FROM kept").await, 42);
    server.stop().await;
}

fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).expect("kill");
}

#[test]
fn a_server_ends_with_a_process_that_is_killed() {
    let folder = folder();
    let data_dir = folder.path().join("data");
    let holder = Holder::run("private_server::holder", &data_dir);
    let pid = postmaster(&data_dir).expect("a lock file");
    assert!(is_running(pid));
    let group = |pid| nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).expect("a group");
    let ours = group(holder.id());
    assert_ne!(group(pid), ours, "Ctrl-C would reach the server before its owner has drained");
    holder.kill();
    await_end(pid);
    assert!(!data_dir.join("postmaster.pid").exists(), "it ended by a clean shutdown");
}

/// Not a test: the process that `a_server_ends_with_a_process_that_is_killed` kills.
#[tokio::test]
#[ignore = "runs only as another test's child"]
async fn holder() {
    let Some(data_dir) = given() else {
        return;
    };
    let _server = PrivateServer::start(quick(data_dir)).await.expect("start");
    hold("a server");
}

#[test]
fn the_binaries_are_found_where_the_distributions_put_them() {
    let folder = find_binaries().expect("PostgreSQL is installed");
    assert!(folder.join("initdb").is_file() && folder.join("postgres").is_file());
}
