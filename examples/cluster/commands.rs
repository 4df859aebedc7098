//! What can be done to what runs, a line each.

use super::{
    cluster::DATABASES,
    deployment::Deployment,
    instance::{Instance, Result},
    node::Node,
    redis::Redis,
};

/// For people.
pub const COMMANDS: &str = "  status           what every node and server does

  restart          drain and start one node after another
  drain n1         let a node send its clients to others, and end
  start n1         start it again
  kill n1          end it as a crash does
  freeze n1        stop it where it stands: connections stay, and nothing is answered
  thaw n1          let it go on

  stop redis       shut Redis down; kill, start, freeze and thaw do as above

  close shop-3     end the sessions of a database and let no new one in
  open shop-3      let them in again

  stop a           shut a server down, with its four databases; kill, start, freeze and thaw do as above
  pause a2         keep a standby from applying changes: it falls behind
  resume a2        let it catch up
  promote a2       make a standby the primary, as after the loss of a
  rebuild a        throw a former primary's data away and make it the standby

  quit             stop everything; Ctrl-C does it, too
";

/// Carries a line out; returns what is said to it.
///
/// # Errors
/// When it cannot be done.
pub async fn carry_out(deployment: &mut Deployment, line: &str) -> Result<String> {
    let (verb, object) = line.split_once(' ').unwrap_or((line, ""));
    match (verb, object) {
        ("status", _) => return Ok(deployment.status().await),
        ("restart", "") => {
            deployment.nodes.restart_in_turn(|node| println!("{node} is ready again")).await?;
            return Ok("done: restart".to_owned());
        }
        ("promote" | "rebuild", _) => return change_roles(deployment, verb, object).await,
        _ => {}
    }
    let is_command = if let Some(place) = deployment.nodes.place(object) {
        let was_running = deployment.nodes.all[place].is_running();
        let is_command = tell_node(&mut deployment.nodes.all[place], verb).await?;
        if verb == "start" && !was_running {
            deployment.nodes.wait_until_ready(place).await?;
        }
        is_command
    } else if object == "redis" {
        tell_redis(deployment.redis.as_mut().ok_or("no Redis is installed")?, verb).await?
    } else if let Some(database) = DATABASES.iter().position(|name| name.replace('_', "-") == object) {
        tell_database(deployment, verb, database).await?
    } else {
        tell_server(deployment, verb, object).await?
    };
    Ok(match is_command {
        true => format!("done: {line}"),
        false => format!("not a command: \"{line}\". These are:\n\n{COMMANDS}"),
    })
}

/// Carries out what concerns one node; returns whether there is such a command.
async fn tell_node(node: &mut Node, verb: &str) -> Result<bool> {
    match verb {
        "drain" => node.drain().await?,
        "kill" => node.kill().await?,
        "start" => node.start()?,
        "freeze" => node.freeze()?,
        "thaw" => node.thaw()?,
        _ => return Ok(false),
    }
    Ok(true)
}

async fn tell_redis(redis: &mut Redis, verb: &str) -> Result<bool> {
    match verb {
        "stop" => redis.stop().await,
        "kill" => redis.kill().await,
        "start" => redis.start_again().await?,
        "freeze" => redis.freeze()?,
        "thaw" => redis.thaw()?,
        _ => return Ok(false),
    }
    Ok(true)
}

async fn tell_database(deployment: &mut Deployment, verb: &str, database: usize) -> Result<bool> {
    match verb {
        "close" => deployment.cluster.close(database).await?,
        "open" => deployment.cluster.open(database).await?,
        _ => return Ok(false),
    }
    Ok(true)
}

async fn tell_server(deployment: &mut Deployment, verb: &str, name: &str) -> Result<bool> {
    let is_primary = deployment.cluster.pair_with(name).is_some_and(|pair| pair.primary.name() == name);
    let Some(server) = deployment.cluster.server(name) else {
        return Ok(false);
    };
    match verb {
        "stop" => server.stop().await,
        "kill" => server.kill().await?,
        "start" => server.start_again().await?,
        "freeze" => server.freeze()?,
        "thaw" => server.thaw()?,
        "pause" | "resume" if is_primary => return Err("it is the primary".into()),
        "pause" => server.pause_replay().await?,
        "resume" => server.resume_replay().await?,
        _ => return Ok(false),
    }
    Ok(true)
}

async fn change_roles(deployment: &mut Deployment, verb: &str, server: &str) -> Result<String> {
    let pair = deployment.cluster.pair_with(server).ok_or("there is no such server")?;
    if pair.primary.name() == server {
        return Err("it is the primary".into());
    }
    if verb == "rebuild" {
        pair.rebuild().await?;
        return Ok(format!("done: {server} follows {}", pair.primary.name()));
    }
    pair.promote().await?;
    let former = pair.standby.as_ref().map_or("", Instance::name).to_owned();
    let is_running = pair.standby.as_ref().is_some_and(Instance::is_running);
    deployment.write_configuration()?;
    let rest = match is_running {
        true => format!("{former} still takes writes: stop it, or \"rebuild {former}\" makes it the standby"),
        false => format!("\"rebuild {former}\" makes {former} its standby"),
    };
    Ok(format!("done: {server} is the primary, and {} says so\n{rest}", deployment.configuration().display()))
}
