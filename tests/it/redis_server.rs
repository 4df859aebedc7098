//! The private Redis: started on a socket, bounded, refused with a reason, never left behind. And what the harness makes of
//! it: servers that crash, freeze, follow each other and form a cluster.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use freshet::shared::server::{Error, Options, PrivateRedis, find_binary};
use redis::{AsyncCommands as _, AsyncConnectionConfig, Client, aio::MultiplexedConnection};

use crate::harness::{
    Link, Proxy, Redis, RedisCluster, folder,
    holder::{Holder, await_end, given, hold, is_running},
    until, within,
};

async fn connect(url: &str) -> MultiplexedConnection {
    Client::open(url).expect("a sound URL").get_multiplexed_async_connection().await.expect("connect")
}

/// A value of `CONFIG GET`.
async fn setting(connection: &mut MultiplexedConnection, name: &str) -> String {
    let (_, value): (String, String) =
        redis::cmd("CONFIG").arg("GET").arg(name).query_async(connection).await.expect("a setting");
    value
}

async fn process_id(connection: &mut MultiplexedConnection) -> i32 {
    let info: String = redis::cmd("INFO").arg("server").query_async(connection).await.expect("ask");
    let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).expect("a process");
    pid.parse().expect("a number")
}

fn socket(url: &str) -> PathBuf {
    PathBuf::from(url.strip_prefix("redis+unix://").expect("a socket's URL"))
}

#[tokio::test]
async fn a_private_redis_listens_on_its_socket_alone_and_leaves_nothing_behind() {
    let server = PrivateRedis::start(Options::default()).await.expect("start");
    let socket = socket(&server.url());
    assert!(socket.exists());
    let mut connection = connect(&server.url()).await;
    let settings = [
        ("port", "0"),
        ("save", ""),
        ("appendonly", "no"),
        ("maxmemory", "268435456"),
        ("maxmemory-policy", "allkeys-lru"),
        ("unixsocketperm", "700"),
    ];
    for (name, value) in settings {
        assert_eq!(setting(&mut connection, name).await, value, "{name}");
    }
    let () = connection.set("key", "value").await.expect("set");
    assert_eq!(connection.get::<_, String>("key").await.expect("get"), "value");
    server.stop().await;
    assert!(!socket.parent().expect("a folder").exists());
}

#[tokio::test]
async fn a_private_redis_that_was_killed_says_so_and_is_started_again_at_its_url() {
    let mut server = PrivateRedis::start(Options::default()).await.expect("start");
    let url = server.url();
    let mut connection = connect(&url).await;
    let () = connection.set("key", "value").await.expect("set");
    let pid = process_id(&mut connection).await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).expect("kill");
    let error = within("it is said", server.ended()).await;
    assert!(matches!(&error, Error::Ended { status, .. } if !status.success()), "{error}");
    assert!(!socket(&url).exists());
    server.start_again().await.expect("start again");
    assert_eq!(server.url(), url);
    assert!(!connect(&url).await.exists::<_, bool>("key").await.expect("ask"), "it is another server");
    server.stop().await;
    assert!(!socket(&url).parent().expect("a folder").exists());
}

#[tokio::test]
async fn a_private_redis_with_a_port_answers_on_it() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut options = Options::default();
    options.port = Some(free.local_addr().expect("an address").port());
    drop(free);
    let url = format!("redis://127.0.0.1:{}", options.port.expect("set above"));
    let server = PrivateRedis::start(options).await.expect("start");
    assert_eq!(connect(&url).await.ping::<String>().await.expect("ping"), "PONG");
    server.stop().await;
}

#[tokio::test]
async fn a_private_redis_evicts_rather_than_grow() {
    let mut options = Options::default();
    options.memory_max = ByteSize::mib(4);
    let server = PrivateRedis::start(options).await.expect("start");
    let mut connection = connect(&server.url()).await;
    for key in 0..1000 {
        let () = connection.set(key, vec![b'x'; 16 << 10]).await.expect("set");
    }
    assert!(connection.exists::<_, bool>(999).await.expect("ask"), "the newest is there");
    assert!(!connection.exists::<_, bool>(0).await.expect("ask"), "the oldest was evicted");
    server.stop().await;
}

