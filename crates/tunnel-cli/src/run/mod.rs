//! The commands: each takes a plan that `resolve` made, runs the engines and shows what happens.

mod failure;
mod signals;

mod descriptors;
mod server;
mod sockets;

mod client;
mod login;

mod demo;
mod doctor;
mod service;
mod token;

pub use failure::Failure;

use crate::{
    args::{Command, Invocation, ServerCommand},
    output::Console,
    service::systemd::Host,
    state::places,
};

/// Carries a command out. Must be called within a Tokio runtime.
///
/// # Errors
/// [`Failure`], in one line for the person, with the exit status that goes with it.
///
/// # Cancel safety
/// Dropping it ends the command at once.
pub async fn run(invocation: Invocation) -> Result<(), Failure> {
    let console = Console;
    match invocation.command {
        Command::Server(mut args) => match args.command.take() {
            None => server::run(args.resolve()?, console).await,
            Some(ServerCommand::Init(init)) => crate::init::run(init, &host()?, console).await,
            Some(ServerCommand::Doctor { json }) => doctor::run_server(*args, json, console).await,
        },
        Command::Http(args) => client::run(args.resolve()?, console).await,
        Command::Tcp(args) => client::run(args.resolve()?, console).await,
        Command::Tls(args) => client::run(args.resolve()?, console).await,
        Command::Udp(args) => client::run(args.resolve()?, console).await,
        Command::Client(args) => client::run(args.resolve()?, console).await,
        Command::Login(args) => login::run(args.resolve()?, console).await,
        Command::Doctor(args) => doctor::run(*args, console).await,
        Command::Service(args) => service::run(args, &host()?, console),
        Command::Token(args) => token::run(args, console),
        Command::Demo(args) => demo::run(args, console).await,
    }
}

fn host() -> Result<Host, Failure> {
    Ok(Host::this(places::user_units()?))
}
