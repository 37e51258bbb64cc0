//! Which certificate is shown to whom, before and after a change, and what is agreed on.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsConnector, client};

use super::*;

/// A certificate for these names, and what a visitor sees of it.
fn certificate(names: &[&str]) -> (WebCertificate, CertificateDer<'static>) {
    certificate_with(names, &PKCS_ECDSA_P256_SHA256, Duration::from_secs(3600))
}

fn certificate_with(
    names: &[&str],
    algorithm: &'static SignatureAlgorithm,
    valid: Duration,
) -> (WebCertificate, CertificateDer<'static>) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params =
        CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.not_before = (SystemTime::now() - Duration::from_secs(60)).into();
    params.not_after = (SystemTime::now() + valid).into();
    let certificate = params.self_signed(&key).unwrap();
    let read = WebCertificate::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes());
    (read.unwrap(), certificate.der().clone())
}

/// A visitor that takes any certificate.
fn visitor(versions: &[&'static SupportedProtocolVersion], protocols: &[&[u8]]) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything { schemes: None }))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

#[derive(Debug)]
struct Anything {
    schemes: Option<rustls::SignatureScheme>,
}

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        let all = tls::provider().signature_verification_algorithms.supported_schemes();
        self.schemes.map_or(all, |only| vec![only])
    }
}

type Pair = (client::TlsStream<DuplexStream>, WebStream<DuplexStream>);

async fn shake(tls: &WebTls, config: &Arc<ClientConfig>, name: &str) -> io::Result<Pair> {
    let (near, far) = duplex(1 << 16);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connector = TlsConnector::from(config.clone());
    tokio::try_join!(connector.connect(name, near), tls.accept(far))
}

fn shown(connection: &ClientConnection) -> CertificateDer<'static> {
    connection.peer_certificates().unwrap()[0].clone().into_owned()
}

/// A pipe through which the visitor's bytes come one at a time.
struct Dribble {
    pace: DuplexStream,
    is_first: bool,
}

impl AsyncRead for Dribble {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_first = !self.is_first;
        if self.is_first {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut one = [0];
        let mut byte = ReadBuf::new(&mut one);
        std::task::ready!(Pin::new(&mut self.pace).poll_read(cx, &mut byte))?;
        buf.put_slice(byte.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Dribble {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pace).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pace).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pace).poll_shutdown(cx)
    }
}

async fn shown_for(tls: &WebTls, config: &Arc<ClientConfig>, name: &str) -> CertificateDer<'static> {
    let (near, _far) = shake(tls, config, name).await.unwrap();
    shown(near.get_ref().1)
}

#[tokio::test]
async fn the_certificate_that_fits_best_is_shown() {
    let (first, first_der) = certificate(&["first.test", "Also.test"]);
    let (wild, wild_der) = certificate(&["*.b.test"]);
    let (exact, exact_der) = certificate(&["x.b.test"]);
    let store = CertStore::new(&[first, wild, exact]);
    let tls = WebTls::new(store.clone()).unwrap();
    let config = Arc::new(visitor(&[&TLS13, &TLS12], &[]));
    for (name, expected, is_covered) in [
        ("first.test", &first_der, true),
        ("also.test", &first_der, true),
        ("x.b.test", &exact_der, true),
        ("X.B.test", &exact_der, true),
        ("y.b.test", &wild_der, true),
        ("b.test", &first_der, false),
        ("z.y.b.test", &first_der, false),
        ("unknown.test", &first_der, false),
    ] {
        assert_eq!(shown_for(&tls, &config, name).await, *expected, "{name}");
        assert_eq!(store.covers(name), is_covered, "{name}");
    }
    // Nobody asks for an address by name (RFC 6066 §3).
    assert_eq!(shown_for(&tls, &config, "127.0.0.1").await, first_der);
    for (pattern, is_covered) in [("*.b.test", true), ("*.test", false), ("*.x.b.test", false)] {
        assert_eq!(store.covers(pattern), is_covered, "{pattern}");
    }
}

#[tokio::test]
async fn of_two_for_one_name_a_visitor_gets_the_one_it_can_check() {
    let hour = Duration::from_secs(3600);
    let (edwards, edwards_der) = certificate_with(&["a.test"], &PKCS_ED25519, hour);
    let (ecdsa, ecdsa_der) = certificate_with(&["a.test"], &PKCS_ECDSA_P256_SHA256, hour);
    let tls = WebTls::new(CertStore::new(&[edwards, ecdsa])).unwrap();
    let config = visitor(&[&TLS13], &[]);
    assert_eq!(shown_for(&tls, &Arc::new(config.clone()), "a.test").await, edwards_der);
    let mut picky = config;
    let only = Some(rustls::SignatureScheme::ECDSA_NISTP256_SHA256);
    picky.dangerous().set_certificate_verifier(Arc::new(Anything { schemes: only }));
    assert_eq!(shown_for(&tls, &Arc::new(picky), "a.test").await, ecdsa_der);
}

