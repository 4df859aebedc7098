//! A client's connection without a framework, so that the client stays out of the way of what is measured.
//!
//! Promises: one read a turn where that suffices, one write for everything that was queued, and no memory beyond an
//! incomplete frame while nothing happens. Leaves to others: what the messages say, and waiting ([`mio::Poll`]).

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream as Blocking,
    time::Duration,
};

use mio::{Interest, Registry, Token, net::TcpStream};

use super::{Error, frame, target::Target};

/// The longest a handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Bytes read at once.
pub(super) const SCRATCH_BYTES: usize = 256 * 1024;

/// An upgraded connection.
pub(super) struct Socket {
    stream: TcpStream,
    /// The beginning of a frame whose rest has not come yet.
    partial: Vec<u8>,
    /// What the socket has not taken yet.
    unsent: Vec<u8>,
}

impl Socket {
    /// Connects and upgrades, waiting for both.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Handshake`].
    pub(super) fn open(target: &Target) -> Result<Self, Error> {
        let connect = |source| Error::Connect { address: target.address.to_string(), source };
        let mut stream = Blocking::connect_timeout(&target.address, HANDSHAKE_LIMIT).map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        stream.set_read_timeout(Some(HANDSHAKE_LIMIT)).map_err(connect)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            target.path, target.host
        );
        stream.write_all(request.as_bytes()).map_err(connect)?;
        let partial = upgraded(&mut stream)?;
        stream.set_nonblocking(true).map_err(connect)?;
        Ok(Socket { stream: TcpStream::from_std(stream), partial, unsent: Vec::new() })
    }

    /// Has `registry` report this socket as `token`, once each time it becomes readable or writable.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> Result<(), Error> {
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut self.stream, token, both).map_err(Error::system("wait for a socket"))
    }

    /// Queues a text message.
    pub(super) fn queue(&mut self, text: &[u8]) {
        frame::masked(&mut self.unsent, frame::TEXT, text);
    }

    /// Writes what is queued, as far as the socket takes it.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Broken(format!("a connection took no more: {error}"))),
            }
        }
        self.unsent.drain(..sent);
        Ok(())
    }

    /// Hands every complete text message that is there to `each`. Pings are answered with the next [`Socket::flush`].
    pub(super) fn receive(&mut self, scratch: &mut Vec<u8>, mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        scratch.resize(SCRATCH_BYTES, 0);
        loop {
            // A frame longer than the scratch needs more room, this once.
            if self.partial.len() * 2 > scratch.len() {
                scratch.resize(self.partial.len() * 2, 0);
            }
            let held = self.partial.len();
            scratch[..held].copy_from_slice(&self.partial);
            let read = match self.stream.read(&mut scratch[held..]) {
                Ok(0) => return Err(Error::Broken("the server hung up".to_owned())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::Broken(format!("a connection broke: {error}"))),
            };
            let filled = held + read;
            let used = self.take_frames(&scratch[..filled], &mut each)?;
            self.partial.clear();
            self.partial.extend_from_slice(&scratch[used..filled]);
            // A read that did not fill the buffer emptied the socket: no system call to hear that there is no more.
            if filled < scratch.len() {
                return Ok(());
            }
        }
    }

    fn take_frames(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8])) -> Result<usize, Error> {
        let mut at = 0;
        while let Some((frame, len)) = frame::first(&bytes[at..]) {
            at += len;
            match frame.opcode {
                frame::TEXT if frame.is_final => each(frame.payload),
                frame::PING => frame::masked(&mut self.unsent, frame::PONG, frame.payload),
                frame::PONG => {}
                frame::CLOSE => {
                    return Err(Error::Broken(format!("the server closed: {}", close_reason(frame.payload))));
                }
                opcode => return Err(Error::Broken(format!("a frame that no answer consists of (opcode {opcode})"))),
            }
        }
        Ok(at)
    }
}

/// Reads the answer to the handshake, and gives what came behind it.
fn upgraded(stream: &mut Blocking) -> Result<Vec<u8>, Error> {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") {
            let rest = answer.split_off(end + 4);
            let status = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
            return if status.starts_with("HTTP/1.1 101") { Ok(rest) } else { Err(Error::Handshake(status)) };
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Err(Error::Handshake("nothing".to_owned())),
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) => return Err(Error::Handshake(error.to_string())),
        }
    }
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            format!("{} {}", u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason))
        }
        _ => "without a code".to_owned(),
    }
}
