//! Which upstreams are taken at which word, over real sockets.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tests::Server;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A CA in PEM, and a server for `localhost` that it vouches for.
fn service(protocols: &[&[u8]], versions: &[&'static rustls::SupportedProtocolVersion]) -> (Vec<u8>, Server) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Two issuers of one name would be told apart by their signatures only.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
    params.distinguished_name.push(rcgen::DnType::CommonName, number);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &ca).unwrap();
    (ca.pem().into_bytes(), server(&leaf, &key, protocols, versions))
}

fn server(
    certificate: &rcgen::Certificate,
    key: &KeyPair,
    protocols: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Server {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    echo(config)
}

/// Echoes five bytes, then leaves without a goodbye.
fn echo(config: ServerConfig) -> Server {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::run("127.0.0.1:0", move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            let mut said = [0; 5];
            stream.read_exact(&mut said).await?;
            stream.write_all(&said).await?;
            stream.flush().await
        }
    })
}

async fn connect(
    server: &Server,
    host: &str,
    trust: &UpstreamTrust,
) -> Result<UpstreamTlsStream<TcpStream>, UpstreamTlsError> {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    UpstreamTls::new(trust, &[b"http/1.1"]).unwrap().connect(host, stream).await
}

#[tokio::test]
async fn a_ca_vouches_for_its_names_and_anyone_needs_none() {
    use UpstreamTrust::{Anyone, CaFile, System};
    let both: &[&_] = &[&rustls::version::TLS13, &rustls::version::TLS12];
    let (ca, server) = service(&[], both);
    let (other, _other) = service(&[], both);
    let unknown = Some("its issuer is unknown here");
    for (host, trust, wrong) in [
        ("localhost", CaFile(ca.clone()), None),
        ("127.0.0.1", CaFile(ca), Some("it is for another name")),
        ("localhost", CaFile(other), unknown),
        ("localhost", System, unknown),
        ("whoever", Anyone, None),
        ("127.0.0.1", Anyone, None),
        ("::1", Anyone, None),
    ] {
        // Some machines have no issuers of their own.
        if trust == System && UpstreamTls::new(&trust, &[]).is_err() {
            continue;
        }
        let result = connect(&server, host, &trust).await;
        match (result, wrong) {
            (Ok(mut stream), None) => {
                stream.write_all(b"hello").await.unwrap();
                stream.flush().await.unwrap();
                let mut said = Vec::new();
                let end = stream.read_to_end(&mut said).await;
                assert_eq!(said, b"hello");
                let cut = Some(io::ErrorKind::UnexpectedEof);
                // There was no goodbye.
                assert_eq!(end.err().map(|error| error.kind()), cut.filter(|_| trust != Anyone));
            }
            (Err(error), Some(wrong)) => {
                assert_eq!(error, UpstreamTlsError::Untrusted { reason: wrong.into() }, "{host}");
                assert!(error.to_string().contains("--upstream-insecure"), "{error}");
            }
            (result, wrong) => panic!("{host} {trust:?}: {:?}, not {wrong:?}", result.map(drop)),
        }
    }
}

/// As `openssl req -x509` makes them.
#[tokio::test]
async fn a_self_signed_issuer_vouches_for_itself_if_it_is_given() {
    let make = || {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.self_signed(&key).unwrap(), key)
    };
    let ((own, key), (other, _)) = (make(), make());
    let server = server(&own, &key, &[], &[&rustls::version::TLS13]);
    for host in ["localhost", "127.0.0.1"] {
        connect(&server, host, &UpstreamTrust::CaFile(own.pem().into_bytes())).await.unwrap();
    }
    let error = connect(&server, "localhost", &UpstreamTrust::CaFile(other.pem().into_bytes())).await;
    let reason = "it is an issuer's own, and only itself vouches for it".into();
    assert_eq!(error.err(), Some(UpstreamTlsError::Untrusted { reason }));
}

/// A certificate is public: whoever shows the right one must have its key.
#[tokio::test]
async fn the_given_certificate_without_its_key_is_refused() {
    let (key, thief) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let own = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let signer = rustls::crypto::aws_lc_rs::sign::any_supported_type(
        &PrivateKeyDer::try_from(thief.serialize_der()).unwrap(),
    );
    let stolen = rustls::sign::CertifiedKey::new(vec![own.der().clone()], signer.unwrap());
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(stolen)));
    let server = echo(config);
    let error = connect(&server, "localhost", &UpstreamTrust::CaFile(own.pem().into_bytes())).await;
    assert!(matches!(error.err(), Some(UpstreamTlsError::Untrusted { .. })));
}

#[tokio::test]
async fn old_versions_and_other_protocols() {
    let (_, server) = service(&[b"http/1.1"], &[&rustls::version::TLS12]);
    let stream = connect(&server, "localhost", &UpstreamTrust::Anyone).await.unwrap();
    assert_eq!(stream.inner.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (_, server) = service(&[b"h2"], &[&rustls::version::TLS13]);
    let error = connect(&server, "localhost", &UpstreamTrust::Anyone).await.err().unwrap();
    assert_eq!(error, UpstreamTlsError::Protocol);
}

#[tokio::test]
async fn what_is_no_tls_is_told_apart() {
    let web = Server::run("127.0.0.1:0", async |mut stream: TcpStream| {
        stream.read_u8().await?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
    });
    let error = connect(&web, "localhost", &UpstreamTrust::Anyone).await.err().unwrap();
    assert_eq!(error, UpstreamTlsError::NotTls);
    assert!(error.to_string().contains("http://"), "{error}");
    let shy = Server::run("127.0.0.1:0", async |_: TcpStream| Ok(()));
    let error = connect(&shy, "localhost", &UpstreamTrust::Anyone).await.err().unwrap();
    assert_eq!(error, UpstreamTlsError::Closed);
    let error = connect(&shy, "a b", &UpstreamTrust::Anyone).await.err().unwrap();
    assert!(matches!(error, UpstreamTlsError::Other(_)), "{error}");
}

#[test]
fn trust_that_is_unusable_is_found_out_at_once() {
    assert!(matches!(
        UpstreamTls::new(&UpstreamTrust::CaFile(b"no pem".to_vec()), &[]),
        Err(CertError::NoCertificate { .. })
    ));
}