#[tokio::test]
async fn without_a_program_the_error_says_what_to_install() {
    let mut options = Options::default();
    options.program = Some("/nowhere/redis-server".into());
    let error = PrivateRedis::start(options).await.expect_err("there is no such program");
    assert!(matches!(error, Error::NoBinary), "{error}");
    assert!(error.to_string().contains("install Redis"), "{error}");
}

#[tokio::test]
async fn what_a_server_says_that_does_not_start_is_in_the_error() {
    let mut options = Options::default();
    options.settings.push(("no-such-setting".to_owned(), "1".to_owned()));
    let error = PrivateRedis::start(options).await.expect_err("a wrong setting");
    assert!(matches!(&error, Error::Ended { output, .. } if output.contains("no-such-setting")), "{error}");
}

#[tokio::test]
async fn a_program_that_never_answers_is_ended() {
    let folder = folder();
    let (program, started) = (folder.path().join("redis-server"), folder.path().join("pid"));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("open the folder");
    fs::write(&program, format!("#!/bin/sh\necho $$ >{}\nexec sleep 100\n", started.display())).expect("write");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it a program");
    let mut options = Options::default();
    (options.program, options.start_limit) = (Some(program), Duration::from_secs(1));
    let error = PrivateRedis::start(options).await.expect_err("it is no Redis");
    assert!(matches!(error, Error::NotReady { .. }), "{error}");
    await_end(fs::read_to_string(started).expect("it was started").trim().parse().expect("a number"));
}

#[test]
fn a_private_redis_ends_with_a_process_that_is_killed() {
    let holder = Holder::run("redis_server::holder", "a server");
    let (pid, url) = holder.said().split_once(' ').expect("two words");
    let (pid, socket): (i32, _) = (pid.parse().expect("a number"), socket(url));
    assert!(is_running(pid) && socket.exists());
    let group = |pid| nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).expect("a group");
    assert_ne!(group(pid), group(holder.id()), "Ctrl-C would reach the server before its owner has drained");
    // A frozen server hears nothing but SIGKILL.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGSTOP).expect("freeze");
    holder.kill();
    await_end(pid);
    let folder = socket.parent().expect("a folder");
    for _ in 0..1000 {
        if !folder.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} is left", folder.display());
}

/// Not a test: the process that `a_private_redis_ends_with_a_process_that_is_killed` kills.
#[tokio::test]
#[ignore = "runs only as another test's child"]
async fn holder() {
    if given().is_none() {
        return;
    }
    let server = PrivateRedis::start(Options::default()).await.expect("start");
    let pid = process_id(&mut connect(&server.url()).await).await;
    hold(format!("{pid} {}", server.url()));
}

#[test]
fn the_binary_is_found_where_the_distributions_put_it() {
    let program = find_binary().expect("Redis or Valkey is installed");
    assert!(program.is_file() && program.is_absolute());
}

#[tokio::test]
async fn a_killed_server_comes_back_with_what_it_saved() {
    let mut server = Redis::start().await;
    let (url, pid) = (server.url(), server.pid());
    server.command::<()>(&["SET", "saved", "1"]).await;
    server.save().await;
    server.command::<()>(&["SET", "lost", "1"]).await;
    server.kill().await;
    assert!(!is_running(pid));
    assert!(server.try_command::<()>(&["PING"]).await.is_err(), "it is down");
    server.restart().await;
    assert_eq!(server.url(), url);
    assert_eq!(server.command::<Vec<Option<u8>>>(&["MGET", "saved", "lost"]).await, [Some(1), None]);
    server.stop().await;
}

#[tokio::test]
async fn a_server_without_a_save_comes_back_empty() {
    let mut server = Redis::start_with(&[("maxmemory", "8mb"), ("maxmemory-policy", "noeviction")]).await;
    server.command::<()>(&["SET", "key", "1"]).await;
    server.restart().await;
    assert_eq!(server.command::<u64>(&["DBSIZE"]).await, 0);
    assert_eq!(setting(&mut server.connect().await, "maxmemory-policy").await, "noeviction");
    server.stop().await;
}

