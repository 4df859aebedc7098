//! Load over bare sockets: frames are written by hand and counted by their headers, so the client stays out of the
//! way of what is measured.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::LocalSet,
};

/// The `n`th hot key.
pub fn key(n: usize) -> String {
    format!("K{n:05}")
}

/// Waits until a server listens.
pub async fn wait_for(address: &str) {
    for _ in 0..500 {
        if TcpStream::connect(address).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody listens on {address}");
}

/// An upgraded connection that counts the frames it receives.
struct Wire {
    stream: TcpStream,
    buffer: Box<[u8]>,
    held: usize,
}

impl Wire {
    async fn open(address: &str, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("send");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("an answer"));
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Wire { stream, buffer: vec![0; 256 * 1024].into_boxed_slice(), held: 0 }
    }

    /// Frames completed by one read.
    async fn receive(&mut self) -> usize {
        let read = self.stream.read(&mut self.buffer[self.held..]).await.expect("read");
        assert!(read > 0, "the server hung up");
        self.held += read;
        let (mut at, mut frames) = (0, 0);
        while let Some(len) = frame_len(&self.buffer[at..self.held]) {
            at += len;
            frames += 1;
        }
        self.buffer.copy_within(at..self.held, 0);
        self.held -= at;
        frames
    }

    async fn send(&mut self, text: &str) {
        let mut frame = Vec::new();
        masked(&mut frame, text);
        self.stream.write_all(&frame).await.expect("send");
    }
}

fn frame_len(bytes: &[u8]) -> Option<usize> {
    let len = match (*bytes.get(1)?, bytes.len()) {
        (126, 4..) => 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        (127, 10..) => 10 + usize::try_from(u64::from_be_bytes(bytes[2..10].try_into().ok()?)).ok()?,
        (126 | 127, _) => return None,
        (short, _) => 2 + usize::from(short),
    };
    (bytes.len() >= len).then_some(len)
}

/// A client's text frame; an all-zero mask costs the server what any mask does.
fn masked(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).expect("a short request");
    out.push(0x81);
    if len < 126 {
        out.push(0x80 | len as u8);
    } else {
        out.push(0x80 | 126);
        out.extend_from_slice(&len.to_be_bytes());
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(text.as_bytes());
}

/// Answers a second over `connections`, each with `depth` requests in flight.
pub async fn closed_loop(address: &str, connections: usize, depth: usize, keys: usize, window: Duration) -> f64 {
    let counted = Rc::new(Cell::new(0_usize));
    let begun = Instant::now();
    let local = LocalSet::new();
    for connection in 0..connections {
        let (counted, address) = (counted.clone(), address.to_owned());
        local.spawn_local(async move {
            let mut wire = Wire::open(&address, "/v1/ws").await;
            let requests: Vec<Vec<u8>> = (0..keys).map(|n| request((n + connection) % keys)).collect();
            let (mut next, mut due) = (0, depth);
            while begun.elapsed() < window {
                let mut out = Vec::with_capacity(due * 128);
                for _ in 0..due {
                    out.extend_from_slice(&requests[next % keys]);
                    next += 1;
                }
                wire.stream.write_all(&out).await.expect("send");
                due = wire.receive().await;
                counted.set(counted.get() + due);
            }
        });
    }
    local.await;
    counted.get() as f64 / begun.elapsed().as_secs_f64()
}

fn request(n: usize) -> Vec<u8> {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":{n},"method":"get","params":{{"collection":"products","key":"{}"}}}}"#,
        key(n)
    );
    let mut frame = Vec::new();
    masked(&mut frame, &text);
    frame
}

/// Frames a second at `watchers` of the echo server's broadcast, a message said whenever the one before is out.
pub async fn fan_out_echo(address: &str, watchers: usize, window: Duration) -> f64 {
    fan_out(address, watchers, "/watch", None, "/say", || "x".to_owned(), window).await
}

/// Frames a second at `watchers` of one record that is patched as fast as patches are answered.
pub async fn fan_out_freshet(address: &str, watchers: usize, window: Duration) -> f64 {
    let subscribe = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{{"collection":"products","key":"{}"}}}}"#,
        key(0)
    );
    let patch = || {
        format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"patch","params":{{"collection":"products","key":"{}","increment":{{"stock":1}}}}}}"#,
            key(0)
        )
    };
    fan_out(address, watchers, "/v1/ws", Some(subscribe), "/v1/ws", patch, window).await
}

async fn fan_out(
    address: &str,
    watchers: usize,
    path: &str,
    hello: Option<String>,
    said_at: &str,
    say: impl Fn() -> String,
    window: Duration,
) -> f64 {
    let (counted, ready) = (Rc::new(Cell::new(0_usize)), Rc::new(Cell::new(0_usize)));
    let local = LocalSet::new();
    let mut readers = Vec::new();
    for _ in 0..watchers {
        let (counted, ready, hello) = (counted.clone(), ready.clone(), hello.clone());
        let mut wire = Wire::open(address, path).await;
        wire.buffer = vec![0; 16 * 1024].into_boxed_slice();
        readers.push(local.spawn_local(async move {
            if let Some(hello) = hello {
                wire.send(&hello).await;
                let mut seen = 0;
                while seen < 2 {
                    seen += wire.receive().await;
                }
            }
            ready.set(ready.get() + 1);
            loop {
                let frames = wire.receive().await;
                counted.set(counted.get() + frames);
            }
        }));
    }
    let rate = local.run_until(async {
        let mut writer = Wire::open(address, said_at).await;
        while ready.get() < watchers {
            tokio::task::yield_now().await;
        }
        let begun = Instant::now();
        // Several under way, so that the writer's own round trip is not what is measured.
        for _ in 0..8 {
            writer.send(&say()).await;
        }
        while begun.elapsed() < window {
            for _ in 0..writer.receive().await {
                writer.send(&say()).await;
            }
        }
        counted.get() as f64 / begun.elapsed().as_secs_f64()
    });
    let rate = rate.await;
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    rate
}
