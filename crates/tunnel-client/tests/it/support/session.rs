//! A logged-in client, from the other side.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::JoinSet,
};
use tokio_util::compat::TokioAsyncReadCompatExt;
use tunnel_mux::{Config, Incoming, Opener, Stream};
use tunnel_protocol::{
    BindSpec, ClientMessage, Code, FrameDecoder, RequestId, ServerMessage, StreamHeader, StreamKind,
    StreamReply, TunnelId, Twin, bind::PublicAddress, frame, limits::CONTROL_FRAME_MAX,
};

use super::soon;

/// One lane and, on the first one, the control stream. Dropping it cuts the connection.
pub(crate) struct Session {
    pub(crate) opener: Opener,
    pub(crate) incoming: Incoming,
    pub(crate) control: Option<Stream>,
    decoder: FrameDecoder,
    driver: JoinSet<()>,
}

impl Session {
    pub(super) async fn new(io: DuplexStream, further: bool) -> Self {
        let lane = tunnel_mux::server(io.compat(), &Config::default());
        let mut driver = JoinSet::new();
        let running = lane.driver;
        driver.spawn(async move {
            let _ = running.await;
        });
        let mut incoming = lane.incoming;
        let control = if further { None } else { Some(soon(incoming.accept()).await.unwrap()) };
        Self { opener: lane.opener, incoming, control, decoder: FrameDecoder::new(CONTROL_FRAME_MAX), driver }
    }

    /// The client's next message of any kind; `None` when it has gone.
    pub(crate) async fn hear_all(&mut self) -> Option<ClientMessage> {
        let control = self.control.as_mut().unwrap();
        loop {
            if let Some(message) = self.decoder.next_message().unwrap() {
                return Some(message);
            }
            let mut piece = [0; 1024];
            match control.read(&mut piece).await {
                Ok(length) if length > 0 => self.decoder.push(&piece[..length]),
                _ => return None,
            }
        }
    }

    /// The client's next message that is no heartbeat; heartbeats are answered.
    pub(crate) async fn hear(&mut self) -> Option<ClientMessage> {
        loop {
            match self.hear_all().await? {
                ClientMessage::Ping { seq } => self.say(ServerMessage::Pong { seq }).await,
                ClientMessage::Pong { .. } => {}
                message => return Some(message),
            }
        }
    }

    pub(crate) async fn say(&mut self, message: ServerMessage) {
        self.say_bytes(&frame::encode(&message, CONTROL_FRAME_MAX).unwrap()).await;
    }

    pub(crate) async fn say_bytes(&mut self, bytes: &[u8]) {
        let _ = self.control.as_mut().unwrap().write_all(bytes).await;
    }

    /// The client's next bind.
    pub(crate) async fn bind(&mut self) -> (TunnelId, BindSpec) {
        match soon(self.hear()).await {
            Some(ClientMessage::Bind { tunnel, spec, .. }) => (tunnel, spec),
            other => panic!("not a bind: {other:?}"),
        }
    }

    /// The client's next bind, granted under this name or port.
    pub(crate) async fn grant(&mut self, name: &str) -> TunnelId {
        let (tunnel, spec) = self.bind().await;
        let address = match spec {
            BindSpec::Http(_) => http(name),
            _ => PublicAddress::Tcp { url: format!("tcp://fake:{name}"), port: name.parse().unwrap() },
        };
        self.say(ServerMessage::Bound { tunnel, address }).await;
        tunnel
    }

    /// Opens a visitor's stream and sees it accepted.
    pub(crate) async fn visit(&self, tunnel: TunnelId) -> Visit {
        let mut visit = self.open(tunnel).await;
        assert_eq!(visit.reply().await, StreamReply::Accepted);
        visit
    }

    /// Opens a visitor's stream.
    pub(crate) async fn open(&self, tunnel: TunnelId) -> Visit {
        let mut stream = soon(self.opener.open()).await.unwrap();
        stream.write_all(&header(tunnel).encode()).await.unwrap();
        Visit { stream }
    }

    /// Opens one of the two streams of a pair.
    pub(crate) async fn open_of_pair(&self, tunnel: TunnelId, twin: Twin) -> Visit {
        let mut stream = soon(self.opener.open()).await.unwrap();
        let header = StreamHeader { twin: Some(twin), ..header(tunnel) };
        stream.write_all(&header.encode()).await.unwrap();
        Visit { stream }
    }

    /// Answers heartbeats until the client has gone, and says whether it said anything else.
    pub(crate) async fn until_gone(mut self) {
        soon(async { while self.hear().await.is_some() {} }).await;
    }

    /// Cuts the connection.
    pub(crate) fn cut(self) {
        drop(self.driver);
    }
}

pub(crate) fn http(name: &str) -> PublicAddress {
    PublicAddress::Http {
        url: format!("http://{name}.fake"),
        host: format!("{name}.fake"),
        subdomain: Some(name.into()),
    }
}

pub(crate) fn header(tunnel: TunnelId) -> StreamHeader {
    let visitor: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    StreamHeader {
        kind: StreamKind::Tcp,
        tunnel,
        request: RequestId(5),
        visitor: Some(visitor),
        local: None,
        twin: None,
    }
}

/// A visitor's stream, from the server's side.
pub(crate) struct Visit {
    pub(crate) stream: Stream,
}

impl Visit {
    /// The client's next reply.
    pub(crate) async fn reply(&mut self) -> StreamReply {
        let mut bytes = Vec::new();
        loop {
            if let Some((reply, _)) = StreamReply::decode(&bytes).unwrap() {
                return reply;
            }
            bytes.push(soon(self.stream.read_u8()).await.unwrap());
        }
    }

    pub(crate) async fn ready(&mut self) {
        assert_eq!(self.reply().await, StreamReply::Ready);
    }

    pub(crate) async fn refused(mut self) -> Code {
        match self.reply().await {
            StreamReply::Refused(code) => code,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) async fn says(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        soon(self.stream.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(bytes, expected);
    }
}
