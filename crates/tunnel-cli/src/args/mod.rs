//! What can be typed: the commands and flags, as clap sees them.
//!
//! Names here are a contract with people's scripts. Nothing is decided here but which of two sources of one value
//! counts; what the values mean together is `resolve`'s business.

mod admin;
mod client;
mod doctor;
mod files;
mod paperwork;
mod policies;
mod protection;
mod server;
mod setup;
mod token;
mod upgrade;
mod usage;

use std::{cmp::Ordering, collections::BTreeMap, ffi::OsString};

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource};

pub use admin::{AdminArgs, CloseArgs, KickArgs, LookArgs, OneTunnelArgs, WhichServer};
pub use client::{
    Certificates, ClientArgs, Connection, Credentials, HttpArgs, LoginArgs, Output, Protocol, Route,
    SecretText, TcpArgs, TlsArgs, UdpArgs, WebName,
};
pub use doctor::{DoctorArgs, OwnServer};
pub use files::{ConfigArgs, ConfigCommand, ConfigFile, StartArgs, WhichSide};
pub use paperwork::{CompletionsArgs, ManArgs};
pub use policies::{Policies, ProxyVersion, StreamPolicies, WebPolicies};
pub use protection::{Allowance, MemoryBudget, ProtectionArgs};
pub use server::{AccessFormat, Auth, DemoArgs, LogFormat, Ports, ServerArgs};
pub use setup::{InitArgs, ServerCommand, ServiceArgs, ServiceCommand, Side, Which};
pub use token::{Kinds, ReserveArgs, RightsArgs, TokenArgs, TokenCommand};
pub use upgrade::UpgradeArgs;
pub use usage::Usage;

pub use crate::traces::TraceArgs;

use crate::{
    config::{self, DefaultPlaces, FromFile, Origin, Problem, Sources},
    env::{self, Environment, SystemProxy},
};

/// Puts a local service on a public address of your own.
#[derive(Debug, Parser)]
#[command(name = "tunnel", version, max_term_width = 110, propagate_version = true)]
#[command(
    after_help = "Flags may be given as environment variables, --data-dir as TUNNEL_DATA_DIR and so on, but for those of \
                  `token`, `reserve` and `config`; and those of servers and clients in a configuration file: \
                  data_dir = \"/srv/tunnel\". See `tunnel config --help`."
)]
pub struct Invocation {
    /// Which log lines to show, for finding faults: `debug`, `tunnel_server=trace`, … [default: `info` for `tunnel
    /// server`, `warn` for the demo, else `off`]
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,

    /// What the configuration file says, which is part of the rest already.
    #[arg(skip)]
    pub file: FromFile,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: the public side, on a machine that visitors can reach
    Server(Box<ServerArgs>),
    /// Publish a local web service: `tunnel http 3000`
    Http(HttpArgs),
    /// Publish a local TCP service on a port of the server: `tunnel tcp 5432`
    Tcp(TcpArgs),
    /// Publish a local TLS service under a host name; the TLS ends at the service: `tunnel tls 8443`
    Tls(TlsArgs),
    /// Publish a local UDP service on a port of the server: `tunnel udp 27015`
    Udp(UdpArgs),
    /// The long form of `tunnel http`, with everything named
    Client(ClientArgs),
    /// Publish tunnels that are described in a file, all in one process: `tunnel start --all`
    Start(Box<StartArgs>),
    /// Save a server and its token for later commands
    Login(LoginArgs),
    /// Find out what keeps a tunnel from working, each fault with its cure
    Doctor(Box<DoctorArgs>),
    /// Have the system run a server or client, now and at every start
    Service(ServiceArgs),
    /// Look configuration files through, and show what counts in the end
    Config(ConfigArgs),
    /// Make, list, change and end the tokens of a server, on the server's machine
    Token(TokenArgs),
    /// Keep a name or port for one token: `tunnel reserve demo --for alice`
    Reserve(ReserveArgs),
    /// How the server on this machine is
    Status(LookArgs),
    /// The clients and tunnels of the server on this machine
    Ps(LookArgs),
    /// End the session of a client of the server on this machine
    Kick(KickArgs),
    /// Take a tunnel of the server on this machine down
    Close(CloseArgs),
    /// Keep new visitors out of a tunnel, until it is resumed
    Pause(OneTunnelArgs),
    /// Let visitors into a paused tunnel again
    Resume(OneTunnelArgs),
    /// Have the server on this machine let nobody in, finish what is under way, and end
    Drain(WhichServer),
    /// A link that signs one browser in to the dashboard of the server on this machine
    Dashboard(WhichServer),
    /// Have the running server replaced by the program that is installed now, without a visitor noticing
    Upgrade(UpgradeArgs),
    /// Print what a shell needs to complete `tunnel` on Tab: `tunnel completions bash`
    Completions(CompletionsArgs),
    /// Print the manual page, or write a page for each command into a directory
    Man(ManArgs),
    /// See it work: a server, a client and a small site in one process
    Demo(DemoArgs),
}

