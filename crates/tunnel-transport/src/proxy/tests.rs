//! How proxies are written, and what fake ones are asked and believed.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tunnel_io::{BoxedIo, RelayOptions};

use super::*;
use crate::{
    ControlTls, Dial, DialError, Stage, TcpDialer, Trust,
    tests::{Server, assert_echoes, identity, tls},
};

#[test]
fn every_way_to_write_a_proxy() {
    for (text, shown, login) in [
        ("http://proxy", "http://proxy:80", None),
        ("http://proxy:3128/", "http://proxy:3128", None),
        ("HTTP://192.0.2.1:1", "http://192.0.2.1:1", None),
        ("proxy:3128", "http://proxy:3128", None),
        ("socks5://proxy", "socks5://proxy:1080", None),
        ("socks5h://[::1]:9050", "socks5://[::1]:9050", None),
        (" http://u:p@proxy:8080 ", "http://proxy:8080", Some(("u", "p"))),
        ("http://u@proxy", "http://proxy:80", Some(("u", ""))),
        ("socks5://u%40corp:p%3a%2F@proxy", "socks5://proxy:1080", Some(("u@corp", "p:/"))),
        ("http://u:p@ss@proxy", "http://proxy:80", Some(("u", "p@ss"))),
    ] {
        let proxy: Proxy = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(proxy.to_string(), shown, "{text}");
        let got = proxy.login.as_ref().map(|login| (login.user.as_str(), login.password.as_str()));
        assert_eq!(got, login, "{text}");
    }
}

#[test]
fn mistakes_are_named_and_secrets_are_not() {
    use ParseProxyError::{Address, Login, Scheme, Tls};
    for (text, error) in [
        ("ftp://hunter2@proxy", Scheme),
        ("socks4://hunter2@proxy", Scheme),
        ("https://u:hunter2@proxy", Tls),
        ("", Address),
        ("http://", Address),
        ("http://u:hunter2@", Address),
        ("http://u:hunter2/3@proxy:0", Address),
        ("http://u:hunter2@proxy/path", Address),
        ("http://u:hunter2%zz@proxy", Login),
        ("http://u:hunter2%0a@proxy", Login),
        ("socks5://hunter2@proxy", Login),
    ] {
        let got = text.parse::<Proxy>().unwrap_err();
        assert_eq!(got, error, "{text}");
        assert!(!format!("{got} {got:?}").contains("hunter2"), "{got}");
    }
    let proxy: Proxy = "http://user:hunter2@proxy".parse().unwrap();
    let dialer =
        TcpDialer::new("vps:1".parse().unwrap(), Trust::Plaintext).unwrap().with_proxy(proxy.clone());
    let shown = format!("{proxy} {proxy:?} {dialer:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("user"), "{shown}");
}

/// A proxy for one connection: it expects and answers each message of `talk`, then passes bytes on to `onward`.
struct Fake {
    port: u16,
    serving: JoinSet<()>,
}

impl Fake {
    async fn new(talk: &[(Vec<u8>, Vec<u8>)], onward: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let talk = talk.to_vec();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for (expected, answer) in talk {
                let mut said = vec![0; expected.len()];
                stream.read_exact(&mut said).await.unwrap();
                assert_eq!(said.escape_ascii().to_string(), expected.escape_ascii().to_string());
                stream.write_all(&answer).await.unwrap();
            }
            if let Some(port) = onward {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tunnel_io::relay(&mut stream, &mut server, RelayOptions::default()).await;
            }
        });
        Self { port, serving }
    }

    /// Dials `server` through it.
    async fn dial(mut self, scheme: &str, server: &str, trust: Trust) -> Result<BoxedIo, DialError> {
        let proxy = format!("{scheme}127.0.0.1:{}", self.port).parse().unwrap();
        let dialer = TcpDialer::new(server.parse().unwrap(), trust).unwrap().with_proxy(proxy);
        let dialled = dialer.dial().await;
        if dialled.is_err() {
            // What it was asked is judged in there.
            self.serving.join_all().await;
        } else {
            self.serving.detach_all();
        }
        dialled
    }

    async fn problem(talk: &[(Vec<u8>, Vec<u8>)], scheme: &str) -> (ProxyProblem, String, bool) {
        let fake = Self::new(talk, None).await;
        let error = fake.dial(scheme, "vps.example.com:4444", Trust::Plaintext).await.err().unwrap();
        let (text, permanent) = (error.to_string(), error.is_permanent());
        match error {
            DialError::Proxy { problem, .. } => (problem, text, permanent),
            other => panic!("{other:?}"),
        }
    }
}

fn connect_to(target: &str, fields: &str) -> Vec<u8> {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n").into_bytes()
}

