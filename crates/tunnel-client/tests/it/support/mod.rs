//! A server in the test's hands: every message it sends or gets is a line of the test.

mod session;
mod upstream;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    time::timeout,
};
use tunnel_client::{Builder, Client, Dial, DialError, Event, Events, Token, Way};
use tunnel_io::BoxedIo;
use tunnel_protocol::{
    Challenge, FrameDecoder, Hello, LoginReply, Refusal, Secret, SessionId, Version, Welcome, frame,
    limits::LOGIN_FRAME_MAX, login::Credential,
};

pub(crate) use self::{
    session::{Session, Visit, header, http},
    upstream::Upstream,
};

/// Longer than anything here takes, even on a machine with other work: only a test that fails waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The other ends of a client's connections.
pub(crate) struct Server {
    connections: mpsc::Receiver<DuplexStream>,
    dials: Arc<AtomicUsize>,
    network: Arc<AtomicU8>,
}

/// A connection whose client waits for the challenge.
pub(crate) struct Connection {
    pub(crate) io: DuplexStream,
}

/// A connection whose client waits for the answer to its hello.
pub(crate) struct Login {
    pub(crate) io: DuplexStream,
    pub(crate) hello: Hello,
}

/// Connects a client with a [`Server`] by pipes.
struct Pipes {
    connections: mpsc::Sender<DuplexStream>,
    dials: Arc<AtomicUsize>,
    /// Which network the client is in.
    network: Arc<AtomicU8>,
}

impl Dial for Pipes {
    fn dial(&self) -> tunnel_transport::BoxFuture<'_, Result<BoxedIo, DialError>> {
        Box::pin(async {
            self.dials.fetch_add(1, Ordering::Relaxed);
            let (near, far) = duplex(64 * 1024);
            match self.connections.send(far).await {
                Ok(()) => Ok(Box::new(near) as BoxedIo),
                Err(_) => Err(DialError::Other("the pipe is closed".into())),
            }
        })
    }

    fn describe(&self) -> String {
        "a pipe".into()
    }

    fn way(&self) -> Option<Way> {
        let network = self.network.load(Ordering::Relaxed);
        Some(Way { from: [10, 0, network, 1].into(), to: ([192, 0, 2, 1], 4444).into() })
    }
}

/// A server, and a client that will find it.
pub(crate) fn server() -> (Server, Builder) {
    let (connections, accepted) = mpsc::channel(16);
    let dials = Arc::new(AtomicUsize::new(0));
    let network = Arc::new(AtomicU8::new(0));
    let pipes = Pipes { connections, dials: Arc::clone(&dials), network: Arc::clone(&network) };
    let builder = Client::builder("server.example").dialer(pipes).plaintext().token(token());
    (Server { connections: accepted, dials, network }, builder)
}

/// A server, and a client that is logged in.
pub(crate) async fn connected() -> (Server, Client, Session) {
    connected_with(|builder| builder).await
}

/// The same with a client of another make.
pub(crate) async fn connected_with(make: impl FnOnce(Builder) -> Builder) -> (Server, Client, Session) {
    let (mut server, builder) = server();
    let client = make(builder).start().unwrap();
    let session = server.login().await.welcome().await;
    client.connected().await.unwrap();
    (server, client, session)
}

pub(crate) fn token() -> Token {
    Token::new([7; 32], None)
}

/// What a server usually says; tests change what they are about.
pub(crate) fn welcome(session: u64) -> Welcome {
    Welcome {
        version: Version(1),
        session: SessionId(session),
        resume: Secret::new([8; 32]),
        heartbeat_ms: 5_000,
        dead_after_ms: 15_000,
        streams_per_lane: 256,
        max_lanes: 4,
        hold_s: 60,
        agent: "fake/1".into(),
        account: "laptop".into(),
        clock_ms: None,
    }
}

impl Server {
    /// The client's next connection, the challenge sent.
    pub(crate) async fn connection(&mut self) -> Connection {
        let mut io = soon(self.connections.recv()).await.unwrap();
        let challenge = Challenge { nonce: Secret::new([9; 32]) };
        io.write_all(&frame::encode(&challenge, LOGIN_FRAME_MAX).unwrap()).await.unwrap();
        Connection { io }
    }

    /// The client's next login.
    pub(crate) async fn login(&mut self) -> Login {
        let mut io = self.connection().await.io;
        let hello = soon(read_frame(&mut io)).await;
        Login { io, hello }
    }

    /// Takes the client to another network. Its connections stay, as those do whose bytes go nowhere.
    pub(crate) fn moves_client(&self) {
        self.network.fetch_add(1, Ordering::Relaxed);
    }

    /// How often the client has dialled.
    pub(crate) fn dials(&self) -> usize {
        self.dials.load(Ordering::Relaxed)
    }

    /// Whether no connection waits.
    pub(crate) fn is_quiet(&self) -> bool {
        self.connections.is_empty()
    }
}

impl Login {
    pub(crate) async fn welcome(self) -> Session {
        self.welcome_with(welcome(1)).await
    }

    pub(crate) async fn welcome_with(mut self, welcome: Welcome) -> Session {
        let further = self.hello.attach.is_some();
        self.reply(&LoginReply::Welcome(welcome)).await;
        Session::new(self.io, further).await
    }

    /// Says welcome, and then nothing.
    pub(crate) async fn welcome_alone(mut self, welcome: Welcome) {
        self.reply(&LoginReply::Welcome(welcome)).await;
    }

    pub(crate) async fn refuse(mut self, refusal: Refusal) {
        self.reply(&LoginReply::Refused(refusal)).await;
    }

    async fn reply(&mut self, reply: &LoginReply) {
        self.io.write_all(&frame::encode(reply, LOGIN_FRAME_MAX).unwrap()).await.unwrap();
    }

    /// Whether the client has shown that it knows the token, without showing the token.
    pub(crate) fn is_proven(&self) -> bool {
        let Credential::Proof { id, mac } = &self.hello.credential else { return false };
        let (token, instance) = (token(), self.hello.instance);
        *id == token.id() && tunnel_protocol::proof::verify(&token.hash(), &[9; 32], &instance, mac)
    }
}

async fn read_frame<T: serde::de::DeserializeOwned>(io: &mut DuplexStream) -> T {
    let mut decoder = FrameDecoder::new(LOGIN_FRAME_MAX);
    loop {
        if let Some(message) = decoder.next_message().unwrap() {
            return message;
        }
        let mut piece = vec![0; decoder.missing().unwrap()];
        io.read_exact(&mut piece).await.unwrap();
        decoder.push(&piece);
    }
}

/// What happens within [`PATIENCE`], as it should.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens soon")
}

/// The first event that `pick` takes.
pub(crate) async fn event<T>(events: &mut Events, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    soon(async {
        loop {
            let event = events.next().await.expect("the client lives");
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
    })
    .await
}