/// How the process was called. Kept, since its settings may be read again.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// What was typed, with the program's name first.
    pub arguments: Vec<OsString>,
    /// Looks variables of the environment up.
    pub environment: fn(&str) -> Option<OsString>,
}

impl CommandLine {
    /// Reads it, the environment, and the file of settings.
    ///
    /// # Errors
    /// [`Usage`]: bad usage, a file with faults, or a call for help or the version.
    pub fn parse(&self) -> Result<Invocation, Usage> {
        parse_with(self.arguments.clone(), &self.environment, &config::default_place)
    }
}

/// The same, with the files in their usual places wherever those are.
pub(crate) fn parse_with(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment<'_>,
    places: DefaultPlaces<'_>,
) -> Result<Invocation, Usage> {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let (matches, file) = matches(words.clone(), environment, places)?;
    let root = Invocation::command();
    let mut invocation =
        Invocation::from_arg_matches(&matches).map_err(|error| Usage::found(error, &root, &words))?;
    settle_all(&mut invocation, &matches, &file, environment)
        .map_err(|usage| usage.in_a_call_of(&root, &words))?;
    if let Command::Doctor(doctor) = &mut invocation.command {
        doctor.own_server = Some(own_server(environment, places));
    }
    if let Some(route) = invocation.command.route() {
        route.system = SystemProxy::read(environment);
    }
    invocation.file = file;
    Ok(invocation)
}

fn settle_all(
    invocation: &mut Invocation,
    matches: &ArgMatches,
    file: &FromFile,
    environment: Environment<'_>,
) -> Result<(), Usage> {
    finish(&mut invocation.command, Sources::new(innermost(matches), &file.lines))?;
    if let Command::Server(server) = &mut invocation.command {
        refuse_flags_before_init(server, matches)?;
        server.traces.hear(environment).map_err(Usage::new)?;
    }
    Ok(())
}

/// A command line as clap reads it, with what the file adds to it.
pub(crate) fn matches(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Environment<'_>,
    places: DefaultPlaces<'_>,
) -> Result<(ArgMatches, FromFile), Usage> {
    let command = env::attach(Invocation::command(), environment);
    let layered = config::layer(&command, arguments.into_iter().collect(), environment, places);
    let layered = layered.map_err(|problems: Vec<Problem>| Usage::of_file(&problems))?;
    let matches = command.clone().try_get_matches_from(&layered.arguments);
    let matches = matches.map_err(|error| Usage::found(error, &command, &layered.arguments))?;
    Ok((matches, layered.file))
}

/// The same as clap reads it.
pub(crate) fn tunnel_matches(words: &[OsString]) -> Result<ArgMatches, Usage> {
    let command = Invocation::command();
    command.clone().try_get_matches_from(words).map_err(|error| Usage::found(error, &command, words))
}

/// Reads the command of one of a file's tunnels. Variables of flags don't count: they can't say which tunnel they mean.
///
/// # Errors
/// [`Usage`]: flags that contradict each other.
pub(crate) fn parse_tunnel(words: &[OsString]) -> Result<Command, Usage> {
    let matches = tunnel_matches(words)?;
    let invocation = Invocation::from_arg_matches(&matches);
    let mut command = invocation.map_err(|error| Usage::found(error, &Invocation::command(), words))?.command;
    finish(&mut command, Sources::new(innermost(&matches), &BTreeMap::new()))?;
    if let Some(policies) = command.web_policies() {
        policies.login_was_typed = false;
    }
    Ok(command)
}

/// Decides between flags that say the same, and notes what others on this machine could see.
fn finish(command: &mut Command, sources: Sources<'_>) -> Result<(), Usage> {
    if let Some(credentials) = command.credentials() {
        settle(credentials, sources)?;
    }
    if let Some(policies) = command.web_policies() {
        policies.login_was_typed = sources.is_typed("basic_auth");
    }
    if let Some((subdomain, domain)) = command.host() {
        settle_host(subdomain, domain, sources)?;
    }
    if let Command::Server(server) = command {
        pair_up(server)?;
    }
    if let Some(route) = command.route() {
        route.proxy_was_typed = sources.is_typed("proxy");
    }
    Ok(())
}

/// How a command logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging<'a> {
    /// What to show: a level, or levels by module.
    pub filter: &'a str,
    /// As JSON instead of text.
    pub json: bool,
}

impl Invocation {
    /// How this command logs. A server tells what an operator would want to know; a client tells its story on
    /// standard output, and logs nothing unless asked to.
    pub fn logging(&self) -> Logging<'_> {
        let (default, json) = match &self.command {
            Command::Server(args) => ("info", args.log_format == LogFormat::Json),
            Command::Demo(_) => ("warn", false),
            _ => ("off", false),
        };
        Logging { filter: self.log.as_deref().unwrap_or(default), json }
    }
}

