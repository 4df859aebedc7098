//! What happens to Redis, to a link, to a node or to the database; when each returns, all is well again.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::sleep;

use super::Field;
use crate::harness::Link;

pub async fn lost(mut field: Field) -> Field {
    for _ in 0..2 {
        field.redis.command::<()>(&["FLUSHALL"]).await;
        sleep(Duration::from_secs(1)).await;
        field.redis.kill().await;
        sleep(Duration::from_secs(1)).await;
        field.redis.restart().await;
        sleep(Duration::from_secs(2)).await;
    }
    field
}

/// Each start is from a copy that is some seconds old.
pub async fn back_in_time(mut field: Field) -> Field {
    for _ in 0..3 {
        field.redis.save().await;
        sleep(Duration::from_secs(2)).await;
        field.redis.restart().await;
        sleep(Duration::from_secs(1)).await;
    }
    field
}

/// The replica follows for a while, and not to the end.
pub async fn failed_over(mut field: Field) -> Field {
    let mut replica = field.redis.replica().await;
    sleep(Duration::from_secs(1)).await;
    replica.promote().await;
    sleep(Duration::from_secs(1)).await;
    // The copy takes the place of the one that went on without it.
    field.redis.follow(&replica).await;
    field.redis.promote().await;
    sleep(Duration::from_secs(2)).await;
    replica.stop().await;
    field
}

/// Longer than a black hole in [`bad_links`], and by itself.
pub async fn silence(field: Field, lasts: u64) -> Field {
    field.link.set(Link::BlackHole);
    sleep(Duration::from_secs(lasts)).await;
    field.link.set(Link::Pass);
    field
}

pub async fn bad_links(field: Field, lasts: u64) -> Field {
    for link in
        [Link::BlackHole, Link::Cut, Link::BlackHoleThese, Link::Delay(Duration::from_millis(200)), Link::Crumbs]
    {
        field.link.set(link);
        sleep(Duration::from_secs(lasts)).await;
        field.link.set(Link::Pass);
        sleep(Duration::from_secs(1)).await;
    }
    field
}

/// Hints are dropped, told twice, told late and in another order, and told of another history.
pub async fn bad_hints(field: Field) -> Field {
    let mut told: Vec<Vec<(String, Vec<String>)>> = Vec::new();
    for n in 0..60 {
        for stream in field.names("*:changes").await {
            let range = ["XREVRANGE", &stream, "+", "-", "COUNT", "20"];
            told.push(field.redis.try_command(&range).await.unwrap_or_default());
            let old = &told[told.len() * n / 61];
            for (_, fields) in old.iter().take(5) {
                let mut words = vec!["XADD", &stream, "*"];
                words.extend(fields.iter().map(String::as_str));
                drop(field.redis.try_command::<String>(&words).await);
                let of_another = fields.iter().map(|field| field.replace("\"stamp\":\"1.", "\"stamp\":\"7."));
                let of_another: Vec<String> = of_another.collect();
                let mut words = vec!["XADD", &stream, "*"];
                words.extend(of_another.iter().map(String::as_str));
                drop(field.redis.try_command::<String>(&words).await);
            }
            if n % 3 == 0 {
                drop(field.redis.try_command::<u64>(&["DEL", &stream]).await);
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    field
}

/// No node may read what is told, for eight seconds.
pub async fn no_hints(field: Field) -> Field {
    field.redis.command::<()>(&["ACL", "SETUSER", "default", "-xread"]).await;
    sleep(Duration::from_secs(8)).await;
    field.redis.command::<()>(&["ACL", "SETUSER", "default", "+xread"]).await;
    field
}

/// Slots are cut, filled with those of other keys, or given a higher version.
pub async fn bad_slots(field: Field) -> Field {
    for n in 0..80 {
        let names = field.names("*:products:*").await;
        for (at, name) in names.iter().enumerate().filter(|(at, _)| (at + n) % 3 == 0) {
            let other = &names[(at + 1) % names.len()];
            let Ok(mut slot) = field.redis.try_command::<String>(&["GET", other]).await else { continue };
            if n % 2 == 0 && slot.len() > 40 {
                slot.replace_range(24..32, "00ffffff");
            } else if n % 5 == 0 {
                slot.truncate(slot.len() / 2);
            }
            drop(field.redis.try_command::<()>(&["SET", name, &slot]).await);
        }
        sleep(Duration::from_millis(50)).await;
    }
    field
}

pub async fn stopped_keeper(field: Field, lasts: u64) -> Field {
    field.keeper.signal(Signal::SIGSTOP);
    sleep(Duration::from_secs(lasts)).await;
    field.keeper.signal(Signal::SIGCONT);
    sleep(Duration::from_secs(1)).await;
    field
}

pub async fn killed_keeper(mut field: Field) -> Field {
    for _ in 0..2 {
        field.keeper.signal(Signal::SIGKILL);
        sleep(Duration::from_secs(4)).await;
        field.keeper = field.process().await;
    }
    field
}

pub async fn stopped_node(field: Field, lasts: u64) -> Field {
    field.node.signal(Signal::SIGSTOP);
    sleep(Duration::from_secs(lasts)).await;
    field.node.signal(Signal::SIGCONT);
    sleep(Duration::from_secs(1)).await;
    field
}

pub async fn killed_node(mut field: Field) -> Field {
    for _ in 0..3 {
        field.node.signal(Signal::SIGKILL);
        sleep(Duration::from_secs(2)).await;
        field.node = field.process().await;
        sleep(Duration::from_secs(1)).await;
    }
    field
}

pub async fn paused_replay(field: Field, lasts: u64) -> Field {
    field.servers.pause_replay(0).await;
    sleep(Duration::from_secs(lasts)).await;
    field.servers.resume_replay(0).await;
    field
}

pub async fn promotion(mut field: Field) -> Field {
    field.servers.kill_primary().await;
    field.servers.promote(0).await;
    sleep(Duration::from_secs(4)).await;
    field.servers.rebuild_standby(0).await;
    field
}

/// Somebody else fills it, for eight seconds.
pub async fn crowded(field: Field) -> Field {
    let large = "x".repeat(20_000);
    for n in 0..400 {
        drop(field.redis.try_command::<()>(&["SET", &format!("crowd {n}"), &large]).await);
        sleep(Duration::from_millis(20)).await;
    }
    for name in field.names("crowd *").await {
        drop(field.redis.try_command::<u64>(&["DEL", &name]).await);
    }
    field
}
