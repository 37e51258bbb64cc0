//! Whom a TLS visitor wants: the same however the hello arrives, and the same as the TLS library behind us would say.

use rustls::server::Acceptor;
use tunnel_router::sniff::tls::MAX_HELLO_BYTES;
use tunnel_router::{ClientHello, HelloError, HelloReader, Hostname, Sniff, parse_client_hello};

use crate::{cut, memory};

/// Most memory for one hello: its records put together in a `Vec` that doubles, and what is kept of it.
const MEMORY: usize = 4 * MAX_HELLO_BYTES;

/// Reads `data` as a hello, whole and in pieces.
pub fn check(data: &[u8]) {
    let whole = memory::within(MEMORY, || parse_client_hello(data));
    assert_eq!(read_in_pieces(data), whole, "the cuts matter");
    assert!(data.len() < MAX_HELLO_BYTES || whole != Sniff::NeedMore, "more is wanted than may be had");
    if let Sniff::Found(hello) = whole {
        check_hello(data, &hello);
    }
}

fn read_in_pieces(data: &[u8]) -> Sniff<ClientHello, HelloError> {
    let mut reader = HelloReader::new();
    let mut verdicts =
        cut::beginnings(data).map(|beginning| memory::within(MEMORY, || reader.read(beginning)));
    verdicts.find(|verdict| *verdict != Sniff::NeedMore).unwrap_or(Sniff::NeedMore)
}

/// If rustls takes the hello too (it also minds what doesn't concern us), it reads the same name and protocols.
fn check_hello(mut data: &[u8], hello: &ClientHello) {
    let mut acceptor = Acceptor::default();
    let accepted = loop {
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) if data.is_empty() => return,
            Ok(None) => {
                if acceptor.read_tls(&mut data).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    };
    let theirs = accepted.client_hello();
    let name = theirs.server_name().map(|name| Hostname::parse(name).expect("a name we had taken"));
    assert_eq!(name, hello.server_name, "rustls reads another name");
    let protocols: Vec<&[u8]> = theirs.alpn().into_iter().flatten().collect();
    let ours: Vec<&[u8]> = hello.alpn.iter().map(|protocol| &**protocol).collect();
    assert_eq!(protocols, ours, "rustls reads other protocols");
}