#[tokio::test]
async fn a_server_behind_an_http_proxy() {
    let identity = identity();
    let server = Server::start(tls(&identity));
    let ok = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n".to_vec();
    for (scheme, target, fields) in [
        ("http://", "vps.example.com:4444", ""),
        ("http://", "[2001:db8::1]:9", ""),
        ("http://us%65r:pass@", "192.0.2.1:1", "Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"),
    ] {
        let fake = Fake::new(&[(connect_to(target, fields), ok.clone())], Some(server.port)).await;
        // TLS is with the server, whatever it is called.
        assert_echoes(fake.dial(scheme, target, Trust::Pinned(identity.pin())).await.unwrap()).await;
    }
    let fake = Fake::new(&[(connect_to("vps:1", ""), ok)], Some(server.port)).await;
    let wrong = Trust::Pinned(crate::tests::identity().pin());
    let error = fake.dial("http://", "vps:1", wrong).await.err().unwrap();
    assert!(matches!(error, DialError::Tls { .. }), "a proxy can't pass off another server: {error}");
}

/// In plaintext the server speaks first: not a byte of that may be taken for the proxy's.
#[tokio::test]
async fn what_follows_the_proxys_answer_is_the_servers() {
    let server = Server::start(ControlTls::Plaintext);
    for ok in ["HTTP/1.0 200 OK\r\n\r\ntunnel/1\n", "HTTP/1.1 200\n\ntunnel/1\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let dialer = TcpDialer::new("vps:1".parse().unwrap(), Trust::Plaintext).unwrap().with_proxy(proxy);
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(ok.as_bytes()).await.unwrap();
            stream
        };
        let (dialled, _stream) = tokio::join!(dialer.dial(), serve);
        assert!(dialled.is_ok(), "{ok:?}: {:?}", dialled.err());
    }
    let ok = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let fake = Fake::new(&[(connect_to("vps:1", ""), ok)], Some(server.port)).await;
    assert_echoes(fake.dial("http://", "vps:1", Trust::Plaintext).await.unwrap()).await;
}

#[tokio::test]
async fn an_http_proxy_that_says_no() {
    use ProxyProblem::{Closed, Forbidden, NoLogin, NoServer, NotAProxy, OtherLogin, Refused, WrongLogin};
    let ask = |fields| connect_to("vps.example.com:4444", fields);
    let basic = "Proxy-Authorization: Basic dTpw\r\n";
    let wants = |scheme| format!("HTTP/1.1 407 x\r\nproxy-authenticate: {scheme}\r\n\r\nbody");
    type Is = fn(&ProxyProblem) -> bool;
    let table: Vec<(&str, &str, String, Is, bool)> = vec![
        ("http://", "", "HTTP/1.1 407 Log in\r\n\r\n".into(), |p| matches!(p, NoLogin), true),
        ("http://", "", wants("Basic realm=x"), |p| matches!(p, NoLogin), true),
        ("http://u:p@", basic, wants("Basic realm=x"), |p| matches!(p, WrongLogin), true),
        ("http://u:p@", basic, "HTTP/1.0 401 Unauthorized\r\n\r\n".into(), |p| matches!(p, WrongLogin), true),
        ("http://", "", wants("Negotiate"), |p| matches!(p, OtherLogin(kind) if kind == "Negotiate"), true),
        ("http://", "", "HTTP/1.1 403 Forbidden\r\n\r\n".into(), |p| matches!(p, Forbidden(_)), true),
        ("http://", "", "HTTP/1.1 502 Bad Gateway\r\n\r\n".into(), |p| matches!(p, NoServer(_)), false),
        ("http://", "", "HTTP/1.1 500 Oh\r\n\r\n".into(), |p| matches!(p, Refused(_)), false),
        ("http://", "", "HTTP/1.1 20 x\r\n\r\n".into(), |p| matches!(p, NotAProxy), true),
        ("http://", "", "SSH-2.0-OpenSSH\r\n".into(), |p| matches!(p, NotAProxy), true),
        ("http://", "", "HTTP/1.1 200 OK\r\nA: b".into(), |p| matches!(p, Closed(_)), false),
        (
            "http://",
            "",
            format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(9000)),
            |p| matches!(p, NotAProxy),
            true,
        ),
    ];
    for (scheme, fields, answer, is, permanent) in table {
        let (problem, text, was) = Fake::problem(&[(ask(fields), answer.clone().into())], scheme).await;
        assert!(is(&problem), "{answer}: {problem:?}");
        assert_eq!(was, permanent, "{answer}");
        assert!(text.starts_with("the proxy http://127.0.0.1:"), "{text}");
    }
}

fn socks_to(kind: u8, address: &[u8], port: u16) -> Vec<u8> {
    [&[5, 1, 0, kind], address, &port.to_be_bytes()].concat()
}