impl Command {
    fn credentials(&mut self) -> Option<&mut Credentials> {
        match self {
            Self::Http(args) => Some(&mut args.connection.credentials),
            Self::Tcp(args) => Some(&mut args.connection.credentials),
            Self::Tls(args) => Some(&mut args.connection.credentials),
            Self::Udp(args) => Some(&mut args.connection.credentials),
            Self::Client(args) => Some(&mut args.connection.credentials),
            Self::Start(args) => Some(&mut args.connection.credentials),
            Self::Login(args) => Some(&mut args.credentials),
            Self::Doctor(args) => Some(&mut args.credentials),
            _ => None,
        }
    }

    /// Subdomain and domain, of which only one can count.
    fn host(&mut self) -> Option<(&mut Option<String>, &mut Option<String>)> {
        match self {
            Self::Http(args) => Some((&mut args.name.subdomain, &mut args.name.domain)),
            Self::Client(args) => Some((&mut args.name.subdomain, &mut args.name.domain)),
            Self::Tls(args) => Some((&mut args.subdomain, &mut args.domain)),
            _ => None,
        }
    }

    fn web_policies(&mut self) -> Option<&mut WebPolicies> {
        match self {
            Self::Http(args) => Some(&mut args.policies),
            Self::Client(args) => Some(&mut args.policies),
            _ => None,
        }
    }

    fn route(&mut self) -> Option<&mut Route> {
        match self {
            Self::Http(args) => Some(&mut args.connection.route),
            Self::Tcp(args) => Some(&mut args.connection.route),
            Self::Tls(args) => Some(&mut args.connection.route),
            Self::Udp(args) => Some(&mut args.connection.route),
            Self::Client(args) => Some(&mut args.connection.route),
            Self::Start(args) => Some(&mut args.connection.route),
            Self::Login(args) => Some(&mut args.route),
            Self::Doctor(args) => Some(&mut args.route),
            _ => None,
        }
    }
}

/// A token may come as text or as a file: what is nearer to the command line counts, and two on it, or in a file, are
/// one too many.
fn settle(credentials: &mut Credentials, sources: Sources<'_>) -> Result<(), Usage> {
    credentials.token_was_typed = sources.is_typed("token");
    match (sources.of("token"), sources.of("token_file")) {
        (Some(Origin::Flag), Some(Origin::Flag)) | (Some(Origin::File(_)), Some(Origin::File(_))) => {
            Err(Usage::new("`--token` and `--token-file` can't both be given; leave one out"))
        }
        (Some(text), Some(file)) if file.rank() > text.rank() => {
            credentials.token = None;
            Ok(())
        }
        (Some(_), Some(_)) => {
            credentials.token_file = None;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The name that is nearer to the command line counts; two of a kind contradict each other.
fn settle_host(
    subdomain: &mut Option<String>,
    domain: &mut Option<String>,
    sources: Sources<'_>,
) -> Result<(), Usage> {
    if subdomain.is_some() && domain.is_some() {
        let rank = |id| sources.of(id).map(Origin::rank);
        match rank("subdomain").cmp(&rank("domain")) {
            Ordering::Greater => *domain = None,
            Ordering::Less => *subdomain = None,
            Ordering::Equal => {
                return Err(Usage::new("`--subdomain` and `--domain` can't both be given; leave one out"));
            }
        }
    }
    Ok(())
}

/// Each certificate has its key.
fn pair_up(server: &ServerArgs) -> Result<(), Usage> {
    let (certificates, keys) = (server.cert.len(), server.key.len());
    if certificates == keys {
        return Ok(());
    }
    Err(Usage::new(format_args!(
        "each `--cert` needs its `--key`, in the same order; there are {certificates} and {keys}"
    )))
}

/// Those of the server would be passed over in silence: `init` has its own.
fn refuse_flags_before_init(server: &ServerArgs, matches: &ArgMatches) -> Result<(), Usage> {
    let Some((_, of_server)) = matches.subcommand() else { return Ok(()) };
    let is_init = matches!(server.command, Some(ServerCommand::Init(_)));
    let is_typed = |id: &&clap::Id| of_server.value_source(id.as_str()) == Some(ValueSource::CommandLine);
    match of_server.ids().filter(|_| is_init).find(is_typed) {
        Some(id) if of_server.subcommand_name() != Some(id.as_str()) => Err(Usage::new(format_args!(
            "write `--{}` after `init`, if it has such a flag; the others go into the configuration file",
            id.as_str().replace('_', "-")
        ))),
        _ => Ok(()),
    }
}

/// A server of this machine, as it would be with no flags.
fn own_server(environment: Environment<'_>, places: DefaultPlaces<'_>) -> Result<OwnServer, Usage> {
    let words = ["tunnel", "server"].map(OsString::from);
    let Invocation { command, file, .. } = parse_with(words, environment, places)?;
    match command {
        Command::Server(args) => Ok(OwnServer { args, config: file.read().map(Into::into) }),
        _ => Err(Usage::new("no server")),
    }
}

pub(crate) fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| innermost(inner))
}

#[cfg(test)]
mod tests;
