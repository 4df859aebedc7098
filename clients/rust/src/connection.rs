//! Opening the socket.

use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        self, client::IntoClientRequest, error::UrlError, handshake::client::Request, http::HeaderValue,
        protocol::WebSocketConfig,
    },
};

use super::{Error, Options};
use freshet_wire::resilience::Deadline;

/// The socket of one connection.
pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What is written at once at most; beyond it feeding waits for the network.
const WRITE_BUFFER_BYTES: usize = 128 * 1024;

/// Opens a connection within [`Options::connect_timeout`].
pub(super) async fn open(url: &str, options: &Options) -> Result<Socket, Error> {
    let failed = |source| Error::Connect { url: url.to_owned(), source: Box::new(source) };
    let request = request(url, options.token.as_deref()).map_err(failed)?;
    let connecting = connect_async_with_config(request, Some(config(options)), true);
    match Deadline::after(options.connect_timeout).limit(connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(response))) => {
            Err(Error::Handshake { url: url.to_owned(), status: response.status().as_u16() })
        }
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(failed(tungstenite::Error::Io(std::io::ErrorKind::TimedOut.into()))),
    }
}

fn request(url: &str, token: Option<&str>) -> Result<Request, tungstenite::Error> {
    let mut request = url.into_client_request()?;
    // RFC 6455, section 4.1: a client that offers subprotocols must be answered with one of them; servers are free not
    // to know ours, so it is not offered.
    if let Some(token) = token {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| tungstenite::Error::Url(UrlError::UnableToConnect("the token is no header value".into())))?;
        value.set_sensitive(true);
        request.headers_mut().insert("authorization", value);
    }
    Ok(request)
}

fn config(options: &Options) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(64 * 1024)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(options.message_bytes_max))
        .max_frame_size(Some(options.message_bytes_max))
}
