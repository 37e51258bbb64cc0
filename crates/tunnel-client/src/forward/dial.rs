//! Getting a connection to an upstream, for one visitor.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};
use tunnel_protocol::Code;
use tunnel_transport::{UpstreamTls, UpstreamTlsError, tune_visitor};

use super::{
    Upstream,
    connection::Connection,
    upstream::{Address, Place},
};
use crate::config::LONGEST;

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
/// How often a Unix socket whose queue is full is tried again: unlike TCP, it can't be waited for.
#[cfg(unix)]
const AGAIN: Duration = Duration::from_millis(10);

/// What the system says if this process, or all of them, may open no more files or sockets: EMFILE and ENFILE, or
/// WSAEMFILE.
const OUT_OF_FILES: &[i32] = if cfg!(windows) { &[10024] } else { &[24, 23] };

/// Why there is no connection to an upstream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("nothing listens at {0}; start the local service, or check the address")]
    Refused(Upstream),
    #[error("{0} did not accept the connection within {after} s; check that it runs and is not overloaded", after = .1.as_secs_f32())]
    Timeout(Upstream, Duration),
    #[error("{0} can't be reached ({1}); check the host's name and the network")]
    Unreachable(Upstream, io::Error),
    #[error(
        "this machine or process can open no more files for a connection to {0} ({1}); raise its limit (`ulimit -n`, `LimitNOFILE=`)"
    )]
    OutOfFiles(Upstream, io::Error),
    #[error("{0} {1}")]
    Tls(Upstream, UpstreamTlsError),
    #[error("{0} took the connection but did not finish the TLS handshake within {after} s; check that it speaks TLS", after = .1.as_secs_f32())]
    TlsTimeout(Upstream, Duration),
}

impl Failure {
    /// What an error of the system's means that isn't a refusal.
    pub(super) fn of(upstream: &Upstream, error: io::Error) -> Self {
        let failure = if is_out_of_files(&error) { Self::OutOfFiles } else { Self::Unreachable };
        failure(upstream.clone(), error)
    }

    /// What the visitor's side is told.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Refused(_) => Code::UpstreamRefused,
            Self::Timeout(..) => Code::UpstreamTimeout,
            Self::Unreachable(..) => Code::UpstreamUnreachable,
            // It says nothing of the upstream, and passes when other visitors leave.
            Self::OutOfFiles(..) => Code::ClientBusy,
            Self::Tls(..) | Self::TlsTimeout(..) => Code::UpstreamTls,
        }
    }
}

/// Connects to `upstream`, trying its addresses in turn, and says `introduction` first of all, TLS included; within
/// `limit` in all.
///
/// # Cancel safety
/// Dropping the future gives the attempt up.
pub(super) async fn dial(
    upstream: &Upstream,
    tls: Option<&UpstreamTls>,
    introduction: Bytes,
    limit: Duration,
) -> Result<Connection, Failure> {
    let deadline = Instant::now() + limit.min(LONGEST);
    let attempt = Attempt { upstream, introduction, limit, deadline };
    match (&upstream.0, tls) {
        (Place::Tcp(address), _) => {
            Ok(Connection::Tcp(attempt.introduce(attempt.tcp(address).await?).await?))
        }
        (Place::Tls(address, _), Some(tls)) => attempt.tls(address, tls).await,
        #[cfg(unix)]
        (Place::Unix(path), _) => Ok(Connection::Unix(attempt.introduce(attempt.unix(path).await?).await?)),
        // None of these becomes a target.
        _ => Err(attempt.unreachable(io::ErrorKind::Unsupported.into())),
    }
}

/// One visitor's wish for a connection.
struct Attempt<'a> {
    upstream: &'a Upstream,
    introduction: Bytes,
    limit: Duration,
    deadline: Instant,
}

impl Attempt<'_> {
    async fn tls(&self, address: &Address, tls: &UpstreamTls) -> Result<Connection, Failure> {
        let stream = self.introduce(self.tcp(address).await?).await?;
        match timeout_at(self.deadline, tls.connect(&address.host, stream)).await {
            Ok(Ok(stream)) => Ok(Connection::Tls(Box::new(stream))),
            Ok(Err(error)) => Err(Failure::Tls(self.upstream.clone(), error)),
            Err(_) => Err(Failure::TlsTimeout(self.upstream.clone(), self.limit)),
        }
    }

    /// Says what is to be said first.
    async fn introduce<S: AsyncWrite + Unpin>(&self, mut stream: S) -> Result<S, Failure> {
        if self.introduction.is_empty() {
            return Ok(stream);
        }
        match timeout_at(self.deadline, stream.write_all(&self.introduction)).await {
            Ok(Ok(())) => Ok(stream),
            Ok(Err(error)) => Err(self.unreachable(error)),
            Err(_) => Err(self.late()),
        }
    }

    async fn tcp(&self, address: &Address) -> Result<TcpStream, Failure> {
        let found = timeout_at(self.deadline, resolve(address)).await.map_err(|_| self.late())?;
        let addresses = found.map_err(|error| self.unreachable(error))?;
        let mut worst = None;
        for (index, address) in addresses.iter().enumerate() {
            // An address that leads nowhere must not use up the others' time.
            let left = self.deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    tune_visitor(&stream);
                    return Ok(stream);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    worst = Some(Failure::Refused(self.upstream.clone()));
                }
                // No other address can be asked either.
                Ok(Err(error)) if is_out_of_files(&error) => return Err(self.unreachable(error)),
                // What another address said tells more than that there is no route to this one.
                Ok(Err(error)) => worst = worst.or(Some(self.unreachable(error))),
                Err(_) => worst = Some(self.late()),
            }
        }
        Err(worst.unwrap_or_else(|| self.unreachable(io::ErrorKind::NotFound.into())))
    }

    #[cfg(unix)]
    async fn unix(&self, path: &std::path::Path) -> Result<tokio::net::UnixStream, Failure> {
        loop {
            match tokio::net::UnixStream::connect(path).await {
                Ok(stream) => return Ok(stream),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock if Instant::now() < self.deadline => {
                        tokio::time::sleep(AGAIN).await;
                    }
                    io::ErrorKind::WouldBlock => return Err(self.late()),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                        return Err(Failure::Refused(self.upstream.clone()));
                    }
                    _ => return Err(self.unreachable(error)),
                },
            }
        }
    }

    fn late(&self) -> Failure {
        Failure::Timeout(self.upstream.clone(), self.limit)
    }

    fn unreachable(&self, error: io::Error) -> Failure {
        Failure::of(self.upstream, error)
    }
}

fn is_out_of_files(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| OUT_OF_FILES.contains(&code))
}

/// `localhost` means both families, whatever the resolver says: half of all development servers listen on one only.
pub(super) async fn resolve(Address { host, port }: &Address) -> io::Result<Vec<SocketAddr>> {
    if host.eq_ignore_ascii_case("localhost") {
        let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(both.map(|ip| SocketAddr::new(ip, *port)).into());
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, *port)]);
    }
    Ok(lookup_host((host.as_str(), *port)).await?.take(MAX_ADDRESSES).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn who_can_open_no_more_files_is_busy_and_does_not_blame_the_upstream() {
        let upstream: Upstream = "localhost:3000".parse().unwrap();
        for (code, expected) in
            [(24, Code::ClientBusy), (23, Code::ClientBusy), (101, Code::UpstreamUnreachable)]
        {
            let failure = Failure::of(&upstream, io::Error::from_raw_os_error(code));
            assert_eq!(failure.code(), expected, "{failure}");
        }
    }
}
