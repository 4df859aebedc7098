//! One thread around epoll: what is left when a server does nothing but read and write frames.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read as _, Write as _},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use tungstenite::handshake::derive_accept_key;

const LISTENER: Token = Token(usize::MAX);

/// What a connection is for, told by its path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Handshake,
    Echo,
    Watch,
    Say,
}

struct Connection {
    stream: TcpStream,
    role: Role,
    held: Vec<u8>,
    unsent: Vec<u8>,
}

/// Serves all three paths.
pub fn serve(address: &str) {
    let mut poll = Poll::new().expect("epoll");
    let mut listener = TcpListener::bind(address.parse().expect("an address")).expect("bind");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("register");
    let (mut connections, mut next) = (HashMap::new(), 0);
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; 64 * 1024]);
    let (answer, mut stock) = (framed(&super::answer()), 0);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled.expect("epoll waits"),
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    drop(stream.set_nodelay(true));
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(next), both).expect("register");
                    let connection = Connection { stream, role: Role::Handshake, held: vec![], unsent: vec![] };
                    connections.insert(next, connection);
                    next += 1;
                }
            } else {
                turn(&mut connections, event.token().0, &mut buffer, &answer, &mut stock);
            }
        }
    }
}

/// Reads what is there, answers it, and writes once.
fn turn(connections: &mut HashMap<usize, Connection>, n: usize, buffer: &mut [u8], answer: &[u8], stock: &mut u64) {
    let Some(connection) = connections.get_mut(&n) else { return };
    let mut said = 0;
    let is_open = loop {
        match connection.stream.read(buffer) {
            Ok(0) => break false,
            Ok(read) => {
                connection.held.extend_from_slice(&buffer[..read]);
                connection.take(answer, *stock, &mut said);
                if read < buffer.len() {
                    break true;
                }
            }
            Err(error) => break error.kind() == ErrorKind::WouldBlock,
        }
    };
    if !is_open || !connection.flush() {
        connections.remove(&n);
    }
    for _ in 0..said {
        *stock += 1;
        let push = framed(&super::push(*stock));
        for watcher in connections.values_mut().filter(|connection| connection.role == Role::Watch) {
            watcher.unsent.extend_from_slice(&push);
            watcher.flush();
        }
    }
}

impl Connection {
    fn take(&mut self, answer: &[u8], stock: u64, said: &mut u64) {
        if self.role == Role::Handshake && !self.upgrade() {
            return;
        }
        let mut at = 0;
        while let Some(frame) = Frame::first(&self.held[at..]) {
            at += frame.len;
            match self.role {
                Role::Echo => self.unsent.extend_from_slice(answer),
                Role::Say => {
                    let patch = frame.text();
                    *said += 1;
                    self.unsent.extend_from_slice(&framed(&super::patched(&patch)));
                }
                Role::Watch | Role::Handshake => {
                    self.unsent.extend_from_slice(&framed(super::SUBSCRIBED));
                    self.unsent.extend_from_slice(&framed(&super::push(stock)));
                }
            }
        }
        self.held.drain(..at);
    }

    fn upgrade(&mut self) -> bool {
        let Some(end) = memchr::memmem::find(&self.held, b"\r\n\r\n") else { return false };
        let head = String::from_utf8_lossy(&self.held[..end]).into_owned();
        self.held.drain(..end + 4);
        self.role = match head.split(' ').nth(1) {
            Some("/watch") => Role::Watch,
            Some("/say") => Role::Say,
            _ => Role::Echo,
        };
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap_or_default();
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.unsent.extend_from_slice(answer.as_bytes());
        true
    }

    /// Whether the connection lives.
    fn flush(&mut self) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// A client's frame.
struct Frame<'a> {
    mask: [u8; 4],
    payload: &'a [u8],
    len: usize,
}

impl<'a> Frame<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (head, len) = match bytes.get(1)? & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
            127 => panic!("no request is that long"),
            len => (2, usize::from(len)),
        };
        let mask = bytes.get(head..head + 4)?.try_into().ok()?;
        Some(Frame { mask, payload: bytes.get(head + 4..head + 4 + len)?, len: head + 4 + len })
    }

    fn text(&self) -> String {
        let bytes = self.payload.iter().zip(self.mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        String::from_utf8(bytes).expect("clients send text")
    }
}

fn framed(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("a short text");
    let mut frame = vec![0x81];
    match u8::try_from(len) {
        Ok(short @ 0..126) => frame.push(short),
        _ => {
            frame.push(126);
            frame.extend_from_slice(&len.to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}
