//! No request of one owner reaches another's upstream, whatever a hostile visitor mixes: `:authority`, `Host`, SNI and
//! connections that carry requests for several hosts, as browsers do with wildcard certificates.
//!
//! Each request's path says which upstream it is for, so that an upstream notices one that isn't for it even if the
//! visitor never sees the answer.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, Version};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};
use tunnel_testkit::{Answer, Upstream, Visitor, header};
use tunnel_transport::{UpstreamTlsStream, generate_self_signed};

use crate::harness::{Http2, Laptop, Online, Outcome, Vps, World, check, http2_ask, within};

super::scenarios! {
    "whatever hosts a visitor of HTTP/1.1 and HTTP/2 mixes, no request reaches another owner's upstream" => mixed,
}

/// Names of tunnels: the first two are one token's, the next two another's. The last one is nobody's.
const NAMES: [&str; 5] = ["ana-one", "ana-two", "ben-one", "ben-two", "nobody"];
/// Visitors of each of the four kinds.
const VISITORS: usize = 5;
/// Requests on one connection, before another one is made for another name.
const TURN: usize = 250;
/// Requests at a time.
const BURST: usize = 25;

/// What a visitor needs to know.
#[derive(Debug)]
struct Field {
    web: SocketAddr,
    https: SocketAddr,
    certificate: String,
    /// Requests that reached an upstream they weren't for.
    wrong: AtomicU64,
    served: AtomicU64,
    refused: AtomicU64,
}

async fn mixed(world: Arc<World>) -> Outcome<String> {
    let all = world.pick(5_000, 100_000);
    let pair = generate_self_signed(&["*.t.localhost".to_owned()])?;
    let (cert, key) = (world.path("wild.crt"), world.path("wild.key"));
    std::fs::write(&cert, &pair.cert_pem)?;
    std::fs::write(&key, &pair.key_pem)?;
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let flags = ["--domain", "t.localhost", "--https-port", "0", "--cert", &cert, "--key", &key];
    let mut vps = Vps::new(&world, &flags)?;
    let server = vps.start().await?;
    let field = Arc::new(Field {
        web: vps.web(),
        https: server.https()?,
        certificate: pair.cert_pem.clone(),
        wrong: AtomicU64::new(0),
        served: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    let mut kept = Vec::new();
    for (number, name) in NAMES[..4].iter().enumerate() {
        let owner = &name[..3];
        if number % 2 == 0 {
            vps.token(owner).await.map(|token| kept.push((owner, token, Vec::new())))?;
        }
        let (_, token, tunnels) = kept.last_mut().ok_or(crate::harness::Fault::new("no token"))?;
        let laptop = Laptop::new(&world, owner, vps.control(), token);
        let (upstream, protocol) = match number % 2 {
            0 => (old_service(field.clone(), name).await?, "http1"),
            _ => (new_service(field.clone(), name).await?, "h2c"),
        };
        let flags = ["--subdomain", name, "--upstream-protocol", protocol];
        let mut client = laptop.start("http", upstream.address(), &flags)?;
        Online::wait(&mut client, 0).await?;
        tunnels.push((client, upstream));
    }

    let began = Instant::now();
    let mut visitors = JoinSet::new();
    let each = all / (4 * VISITORS);
    for seed in 0..VISITORS {
        visitors.spawn(newer(field.clone(), seed, false, each));
        visitors.spawn(newer(field.clone(), seed, true, each));
        visitors.spawn(older(field.clone(), seed, false, each));
        visitors.spawn(older(field.clone(), seed, true, each));
    }
    while let Some(visited) = visitors.join_next().await {
        visited??;
    }
    let (wrong, served, refused) = (
        field.wrong.load(Ordering::Relaxed),
        field.served.load(Ordering::Relaxed),
        field.refused.load(Ordering::Relaxed),
    );
    check!(wrong == 0, "{wrong} requests reached an upstream they weren't for");
    check!(served + refused >= all as u64, "only {served} and {refused} were asked");
    let rate = (served + refused) as f64 / began.elapsed().as_secs_f64();
    Ok(format!("{served} served, {refused} refused as they must be, 0 wrong; {rate:.0} a second"))
}

/// Answers with its name, the path and the host, and counts what isn't for it.
async fn old_service(field: Arc<Field>, name: &'static str) -> std::io::Result<Upstream> {
    Upstream::raw_http(move |head| {
        let path = head.split(' ').nth(1).unwrap_or("");
        let body = field.seen(name, path, header(head, "host").unwrap_or(""));
        Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    })
    .await
}

/// The same over HTTP/2.
async fn new_service(field: Arc<Field>, name: &'static str) -> std::io::Result<Upstream> {
    Upstream::start(move |stream| {
        let field = field.clone();
        async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let uri = request.uri();
                let host = uri.authority().map_or("", |authority| authority.as_str());
                let body = field.seen(name, uri.path(), host);
                // The visitor sees what went wrong by an answer that is missing.
                let Ok(mut to) = respond.send_response(Response::new(()), false) else { continue };
                let _ = to.send_data(Bytes::from(body), true);
            }
        }
    })
    .await
}

