//! A link to a database that delays what is said on it, each way.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Each way.
const DELAY: Duration = Duration::from_millis(1);

/// A TCP port on loopback before a server's socket. Its threads end with the connections, and with this process.
pub struct Link {
    address: SocketAddr,
}

impl Link {
    /// A link to the server behind `socket`.
    pub fn start(socket: PathBuf) -> Result<Self, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if carry(client, &socket).is_none() {
                    break;
                }
            }
        });
        Ok(Link { address })
    }

    /// The database `name` through it.
    pub fn url(&self, name: &str) -> String {
        format!("postgres://postgres@{}/{name}?sslmode=disable", self.address)
    }
}

fn carry(client: TcpStream, socket: &Path) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let server = UnixStream::connect(socket).ok()?;
    let (from_client, to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    delayed(from_client, to_server);
    delayed(server, client);
    Some(())
}

/// What is read from one side is written to the other after the delay, in order and at whatever rate.
fn delayed(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) {
    let (queue, queued) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            if queue.send((Instant::now() + DELAY, buffer[..len].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        while let Ok((due, bytes)) = queued.recv() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
    });
}