#[tokio::test]
async fn a_change_is_seen_by_the_next_visitor_and_by_no_former_one() {
    let (old, old_der) = certificate(&["a.test"]);
    let (new, new_der) = certificate(&["a.test", "c.test"]);
    let store = CertStore::new(&[old]);
    let tls = WebTls::new(store.clone()).unwrap();
    let config = Arc::new(visitor(&[&TLS13, &TLS12], &[]));
    let (mut near, mut far) = shake(&tls, &config, "a.test").await.unwrap();
    store.replace(&[new]);
    assert_eq!(shown(near.get_ref().1), old_der);
    near.write_all(b"still").await.unwrap();
    near.flush().await.unwrap();
    let mut said = [0; 5];
    far.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"still");
    let fresh = Arc::new(visitor(&[&TLS13, &TLS12], &[]));
    assert_eq!(shown_for(&tls, &fresh, "a.test").await, new_der);
    assert!(store.covers("c.test"));

    store.replace(&[]);
    assert!(store.is_empty());
    let fresh = Arc::new(visitor(&[&TLS13], &[]));
    assert!(shake(&tls, &fresh, "a.test").await.is_err());
}

#[tokio::test]
async fn both_versions_a_byte_at_a_time_and_resumed() {
    let tls = WebTls::new(CertStore::new(&[certificate(&["a.test"]).0])).unwrap();
    for (version, number) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let config = Arc::new(visitor(&[version], &[]));
        for is_resumed in [false, true] {
            let (near, far) = duplex(1 << 16);
            let far = Dribble { pace: far, is_first: false };
            // Tickets come behind the handshake, so the visitor has to read on.
            let visit = async {
                let name = ServerName::try_from("a.test").unwrap();
                let mut near = TlsConnector::from(config.clone()).connect(name, near).await.unwrap();
                assert_eq!(near.read_u8().await.unwrap(), b'x');
                near
            };
            let serve = async {
                let mut far = tls.accept(far).await.unwrap();
                far.write_all(b"x").await.unwrap();
                far.flush().await.unwrap();
                far
            };
            let (near, far) = tokio::join!(visit, serve);
            assert_eq!(far.server_name(), Some("a.test"));
            let connection = near.get_ref().1;
            assert_eq!(connection.protocol_version(), Some(number));
            let kind = connection.handshake_kind().unwrap();
            assert_eq!(kind == HandshakeKind::Resumed, is_resumed, "{number:?}");
        }
    }
}

#[tokio::test]
async fn what_is_agreed_on() {
    let tls = WebTls::new(CertStore::new(&[certificate(&["a.test"]).0])).unwrap();
    for (offered, agreed) in [
        (&[][..], Some(None)),
        (&[&b"http/1.1"[..]][..], Some(Some(&b"http/1.1"[..]))),
        (&[b"http/1.0"], Some(Some(b"http/1.0"))),
        (&[b"http/1.1", b"h2"], Some(Some(PROTOCOLS[0]))),
        (&[b"tunnel/1"], None),
    ] {
        let config = Arc::new(visitor(&[&TLS13, &TLS12], offered));
        let pair = shake(&tls, &config, "a.test").await;
        match (&pair, agreed) {
            (Ok((near, far)), Some(agreed)) => {
                assert_eq!(near.get_ref().1.alpn_protocol(), agreed);
                assert_eq!(far.is_h2(), agreed == Some(b"h2"));
            }
            (Err(_), None) => {}
            _ => panic!("{offered:?}: {pair:?}"),
        }
    }
}

#[tokio::test]
async fn a_cut_is_no_end() {
    let tls = WebTls::new(CertStore::new(&[certificate(&["a.test"]).0])).unwrap();
    let config = Arc::new(visitor(&[&TLS13], &[]));
    let (near, mut far) = shake(&tls, &config, "a.test").await.unwrap();
    drop(near);
    assert_eq!(far.read_u8().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let (mut near, mut far) = shake(&tls, &config, "a.test").await.unwrap();
    near.shutdown().await.unwrap();
    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
}

#[test]
fn what_an_operator_would_want_to_know() {
    let (certificate, _) =
        certificate_with(&["A.test", "*.b.test"], &PKCS_ECDSA_P256_SHA256, Duration::from_secs(3600));
    assert_eq!(certificate.names().collect::<Vec<_>>(), ["a.test", "*.b.test"]);
    let left = certificate.expiry().unwrap().duration_since(SystemTime::now()).unwrap();
    assert!((3500..=3600).contains(&left.as_secs()), "{left:?}");
    assert!(!certificate.begins_after(SystemTime::now()));
    assert!(certificate.begins_after(SystemTime::now() - Duration::from_secs(3600)));
    let (nameless, _) = self::certificate(&[]);
    assert_eq!(nameless.names().next(), None);
}

#[test]
fn what_is_wrong_with_a_pair_is_named() {
    let one = crate::generate_self_signed(&["a.test".into()]).unwrap();
    let other = crate::generate_self_signed(&["a.test".into()]).unwrap();
    let read = |cert: &str, key: &str| WebCertificate::from_pem(cert.as_bytes(), key.as_bytes()).unwrap_err();
    assert!(matches!(read(&one.cert_pem, &other.key_pem), CertError::KeyMismatch));
    assert!(matches!(read("", &one.key_pem), CertError::NoCertificate { .. }));
    for encrypted in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
         -----END RSA PRIVATE KEY-----\n",
    ] {
        assert!(matches!(read(&one.cert_pem, encrypted), CertError::EncryptedKey), "{encrypted}");
    }
}

#[test]
fn ciphers_are_those_that_mozilla_recommends() {
    let names: Vec<_> =
        tls::provider().cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
    for name in &names {
        let is_modern = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
        let is_authenticated = name.contains("_GCM_") || name.contains("_CHACHA20_POLY1305");
        assert!(is_modern && is_authenticated, "{name}");
    }
    assert_eq!(names.len(), 9);
}
