//! Records sealed here are opened by aws-lc and the other way round, whatever this processor would take by itself.

use std::{
    io::{self, IoSlice, Read, Write},
    sync::Arc,
};

use rustls::{
    CipherSuite, ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    crypto::aws_lc_rs, pki_types::ServerName,
};

use super::*;
use crate::{ControlIdentity, generate_self_signed, tls};

/// Lengths around the edges of a piece and of a record.
const LENGTHS: [usize; 8] = [1, 15, 2047, 2048, 2049, 16_384, 16_385, 100_000];

/// Both ends of one connection, after the handshake.
struct Ends {
    client: ClientConnection,
    server: ServerConnection,
}

fn ours() -> CryptoProvider {
    replace(aws_lc_rs::default_provider())
}

/// Connects a client to a server, both of which know one suite.
fn connect(client: CryptoProvider, server: CryptoProvider, suite: CipherSuite) -> Ends {
    let only = |mut provider: CryptoProvider| {
        provider.cipher_suites.retain(|offered| offered.suite() == suite);
        Arc::new(provider)
    };
    let pair = generate_self_signed(&["localhost".into()]).unwrap();
    let identity = ControlIdentity::from_pem(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(identity.certified().cert[0].clone()).unwrap();
    let client = ClientConfig::builder_with_provider(only(client))
        .with_protocol_versions(tls::VERSIONS)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(only(server))
        .with_protocol_versions(tls::VERSIONS)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity.certified())));
    let name = ServerName::try_from("localhost").unwrap();
    let mut ends = Ends {
        client: ClientConnection::new(Arc::new(client), name).unwrap(),
        server: ServerConnection::new(Arc::new(server)).unwrap(),
    };
    ends.client.set_buffer_limit(None);
    ends.server.set_buffer_limit(None);
    while ends.client.is_handshaking() || ends.server.is_handshaking() {
        carry(&mut ends.client, &mut ends.server, |_| {}).unwrap();
        carry(&mut ends.server, &mut ends.client, |_| {}).unwrap();
    }
    assert_eq!(ends.client.negotiated_cipher_suite().unwrap().suite(), suite);
    ends
}

/// Carries what `from` has to send over to `to`, once `damage` has seen it; what `to` made of it.
fn carry<A, B>(
    from: &mut rustls::ConnectionCommon<A>,
    to: &mut rustls::ConnectionCommon<B>,
    damage: impl Fn(&mut Vec<u8>),
) -> Result<Vec<u8>, Error>
where
    A: rustls::SideData,
    B: rustls::SideData,
{
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    damage(&mut wire);
    let (mut wire, mut said) = (&wire[..], Vec::new());
    while !wire.is_empty() {
        to.read_tls(&mut wire).unwrap();
        to.process_new_packets()?;
        match to.reader().read_to_end(&mut said) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => drop(other.unwrap()),
        }
    }
    Ok(said)
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251).to_le_bytes()[0]).collect()
}

const SUITES: [CipherSuite; 2] =
    [CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_AES_128_GCM_SHA256];

#[test]
fn aws_lc_opens_what_we_seal_and_the_other_way_round() {
    for suite in SUITES {
        for (client, server) in [
            (ours(), aws_lc_rs::default_provider()),
            (aws_lc_rs::default_provider(), ours()),
            (ours(), ours()),
        ] {
            let mut ends = connect(client, server, suite);
            // Twice: the second time with new keys on both sides.
            for _ in 0..2 {
                for said in LENGTHS.map(bytes) {
                    ends.client.writer().write_all(&said).unwrap();
                    assert!(carry(&mut ends.client, &mut ends.server, |_| {}).unwrap() == said);
                    ends.server.writer().write_all(&said).unwrap();
                    assert!(carry(&mut ends.server, &mut ends.client, |_| {}).unwrap() == said);
                }
                ends.client.refresh_traffic_keys().unwrap();
                ends.server.refresh_traffic_keys().unwrap();
            }
        }
    }
}

#[test]
fn bytes_from_several_places_become_one_record() {
    let mut ends = connect(ours(), aws_lc_rs::default_provider(), SUITES[0]);
    let (first, second) = (bytes(3000), bytes(5000));
    let slices = [IoSlice::new(&first), IoSlice::new(&second)];
    assert_eq!(ends.client.writer().write_vectored(&slices).unwrap(), 8000);
    let said = carry(&mut ends.client, &mut ends.server, |_| {}).unwrap();
    assert!(said == [first, second].concat());
}

#[test]
fn a_record_that_was_touched_is_refused() {
    let record = 5 + 100 + 1 + 16;
    // The first and last sealed byte, the first and last of the tag.
    for at in [5, 105, 106, record - 1] {
        let mut ends = connect(aws_lc_rs::default_provider(), ours(), SUITES[0]);
        ends.client.writer().write_all(&bytes(100)).unwrap();
        let refused = carry(&mut ends.client, &mut ends.server, |wire| {
            // New session tickets and the like come before it.
            let start = wire.len() - record;
            wire[start + at] ^= 1;
        });
        assert_eq!(refused, Err(Error::DecryptError), "{at}");
    }
}

#[test]
fn a_record_shorter_than_its_tag_is_refused() {
    for length in [0, 1, 15, 16] {
        let mut ends = connect(aws_lc_rs::default_provider(), ours(), SUITES[0]);
        ends.client.writer().write_all(b"x").unwrap();
        let refused = carry(&mut ends.client, &mut ends.server, |wire| {
            wire.clear();
            wire.extend_from_slice(&[23, 3, 3, 0, length]);
            wire.resize(5 + usize::from(length), 7);
        });
        assert_eq!(refused, Err(Error::DecryptError), "{length}");
    }
}

#[test]
fn only_the_sealing_changes() {
    let (ours, theirs) = (ours(), aws_lc_rs::default_provider());
    let names = |provider: &CryptoProvider| -> Vec<_> {
        provider.cipher_suites.iter().map(SupportedCipherSuite::suite).collect()
    };
    assert_eq!(names(&ours), names(&theirs));
    let replaced = |suite: &&SupportedCipherSuite| suite.tls13().is_some_and(|suite| suite.quic.is_none());
    assert_eq!(ours.cipher_suites.iter().filter(replaced).count(), SUITES.len());
    assert_eq!(theirs.cipher_suites.iter().filter(replaced).count(), 0);
}
