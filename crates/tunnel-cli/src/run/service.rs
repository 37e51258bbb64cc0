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
            let is_known = active == "active" || !["unknown", "not-found"].contains(&enabled.as_str());
            if !is_known && !host.place(name, scope).exists() {
                let how = match (which.side, which.system) {
                    (Side::Server, _) => "server",
                    (Side::Client, true) => "client --system",
                    (Side::Client, false) => "client",
                };
                return Err(ServiceError::NotInstalled { name, how }.into());
            }
            console.line(&format!("{name}: {active}, {enabled} ({})", host.place(name, scope).display()));
            if active == "active" { Ok(()) } else { Err(not_active(name, scope, active).into()) }
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
        return Err(not_active(name, *scope, state).into());
    }
    console.line(&format!("started   {name}"));
    if *scope == Scope::User {
        console.remark("to have it run while you aren't logged in, too: loginctl enable-linger");
    }
    Ok(())
}

fn not_active(name: &'static str, scope: Scope, state: String) -> ServiceError {
    let user = if scope == Scope::User { " --user" } else { "" };
    ServiceError::NotActive { name, user, state }
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
        Side::Client => unit::client(&program, &config, scope, host.version()),
    };
    Ok(Unit { name, scope, text })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// What `status` says where `systemctl` answers with this.
    fn status(script: &str, side: Side, system: bool, is_there: bool) -> String {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let systemctl = home.path().join("systemctl");
        std::fs::write(&systemctl, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).unwrap();
        let analyze = Path::new("/nowhere").into();
        let host =
            Host { root: home.path().into(), user_units: home.path().join("user"), systemctl, analyze };
        let which = Which { side, system };
        let (name, scope) = name(which);
        if is_there {
            let place = host.place(name, scope);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, "").unwrap();
        }
        let args = ServiceArgs { command: ServiceCommand::Status { which } };
        run(args, &host, Console::new()).map_or_else(|failure| failure.line(), |()| "runs".into())
    }

    #[test]
    fn a_service_that_doesnt_run_is_told_from_one_that_isnt_installed() {
        let (missing, failed) = ("echo not-found", "[ $2 = is-enabled ] && echo enabled || echo failed");
        for (script, side, system, is_there, expected) in [
            (
                missing,
                Side::Server,
                false,
                false,
                "tunnel.service isn't installed; run: tunnel service install server",
            ),
            (
                "exit 1",
                Side::Client,
                false,
                false,
                "tunnel-client.service isn't installed; run: tunnel service install client",
            ),
            (
                missing,
                Side::Client,
                true,
                false,
                "tunnel-client.service isn't installed; run: tunnel service install client --system",
            ),
            (
                "exit 1",
                Side::Server,
                false,
                true,
                "tunnel.service is unknown; why, if it should run: systemctl status tunnel.service",
            ),
            (
                failed,
                Side::Client,
                false,
                true,
                "tunnel-client.service is failed; why, if it should run: systemctl --user status tunnel-client.service",
            ),
            ("echo active", Side::Server, false, false, "runs"),
        ] {
            assert_eq!(status(script, side, system, is_there), expected, "{script}");
        }
    }
}
