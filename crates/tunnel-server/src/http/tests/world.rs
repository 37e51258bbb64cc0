//! A server's web half, with tunnels whose clients and upstreams are played by the test.

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, duplex},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_util::{compat::TokioAsyncReadCompatExt, sync::CancellationToken};
use tunnel_mux::{Incoming, Stream};
use tunnel_protocol::{
    Code, InstanceId, Secret, ServerMessage, SessionId, StreamHeader, StreamReply, TunnelId,
    bind::{PublicAddress, UpstreamProtocol},
};
use tunnel_router::{HostPattern, Hostname, PathPrefix};
use tunnel_transport::Listener;

use crate::{
    auth::Identity,
    config::Config,
    endpoint::{Endpoint, State, Target},
    http::pool::Pool,
    ingress,
    routes::Part,
    session::{LaneGuard, Session, Who},
    shared::Shared,
};

/// Longer than anything here takes: only a hang gets there.
pub(super) const HANG: Duration = Duration::from_secs(60);

pub(super) struct World {
    pub(super) shared: Shared,
    pub(super) address: SocketAddr,
    tasks: JoinSet<()>,
    sessions: u64,
    /// Whether clients that come from here on understand twins.
    pub(super) twins: bool,
}

/// A client of the tunnel of one host.
pub(super) struct Client {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) target: Arc<Target>,
    /// What the server has for the client.
    pub(super) messages: mpsc::Receiver<ServerMessage>,
    /// Its first lane.
    lane: Lane,
    dies: CancellationToken,
}

/// What comes in at a client's end of a lane.
pub(super) struct Lane {
    incoming: Incoming,
    _guard: LaneGuard,
}

/// One end of a conversation, with what was read ahead.
pub(super) struct Talk<T> {
    pub(super) io: T,
    ahead: BytesMut,
    /// The `Sec-WebSocket-Key` of the last head.
    key: Option<String>,
}

pub(super) type Visitor = Talk<TcpStream>;
pub(super) type Upstream = Talk<Stream>;

impl World {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(Hostname::parse("test").unwrap());
        change(&mut config);
        let shared = Shared::new(config);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(ingress::http::serve(shared.clone(), listener));
        Self { shared, address, tasks, sessions: 0, twins: true }
    }

    /// A tunnel at `host`, and its client.
    pub(super) fn tunnel(&mut self, host: &str) -> Client {
        self.tunnel_speaking(host, UpstreamProtocol::default())
    }

    /// The same, with an upstream that speaks this.
    pub(super) fn tunnel_speaking(&mut self, host: &str, protocol: UpstreamProtocol) -> Client {
        let (target, make) = self.session(protocol);
        let address = PublicAddress::Http {
            url: format!("http://{host}"),
            host: host.to_owned(),
            subdomain: Some("a".into()),
        };
        let waiting = self.shared.waiting.clone();
        let owner = target.session.identity.clone();
        let counted = (target.tally.clone(), self.shared.stopping.child_token());
        let endpoint = Endpoint::new(address, owner, waiting, State::Live(vec![target]), counted);
        let part = Part::Http(PathPrefix::root());
        self.shared.routes.publish(&HostPattern::parse(host).unwrap(), part, endpoint.clone());
        make(endpoint)
    }

    /// Another client for the tunnel that `former` serves. It is not attached yet.
    pub(super) fn successor(&mut self, former: &Client) -> Client {
        let (_, make) = self.session(UpstreamProtocol::default());
        make(former.endpoint.clone())
    }

    fn session(
        &mut self,
        protocol: UpstreamProtocol,
    ) -> (Arc<Target>, impl FnOnce(Arc<Endpoint>) -> Client + use<>) {
        self.sessions += 1;
        let who = Who {
            identity: Identity {
                token: tunnel_protocol::TokenId([0; 8]),
                name: "tests".into(),
                generation: 0,
            },
            instance: InstanceId([0; 16]),
            machine: String::new(),
            agent: String::new(),
            address: self.address,
            twins: self.twins,
        };
        let ended = CancellationToken::new();
        let id = SessionId(self.sessions);
        let (session, messages) = Session::new(id, Secret::new([0; 32]), who, 16, ended);
        let dies = CancellationToken::new();
        let lane = self.lane(&session, dies.clone());
        let target = Arc::new(Target { protocol, ..target(session) });
        let make = {
            let target = target.clone();
            move |endpoint| Client { endpoint, target, messages, lane, dies }
        };
        (target, make)
    }

    /// A further lane of the client's session.
    pub(super) fn lane_of(&mut self, client: &Client) -> Lane {
        self.lane(&client.target.session, client.dies.clone())
    }

    /// One that is lost when `death` comes, and not with the client.
    pub(super) fn mortal_lane_of(&mut self, client: &Client, death: CancellationToken) -> Lane {
        self.lane(&client.target.session, death)
    }

    fn lane(&mut self, session: &Arc<Session>, death: CancellationToken) -> Lane {
        let (near, far) = duplex(1 << 16);
        let ours = tunnel_mux::server(near.compat(), &tunnel_mux::Config::default());
        let theirs = tunnel_mux::client(far.compat(), &tunnel_mux::Config::default());
        self.tasks.spawn(async move {
            tokio::select! {
                _ = ours.driver => {}
                _ = theirs.driver => {}
                () = death.cancelled() => {}
            }
        });
        let guard = session.add_lane(ours.opener, ours.activity).unwrap();
        Lane { incoming: theirs.incoming, _guard: guard }
    }

    pub(super) async fn visit(&self) -> Visitor {
        Talk::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// Asks for `path` at `host` on a connection of its own.
    pub(super) async fn get(&self, host: &str, path: &str) -> Visitor {
        let mut visitor = self.visit().await;
        visitor.say(&get(host, path)).await;
        visitor
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
    }
}

