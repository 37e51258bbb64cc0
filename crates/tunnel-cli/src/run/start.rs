//! `tunnel start`: tunnels of a file, over one session. The file may change while they are published: what it still
//! says stays as it is, what it says differently takes the former's place, and what it no longer says is taken down
//! while its visitors finish.

mod fleet;

use std::{collections::BTreeMap, sync::Arc};

use clap::CommandFactory;
use tunnel_client::Events;

use self::fleet::{Fleet, Happening};
use super::{
    Failure, client,
    leaving::{Leaving, Parting, parting},
    reloads::Reloads,
    signals::Signals,
};
use crate::{
    args::{Command, CommandLine, Invocation, StartArgs, parse_tunnel},
    config::{FromFile, tunnel_words},
    output::{Console, Reloaded, chain},
    resolve::client::TunnelPlan,
};

/// The tunnels that are wanted, by their names.
type Plans = BTreeMap<String, TunnelPlan>;

/// Publishes until asked to stop, then drains.
pub(super) async fn run(
    args: StartArgs,
    file: FromFile,
    line: CommandLine,
    console: Console,
) -> Result<(), Failure> {
    let mut signals = Signals::of_a_client()?;
    let mut reloads = Reloads::listen(&file)?;
    let mut warnings = Vec::new();
    let plans = plans(&args, &file, &mut warnings)?;
    let StartArgs { connection, .. } = args;
    let session = connection.clone().resolve(&mut warnings)?;
    warnings.iter().for_each(|warning| console.warning(warning));

    let client = client::builder(&session.target, session.state.as_deref(), console)
        .report_requests(session.verbose)
        .start()?;
    let client = Arc::new(client);
    let mut events: Events = client.events();
    let mut fleet = Fleet::new(client.clone(), session, console);
    fleet.want(plans);
    let mut draining: Option<Leaving<'_>> = None;
    let end = loop {
        tokio::select! {
            biased;
            happening = fleet.next() => match happening {
                Happening::Told => {}
                Happening::AllOver => break Err(fleet.failure()),
            },
            Some(event) = events.next() => fleet.tell(event),
            // Who leaves knows who was left behind.
            end = client.closed(), if draining.is_none() => break match end {
                Ok(()) => fleet.verdict(),
                Err(error) => Err(error.into()),
            },
            signal = signals.next() => {
                if draining.is_some() {
                    break Err(Failure::Killed(signal));
                }
                draining = Some(fleet.leave());
            }
            parting = parting(&mut draining) => match parting {
                Parting::Waits => fleet.tell_leaving(),
                Parting::Over { cut } => {
                    fleet.tell_left(cut);
                    break match client.closed().await {
                        Ok(()) => fleet.verdict(),
                        Err(error) => Err(error.into()),
                    };
                }
            },
            () = reloads.next(), if draining.is_none() => {
                let reloaded = match read_again(&line) {
                    Ok((args, plans, warnings)) => {
                        warnings.iter().for_each(|warning| console.warning(warning));
                        let needs_restart = args.connection.fixed_changes(&connection);
                        fleet.set_grace(args.connection.grace);
                        Reloaded { needs_restart, ..fleet.want(plans) }
                    }
                    Err(error) => Reloaded { error: Some(error), ..Reloaded::default() },
                };
                fleet.tell_reloaded(&reloaded);
            }
        }
    };
    while let Some(event) = client::next_if_ready(&mut events).await {
        fleet.tell(event);
    }
    fleet.tell_end(&end);
    end
}

/// The settings as they are now.
///
/// # Errors
/// Why they can't be used, in one line.
fn read_again(line: &CommandLine) -> Result<(StartArgs, Plans, Vec<String>), String> {
    let invocation = line.parse().map_err(|usage| usage.line())?;
    let Command::Start(args) = invocation.command else {
        return Err("the command line is another one's".into());
    };
    let mut warnings = invocation.file.warnings.clone();
    let plans = plans(&args, &invocation.file, &mut warnings).map_err(|failure| failure.line())?;
    Ok((*args, plans, warnings))
}

/// The tunnels that were named, or all.
fn plans(args: &StartArgs, file: &FromFile, warnings: &mut Vec<String>) -> Result<Plans, Failure> {
    let Some(path) = file.read() else { return Err(Failure::NoFile(file.path.clone())) };
    let tables = &file.document.tunnels;
    if let Some(unknown) = args.names.iter().find(|name| !tables.iter().any(|table| table.name == **name)) {
        let names = tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Failure::NoSuchTunnel { name: unknown.clone(), path: path.to_owned(), names });
    }
    let root = Invocation::command();
    let wanted = tables.iter().filter(|table| args.all || args.names.contains(&table.name));
    let plans = wanted.map(|table| {
        let fault = |reason: String| Failure::Tunnels {
            reason: format!("{}:{}: [tunnel.{}]: {reason}", path.display(), table.line, table.name),
        };
        let command = parse_tunnel(&tunnel_words(&root, &file.document, table).0)
            .map_err(|usage| fault(usage.line()))?;
        let published = command.publishes(warnings).ok_or_else(|| fault("is no tunnel".into()))?;
        let (plan, _) = published.map_err(|error| fault(chain(&error)))?;
        Ok((table.name.clone(), plan))
    });
    plans.collect()
}
