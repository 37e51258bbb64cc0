//! A web visitor made of a raw socket, or one with TLS on it: it says exactly what a test tells it to, and reads
//! answers strictly.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tunnel_transport::{UpstreamTls, UpstreamTlsStream, UpstreamTrust};

use crate::upstream::{find_head_end, header};

/// One connection of a visitor.
#[derive(Debug)]
pub struct Visitor<S = TcpStream> {
    stream: S,
    unread: Vec<u8>,
}

/// One HTTP answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The head, raw.
    pub head: String,
    /// The body, decoded if it was chunked.
    pub body: Vec<u8>,
}

impl Visitor {
    /// Connects.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// One GET on a connection of its own.
    ///
    /// # Errors
    /// The connection failed or the answer was cut.
    pub async fn get(address: SocketAddr, host: &str, path: &str) -> io::Result<Answer> {
        let mut visitor = Self::connect(address).await?;
        visitor.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await?;
        visitor.answer().await
    }
}

impl Visitor<UpstreamTlsStream<TcpStream>> {
    /// Connects with TLS for `host`, whose certificate must be `trusted`, or issued by it (PEM).
    ///
    /// # Errors
    /// The connection failed, or it is somebody else.
    pub async fn connect_tls(address: SocketAddr, host: &str, trusted: &[u8]) -> io::Result<Self> {
        let trust = UpstreamTrust::CaFile(trusted.to_vec());
        let tls = UpstreamTls::new(&trust, &[b"http/1.1"]).map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(tls.connect(host, stream).await.map_err(io::Error::other)?))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Visitor<S> {
    /// A visitor on a connection that is there already.
    pub fn over(stream: S) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// Sends raw bytes.
    ///
    /// # Errors
    /// The connection failed.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await?;
        self.stream.flush().await
    }

    /// Reads one answer to a request that wasn't HEAD.
    ///
    /// # Errors
    /// `UnexpectedEof` if it was cut: a body shorter than announced, chunks without an end.
    pub async fn answer(&mut self) -> io::Result<Answer> {
        let head = self.head().await?;
        let status =
            head.get(9..12).and_then(|digits| digits.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let chunked = header(&head, "transfer-encoding").is_some_and(|value| value.contains("chunked"));
        let length = header(&head, "content-length").and_then(|value| value.parse().ok());
        let body = match (status, chunked, length) {
            (100..200 | 204 | 304, _, _) => Vec::new(),
            (_, true, _) => self.chunks().await?,
            (_, false, Some(length)) => self.exactly(length).await?,
            (_, false, None) => self.rest().await?,
        };
        Ok(Answer { status, head, body })
    }

    /// Reads one answer's head, up to and with the empty line.
    ///
    /// # Errors
    /// `UnexpectedEof` if the connection ended first.
    pub async fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find_head_end(&self.unread) {
                let head: Vec<u8> = self.unread.drain(..end).collect();
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            self.fill().await?;
        }
    }

    /// Reads exactly this many bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` if there are fewer.
    pub async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.fill().await?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    /// Reads to the end of the connection, which must be a clean one.
    ///
    /// # Errors
    /// The connection was reset.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        self.stream.read_to_end(&mut self.unread).await?;
        Ok(std::mem::take(&mut self.unread))
    }

    /// Reads one chunk of a chunked body; the last one is empty, with its trailers read too.
    ///
    /// # Errors
    /// `UnexpectedEof` if it was cut.
    pub async fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let line = self.line().await?;
        let size = line.split(';').next().unwrap_or("").trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        if size == 0 {
            // Trailers, then the empty line.
            while !self.line().await?.is_empty() {}
            return Ok(Vec::new());
        }
        let chunk = self.exactly(size).await?;
        self.exactly(2).await?;
        Ok(chunk)
    }

    /// Takes what was read from the socket and not yet asked for.
    pub fn buffered(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    /// The socket itself.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk().await?;
            if chunk.is_empty() {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.unread.extend_from_slice(&chunk[..n]);
                Ok(())
            }
        }
    }
}
