//! The service: says what it was asked, or gives one of many answers, byte by byte as written here.

use std::{io, sync::Arc};

use data_encoding::BASE64;
use sha1::{Digest, Sha1};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};
use tunnel_testkit::{Upstream, find_head_end, header};

/// Starts it. It sends a piece of `/events` when `progress` says that the one before was seen.
pub(super) async fn start(progress: Arc<Semaphore>) -> io::Result<Upstream> {
    Upstream::start(move |mut stream| {
        let progress = progress.clone();
        async move {
            let mut unread = Vec::new();
            // The visitor sees what went wrong by an answer that is missing.
            while let Ok(true) = serve(&mut stream, &mut unread, &progress).await {}
        }
    })
    .await
}

/// Serves one request; gives whether another may come.
async fn serve(stream: &mut TcpStream, unread: &mut Vec<u8>, progress: &Semaphore) -> io::Result<bool> {
    let end = loop {
        match find_head_end(unread) {
            Some(end) => break end,
            None => more(stream, unread).await?,
        }
    };
    let head: Vec<u8> = unread.drain(..end).collect();
    let head = String::from_utf8_lossy(&head).into_owned();
    if header(&head, "expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let (body, trailers) = body(stream, unread, &head).await?;
    let mut line = head.split(' ');
    let (method, target) = (line.next().unwrap_or(""), line.next().unwrap_or(""));
    let is_ancient = head.lines().next().is_some_and(|line| line.ends_with("HTTP/1.0"));
    match target {
        "/events" => {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            for number in 0..5 {
                stream.write_all(format!("9\r\ndata: {number}\n\n\r\n").as_bytes()).await?;
                let Ok(permit) = progress.acquire().await else { return Ok(false) };
                permit.forget();
            }
            stream.write_all(b"0\r\n\r\n").await?;
            Ok(true)
        }
        "/socket" => {
            let accept = accept(header(&head, "sec-websocket-key").unwrap_or(""));
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: talk\r\nX-Extra: 1\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await?;
            write.shutdown().await?;
            Ok(false)
        }
        _ => {
            let (bytes, after) = match answer(target, method) {
                Some(answer) => answer,
                None => (echo(&head, &body, &trailers), After::Keep),
            };
            // A service as of 1996 doesn't know chunks, and ends the connection.
            let chunks = is_ancient && bytes.windows(7).any(|window| window == b"chunked");
            stream.write_all(if chunks { b"HTTP/1.0 200 OK\r\n\r\nonetwo" } else { &bytes[..] }).await?;
            match after {
                After::Reset => stream.set_zero_linger()?,
                After::Keep if !is_ancient => return Ok(true),
                _ => {}
            }
            Ok(false)
        }
    }
}

/// RFC 6455 §4.2.2.
fn accept(key: &str) -> String {
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    BASE64.encode(&digest)
}

async fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(unread).await? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// A request's body and trailers.
async fn body(stream: &mut TcpStream, unread: &mut Vec<u8>, head: &str) -> io::Result<(Vec<u8>, String)> {
    if header(head, "transfer-encoding").is_none() {
        let length = header(head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while unread.len() < length {
            more(stream, unread).await?;
        }
        return Ok((unread.drain(..length).collect(), String::new()));
    }
    let mut body = Vec::new();
    loop {
        let size = line(stream, unread).await?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        if size == 0 {
            break;
        }
        while unread.len() < size + 2 {
            more(stream, unread).await?;
        }
        body.extend(unread.drain(..size));
        unread.drain(..2);
    }
    let mut trailers = String::new();
    loop {
        let line = line(stream, unread).await?;
        if line.is_empty() {
            return Ok((body, trailers));
        }
        trailers += &format!("{}\n", line.to_ascii_lowercase());
    }
}

async fn line(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = unread.windows(2).position(|window| window == b"\r\n") {
            let line: Vec<u8> = unread.drain(..end + 2).collect();
            return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        more(stream, unread).await?;
    }
}

/// The date of the one answer that the service dates itself; every other date is that of the moment.
pub(super) const LONG_AGO: &str = "Tue, 15 Nov 1994 08:12:31 GMT";
/// Fields of requests that concern the connection, or that the server adds (docs/REFERENCE.md, "What upstreams get").
const NOT_COMPARED: [&str; 14] = [
    "host",
    "connection",
    "keep-alive",
    "te",
    "transfer-encoding",
    "content-length",
    "upgrade",
    "sec-websocket-key",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "x-request-id",
];

/// The request as a page: what came, but for [`NOT_COMPARED`].
fn echo(head: &str, body: &[u8], trailers: &str) -> Vec<u8> {
    let mut lines = head.lines();
    let first = lines.next().unwrap_or("").rsplit_once(' ').map_or("", |(first, _)| first);
    let mut fields: Vec<(String, &str)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .filter(|(name, _)| !NOT_COMPARED.contains(&name.as_str()))
        .collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let text = format!("{first}\n{fields}\n{}\n{trailers}", String::from_utf8_lossy(body));
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}", text.len())
        .into_bytes()
}

/// What becomes of the connection.
enum After {
    Keep,
    Close,
    Reset,
}

fn answer(target: &str, method: &str) -> Option<(Vec<u8>, After)> {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
    let head = |text: &str| text.replace('\n', "\r\n");
    let (text, after) = match target {
        "/empty" => (head("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), After::Keep),
        "/204" => (head("HTTP/1.1 204 No Content\nX-A: 1\n\n"), After::Keep),
        "/205" => (head("HTTP/1.1 205 Reset Content\nContent-Length: 0\n\n"), After::Keep),
        "/304" => (head("HTTP/1.1 304 Not Modified\nETag: \"x\"\n\n"), After::Keep),
        "/304-length" => {
            (head("HTTP/1.1 304 Not Modified\nETag: \"x\"\nContent-Length: 500\n\n"), After::Keep)
        }
        "/long" => {
            let length = 1_000_003;
            let head = head(&format!("HTTP/1.1 200 OK\nContent-Length: {length}\nAccept-Ranges: bytes\n\n"));
            (
                if method == "HEAD" { head } else { head + &"0123456".repeat(length / 7 + 1)[..length] },
                After::Keep,
            )
        }
        "/chunked" if method == "HEAD" => (format!("{CHUNKED}\r\n"), After::Keep),
        "/chunked" => (format!("{CHUNKED}\r\n3\r\none\r\n3;ext=1\r\ntwo\r\n0\r\n\r\n"), After::Keep),
        "/trailers" => (
            format!(
                "{CHUNKED}Trailer: X-Sum, X-More\r\n\r\n3\r\none\r\n0\r\nX-Sum: 1\r\nX-More: a, b\r\n\r\n"
            ),
            After::Keep,
        ),
        "/big-head" => {
            let fields: String = (0..60).map(|n| format!("X-{n}: {}\r\n", "v".repeat(300))).collect();
            (format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok"), After::Keep)
        }
        "/206" => (
            head("HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-4/10\nContent-Length: 5\n\nhello"),
            After::Keep,
        ),
        "/416" => (
            head("HTTP/1.1 416 Range Not Satisfiable\nContent-Range: bytes */10\nContent-Length: 0\n\n"),
            After::Keep,
        ),
        "/301" => {
            (head("HTTP/1.1 301 Moved Permanently\nLocation: ../x?y#z\nContent-Length: 0\n\n"), After::Keep)
        }
        "/302" => {
            (head("HTTP/1.1 302 Found\nLocation: http://localhost:1/x\nContent-Length: 0\n\n"), After::Keep)
        }
        "/308" => {
            (head("HTTP/1.1 308 Permanent Redirect\nLocation: /y\nContent-Length: 2\n\nto"), After::Keep)
        }
        "/cookies" => (
            head(
                "HTTP/1.1 200 OK\nSet-Cookie: a=1; Path=/; HttpOnly\nX-Between: 1\n\
                 Set-Cookie: b=\"2, 3\"; Expires=Wed, 09 Jun 2100 10:18:14 GMT\nSet-Cookie: a=4\nContent-Length: 2\n\nok",
            ),
            After::Keep,
        ),
        "/gzip" => (
            head(
                "HTTP/1.1 200 OK\nContent-Encoding: gzip\nVary: Accept-Encoding\nETag: \"z\"\nContent-Length: 8\n\n",
            ) + "\x1f\x08\x08\x00abcd",
            After::Keep,
        ),
        "/103" => (
            head(
                "HTTP/1.1 103 Early Hints\nLink: </a.css>; rel=preload\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok",
            ),
            After::Keep,
        ),
        "/102" => (head("HTTP/1.1 102 Processing\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok"), After::Keep),
        "/299" => (head("HTTP/1.1 299 Own Words\nContent-Length: 2\n\nok"), After::Keep),
        "/503" => (head("HTTP/1.1 503 Busy\nRetry-After: 7\nContent-Length: 4\n\nbusy"), After::Keep),
        "/401" => (
            head(
                "HTTP/1.1 401 No\nWWW-Authenticate: Basic realm=\"a, b\"\nWWW-Authenticate: Bearer\nContent-Length: 0\n\n",
            ),
            After::Keep,
        ),
        "/fields" => (
            head(&format!(
                "HTTP/1.1 200 OK\nX-Empty:\nX-Tab: a\tb\nx-lower: 1\nX_Under: 1\nX-Dup: 1\nX-Dup: 2\nVia: 1.1 x\n\
                 Server: s/1\nDate: {LONG_AGO}\nAge: 3\nLink: <a>\nLink: <b>\n\
                 Alt-Svc: h3=\":443\"\nStrict-Transport-Security: max-age=1\nX-UTF: ü\nLast-Modified: x\n\
                 Content-Language: de\nAccess-Control-Allow-Origin: *\nContent-Length: 2\n\nok",
            )),
            After::Keep,
        ),
        "/ancient" => (head("HTTP/1.0 200 OK\nContent-Type: text/plain\n\nhello"), After::Close),
        "/ancient-length" => (head("HTTP/1.0 200 OK\nContent-Length: 5\n\nhello"), After::Close),
        "/until-close" => (head("HTTP/1.1 200 OK\nConnection: close\n\nhello"), After::Close),
        "/cut-length" => (head("HTTP/1.1 200 OK\nContent-Length: 100\n\nhalf"), After::Close),
        "/cut-chunks" => (format!("{CHUNKED}\r\n4\r\nhalf\r\n"), After::Close),
        "/reset-length" => (head("HTTP/1.1 200 OK\nContent-Length: 100\n\nhalf"), After::Reset),
        "/reset-chunks" => (format!("{CHUNKED}\r\n4\r\nhalf\r\n"), After::Reset),
        _ => return None,
    };
    Some((text.into_bytes(), after))
}
