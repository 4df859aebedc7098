//! A WebSocket client made of bytes: it answers no ping, breaks rules when told to, and reads only when asked.
//!
//! `freshet bench` has frames of its own (`src/cli/bench/frame.rs`). They are apart on purpose: the load generator sends
//! lawful frames with a mask of zeros, which costs it nothing, while these must be able to break any rule and have a mask
//! that shows whether the node applies it; and the tests need no feature of the binary.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::node::{Node, within};

/// Opcodes of RFC 6455, section 5.2, with the final bit set.
pub const TEXT: u8 = 0x81;
pub const BINARY: u8 = 0x82;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
pub const PONG: u8 = 0x8a;

/// A connection after its upgrade.
pub struct Raw {
    stream: TcpStream,
    input: Vec<u8>,
    /// Bytes of `input` that were handed out already.
    used: usize,
}

impl Raw {
    /// Connects to `node`.
    pub async fn open(node: &Node) -> Self {
        Self::on(node.address(), TcpSocket::new_v4().expect("a socket")).await
    }

    /// Connects with a receive buffer of about `bytes`, so that the node is held up soon.
    pub async fn narrow(node: &Node, bytes: u32) -> Self {
        Self::narrow_at(node.address(), bytes).await
    }

    /// The same to a node in another process.
    pub async fn narrow_at(address: SocketAddr, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a small buffer");
        Self::on(address, socket).await
    }

    async fn on(address: SocketAddr, socket: TcpSocket) -> Self {
        let stream = within("connect", socket.connect(address)).await.expect("connect");
        stream.set_nodelay(true).expect("no delay");
        let mut raw = Raw { stream, input: Vec::new(), used: 0 };
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let upgrade = format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        raw.send(upgrade.as_bytes()).await;
        loop {
            if let Some(end) = raw.input.windows(4).position(|four| four == b"\r\n\r\n") {
                assert!(raw.input.starts_with(b"HTTP/1.1 101"), "{:?}", String::from_utf8_lossy(&raw.input));
                raw.used = end + 4;
                return raw;
            }
            assert!(raw.fill().await, "closed during the upgrade");
        }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        within("send", self.stream.write_all(bytes)).await.expect("send");
    }

    /// Sends bytes as far as the node takes them within `limit`; true if it took all.
    pub async fn offer(&mut self, bytes: &[u8], limit: Duration) -> bool {
        matches!(timeout(limit, self.stream.write_all(bytes)).await, Ok(Ok(())))
    }

    /// Sends a text frame, masked as a client must.
    pub async fn send_text(&mut self, text: &str) {
        self.send(&masked(TEXT, text.as_bytes())).await;
    }

    /// Sends a request with the id `id`.
    pub async fn request(&mut self, id: u64, method: &str, params: &Value) {
        self.send_text(&request(id, method, params)).await;
    }

    /// The next frame's first byte and payload; `None` when the connection is over.
    pub async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        within("a frame", async {
            loop {
                if let Some((first, start, end)) = self.whole() {
                    let payload = self.input[start..end].to_vec();
                    self.used = end;
                    return Some((first, payload));
                }
                if !self.fill().await {
                    return None;
                }
            }
        })
        .await
    }

    /// The next text frame's text; pings are passed over and not answered.
    pub async fn text(&mut self) -> String {
        loop {
            match self.frame().await {
                Some((TEXT, payload)) => return String::from_utf8(payload).expect("text is UTF-8"),
                Some((PING | PONG, _)) => {}
                other => panic!("no text but {other:?}"),
            }
        }
    }

    /// The next text frame, parsed.
    pub async fn value(&mut self) -> Value {
        serde_json::from_str(&self.text().await).expect("JSON")
    }

    /// Passes over everything up to the close frame; its code. `None` when there was none.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            if let (CLOSE, payload) = self.frame().await? {
                return Some(u16::from_be_bytes([payload[0], payload[1]]));
            }
        }
    }

    /// Whether the node ended the connection within the limit; frames before that are passed over.
    pub async fn ends(&mut self) -> bool {
        while self.frame().await.is_some() {}
        true
    }

    /// Bounds of the frame that is here as a whole.
    fn whole(&self) -> Option<(u8, usize, usize)> {
        let rest = &self.input[self.used..];
        let (&first, &second) = (rest.first()?, rest.get(1)?);
        let (head, len) = match second {
            126 => (4, usize::from(u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?))),
            127 => (10, usize::try_from(u64::from_be_bytes(rest.get(2..10)?.try_into().ok()?)).ok()?),
            len => (2, usize::from(len)),
        };
        let start = self.used + head;
        (self.input.len() >= start + len).then_some((first, start, start + len))
    }

    async fn fill(&mut self) -> bool {
        self.input.drain(..self.used);
        self.used = 0;
        // Small, so that a narrow connection stays one.
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk).await {
            Ok(0) | Err(_) => false,
            Ok(len) => {
                self.input.extend_from_slice(&chunk[..len]);
                true
            }
        }
    }
}

/// A request's text.
pub fn request(id: u64, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

/// A masked frame with `first` as its first byte.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x5a, 0x00, 0xff, 0x13];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | u8::try_from(len).expect("small")),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(len).expect("checked").to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