fn target(session: Arc<Session>) -> Target {
    Target {
        session,
        tunnel: TunnelId(7),
        upstream: "localhost:3000".into(),
        protocol: UpstreamProtocol::default(),
        report_requests: true,
        policies: Arc::default(),
        pool: Pool::default(),
        visitors: Default::default(),
        hinted: Default::default(),
        tally: Default::default(),
        reach: Default::default(),
    }
}

/// A request without a body.
pub(super) fn get(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

impl Deref for Client {
    type Target = Lane;

    fn deref(&self) -> &Lane {
        &self.lane
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Lane {
        &mut self.lane
    }
}

impl Lane {
    /// The next stream, and its header.
    pub(super) async fn accept_raw(&mut self) -> (StreamHeader, Upstream) {
        let mut stream = timeout(HANG, self.incoming.accept()).await.unwrap().expect("the lane lives");
        let mut length = [0; 2];
        stream.read_exact(&mut length).await.unwrap();
        let mut header = vec![0; StreamHeader::decode_length(length).unwrap()];
        stream.read_exact(&mut header).await.unwrap();
        (StreamHeader::decode(&header).unwrap(), Talk::new(stream))
    }

    /// The next stream, its upstream ready.
    pub(super) async fn accept(&mut self) -> Upstream {
        let (_, mut upstream) = self.accept_raw().await;
        upstream.io.write_all(&StreamReply::Accepted.encode()).await.unwrap();
        upstream.io.write_all(&StreamReply::Ready.encode()).await.unwrap();
        upstream
    }

    /// Whether no stream comes, given that whatever would open one has happened.
    pub(super) async fn is_left_alone(&mut self) -> bool {
        timeout(Duration::from_millis(1), self.incoming.accept()).await.is_err()
    }

    /// Refuses the next stream.
    pub(super) async fn refuse(&mut self, code: Code) -> String {
        let (_, mut upstream) = self.accept_raw().await;
        upstream.io.write_all(&StreamReply::Accepted.encode()).await.unwrap();
        let asked = upstream.head().await;
        upstream.io.write_all(&StreamReply::Refused(code).encode()).await.unwrap();
        // The server may be faster, and have let go of the stream.
        let _ = upstream.io.shutdown().await;
        asked
    }
}

impl Client {
    /// Lets the lane break, and the session with it.
    pub(super) fn die(self) -> Arc<Endpoint> {
        self.dies.cancel();
        self.target.session.end("the test says so");
        self.endpoint
    }

    /// Begins anew as the one who serves the tunnel: with no idle streams.
    pub(super) fn renew(&mut self) {
        self.target = Arc::new(target(self.target.session.clone()));
        self.attach();
    }

    /// Makes this and another client serve the tunnel together, under the same policies and with the same counters.
    pub(super) fn attach_with(&mut self, other: &Self) {
        let (policies, tally) = (other.target.policies.clone(), other.target.tally.clone());
        self.target = Arc::new(Target { policies, tally, ..target(self.target.session.clone()) });
        self.endpoint.set_state(State::Live(vec![other.target.clone(), self.target.clone()]));
    }

    /// Makes this the one who serves the tunnel.
    pub(super) fn attach(&self) {
        self.endpoint.set_state(State::Live(vec![self.target.clone()]));
    }
}

impl<T: AsyncRead + AsyncWriteExt + Unpin> Talk<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, ahead: BytesMut::new(), key: None }
    }

    pub(super) async fn say(&mut self, text: &str) {
        timeout(HANG, self.io.write_all(text.as_bytes())).await.unwrap().unwrap();
    }

    /// Reads on; `Ok(0)` at a proper end.
    async fn more(&mut self) -> std::io::Result<usize> {
        timeout(HANG, self.io.read_buf(&mut self.ahead)).await.expect("something comes")
    }

    /// The next line, without its end.
    pub(super) async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8(self.ahead.split_to(end).to_vec()).unwrap();
                self.ahead.advance(2);
                return line;
            }
            assert_ne!(self.more().await.unwrap(), 0, "ended in {:?}", self.ahead);
        }
    }

    /// The next head, in lower case, its lines sorted but for the first.
    pub(super) async fn head(&mut self) -> String {
        let first = self.line().await;
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                lines.sort();
                lines.insert(0, first);
                return lines.join("\n").to_lowercase();
            }
            if let Some((name, key)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("sec-websocket-key")
            {
                self.key = Some(key.to_owned());
            }
            lines.push(line);
        }
    }

    /// The `Sec-WebSocket-Key` of the last head that had one, as it was.
    pub(super) fn key(&self) -> Option<String> {
        self.key.clone()
    }

    /// The next `length` bytes.
    pub(super) async fn bytes(&mut self, length: usize) -> String {
        while self.ahead.len() < length {
            assert_ne!(self.more().await.unwrap(), 0, "ended in {:?}", self.ahead);
        }
        String::from_utf8(self.ahead.split_to(length).to_vec()).unwrap()
    }

    /// The next chunk; `None` is the last one, behind which trailers may come.
    pub(super) async fn chunk(&mut self) -> Option<String> {
        let size = usize::from_str_radix(&self.line().await, 16).unwrap();
        if size == 0 {
            return None;
        }
        let chunk = self.bytes(size).await;
        assert_eq!(self.line().await, "");
        Some(chunk)
    }

    /// Forgets what was read ahead, and says how much that was.
    pub(super) fn rest_of_buffer(&mut self) -> usize {
        self.ahead.split().len()
    }

    /// All that comes up to the end, and how that went.
    pub(super) async fn rest(&mut self) -> (String, std::io::Result<()>) {
        let end = loop {
            match self.more().await {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        (String::from_utf8_lossy(&self.ahead.split()).into_owned(), end)
    }

    /// The next answer that has a length, and its body.
    pub(super) async fn answer(&mut self) -> (String, String) {
        let head = self.head().await;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let body = self.bytes(length.parse().unwrap()).await;
        (head, body)
    }
}

/// The value of a field in a head.
pub(super) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