#[tokio::test]
async fn a_frozen_server_answers_nothing_until_it_is_thawed() {
    let server = Redis::start().await;
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_millis(100)));
    let client = Client::open(server.url()).expect("a sound URL");
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await.expect("connect");
    server.freeze();
    assert!(connection.ping::<()>().await.expect_err("no answer").is_timeout());
    server.thaw();
    until("it answers", async || connection.ping::<()>().await.is_ok()).await;
    server.freeze();
    let pid = server.pid();
    drop(server);
    until("a frozen server ends as well", async || !is_running(pid)).await;
}

#[tokio::test]
async fn a_replica_has_the_data_and_takes_writes_once_it_is_promoted() {
    let mut primary = Redis::start().await;
    primary.command::<()>(&["SET", "key", "1"]).await;
    let mut replica = primary.replica().await;
    assert_eq!(replica.command::<u8>(&["GET", "key"]).await, 1);
    assert!(replica.try_command::<()>(&["SET", "key", "2"]).await.is_err(), "a replica is read-only");
    primary.kill().await;
    replica.promote().await;
    replica.command::<()>(&["SET", "key", "2"]).await;
    primary.restart().await;
    primary.follow(&replica).await;
    assert_eq!(primary.command::<u8>(&["GET", "key"]).await, 2);
    replica.restart().await;
    assert_eq!(replica.info("role").await, "master");
    primary.stop().await;
    replica.stop().await;
}

#[tokio::test]
async fn a_proxy_stands_between_a_client_and_redis() {
    let server = Redis::start().await;
    let proxy = Proxy::to(&server.url()).await;
    let mut connection = connect(&proxy.url()).await;
    let () = connection.set("key", 1).await.expect("set");
    assert_eq!(server.command::<u8>(&["GET", "key"]).await, 1);
    proxy.set(Link::BlackHole);
    assert!(connection.get::<_, u8>("key").await.expect_err("no answer").is_timeout());
    proxy.set(Link::Pass);
    assert_eq!(connection.get::<_, u8>("key").await.expect("get"), 1);
    proxy.set(Link::Cut);
    assert!(connection.get::<_, u8>("key").await.expect_err("cut").is_connection_dropped());
    let other = Redis::start().await;
    proxy.lead_to(&other.url());
    proxy.set(Link::Pass);
    assert!(!connect(&proxy.url()).await.exists::<_, bool>("key").await.expect("ask"), "another server");
    server.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_cluster_loses_the_slots_of_a_killed_master_alone() {
    let mut cluster = RedisCluster::start_with(3, &[("cluster-require-full-coverage", "no")]).await;
    let mut connection = cluster.connect().await;
    let mut keys = Vec::new();
    for key in ["a", "b", "c", "d", "e", "f"] {
        let () = connection.set(key, key).await.expect("set");
        keys.push((key, cluster.master_of(key).await));
    }
    let lost = keys[0].1;
    assert!(keys.iter().any(|(_, master)| *master != lost));
    cluster.kill(lost).await;
    for (key, master) in &keys {
        if *master != lost {
            let value: String = cluster.master(*master).command(&["GET", key]).await;
            assert_eq!(value, *key);
        }
    }
    cluster.restart(lost).await;
    assert_eq!(cluster.urls().len(), 3);
    let mut connection = cluster.connect().await;
    for (key, master) in &keys {
        let value: Option<String> = connection.get(*key).await.expect("get");
        assert_eq!(value.as_deref(), (*master != lost).then_some(*key));
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_cluster_without_a_master_refuses_where_every_slot_is_required() {
    let mut cluster = RedisCluster::start(3).await;
    // It takes this long to believe that a member is dead.
    for master in 0..2 {
        cluster.master(master).command::<()>(&["CONFIG", "SET", "cluster-node-timeout", "1000"]).await;
    }
    cluster.kill(2).await;
    let survivor = cluster.master(0);
    until("the cluster fails", async || {
        let info: String = survivor.command(&["CLUSTER", "INFO"]).await;
        info.contains("cluster_state:fail")
    })
    .await;
    cluster.stop().await;
}