/// One request, and what must become of it.
#[derive(Clone, Debug)]
struct Case {
    /// `:authority`, or the host in the target.
    authority: Option<String>,
    /// `Host`.
    host: Option<String>,
    path: String,
    /// Who answers; else the status.
    expected: Result<&'static str, u16>,
}

impl Case {
    /// The request of this number on a connection that was made for `shown`, if TLS was.
    fn new(number: usize, shown: Option<usize>) -> Self {
        // Not simply in turn, so that a mix-up of neighbours can't cancel out.
        let (asked, other) = ((number + number / 7) % NAMES.len(), (number + number / 3 + 1) % NAMES.len());
        let host = |name: usize| format!("{}.t.localhost", NAMES[name]);
        let expected = match shown {
            _ if NAMES[asked] == "nobody" => {
                Err(if shown.is_some_and(|shown| shown != asked) { 421 } else { 404 })
            }
            Some(shown) if NAMES[shown][..3] != NAMES[asked][..3] => Err(421),
            _ => Ok(NAMES[asked]),
        };
        let (authority, field, expected) = match number % 6 {
            0 | 1 => (Some(host(asked)), None, expected),
            2 => (None, Some(host(asked)), expected),
            3 => (Some(host(asked).to_uppercase()), Some(host(asked)), expected),
            4 => (Some(host(asked)), Some(host(other)), if other == asked { expected } else { Err(400) }),
            _ => (Some(format!("{}.", host(asked))), None, expected),
        };
        let whose = expected.unwrap_or("none");
        Self { authority, host: field, path: format!("/{whose}/{number}"), expected }
    }
}

impl Field {
    fn seen(&self, name: &str, path: &str, host: &str) -> String {
        let host = host.to_ascii_lowercase();
        if path.split('/').nth(1) != Some(name) || host.trim_end_matches('.') != format!("{name}.t.localhost")
        {
            self.wrong.fetch_add(1, Ordering::Relaxed);
        }
        format!("{name} {path}")
    }

