//! A client of the admin socket, for commands on the server's machine.

use std::{
    fmt::Write,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use futures::future::{Either, select};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use crate::problem::Problem;

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes: ten thousand tunnels and more.
const LONGEST: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens: the server doesn't run, or has another data directory.
    #[error("no server answers at {}; is it running, and is this its data directory (--data-dir)?", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket is another user's.
    #[error("{} is another user's; run this as the user that the server runs as, or as root", path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// The connection failed.
    #[error("the server's admin socket failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server can't do it, and says why.
    #[error("{0}")]
    Refused(Problem),
}

/// A way to ask one server. It connects for each question.
#[derive(Clone, Debug)]
pub struct AdminClient {
    path: PathBuf,
}

impl AdminClient {
    /// A client of the socket at `path`.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Asks for `path`, such as `/api/v1/status`.
    ///
    /// # Errors
    /// [`ClientError`]
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.exchange(Method::GET, path, Bytes::new()).await?;
        serde_json::from_slice(&body).map_err(failed)
    }

    /// Asks for something to be done, and gives the answer's JSON; `null` if there is none.
    ///
    /// # Errors
    /// [`ClientError`]
    ///
    /// # Cancel safety
    /// Dropping it closes the connection; whether it was done is not known then.
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = self.exchange(method, path, serde_json::to_vec(body).map_err(failed)?.into()).await?;
        let body = if body.is_empty() { Bytes::from_static(b"null") } else { body };
        serde_json::from_slice(&body).map_err(failed)
    }

    /// [`AdminClient::send`] with POST.
    ///
    /// # Errors
    /// [`ClientError`]
    ///
    /// # Cancel safety
    /// Dropping it closes the connection; whether it was done is not known then.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.send(Method::POST, path, body).await
    }

    /// [`AdminClient::send`] with PATCH.
    ///
    /// # Errors
    /// [`ClientError`]
    ///
    /// # Cancel safety
    /// Dropping it closes the connection; whether it was done is not known then.
    pub async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.send(Method::PATCH, path, body).await
    }

    /// Asks for something to be taken away.
    ///
    /// # Errors
    /// [`ClientError`]
    ///
    /// # Cancel safety
    /// Dropping it closes the connection; whether it was done is not known then.
    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.exchange(Method::DELETE, path, Bytes::new()).await.map(drop)
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        let answer = tokio::time::timeout(PATIENCE, self.exchange_in_time(method, path, body));
        answer.await.unwrap_or_else(|_| Err(failed(io::Error::from(io::ErrorKind::TimedOut))))
    }

    async fn exchange_in_time(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, ClientError> {
        let stream = UnixStream::connect(&self.path).await.map_err(|error| self.no_connection(error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).map_err(failed)?;
        let answer = Box::pin(async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status();
            let body =
                Limited::new(response.into_body(), LONGEST).collect().await.map_err(ClientError::Failed)?;
            Ok((status, body.to_bytes()))
        });
        let (status, body) = match select(answer, Box::pin(connection)).await {
            Either::Left((answer, _)) => answer?,
            Either::Right((_, answer)) => answer.await?,
        };
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    fn no_connection(&self, error: io::Error) -> ClientError {
        let path = self.path.clone();
        match error.kind() {
            // The last one: a path so long that no socket can be there.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::InvalidInput => {
                ClientError::NotRunning { path }
            }
            io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path },
            _ => failed(error),
        }
    }
}

/// A name as a part of a path.
pub fn segment(name: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    name.bytes().fold(String::new(), |mut text, byte| {
        match Some(byte).filter(is_plain) {
            Some(plain) => text.push(plain.into()),
            // Writing to a string can't fail.
            None => _ = write!(text, "%{byte:02X}"),
        }
        text
    })
}

fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    let problem = serde_json::from_slice(body);
    ClientError::Refused(problem.unwrap_or_else(|_| Problem::new(status, "unknown", status.to_string())))
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
    ClientError::Failed(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path_whatever_is_in_it() {
        for (name, part) in [
            ("ci", "ci"),
            ("*.example.com", "%2A.example.com"),
            ("tcp:1", "tcp%3A1"),
            ("a/b ?ü", "a%2Fb%20%3F%C3%BC"),
        ] {
            assert_eq!(segment(name), part);
        }
    }
}
