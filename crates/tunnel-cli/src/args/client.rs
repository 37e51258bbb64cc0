//! The flags of the client's side.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum, builder::FalseyValueParser};
use tunnel_client::Upstream;
use tunnel_transport::ServerAddress;

use super::{
    files::ConfigFile,
    policies::{Policies, StreamPolicies, WebPolicies},
};
use crate::{env::SystemProxy, resolve::values};

/// `tunnel http`.
#[derive(Debug, Args)]
pub struct HttpArgs {
    /// Where visitors' requests go: PORT, HOST:PORT, http://…, https://…, unix:PATH, or a directory of files
    #[arg(value_name = "UPSTREAM", value_parser = values::upstream)]
    pub upstream: Upstream,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub name: WebName,

    /// What the upstream speaks; gRPC needs h2c, or h2 over TLS
    #[arg(long, value_enum, default_value_t, value_name = "PROTOCOL")]
    pub upstream_protocol: Protocol,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub certificates: Certificates,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub policies: WebPolicies,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub connection: Connection,
}

/// What a web tunnel is called, and who else may be called that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct WebName {
    /// The name below the server's domain [default: a random one, kept over restarts]
    #[arg(long, value_name = "NAME")]
    pub subdomain: Option<String>,

    /// A host name of your own that leads to the server, or a wildcard: app.example.com, *.dev.example.com
    #[arg(long, value_name = "HOST")]
    pub domain: Option<String>,

    /// Only this path and what is below it; other tunnels of this token may have the rest of the host
    #[arg(long, value_name = "PATH", value_parser = values::path)]
    pub path: Option<String>,

    /// Share the name with other clients of this token; each visitor goes to the least busy
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub pool: bool,
}

/// `tunnel client`.
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// Where visitors' requests go: PORT, HOST:PORT, http://…, https://…, unix:PATH, or a directory of files
    #[arg(long, value_name = "UPSTREAM", value_parser = values::upstream)]
    pub local: Upstream,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub name: WebName,

    /// What the upstream speaks; gRPC needs h2c, or h2 over TLS
    #[arg(long, value_enum, default_value_t, value_name = "PROTOCOL")]
    pub upstream_protocol: Protocol,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub certificates: Certificates,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub policies: WebPolicies,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub connection: Connection,
}

/// `tunnel tcp`.
#[derive(Debug, Args)]
pub struct TcpArgs {
    /// Where visitors' connections go: PORT, HOST:PORT or unix:PATH; https://HOST:PORT speaks TLS there
    #[arg(value_name = "UPSTREAM")]
    pub upstream: Upstream,

    /// The server's port that visitors connect to [default: one the server chooses, kept over restarts]
    #[arg(long, value_name = "PORT", value_parser = values::one_port)]
    pub remote_port: Option<u16>,

    /// Share the port with other clients of this token; each visitor goes to the least busy
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub pool: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub certificates: Certificates,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub policies: StreamPolicies,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub connection: Connection,
}

/// `tunnel tls`.
#[derive(Debug, Args)]
pub struct TlsArgs {
    /// Where visitors' TLS connections go, as they come: PORT, HOST:PORT or unix:PATH
    #[arg(value_name = "UPSTREAM")]
    pub upstream: Upstream,

    /// The name below the server's domain [default: a random one, kept over restarts]
    #[arg(long, value_name = "NAME")]
    pub subdomain: Option<String>,

    /// A host name of your own that leads to the server, or a wildcard: db.example.com, *.dev.example.com
    #[arg(long, value_name = "HOST")]
    pub domain: Option<String>,

    /// Share the name with other clients of this token; each visitor goes to the least busy
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub pool: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub policies: StreamPolicies,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub connection: Connection,
}

/// `tunnel udp`.
#[derive(Debug, Args)]
pub struct UdpArgs {
    /// Where visitors' datagrams go: PORT or HOST:PORT
    #[arg(value_name = "UPSTREAM")]
    pub upstream: Upstream,

    /// The server's port that visitors send to [default: one the server chooses, kept over restarts]
    #[arg(long, value_name = "PORT", value_parser = values::one_port)]
    pub remote_port: Option<u16>,