#[tokio::test]
async fn a_server_behind_a_socks_proxy() {
    let identity = identity();
    let server = Server::start(tls(&identity));
    let name = socks_to(3, b"\x03vps", 4444);
    let (v4, v6) = (
        socks_to(1, &[192, 0, 2, 1], 258),
        socks_to(
            4,
            &{
                let mut a = [0; 16];
                a[15] = 1;
                a
            },
            9,
        ),
    );
    let bound_v4 = vec![5, 0, 0, 1, 1, 2, 3, 4, 5, 6];
    let bound_v6 = [&[5, 0, 0, 4][..], &[0; 18]].concat();
    let bound_name = b"\x05\0\0\x03\x02ab\0\x01".to_vec();
    let open = |request: &Vec<u8>, bound: &Vec<u8>| {
        vec![(vec![5, 1, 0], vec![5, 0]), (request.clone(), bound.clone())]
    };
    let login = vec![
        (vec![5, 2, 0, 2], vec![5, 2]),
        (b"\x01\x01u\x02pw".to_vec(), vec![1, 0]),
        (name.clone(), bound_v4.clone()),
    ];
    let unasked = vec![(vec![5, 2, 0, 2], vec![5, 0]), (name.clone(), bound_v4.clone())];
    for (scheme, target, talk) in [
        ("socks5://", "vps", open(&name, &bound_v4)),
        ("socks5://", "192.0.2.1:258", open(&v4, &bound_v6)),
        ("socks5://", "[::1%lo]:9", open(&v6, &bound_name)),
        ("socks5://u:pw@", "vps", login),
        ("socks5://u:pw@", "vps", unasked),
    ] {
        let fake = Fake::new(&talk, Some(server.port)).await;
        assert_echoes(fake.dial(scheme, target, Trust::Pinned(identity.pin())).await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_socks_proxy_that_says_no() {
    use ProxyProblem::{Closed, Forbidden, NoLogin, NoServer, NotAProxy, OtherLogin, Refused, WrongLogin};
    let hello = |answer: &[u8]| vec![(vec![5, 1, 0], answer.to_vec())];
    let with_login = |answer: &[u8]| vec![(vec![5, 2, 0, 2], answer.to_vec())];
    let wrong = [with_login(&[5, 2]), vec![(b"\x01\x01u\x02pw".to_vec(), vec![1, 1])]].concat();
    let request = socks_to(3, b"\x0fvps.example.com", 4444);
    let reply = |code| [hello(&[5, 0]), vec![(request.clone(), vec![5, code, 0, 1])]].concat();
    type Is = fn(&ProxyProblem) -> bool;
    type Exchange = Vec<(Vec<u8>, Vec<u8>)>;
    let table: Vec<(&str, Exchange, Is)> = vec![
        ("socks5://", hello(&[5, 0xFF]), |p| matches!(p, NoLogin)),
        ("socks5://u:pw@", with_login(&[5, 0xFF]), |p| matches!(p, OtherLogin(_))),
        ("socks5://u:pw@", wrong, |p| matches!(p, WrongLogin)),
        ("socks5://", hello(&[5, 2]), |p| matches!(p, NotAProxy)),
        ("socks5://", hello(b"HTTP/1.1 400 Bad Request\r\n\r\n"), |p| matches!(p, NotAProxy)),
        ("socks5://", hello(&[5]), |p| matches!(p, Closed(_))),
        ("socks5://", reply(1), |p| matches!(p, Refused(_))),
        ("socks5://", reply(2), |p| matches!(p, Forbidden(_))),
        ("socks5://", reply(3), |p| matches!(p, NoServer(_))),
        ("socks5://", reply(4), |p| matches!(p, NoServer(_))),
        ("socks5://", reply(5), |p| matches!(p, NoServer(_))),
        ("socks5://", reply(6), |p| matches!(p, NoServer(_))),
        ("socks5://", reply(200), |p| matches!(p, Refused(_))),
        ("socks5://", reply(0), |p| matches!(p, Closed(_))),
    ];
    for (scheme, talk, is) in table {
        let (problem, text, _) = Fake::problem(&talk, scheme).await;
        assert!(is(&problem), "{talk:?}: {problem:?}");
        assert!(text.starts_with("the proxy socks5://127.0.0.1:"), "{text}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_says_nothing() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let dialer = TcpDialer::new("vps:1".parse().unwrap(), Trust::Plaintext).unwrap();
    let dialer = dialer.with_proxy(format!("http://{free}").parse().unwrap());
    let error = dialer.dial().await.err().unwrap();
    assert!(matches!(error, DialError::Proxy { problem: ProxyProblem::Unreachable(_), .. }), "{error:?}");
    assert!(!error.is_permanent());

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy: Proxy = format!("socks5://{}", silent.local_addr().unwrap()).parse().unwrap();
    let dialer = TcpDialer::new("vps:1".parse().unwrap(), Trust::Plaintext).unwrap();
    let dialer = dialer.with_proxy(proxy).with_timeout(std::time::Duration::from_millis(50));
    let error = dialer.dial().await.err().unwrap();
    assert!(matches!(error, DialError::Timeout { stage: Stage::Proxy, .. }), "{error:?}");
    assert!(error.to_string().contains("proxy"), "{error}");
}
