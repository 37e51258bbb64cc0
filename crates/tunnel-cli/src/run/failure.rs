//! How a command can fail, what the person reads then, and the exit status.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tunnel_admin::{Problem, WebDoorError};
use tunnel_client::{BindError, ClientError, Code, ConnectError, LoginError, Refusal, TunnelEnd};
use tunnel_server::StartError;
use tunnel_store::WriteError;
use tunnel_transport::CertError;

use super::signals::Signal;
use crate::{
    init::InitError,
    output::{Ending, chain},
    resolve::client::ResolveError,
    service::ServiceError,
    state::{files::FileError, store::StoreError},
};

/// Why a command ended otherwise than in good order. [`Failure::line`] is what to print.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// What was typed can't be carried out.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A state file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A token can't be made.
    #[error(transparent)]
    Token(#[from] WriteError),
    /// Tokens and reservations stay as they are.
    #[error("{0}")]
    Kept(Problem),
    /// What the server remembers can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A server without tokens where others can reach it.
    #[error(
        "--auth none lets in anyone who can connect, so it works on loopback only, not on {0}; add --bind 127.0.0.1"
    )]
    OpenToAll(SocketAddr),
    /// A port can't be listened on.
    #[error("cannot listen on {address} for {whom} (choose another port with {flag})")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// For whom.
        whom: &'static str,
        /// The flag that names the port.
        flag: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The sockets that a service manager passed on.
    #[error("the sockets passed in LISTEN_FDS can't be used")]
    Inherit(#[source] io::Error),
    /// The server process whose place this one should take.
    #[error("cannot take over from the running server")]
    Predecessor(#[source] io::Error),
    /// The server process whose place this one should take didn't wait for it any longer.
    #[error(
        "the running server has taken everything back, since this process gave no sign of life as it took over; this \
         process ends, and the other one goes on"
    )]
    Disowned,
    /// The running server can't be asked for an upgrade.
    #[error("cannot ask for an upgrade at {}; is the server running, and is this its --data-dir?", path.display())]
    Upgrade {
        /// Where it is asked.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something can't be written.
    #[error("cannot write to {what}")]
    Write {
        /// What.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// A token's secret can't be shown, and nobody will ever know it.
    #[error(
        "the secret of `{name}` couldn't be written and is lost; make it another one: tunnel token rotate {name}"
    )]
    SecretLost {
        /// What the token is called.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// There was no upgrade.
    #[error("no upgrade, the server goes on as it was: {0}")]
    NotUpgraded(String),
    /// The directory to show.
    #[error("cannot show {}", path.display())]
    Site {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertError),
    /// The server can't start.
    #[error("the server can't start")]
    Start(#[from] StartError),
    /// The client can't connect.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The client has ended.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no tunnel.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The tunnel is over.
    #[error(transparent)]
    Tunnel(TunnelEnd),
    /// The access log.
    #[error("cannot write the access log {} (choose another file with --access-log)", path.display())]
    AccessLog {
        /// Where it was to be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Traces can't be sent.
    #[cfg(feature = "otel")]
    #[error(transparent)]
    Traces(#[from] tunnel_otel::StartError),
    /// The server on this machine can't be asked.
    #[cfg(unix)]
    #[error(transparent)]
    Ask(#[from] tunnel_admin::ClientError),
    /// There is no admin socket on this system.
    #[cfg(not(unix))]
    #[error("a server on this system has no admin socket; use its --admin-port")]
    NoSocket,
    /// No session is meant by this, or several are.
    #[cfg(unix)]
    #[error("no session or token is called `{0}`, or several sessions begin so; list them: tunnel ps")]
    Whom(String),
    /// The admin port isn't opened.
    #[error(transparent)]
    AdminDoor(#[from] WebDoorError),
    /// The admin password or token can't be used.
    #[error(transparent)]
    AdminSecret(#[from] tunnel_admin::SecretError),
    /// The operating system doesn't pass signals on.
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// What was typed can't be understood.
    #[error("{0}")]
    Usage(String),
    /// A server isn't set up.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A service.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// `tunnel doctor` found something.
    #[error("{} failed: {}", count(.0.len(), "check"), .0.join(", "))]
    Unwell(Vec<&'static str>),
    /// No file was named, and none is where they usually are.
    #[error("there is no file in its usual place; name one: tunnel config check FILE")]
    NothingToCheck,
    /// Faults in files, which were told.
    #[error("{} to be put right", count(*.0, "fault"))]
    Faults(usize),
    /// There is no file that describes tunnels.
    #[error("no file describes tunnels{}; write one, and name it with --config FILE", at(.0.as_deref()))]
    NoFile(Option<PathBuf>),
    /// A tunnel that the file doesn't describe.
    #[error("{} has no [tunnel.{name}]; it has: {names}", path.display())]
    NoSuchTunnel {
        /// As it was named.
        name: String,
        /// The file.
        path: PathBuf,
        /// Those that there are.
        names: String,
    },
    /// Some of several tunnels can't be had.
    #[error("{reason}")]
    Tunnels {
        /// Which, and why.
        reason: String,
    },
    /// A second signal cut the draining short.
    #[error("stopped at once by a second {0}; visitors under way were cut off")]
    Killed(Signal),
}

impl Failure {
    /// The exit status: 2 for bad usage, 3 if the server doesn't take the token, 128 plus the signal's number for
    /// [`Failure::Killed`], else 1.
    pub fn status(&self) -> u8 {
        match self {
            _ if self.refusal().is_some_and(|refusal| is_of_token(refusal.code)) => 3,
            Self::Resolve(ResolveError::File(_)) => 1,
            Self::Resolve(_)
            | Self::Usage(_)
            | Self::NoFile(_)
            | Self::NoSuchTunnel { .. }
            | Self::Init(InitError::NoDomain)
            | Self::OpenToAll(_)
            | Self::Token(WriteError::Name) => 2,
            Self::Kept(problem) if problem.code == Problem::MISNAMED => 2,
            Self::Killed(signal) => 128 + signal.number(),
            Self::AdminDoor(WebDoorError::NoSecret(_) | WebDoorError::NoTls(_)) | Self::AdminSecret(_) => 2,
            _ => 1,
        }
    }

    /// One line: what happened, why, and what to do next.
    pub fn line(&self) -> String {
        let what = chain(self);
        if let Self::AdminDoor(error) = self
            && let Some(advice) = door_advice(error)
        {
            return format!("{what}; {advice}");
        }
        match self.refusal().and_then(advice) {
            Some(advice) => format!("{what}; {advice}"),
            None => what,
        }
    }

    /// What those are told who watch the command.
    pub(crate) fn ending(&self) -> Ending<'_> {
        Ending { status: self.status(), reason: self.line(), refusal: self.refusal() }
    }

    /// The server's refusal, if that is what it was.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Bind(BindError::Refused(refusal)) | Self::Tunnel(TunnelEnd::Refused(refusal)) => {
                Some(refusal)
            }
            Self::Bind(BindError::Ended(Some(error)))
            | Self::Tunnel(TunnelEnd::Client(Some(error)))
            | Self::Connect(ConnectError::Ended(error))
            | Self::Client(error) => refusal_of(error),
            _ => None,
        }
    }
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn at(path: Option<&Path>) -> String {
    path.map(|path| format!(": there is no {}", path.display())).unwrap_or_default()
}

/// What to type next where an admin port would be open to all.
fn door_advice(error: &WebDoorError) -> Option<&'static str> {
    match error {
        WebDoorError::NoSecret(_) => {
            Some("add --admin-password-file or --admin-token-file, or leave --admin-bind out")
        }
        WebDoorError::NoTls(_) => {
            Some("add --https-port, --cert and --key, or leave --admin-bind out and use ssh -L")
        }
        _ => None,
    }
}

fn refusal_of(error: &ClientError) -> Option<&Refusal> {
    match error {
        ClientError::SentAway(refusal) => Some(refusal),
        ClientError::Login(error) => match &**error {
            LoginError::Refused(refusal) => Some(refusal),
            _ => None,
        },
        _ => None,
    }
}

/// Whether it is the token that is refused: with the same one it can't end otherwise, until somebody changes its rights.
fn is_of_token(code: Code) -> bool {
    matches!(code, Code::Unauthorized | Code::Revoked | Code::TokenExpired)
}

/// What to type next, where the server's own words can't know.
fn advice(refusal: &Refusal) -> Option<&'static str> {
    match refusal.code {
        // Of what a name is made of, only a path begins so.
        Code::NameInvalid if refusal.message.starts_with("`/") => Some("run again with another --path"),
        Code::Unauthorized | Code::Revoked => Some("then run here: tunnel login HOST:PORT"),
        Code::NameTaken | Code::NameInvalid | Code::NameReserved => {
            Some("run again with another --subdomain or --domain, or with neither for a random name")
        }
        Code::PortTaken | Code::PortNotAllowed => {
            Some("run again with another --remote-port, or with none for a free one")
        }
        Code::Closed => Some("ask the operator before you run it again"),
        Code::TakenOver => {
            Some("to run both, give each its own --subdomain, --domain or --remote-port, or both --pool")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_failure_is_one_line_with_a_status() {
        let taken = Refusal::permanent(Code::NameTaken, "`a.localhost` is held by another token");
        let no_path = Refusal::permanent(Code::NameInvalid, "`/a//b` can't be served: no");
        let unauthorized =
            Arc::new(LoginError::Refused(Refusal::permanent(Code::Unauthorized, "unknown token")));
        let in_use = io::Error::from(io::ErrorKind::AddrInUse);
        for (failure, status, line) in [
            (
                Failure::Bind(BindError::Refused(taken)),
                1,
                "the server refused the tunnel (name-taken): `a.localhost` is held by another token; run again with \
                 another --subdomain or --domain, or with neither for a random name",
            ),
            (
                Failure::Bind(BindError::Refused(no_path)),
                1,
                "the server refused the tunnel (name-invalid): `/a//b` can't be served: no; run again with another --path",
            ),
            (
                Failure::Client(ClientError::Login(unauthorized)),
                3,
                "the server refused the login (unauthorized): unknown token; then run here: tunnel login HOST:PORT",
            ),
            (
                Failure::Listen {
                    address: "127.0.0.1:8080".parse().unwrap(),
                    whom: "web visitors",
                    flag: "--public-port",
                    source: in_use,
                },
                1,
                "cannot listen on 127.0.0.1:8080 for web visitors (choose another port with --public-port): address in use",
            ),
            (
                Failure::OpenToAll("[::]:4444".parse().unwrap()),
                2,
                "--auth none lets in anyone who can connect, so it works on loopback only, not on [::]:4444; add \
                 --bind 127.0.0.1",
            ),
        ] {
            assert_eq!((failure.status(), failure.line().as_str()), (status, line));
        }
        assert_eq!(Failure::Killed(Signal::Interrupt).status(), 130);
        assert_eq!(Failure::Killed(Signal::Terminate).status(), 143);
    }
}
