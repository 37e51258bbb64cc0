//! Both ends against each other, over real sockets: who is let in, who is not, and what people are told.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tunnel_io::BoxedIo;

use crate::*;

/// A server on loopback that accepts for as long as it lives and echoes.
pub(crate) struct Server {
    pub(crate) port: u16,
    tasks: JoinSet<()>,
}

impl Server {
    pub(crate) fn start(control: ControlTls) -> Self {
        Self::run("127.0.0.1:0", move |stream| {
            let control = control.clone();
            async move {
                let io = control.accept(stream).await?;
                let (mut read, mut write) = tokio::io::split(io);
                tokio::io::copy(&mut read, &mut write).await.map(drop)
            }
        })
    }

    pub(crate) fn run<F>(bind: &str, handle: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send,
    {
        let listener = Listener::bind(bind.parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await;
                tune_lane(&stream);
                let _ = handle(stream).await;
            }
        });
        Self { port, tasks }
    }

    async fn dial(&self, host: &str, trust: Trust) -> Result<BoxedIo, DialError> {
        let address = ServerAddress::new(host, self.port).unwrap();
        TcpDialer::new(address, trust).unwrap().dial().await
    }

    async fn problem(&self, host: &str, trust: Trust) -> TlsProblem {
        match self.dial(host, trust).await {
            Err(DialError::Tls { problem, .. }) => problem,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("connected"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}

pub(crate) fn identity() -> ControlIdentity {
    let pair = generate_self_signed(&["localhost".into()]).unwrap();
    ControlIdentity::from_pem(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes()).unwrap()
}

pub(crate) fn tls(identity: &ControlIdentity) -> ControlTls {
    ControlTls::Tls(acceptor(identity).unwrap())
}

pub(crate) async fn assert_echoes(mut io: BoxedIo) {
    io.write_all(b"hello").await.unwrap();
    io.flush().await.unwrap();
    let mut answer = [0; 5];
    io.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
}

#[tokio::test]
async fn the_pinned_key_is_let_in_under_any_name() {
    let identity = identity();
    let server = Server::start(tls(&identity));
    // The certificate says "localhost".
    assert_echoes(server.dial("127.0.0.1", Trust::Pinned(identity.pin())).await.unwrap()).await;
}

#[tokio::test]
async fn the_second_lane_resumes_the_first_ones_session() {
    let identity = identity();
    let acceptor = acceptor(&identity).unwrap();
    let config = verify::client_config(&Trust::Pinned(identity.pin())).unwrap().unwrap();
    for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let connector = TlsConnector::from(Arc::clone(&config));
        let (client, server) =
            tokio::join!(connector.connect(ServerName::try_from("vps").unwrap(), near), acceptor.accept(far));
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!(server.get_ref().1.handshake_kind(), Some(expected));
        // The tickets are read along with the first bytes.
        server.write_all(b"x").await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'x');
    }
}

#[tokio::test]
async fn another_key_is_refused_and_the_message_says_what_to_do() {
    let (identity, other) = (identity(), identity());
    let server = Server::start(tls(&other));
    let error = server.dial("127.0.0.1", Trust::Pinned(identity.pin())).await.err().unwrap();
    assert!(error.is_permanent());
    let text = error.to_string();
    assert!(text.starts_with(&format!("the server at 127.0.0.1:{} has another key", server.port)), "{text}");
    assert!(text.contains("tunnel token create"), "{text}");
    let DialError::Tls { problem: TlsProblem::PinMismatch { expected, got }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((expected, got), (identity.pin(), other.pin()));
}

#[tokio::test]
async fn a_renewed_or_expired_certificate_of_the_same_key_passes() {
    let key = KeyPair::generate().unwrap();
    let at = |year| {
        let mut params = CertificateParams::new(vec!["elsewhere.example".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(year, 1, 1);
        params.not_after = rcgen::date_time_ymd(year + 1, 1, 1);
        let pem = params.self_signed(&key).unwrap().pem();
        ControlIdentity::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    };
    let (old, new) = (at(2001), at(2002));
    assert_eq!(old.pin(), new.pin());
    let server = Server::start(tls(&new));
    assert_echoes(server.dial("127.0.0.1", Trust::Pinned(old.pin())).await.unwrap()).await;
}

/// A certificate is public. Whoever presents the right one without its key must not get in.
#[tokio::test]
async fn the_right_certificate_without_its_key_is_refused() {
    let identity = identity();
    let thief = KeyPair::generate().unwrap();
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(
        &rustls::pki_types::PrivateKeyDer::try_from(thief.serialize_der()).unwrap(),
    );
    let stolen = rustls::sign::CertifiedKey::new(identity.certified().cert.clone(), signer.unwrap());
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(tls::VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(stolen)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    let server = raw_tls_server(config);
    let problem = server.problem("127.0.0.1", Trust::Pinned(identity.pin())).await;
    assert!(
        matches!(&problem, TlsProblem::UntrustedCertificate { reason } if reason.contains("signature")),
        "{problem}"
    );
}

pub(crate) fn raw_tls_server(config: ServerConfig) -> Server {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::run("127.0.0.1:0", move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            stream.read_u8().await.map(drop)
        }
    })
}

/// A CA in PEM, and an identity it vouches for as "localhost".
pub(crate) fn chain() -> (Vec<u8>, ControlIdentity) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &ca).unwrap();
    let identity = ControlIdentity::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    (ca.pem().into_bytes(), identity)
}

