//! A small load balancer: one address before several nodes, of which new connections go to one that is ready.
//!
//! It asks each node's `/readyz` twice a second. A node that answers anything but 200, as one that drains does, gets no new
//! connections and keeps those it has, because it tells its clients itself when to leave. A node that is stopped where it
//! stands says nothing at all, while the system goes on to accept connections for it: after two questions without an answer
//! its connections are closed, so that clients go to another node.
//!
//! It carries bytes and knows nothing of HTTP, so any balancer that checks `/readyz` can take its place.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

/// The time between two questions to a node.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a node may take to answer. `/readyz` itself waits a second for a database that says nothing.
const CHECK_LIMIT: Duration = Duration::from_secs(2);
/// How many questions in a row have no answer when a node's connections are closed.
const MISSES_MAX: u32 = 2;
/// How long a connection to a node may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// A node, as it answers. The smaller gets the next connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It takes clients.
    Ready,
    /// It says that it should not be sent clients, or has just missed a question. It gets some only if no node is ready.
    Unready,
    /// It does not answer.
    Silent,
}

/// A running balancer. Dropping it closes its connections.
pub struct Balancer {
    address: SocketAddr,
    backends: Arc<[Backend]>,
    _tasks: JoinSet<()>,
}

struct Backend {
    public: SocketAddr,
    readyz: String,
    client: reqwest::Client,
    health: watch::Sender<Health>,
    connections: AtomicUsize,
}

impl Balancer {
    /// Listens on `address`, before nodes that are named by their public and their operations address.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn start(address: SocketAddr, nodes: &[(SocketAddr, SocketAddr)]) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let backends: Arc<[Backend]> = nodes.iter().map(Backend::new).collect();
        let mut tasks = JoinSet::new();
        for node in 0..backends.len() {
            let backends = backends.clone();
            tasks.spawn(async move { backends[node].watch().await });
        }
        tasks.spawn(accept(listener, backends.clone()));
        Ok(Balancer { address, backends, _tasks: tasks })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it knows of a node, by its place.
    pub fn health(&self, node: usize) -> Health {
        *self.backends[node].health.borrow()
    }

    /// Asks a node now; `None` when it has no answer in time.
    pub async fn ask(&self, node: usize) -> Option<Health> {
        self.backends[node].ask().await.ok()
    }

    /// Returns when it knows that of a node.
    pub async fn wait_for(&self, node: usize, health: Health) {
        let mut known = self.backends[node].health.subscribe();
        known.wait_for(|known| *known == health).await.expect("the sender lives in this value");
    }
}

impl Backend {
    fn new(&(public, operations): &(SocketAddr, SocketAddr)) -> Self {
        // A connection for each question: one that is kept may be that of a process that is gone.
        let client = reqwest::Client::builder().timeout(CHECK_LIMIT).pool_max_idle_per_host(0).build();
        Backend {
            public,
            readyz: format!("http://{operations}/readyz"),
            client: client.expect("a client without TLS needs nothing of the system"),
            health: watch::Sender::new(Health::Silent),
            connections: AtomicUsize::new(0),
        }
    }

    async fn ask(&self) -> reqwest::Result<Health> {
        let answer = self.client.get(&self.readyz).send().await?;
        Ok(if answer.status().is_success() { Health::Ready } else { Health::Unready })
    }

    /// Asks the node for as long as the balancer runs.
    async fn watch(&self) {
        let mut misses = 0;
        loop {
            let asked = self.ask().await;
            misses = match &asked {
                Ok(_) => 0,
                // Nobody listens there.
                Err(error) if error.is_connect() => MISSES_MAX,
                Err(_) => misses + 1,
            };
            self.health.send_if_modified(|known| {
                let before = *known;
                *known = match asked {
                    Ok(health) => health,
                    Err(_) if misses < MISSES_MAX => before.max(Health::Unready),
                    Err(_) => Health::Silent,
                };
                *known != before
            });
            sleep(CHECK_INTERVAL).await;
        }
    }

    /// Carries bytes both ways until the node closes the connection or falls silent.
    async fn carry(&self, mut client: TcpStream, mut node: TcpStream) {
        let mut health = self.health.subscribe();
        let ((mut from_client, mut to_client), (mut from_node, mut to_node)) = (client.split(), node.split());
        let up = async {
            drop(copy(&mut from_client, &mut to_node).await);
            drop(to_node.shutdown().await);
            // The answer may still be on its way.
            std::future::pending::<()>().await;
        };
        self.connections.fetch_add(1, Relaxed);
        tokio::select! {
            () = up => {}
            _ = copy(&mut from_node, &mut to_client) => {}
            _ = health.wait_for(|health| *health == Health::Silent) => {}
        }
        self.connections.fetch_sub(1, Relaxed);
    }
}

async fn accept(listener: TcpListener, backends: Arc<[Backend]>) {
    let mut carried = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(carried.spawn(serve(client, backends.clone()))),
            // Too many open files, most likely.
            Err(_) => sleep(CHECK_INTERVAL).await,
        }
        while carried.try_join_next().is_some() {}
    }
}

/// Connects a client to a node. Where none can be reached, its connection is closed, and it comes again.
async fn serve(client: TcpStream, backends: Arc<[Backend]>) {
    for backend in by_preference(&backends) {
        if let Ok(Ok(node)) = timeout(CONNECT_LIMIT, TcpStream::connect(backend.public)).await {
            // A page's small messages should not wait for each other.
            drop((client.set_nodelay(true), node.set_nodelay(true)));
            return backend.carry(client, node).await;
        }
    }
}

/// The nodes that answer, the best first: ready ones, and of those the one with the fewest connections.
fn by_preference(backends: &[Backend]) -> Vec<&Backend> {
    let rank = |backend: &&Backend| (*backend.health.borrow(), backend.connections.load(Relaxed));
    let mut answering: Vec<_> = backends.iter().filter(|backend| rank(backend).0 != Health::Silent).collect();
    answering.sort_by_key(rank);
    answering
}
