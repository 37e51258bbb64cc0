//! `tunnel service`: prints what it does, as it does it.

use std::path::PathBuf;

use super::Failure;
use crate::{
    args::{ServiceArgs, ServiceCommand, Side, Which},
    output::Console,
    service::{
        ServiceError,
        systemd::{Change, Host, Unit},
        unit::{self, Scope},
    },
    state::places,
};

pub(super) fn run(args: ServiceArgs, host: &Host, console: Console) -> Result<(), Failure> {
    match args.command {
        ServiceCommand::Install { which, config, print, force } => {
            let unit = make(host, which, config, !print)?;
            if print {
                console.line(&format!("# {}\n{}", host.place(unit.name, unit.scope).display(), unit.text));
                return Ok(());
            }
            install(host, &unit, force, console)
        }
        ServiceCommand::Uninstall { which } => {
            let (name, scope) = name(which);
            let path = host.place(name, scope);
            if host.remove(name, scope)? {
                console.line(&format!("stopped   {name}"));
                console.line(&format!("removed   {}", path.display()));
                console.remark("configuration and data stay where they are");
            } else {
                console.line(&format!("there is no {}", path.display()));
            }
            Ok(())
        }
        ServiceCommand::Status { which } => {
            let (name, scope) = name(which);
            let [active, enabled] =
                ["is-active", "is-enabled"].map(|question| host.ask(question, name, scope));
            console.line(&format!("{name}: {active}, {enabled} ({})", host.place(name, scope).display()));
            if active == "active" {
                Ok(())
            } else {
                Err(ServiceError::NotActive { name, state: active }.into())
            }
        }
    }
}

fn install(host: &Host, unit: &Unit, force: bool, console: Console) -> Result<(), Failure> {
    let Unit { name, scope, .. } = unit;
    let verb = match host.put(unit, force)? {
        Change::Written | Change::Replaced => "wrote",
        Change::Nothing => "unchanged",
    };
    let path = host.place(name, *scope);
    console.line(&format!("{verb:<9} {}", path.display()));
    if let Some(judgement) = host.judge(&path) {
        console.line(&format!("          {judgement}"));
    }
    host.enable(name, *scope)?;
    let state = host.settle(name, *scope);
    if ["activating", "failed", "inactive"].contains(&state.as_str()) {
        return Err(ServiceError::NotActive { name: unit.name, state }.into());
    }
    console.line(&format!("started   {name}"));
    if *scope == Scope::User {
        console.remark("to have it run while you aren't logged in, too: loginctl enable-linger");
    }
    Ok(())
}

fn name(which: Which) -> (&'static str, Scope) {
    match which.side {
        Side::Server => ("tunnel.service", Scope::System),
        Side::Client if which.system => ("tunnel-client.service", Scope::System),
        Side::Client => ("tunnel-client.service", Scope::User),
    }
}

/// The unit; with `for_real` only if what it needs is there.
fn make(host: &Host, which: Which, config: Option<PathBuf>, for_real: bool) -> Result<Unit, Failure> {
    let (name, scope) = name(which);
    let program = std::env::current_exe()
        .map_err(|source| ServiceError::File { path: PathBuf::from("this program"), source })?;
    let config = match (config, which.side, scope) {
        (Some(config), ..) => std::path::absolute(&config).unwrap_or(config),
        (None, Side::Server, _) => host.root.join("etc/tunnel/server.toml"),
        (None, Side::Client, Scope::System) => host.root.join("etc/tunnel/client.toml"),
        (None, Side::Client, Scope::User) => places::user_config()?.join("client.toml"),
    };
    let (verb, next) = match which.side {
        Side::Server => ("server", "make it: tunnel server init"),
        Side::Client => ("start --all", "write it (see docs/DEPLOYMENT.md), or name another with --config"),
    };
    if for_real && !host.has_systemd() {
        let command = format!("{} {verb} --config {}", program.display(), config.display());
        return Err(ServiceError::NoSystemd { command }.into());
    }
    if for_real && !config.exists() {
        return Err(ServiceError::NoConfig { path: config, next: next.into() }.into());
    }
    let text = match which.side {
        Side::Server => {
            let data = host.root.join("var/lib/tunnel");
            if for_real {
                host.make_account(&data)?;
            }
            unit::server(&program, &config, &data, unit::USER)
        }
        Side::Client => unit::client(&program, &config, scope),
    };
    Ok(Unit { name, scope, text })
}
