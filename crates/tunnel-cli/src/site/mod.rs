//! A very small web site, for `tunnel demo`: something to see behind the tunnel.
//!
//! It answers GET and HEAD with a sample page or with files of one directory, and knows nothing else of HTTP: the
//! server in front of it has checked every request. It never leaves its directory, and never shows hidden files.

mod files;
mod page;
mod request;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tunnel_server::Listener;

use self::request::Request;

/// Connections at once; more wait.
const CONNECTIONS: usize = 256;
/// How long a connection may be silent, whoever's turn it is.
const PATIENCE: Duration = Duration::from_secs(75);

/// What the site shows.
#[derive(Debug)]
pub(crate) enum Site {
    /// One page about the request that asked for it.
    Sample,
    /// The files below this directory (its canonical path).
    Files(PathBuf),
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: &'static str,
    kind: &'static str,
    location: Option<String>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Text(String),
    File(tokio::fs::File, u64),
}

impl Site {
    pub(crate) fn sample() -> Self {
        Self::Sample
    }

    /// The files of a directory.
    pub(crate) fn of(directory: &Path) -> io::Result<Self> {
        let directory = directory.canonicalize()?;
        if directory.is_dir() { Ok(Self::Files(directory)) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    async fn answer(&self, request: &Request) -> Answer {
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Answer::error("405 Method Not Allowed");
        }
        match self {
            Self::Sample => Answer::page(page::sample(request)),
            Self::Files(root) => files::answer(root, &request.path).await,
        }
    }
}

impl Answer {
    fn page(html: String) -> Self {
        Self { status: "200 OK", kind: "text/html; charset=utf-8", location: None, body: Body::Text(html) }
    }

    fn error(status: &'static str) -> Self {
        let body = Body::Text(page::message(status));
        Self { status, kind: "text/html; charset=utf-8", location: None, body }
    }
}

/// Serves visitors until dropped.
pub(crate) async fn serve(listener: Listener, site: Site) {
    let site = Arc::new(site);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned().await.expect("invariant: the semaphore is never closed");
        let (stream, _) = listener.accept().await;
        let site = site.clone();
        connections.spawn(async move {
            // A visitor that goes away is no error of ours.
            let _ = converse(stream, &site).await;
            drop(place);
        });
        while connections.try_join_next().is_some() {}
    }
}

/// One connection: request, answer, and again.
async fn converse(mut stream: TcpStream, site: &Site) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let request = loop {
            match request::parse(&buffer) {
                Ok(Some(request)) => break request,
                Ok(None) if timeout(PATIENCE, stream.read_buf(&mut buffer)).await?? > 0 => {}
                Ok(None) => return Ok(()),
                Err(status) => return send(&mut stream, Answer::error(status), false, false).await,
            }
        };
        buffer.drain(..request.length);
        // A body is not read, so nothing can follow it.
        let goes_on = !request.has_body && !request.wants_close;
        let with_body = request.method != "HEAD";
        send(&mut stream, site.answer(&request).await, with_body, goes_on).await?;
        if !goes_on {
            return stream.shutdown().await;
        }
    }
}

async fn send(stream: &mut TcpStream, answer: Answer, with_body: bool, goes_on: bool) -> io::Result<()> {
    let Answer { status, kind, location, body } = answer;
    let length = match &body {
        Body::Text(text) => text.len() as u64,
        Body::File(_, length) => *length,
    };
    let location = location.map(|to| format!("location: {to}\r\n")).unwrap_or_default();
    let connection = if goes_on { "keep-alive" } else { "close" };
    let mut head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{location}cache-control: no-cache\r\n\
         connection: {connection}\r\n\r\n"
    )
    .into_bytes();
    match body {
        _ if !with_body => write(stream, &head).await,
        Body::Text(text) => {
            head.extend_from_slice(text.as_bytes());
            write(stream, &head).await
        }
        Body::File(mut file, mut left) => {
            write(stream, &head).await?;
            let mut piece = vec![0; 64 * 1024];
            while left > 0 {
                let wanted = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let count = file.read(&mut piece[..wanted]).await?;
                if count == 0 {
                    // The file became shorter: a cut answer must not look whole.
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                write(stream, &piece[..count]).await?;
                left -= count as u64;
            }
            Ok(())
        }
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    timeout(PATIENCE, stream.write_all(bytes)).await?
}

#[cfg(test)]
mod tests;