    /// Share the port with other clients of this token; each visitor goes to the least busy
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub pool: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub policies: Policies,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub connection: Connection,
}

/// How an upstream that speaks TLS is known.
#[derive(Debug, Default, Args)]
pub struct Certificates {
    /// Trust an https:// upstream with a certificate from this issuer (PEM), on loopback too
    #[arg(long, value_name = "FILE")]
    pub upstream_ca: Option<PathBuf>,

    /// Take any certificate of an https:// upstream, as is done on loopback
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub upstream_insecure: bool,
}

/// How to reach the server, and what to show meanwhile.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub file: ConfigFile,

    /// The server's control port: HOST or HOST:PORT [default: that of the last `tunnel login`]
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<ServerAddress>,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub credentials: Credentials,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub route: Route,

    /// Text for people, or one JSON object a line for scripts
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,

    /// One line per request, and more about the connection
    #[arg(long, short, value_parser = FalseyValueParser::new())]
    pub verbose: bool,

    /// How long visitors under way may take to finish when the client is asked to stop
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "30s")]
    pub grace: Duration,

    /// Where the client keeps its id, names and logins [default: the user's state directory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

impl Connection {
    /// What of two descriptions of a client differs and counts after a restart only, by its flags.
    pub(crate) fn fixed_changes(&self, former: &Self) -> Vec<&'static str> {
        let Self { file: _, server, credentials, route, output, verbose, grace: _, state_dir } = self;
        let Credentials { token, token_file, ca_file, plaintext, token_was_typed: _ } = credentials;
        let changes = [
            ("--server", *server != former.server),
            ("--token", *token != former.credentials.token),
            ("--token-file", *token_file != former.credentials.token_file),
            ("--ca-file", *ca_file != former.credentials.ca_file),
            ("--plaintext", *plaintext != former.credentials.plaintext),
            ("--proxy", route.proxy != former.route.proxy),
            ("--output", *output != former.output),
            ("--verbose", *verbose != former.verbose),
            ("--state-dir", *state_dir != former.state_dir),
        ];
        changes.into_iter().filter_map(|(flag, differs)| differs.then_some(flag)).collect()
    }
}

/// How client and server know each other.
#[derive(Clone, Debug, Args)]
pub struct Credentials {
    /// The token; better in a file, in TUNNEL_TOKEN or saved by `tunnel login`: others can see this command line
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<SecretText>,

    /// A file that holds the token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Trust a server with a certificate from this issuer (PEM), instead of the key pinned in the token
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// No TLS, if the server runs without too: only for links that are encrypted already
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub plaintext: bool,

    /// Whether the token was on the command line, where others can see it.
    #[arg(skip)]
    pub token_was_typed: bool,
}

/// The way to the server.
#[derive(Clone, Debug, Default, Args)]
pub struct Route {
    /// Reach the server through a proxy: `http://HOST:PORT` or `socks5://HOST:PORT`, with `USER:PASSWORD@` before
    /// the host if need be, or `none` [default: as HTTPS_PROXY and NO_PROXY say]
    #[arg(long, value_name = "URL")]
    pub proxy: Option<SecretText>,

    /// Whether the proxy was on the command line, where others can see its password.
    #[arg(skip)]
    pub proxy_was_typed: bool,

    /// The proxy that programs of this system use.
    #[arg(skip)]
    pub system: SystemProxy,
}

/// `tunnel login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The server's control port: HOST or HOST:PORT
    #[arg(value_name = "HOST:PORT")]
    pub server: ServerAddress,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub credentials: Credentials,

    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment here would become the command's help")]
    pub route: Route,

    /// Save without trying whether the server takes the token
    #[arg(long, value_parser = FalseyValueParser::new())]
    pub no_check: bool,

    /// Where the client keeps its id, names and logins [default: the user's state directory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// For whom a client's output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For scripts: one JSON object a line.
    Json,
}

/// What a web upstream speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS.
    H2c,
    /// HTTP/2 over TLS.
    H2,
}

/// A text that is in no log and no error message. By this type it is known which flags take one; what is wrong with it
/// is said without it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl FromStr for SecretText {
    type Err = Infallible;

    /// Takes any text.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}
