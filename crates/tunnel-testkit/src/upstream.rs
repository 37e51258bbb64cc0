//! Upstreams that behave, and some that don't.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// A TCP service on loopback. It ends, with all its connections, when dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    _accepting: AbortOnDropHandle<()>,
}

impl Upstream {
    /// Runs `serve` for each connection.
    ///
    /// # Errors
    /// No port on loopback could be opened.
    pub async fn start<F, S>(serve: S) -> io::Result<Self>
    where
        S: Fn(TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepting = async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(stream));
            }
        };
        #[expect(clippy::disallowed_methods, reason = "owned: wrapped in AbortOnDropHandle")]
        let accepting = AbortOnDropHandle::new(tokio::spawn(accepting));
        Ok(Self { address, _accepting: accepting })
    }

    /// Sends back what it gets, and half-closes when its peer does.
    ///
    /// # Errors
    /// As [`Upstream::start`].
    pub async fn echo() -> io::Result<Self> {
        Self::start(|mut stream| async move {
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        })
        .await
    }

    /// Takes connections and says nothing, ever.
    ///
    /// # Errors
    /// As [`Upstream::start`].
    pub async fn silent() -> io::Result<Self> {
        Self::start(|mut stream| async move {
            // Reads to the end, so that it notices when its peer is gone and doesn't pile up.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        })
        .await
    }

    /// Speaks first, as SSH, SMTP and MySQL do; then echoes.
    ///
    /// # Errors
    /// As [`Upstream::start`].
    pub async fn speaks_first(banner: &'static [u8]) -> io::Result<Self> {
        Self::start(move |mut stream| async move {
            if stream.write_all(banner).await.is_ok() {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        })
        .await
    }

    /// Sends `bytes`, then resets the connection instead of ending it.
    ///
    /// # Errors
    /// As [`Upstream::start`].
    pub async fn sends_then_resets(bytes: &'static [u8]) -> io::Result<Self> {
        Self::start(move |mut stream| async move {
            let mut request = [0; 1];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
            // The bytes must be on their way before the reset overtakes them: the peer asks a second time.
            let _ = stream.read(&mut request).await;
            let _ = stream.set_zero_linger();
        })
        .await
    }

    /// Reads as far as the end of a request's head and not a byte more, says `answer` and closes: what it leaves unread
    /// makes a reset of that.
    ///
    /// # Errors
    /// As [`Upstream::start`].
    pub async fn refuses_uploads(answer: &'static [u8]) -> io::Result<Self> {
        Self::start(move |mut stream| async move {
            let mut head = Vec::new();
            while find_head_end(&head).is_none() {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            let _ = stream.write_all(answer).await;
        })
        .await
    }

    /// Answers each connection's every request head with what `answer` makes of it, raw. The connection closes
    /// when `answer` gives nothing.
    ///
    /// # Errors
    /// As [`Upstream::start`].
    pub async fn raw_http(
        answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let answer = Arc::new(answer);
        Self::start(move |mut stream| {
            let answer = answer.clone();
            async move {
                let mut seen = Vec::new();
                let mut chunk = [0; 4096];
                loop {
                    while let Some(end) = find_head_end(&seen) {
                        let head = String::from_utf8_lossy(&seen[..end]).into_owned();
                        seen.drain(..end);
                        let Some(bytes) = answer(&head) else { return };
                        if stream.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                    match stream.read(&mut chunk).await {
                        Ok(n) if n > 0 => seen.extend_from_slice(&chunk[..n]),
                        _ => return,
                    }
                }
            }
        })
        .await
    }

    /// Answers each request with `body`, its own name, and the path and host it was asked for, kept alive.
    ///
    /// # Errors
    /// As [`Upstream::start`].
    pub async fn hello(name: &'static str) -> io::Result<Self> {
        Self::raw_http(move |head| {
            let target = head.split(' ').nth(1).unwrap_or("");
            let host = header(head, "host").unwrap_or("");
            let body = format!("{name} {target} {host}\n");
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Upstream: {name}\r\n\r\n", body.len());
            Some((head + &body).into_bytes())
        })
        .await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as `host:port`.
    pub fn target(&self) -> String {
        self.address.to_string()
    }
}

/// The value of a field in a raw head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Where the first head in `bytes` ends.
pub fn find_head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}