    fn judge(&self, case: &Case, shown: Option<usize>, status: u16, body: &[u8]) -> Outcome {
        let body = String::from_utf8_lossy(body);
        let right = match case.expected {
            Ok(name) => status == 200 && body == format!("{name} {}", case.path),
            Err(expected) => status == expected,
        };
        check!(
            right,
            "{case:?} on a connection for {:?} got {status}: {body:.200}",
            shown.map(|at| NAMES[at])
        );
        let count = if case.expected.is_ok() { &self.served } else { &self.refused };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A visitor of HTTP/2, many requests at a time.
async fn newer(field: Arc<Field>, seed: usize, tls: bool, requests: usize) -> Outcome {
    let mut next = 0;
    for turn in 0.. {
        if next >= requests {
            break;
        }
        let shown = tls.then_some((seed + turn) % NAMES.len());
        let visitor = match shown {
            Some(shown) => {
                let host = format!("{}.t.localhost", NAMES[shown]);
                Http2::connect_tls(field.https, &host, &field.certificate).await?
            }
            None => Http2::connect(field.web).await?,
        };
        let mut asked = JoinSet::new();
        let numbers = next..(next + TURN).min(requests);
        next = numbers.end;
        for number in numbers {
            if asked.len() >= BURST
                && let Some(judged) = asked.join_next().await
            {
                judged??;
            }
            let (field, asking) = (field.clone(), visitor.asking());
            asked.spawn(async move {
                let case = Case::new(seed + number, shown);
                let answer = within("an answer", http2_ask(asking, case.for_http2(tls)?, None)).await??;
                field.judge(&case, shown, answer.status.as_u16(), &answer.body)
            });
        }
        while let Some(judged) = asked.join_next().await {
            judged??;
        }
    }
    Ok(())
}

impl Case {
    fn for_http2(&self, tls: bool) -> Outcome<Request<()>> {
        let scheme = if tls { "https" } else { "http" };
        let request = match &self.authority {
            Some(authority) => Request::get(format!("{scheme}://{authority}{}", self.path)),
            // Without an authority in the URI the client leaves the pseudo-field out only for what it takes for an
            // old request.
            None => Request::get(&self.path).version(Version::HTTP_11),
        };
        let request = request.header("x-forwarded-host", format!("{}.t.localhost", NAMES[2]));
        let request = match &self.host {
            Some(host) => request.header("host", host),
            None => request,
        };
        Ok(request.body(())?)
    }

    fn for_http1(&self) -> String {
        let (target, host) = match (&self.authority, &self.host) {
            (Some(authority), None) => (self.path.clone(), authority),
            (None, Some(host)) => (self.path.clone(), host),
            (Some(authority), Some(host)) => (format!("http://{authority}{}", self.path), host),
            (None, None) => (self.path.clone(), &self.path),
        };
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
    }
}

/// A visitor of HTTP/1.1, whose requests come in bursts.
async fn older(field: Arc<Field>, seed: usize, tls: bool, requests: usize) -> Outcome {
    let mut next = 0;
    for turn in 0.. {
        if next >= requests {
            break;
        }
        let shown = tls.then_some((seed + turn) % NAMES.len());
        let numbers = next..(next + TURN).min(requests);
        next = match shown {
            Some(shown) => {
                let host = format!("{}.t.localhost", NAMES[shown]);
                type Tls = Visitor<UpstreamTlsStream<TcpStream>>;
                let visitor = Tls::connect_tls(field.https, &host, field.certificate.as_bytes());
                bursts(&field, seed, Some(shown), within("TLS", visitor).await??, numbers).await?
            }
            None => bursts(&field, seed, None, Visitor::connect(field.web).await?, numbers).await?,
        };
    }
    Ok(())
}

/// Gives the number of the first request that wasn't asked, because the connection ended with one that is malformed.
async fn bursts<S: AsyncRead + AsyncWrite + Unpin>(
    field: &Field,
    seed: usize,
    shown: Option<usize>,
    mut visitor: Visitor<S>,
    numbers: std::ops::Range<usize>,
) -> Outcome<usize> {
    let mut next = numbers.start;
    while next < numbers.end {
        let burst = next..(next + BURST).min(numbers.end);
        let cases: Vec<Case> = burst.map(|number| Case::new(seed + number, shown)).collect();
        visitor.send(cases.iter().map(Case::for_http1).collect::<String>()).await?;
        for case in cases {
            let answer: Answer = within("an answer", visitor.answer()).await??;
            field.judge(&case, shown, answer.status, &answer.body)?;
            next += 1;
            if answer.status == 400 {
                return Ok(next);
            }
        }
    }
    Ok(next)
}
