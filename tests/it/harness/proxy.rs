//! A link between a node and its database that can be broken in every way a network breaks.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What the link does with bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// Carries them.
    #[default]
    Pass,
    /// Takes connections and bytes and carries nothing; it goes on where it stopped when it passes again.
    BlackHole,
    /// Carries nothing on the connections that stand when the rule is set, and passes those that come later.
    BlackHoleThese,
    /// Ends every connection at once, new ones too.
    Cut,
    /// Carries what the server says so much later.
    Delay(Duration),
    /// Passes, until a client commits: that connection is cut, before the server has heard of it or after it has
    /// committed and answered.
    CutAtCommit {
        /// Whether the server hears of it.
        heard: bool,
    },
}

/// Rules by the purpose that a node's connections name themselves with; `""` is for all others.
type Rules = HashMap<&'static str, Link>;

/// How often clients spoke, by the purpose of their connections.
type Messages = Arc<Mutex<HashMap<String, u64>>>;

/// A proxy on 127.0.0.1 before a server's socket; gone with this value.
pub struct Proxy {
    address: SocketAddr,
    database: String,
    /// Where new connections lead.
    socket: Arc<Mutex<PathBuf>>,
    rules: watch::Sender<Rules>,
    messages: Messages,
    _stop: DropGuard,
}

impl Proxy {
    /// A passing link to the database that `url` names.
    pub async fn to(url: &str) -> Self {
        let options = PgConnectOptions::from_str(url).expect("a sound URL");
        let socket = Arc::new(Mutex::new(socket_of(url)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let (rules, follow) = watch::channel(Rules::new());
        let stop = CancellationToken::new();
        let messages = Messages::default();
        let accepting = accept(listener, socket.clone(), follow, messages.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        let database = options.get_database().unwrap_or("postgres").to_owned();
        Proxy { address, database, socket, rules, messages, _stop: stop.drop_guard() }
    }

    /// The database's URL through this link.
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/{}?sslmode=disable", self.address, self.database)
    }

    /// How often the clients of one purpose spoke until now. What a client says at once may count as two when it is long.
    pub fn messages(&self, purpose: &str) -> u64 {
        self.messages.lock().expect("not poisoned").get(purpose).copied().unwrap_or_default()
    }

    /// New connections lead to the server that `url` names; those that stand go on.
    pub fn lead_to(&self, url: &str) {
        *self.socket.lock().expect("not poisoned") = socket_of(url);
    }

    /// Lets every connection have it.
    pub fn set(&self, link: Link) {
        self.rules.send_replace(HashMap::from([("", link)]));
    }

    /// Lets the connections of one purpose have it: `reads`, `writes`, `waiting writes`, `tail`, `relay`, `scan`.
    pub fn set_for(&self, purpose: &'static str, link: Link) {
        self.rules.send_modify(|rules| {
            rules.insert(purpose, link);
        });
    }
}

fn socket_of(url: &str) -> PathBuf {
    let options = PgConnectOptions::from_str(url).expect("a sound URL");
    let folder = options.get_socket().expect("a private server has a socket");
    folder.join(format!(".s.PGSQL.{}", options.get_port()))
}

async fn accept(listener: TcpListener, socket: Arc<Mutex<PathBuf>>, rules: watch::Receiver<Rules>, messages: Messages) {
    let mut links = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while links.try_join_next().is_some() {}
        let socket = socket.lock().expect("not poisoned").clone();
        let (rules, messages) = (rules.clone(), messages.clone());
        links.spawn(async move { carry(client, &socket, rules, &messages).await });
    }
}

/// Carries one connection until either side or a rule ends it. A dropped stream ends the connection.
async fn carry(
    mut client: TcpStream,
    socket: &Path,
    mut rules: watch::Receiver<Rules>,
    messages: &Messages,
) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let born = rules.borrow().clone();
    // The first message of a client names its purpose.
    let mut first = vec![0; 4096];
    let len = client.read(&mut first).await.ok().filter(|&len| len > 0)?;
    let purpose = purpose(&first[..len]);
    pass(&mut rules, &born, &purpose).await?;
    let mut server = UnixStream::connect(socket).await.ok()?;
    server.write_all(&first[..len]).await.ok()?;
    let (mut said, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let link = pass(&mut rules, &born, &purpose).await?;
        tokio::select! {
            changed = rules.changed() => changed.ok()?,
            len = client.read(&mut said) => {
                let bytes = said.get(..len.ok().filter(|&len| len > 0)?)?;
                *messages.lock().expect("not poisoned").entry(purpose.clone()).or_default() += 1;
                let commits = bytes.windows(7).any(|window| window == b"COMMIT\0");
                match link {
                    Link::CutAtCommit { heard: false } if commits => return None,
                    Link::CutAtCommit { heard: true } if commits => {
                        server.write_all(bytes).await.ok()?;
                        let _answer = server.read(&mut answered).await.ok()?;
                        return None;
                    }
                    // The rule may have changed while the bytes were waited for.
                    _ => {
                        pass(&mut rules, &born, &purpose).await?;
                        server.write_all(bytes).await.ok()?;
                    }
                }
            }
            len = server.read(&mut answered) => {
                let bytes = answered.get(..len.ok().filter(|&len| len > 0)?)?;
                if let Link::Delay(delay) = link {
                    tokio::time::sleep(delay).await;
                }
                pass(&mut rules, &born, &purpose).await?;
                client.write_all(bytes).await.ok()?;
            }
        }
    }
}

/// Waits while the link is a black hole; `None` when it is cut.
async fn pass(rules: &mut watch::Receiver<Rules>, born: &Rules, purpose: &str) -> Option<Link> {
    let of = |rules: &Rules| rules.get(purpose).or_else(|| rules.get("")).copied().unwrap_or_default();
    loop {
        let link = of(&rules.borrow_and_update());
        match link {
            Link::Cut => return None,
            Link::BlackHoleThese if of(born) == link => return Some(Link::Pass),
            Link::BlackHoleThese => rules.changed().await.ok()?,
            Link::BlackHole => rules.changed().await.ok()?,
            link => return Some(link),
        }
    }
}

/// The application's name in a startup message, without "freshet ".
fn purpose(startup: &[u8]) -> String {
    let mut words = startup.split(|byte| *byte == 0).skip_while(|word| !word.ends_with(b"application_name"));
    let name = words.nth(1).unwrap_or_default();
    String::from_utf8_lossy(name).trim_start_matches("freshet ").to_owned()
}
