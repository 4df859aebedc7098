//! A link between a node and its database or Redis that can be broken in every way a network breaks.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
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
    /// Carries what the server says in pieces of 7 bytes.
    Crumbs,
    /// Carries what the server says so much later.
    Delay(Duration),
    /// Passes, until a client commits: that connection is cut, before the server has heard of it or after it has
    /// committed and answered.
    CutAtCommit {
        /// Whether the server hears of it.
        heard: bool,
    },
}

/// How the URL of a Redis begins.
const REDIS: &str = "redis://";

/// Rules by the purpose that a node's connections name themselves with; `""` is for all others.
type Rules = HashMap<&'static str, Link>;

/// How often clients spoke, by the purpose of their connections.
type Messages = Arc<Mutex<HashMap<String, u64>>>;

/// Where a server listens.
#[derive(Clone)]
enum Server {
    /// A private PostgreSQL.
    Socket(PathBuf),
    /// A Redis of the harness.
    Port(String),
}

/// A proxy on 127.0.0.1 before a server; gone with this value.
pub struct Proxy {
    /// The server's URL, by that name, through this link.
    url: String,
    /// Where new connections lead.
    server: Arc<Mutex<Server>>,
    rules: watch::Sender<Rules>,
    messages: Messages,
    _stop: DropGuard,
}

impl Proxy {
    /// A passing link to the database or the Redis that `url` names. The members of a cluster are only reached through it
    /// until one of them tells the client of the others' addresses.
    pub async fn to(url: &str) -> Self {
        let server = Arc::new(Mutex::new(Server::of(url)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let (rules, follow) = watch::channel(Rules::new());
        let stop = CancellationToken::new();
        let messages = Messages::default();
        let accepting = accept(listener, server.clone(), follow, messages.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        let url = match url.starts_with(REDIS) {
            true => format!("{REDIS}{address}"),
            false => {
                let options = PgConnectOptions::from_str(url).expect("a sound URL");
                let database = options.get_database().unwrap_or("postgres");
                format!("postgres://postgres@{address}/{database}?sslmode=disable")
            }
        };
        Proxy { url, server, rules, messages, _stop: stop.drop_guard() }
    }

    /// The server's URL through this link.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// How often the clients of one purpose spoke until now. What a client says at once may count as two when it is long.
    pub fn messages(&self, purpose: &str) -> u64 {
        self.messages.lock().expect("not poisoned").get(purpose).copied().unwrap_or_default()
    }

    /// New connections lead to the server that `url` names; those that stand go on.
    pub fn lead_to(&self, url: &str) {
        *self.server.lock().expect("not poisoned") = Server::of(url);
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

impl Server {
    fn of(url: &str) -> Self {
        if let Some(address) = url.strip_prefix(REDIS) {
            return Server::Port(address.to_owned());
        }
        let options = PgConnectOptions::from_str(url).expect("a sound URL");
        let folder = options.get_socket().expect("a private server has a socket");
        Server::Socket(folder.join(format!(".s.PGSQL.{}", options.get_port())))
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Server::Socket(path) => Box::new(UnixStream::connect(path).await?),
            Server::Port(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn accept(listener: TcpListener, server: Arc<Mutex<Server>>, rules: watch::Receiver<Rules>, messages: Messages) {
    let mut links = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while links.try_join_next().is_some() {}
        let server = server.lock().expect("not poisoned").clone();
        let (rules, messages) = (rules.clone(), messages.clone());
        links.spawn(async move { carry(client, &server, rules, &messages).await });
    }
}

/// Carries one connection until either side or a rule ends it. A dropped stream ends the connection.
async fn carry(
    mut client: TcpStream,
    server: &Server,
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
    let mut server = server.connect().await.ok()?;
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
                for piece in bytes.chunks(if link == Link::Crumbs { 7 } else { usize::MAX }) {
                    client.write_all(piece).await.ok()?;
                    if link == Link::Crumbs {
                        tokio::task::yield_now().await;
                    }
                }
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
