//! The commands: each takes a plan that `resolve` made, runs the engines and shows what happens.

mod config;
mod failure;
mod reloads;
mod signals;

mod admin;
mod descriptors;
mod keeper;
mod lease_keeping;
mod notify;
mod reload;
mod server;
mod sockets;
#[cfg(unix)]
mod upgrade;
#[cfg(not(unix))]
#[path = "no_upgrade.rs"]
mod upgrade;

mod client;
mod leaving;
mod login;
mod start;

mod books;
mod demo;
mod doctor;
mod paperwork;
mod reserve;
mod service;
mod token;

#[cfg(unix)]
mod ask;

pub use failure::Failure;
pub(crate) use signals::Hangups;

use self::{reload::Reloading, reloads::Reloads};
use crate::{
    args::{Command, CommandLine, Invocation, ServerCommand},
    config::FromFile,
    output::Console,
    program::Program,
    resolve::client::ClientPlan,
    service::systemd::Host,
    state::places,
};

/// Carries a command out. Must be called within a Tokio runtime. `line` is what `invocation` was read from, and is
/// read again when its file changes; `program` is how this process was started.
///
/// # Errors
/// [`Failure`], in one line for the person, with the exit status that goes with it.
///
/// # Cancel safety
/// Dropping it ends the command at once.
pub async fn run(invocation: Invocation, line: CommandLine, program: Program) -> Result<(), Failure> {
    let console = Console::new();
    let Invocation { command, file, .. } = invocation;
    if let Some(path) = file.read() {
        tracing::info!(file = %path.display(), "settings read");
    }
    for warning in &file.warnings {
        console.warning(warning);
    }
    let serves = serves(&command);
    let done = carry_out(command, file, line, program, console).await;
    // Whoever serves has done that, whoever read of it.
    let written = if serves { Ok(()) } else { console.written() };
    done.and(written.map_err(|source| Failure::Write { what: "standard output".into(), source }))
}

/// Whether a command goes on until it is stopped, and its lines are only its story.
fn serves(command: &Command) -> bool {
    match command {
        Command::Server(args) => args.command.is_none(),
        Command::Http(_) | Command::Tcp(_) | Command::Tls(_) | Command::Udp(_) => true,
        Command::Client(_) | Command::Start(_) | Command::Demo(_) => true,
        _ => false,
    }
}

async fn carry_out(
    command: Command,
    file: FromFile,
    line: CommandLine,
    program: Program,
    console: Console,
) -> Result<(), Failure> {
    match command {
        Command::Server(mut args) => match args.command.take() {
            None => {
                let reloading = Reloading { reloads: Reloads::listen(&file)?, line };
                server::run(args.resolve()?, reloading, program, console).await
            }
            Some(ServerCommand::Init(init)) => crate::init::run(init, &host()?, console).await,
            Some(ServerCommand::Doctor { json }) => {
                doctor::run_server(*args, file.read().map(Into::into), json, console).await
            }
        },
        Command::Start(args) => start::run(*args, file, line, console).await,
        Command::Upgrade(args) => upgrade::command(args, console).await,
        Command::Config(args) => config::run(args, &line, console),
        Command::Login(args) => login::run(args.resolve()?, console).await,
        Command::Doctor(args) => doctor::run(*args, console).await,
        Command::Service(args) => service::run(args, &host()?, console),
        Command::Token(args) => token::run(args, console).await,
        Command::Reserve(args) => reserve::run(args, console).await,
        #[cfg(unix)]
        Command::Status(args) => ask::status(args, console).await,
        #[cfg(unix)]
        Command::Ps(args) => ask::ps(args, console).await,
        #[cfg(unix)]
        Command::Kick(args) => ask::kick(args, console).await,
        #[cfg(unix)]
        Command::Close(args) => ask::close(args, console).await,
        #[cfg(unix)]
        Command::Pause(args) => ask::pause(args, true, console).await,
        #[cfg(unix)]
        Command::Resume(args) => ask::pause(args, false, console).await,
        #[cfg(unix)]
        Command::Drain(server) => ask::drain(server, console).await,
        #[cfg(unix)]
        Command::Dashboard(server) => ask::dashboard(server, console).await,
        #[cfg(not(unix))]
        Command::Status(_)
        | Command::Ps(_)
        | Command::Kick(_)
        | Command::Close(_)
        | Command::Pause(_)
        | Command::Resume(_)
        | Command::Drain(_)
        | Command::Dashboard(_) => Err(Failure::NoSocket),
        Command::Completions(args) => paperwork::completions(&args),
        Command::Man(args) => paperwork::man(&args),
        Command::Demo(args) => demo::run(args, console).await,
        command => match ClientPlan::of(command) {
            Some(plan) => client::run(plan?, console).await,
            None => Ok(()),
        },
    }
}

fn host() -> Result<Host, Failure> {
    Ok(Host::this(places::user_units()?))
}