#[tokio::test]
async fn a_ca_file_vouches_for_its_names_only() {
    let (ca, identity) = chain();
    let server = Server::start(tls(&identity));
    assert_echoes(server.dial("localhost", Trust::CaFile(ca.clone())).await.unwrap()).await;
    let reason = "it is for another name".to_owned();
    let problem = server.problem("127.0.0.1", Trust::CaFile(ca)).await;
    assert_eq!(problem, TlsProblem::UntrustedCertificate { reason });
    let reason = "its issuer is unknown here".to_owned();
    let stranger = Server::start(tls(&self::identity()));
    let problem = stranger.problem("localhost", Trust::CaFile(chain().0)).await;
    assert_eq!(problem, TlsProblem::UntrustedCertificate { reason });
}

#[tokio::test]
async fn a_certificate_of_another_time_is_told_from_one_of_a_stranger() {
    let now = SystemTime::now();
    let day = Duration::from_secs(24 * 3600);
    for (from, until, expected) in
        [(now - 2 * day, now - day, TlsProblem::Expired), (now + day, now + 2 * day, TlsProblem::NotYetValid)]
    {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        (params.not_before, params.not_after) = (from.into(), until.into());
        let leaf = params.self_signed(&key).unwrap().pem();
        let identity = ControlIdentity::from_pem(leaf.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        let server = Server::start(tls(&identity));
        assert_eq!(server.problem("localhost", Trust::CaFile(leaf.into())).await, expected);
        let error = expected.to_string();
        assert!(error.contains("clock") && error.contains("; "), "{error}");
    }
}

#[tokio::test]
async fn a_dial_in_steps_shows_what_it_found() {
    let identity = identity();
    let server = Server::start(tls(&identity));
    let address = ServerAddress::new("127.0.0.1", server.port).unwrap();
    let dialer = TcpDialer::new(address, Trust::Pinned(identity.pin())).unwrap();
    let found = dialer.find().await.unwrap();
    assert_eq!(found.len(), 1);
    let handshake = dialer.greet(dialer.reach(found[0]).await.unwrap()).await.unwrap();
    assert!(handshake.key_exchange.is_some());
    let certificate = handshake.certificate.unwrap();
    assert_eq!(certificate.pin, identity.pin());
    let (from, until) = certificate.valid.unwrap();
    assert!(from < SystemTime::now() && SystemTime::now() < until);
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_its_own_ca_file() {
    let pair = generate_self_signed(&["localhost".into()]).unwrap();
    let identity = ControlIdentity::from_pem(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes()).unwrap();
    let server = Server::start(tls(&identity));
    assert_echoes(server.dial("localhost", Trust::CaFile(pair.cert_pem.into())).await.unwrap()).await;
}

#[test]
fn an_unusable_ca_file_is_an_error_before_dialling() {
    let new = |pem: &[u8]| TcpDialer::new("vps".parse().unwrap(), Trust::CaFile(pem.to_vec())).unwrap_err();
    assert!(matches!(new(b"not PEM at all"), CertError::NoCertificate { what: "CA file" }));
}

#[tokio::test]
async fn the_system_does_not_know_a_self_signed_certificate() {
    let server = Server::start(tls(&identity()));
    let address = ServerAddress::new("localhost", server.port).unwrap();
    match TcpDialer::new(address, Trust::System) {
        Ok(dialer) => {
            let error = dialer.dial().await.err().unwrap();
            assert!(
                matches!(error, DialError::Tls { problem: TlsProblem::UntrustedCertificate { .. }, .. }),
                "{error:?}"
            );
        }
        // A machine without any roots, such as a bare container.
        Err(error) => assert!(matches!(error, CertError::SystemRoots(_)), "{error:?}"),
    }
}

/// A client that offers `versions` and `alpn`, against `acceptor`; what the acceptor makes of it.
async fn accept_from(
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<tokio::io::DuplexStream>> {
    let pair = generate_self_signed(&["localhost".into()]).unwrap();
    let identity = ControlIdentity::from_pem(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(identity.certified().cert[0].clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let connector = TlsConnector::from(Arc::new(config));
    let (near, far) = tokio::io::duplex(64 * 1024);
    let acceptor = acceptor(&identity).unwrap();
    let (_, accepted) = tokio::join!(
        connector.connect(ServerName::try_from("localhost").unwrap(), near),
        acceptor.accept(far)
    );
    accepted
}

#[tokio::test]
async fn the_key_exchange_is_post_quantum() {
    let accepted = accept_from(rustls::ALL_VERSIONS, &[ALPN]).await.unwrap();
    let session = accepted.get_ref().1;
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test]
async fn old_tls_and_other_protocols_are_refused() {
    for (versions, alpn, expected) in [
        (&[&rustls::version::TLS12][..], &[ALPN][..], "the client offers no TLS 1.3"),
        (rustls::ALL_VERSIONS, &[b"h2"], "the client speaks TLS, but not for tunnels"),
        (rustls::ALL_VERSIONS, &[], "the client speaks TLS, but not for tunnels"),
    ] {
        let error = accept_from(versions, alpn).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_web_server_is_told_from_a_tunnel_server() {
    let identity = identity();
    let config = |versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[&[u8]]| {
        let mut config = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity.certified())));
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    };
    for (config, expected) in [
        (config(rustls::ALL_VERSIONS, &[]), TlsProblem::NotTunnel),
        (config(rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"]), TlsProblem::NotTunnel),
        (config(&[&rustls::version::TLS12], &[ALPN]), TlsProblem::OldTls),
    ] {
        let server = raw_tls_server(config);
        assert_eq!(server.problem("127.0.0.1", Trust::Pinned(identity.pin())).await, expected);
    }
}

#[tokio::test]
async fn tls_and_plaintext_notice_each_other() {
    let identity = identity();
    let plain = Server::start(ControlTls::Plaintext);
    assert_echoes(plain.dial("127.0.0.1", Trust::Plaintext).await.unwrap()).await;
    assert_eq!(plain.problem("127.0.0.1", Trust::Pinned(identity.pin())).await, TlsProblem::NotTls);

    let secure = Server::start(tls(&identity));
    assert_eq!(secure.problem("127.0.0.1", Trust::Plaintext).await, TlsProblem::NotPlaintext);
    // And the server goes on.
    assert_echoes(secure.dial("127.0.0.1", Trust::Pinned(identity.pin())).await.unwrap()).await;
}

#[tokio::test]
async fn a_plaintext_client_is_named_at_the_server() {
    let (mut near, far) = tokio::io::duplex(1024);
    near.write_all(b"GET / HTTP/1.1\r\nHost: vps\r\n\r\n").await.unwrap();
    let error = acceptor(&identity()).unwrap().accept(far).await.unwrap_err();
    assert_eq!(error.to_string(), "the client does not speak TLS");
}

#[tokio::test]
async fn a_server_that_hangs_up_or_speaks_something_else() {
    let pin = identity().pin();
    let hangs_up = Server::run("127.0.0.1:0", async |mut stream| {
        stream.read_u8().await?;
        reset(stream);
        Ok(())
    });
    assert_eq!(hangs_up.problem("127.0.0.1", Trust::Pinned(pin)).await, TlsProblem::Closed);
    assert!(!hangs_up.dial("127.0.0.1", Trust::Pinned(pin)).await.err().unwrap().is_permanent());
    let ssh = Server::run("127.0.0.1:0", async |mut stream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await?;
        stream.read_to_end(&mut Vec::new()).await.map(drop)
    });
    assert_eq!(ssh.problem("127.0.0.1", Trust::Pinned(pin)).await, TlsProblem::NotTls);
    assert_eq!(ssh.problem("127.0.0.1", Trust::Plaintext).await, TlsProblem::NotTunnel);
}

#[tokio::test]
async fn localhost_is_found_on_whichever_family_it_listens() {
    let families = tokio::net::lookup_host(("localhost", 0)).await.unwrap();
    for address in families {
        let bind = address.to_string();
        let server = Server::run(&bind, async |mut stream| {
            stream.write_all(b"tunnel/1\n").await?;
            stream.read_to_end(&mut Vec::new()).await.map(drop)
        });
        server.dial("localhost", Trust::Plaintext).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_listening_is_said_so() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dialer = TcpDialer::new(ServerAddress::new("127.0.0.1", port).unwrap(), Trust::Plaintext).unwrap();
    let error = dialer.dial().await.err().unwrap();
    assert_eq!(dialer.describe(), format!("127.0.0.1:{port}"));
    assert_eq!(
        error.to_string(),
        format!(
            "the machine at 127.0.0.1:{port} refused the connection; check that the server runs there and the port \
             is right"
        )
    );
    assert!(!error.is_permanent());
}
