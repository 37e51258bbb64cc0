//! `tunnel server init`: from a machine with this program on it to a server, by questions or by flags.
//!
//! ```text
//!   wishes ─► checks (those of the doctor) ─► files ─► key and token ─► what is left to do by hand
//! ```
//! A second run changes nothing: files that say the same are left alone, those that say something else stay unless
//! `--force`, and a key or token is never written over.

mod ask;
mod files;

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use tunnel_server::Rights;
use tunnel_store::{Actor, NewToken};

use self::{
    ask::Wishes,
    files::{Outcome, Place},
};
use crate::{
    args::InitArgs,
    doctor::{
        check::{Check, Status, lines_of},
        server::{Door, addresses_of_this_machine, clock, names, ports, records, rehearse},
    },
    output::Console,
    run::Failure,
    service::{
        ServiceError, account,
        systemd::{Change, Host, Unit},
        unit::{self, Scope},
    },
    state::{facts::Facts, identity, store},
};

/// The token made when there is none.
const FIRST_TOKEN: &str = "default";

/// Why a server isn't set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// There is nobody to ask.
    #[error("which domain? Name it with --domain, or run this on a terminal")]
    NoDomain,
    /// The person said no.
    #[error("nothing was written")]
    Declined,
    /// There is nobody to say yes.
    #[error("nothing was written, since nobody answered the question; add --yes, or run this on a terminal")]
    NobodyAnswered,
    /// The system's directories are root's.
    #[error("this needs root: run it with sudo, or add --dir PATH to have everything in one directory")]
    NotRoot,
    /// The server couldn't start.
    #[error("{0}; nothing was written; cure it, or add --force")]
    Port(String),
}

/// Sets a server up.
///
/// # Cancel safety
/// What was written stays; running it again goes on.
pub(crate) async fn run(args: InitArgs, host: &Host, console: Console) -> Result<(), Failure> {
    let place = Place::choose(host, args.dir.as_deref());
    let wishes = ask::complete(&args, &place.config)?;
    let texts = texts(&wishes, &place, host)?;
    if args.print {
        for (path, text) in [(&place.config, &texts.config), (&place.unit, &texts.unit)] {
            console.line(&format!("# {}\n{text}", path.display()));
        }
        return Ok(());
    }
    if place.is_system && !is_root() {
        return Err(InitError::NotRoot.into());
    }
    let checks = look(&wishes, &place.data).await;
    checks.iter().flat_map(lines_of).for_each(|line| console.line(&line));
    refuse_a_taken_port(&checks, &place.config, args.force)?;
    if !args.yes && !ask::is_anybody_there() {
        return Err(InitError::NobodyAnswered.into());
    }
    if !args.yes && !ask::yes_or_no(&format!("Write {} and what goes with it?", place.config.display())) {
        return Err(InitError::Declined.into());
    }

    let owner = if place.is_system { Some(make_account(host, &place, console)?) } else { None };
    tell(console, &place.config, files::write_config(&place.config, &texts.config, owner, args.force)?);
    files::make_data(&place.data, owner)?;
    let token = keys(&wishes, &place.data, console).await?;
    write_unit(host, &place, &texts.unit, args.force, console)?;
    let is_started = start(host, &place, args.yes, console)?;
    let records_are_missing = checks.iter().any(|check| {
        ["dns", "wildcard"].contains(&check.name) && matches!(check.status, Status::Failed | Status::Warning)
    });
    rest(&wishes, &place, Rest { token, is_started, records_are_missing }, console);
    Ok(())
}

/// What is to be written.
struct Texts {
    config: String,
    unit: String,
}

fn texts(wishes: &Wishes, place: &Place, host: &Host) -> Result<Texts, Failure> {
    let program = std::env::current_exe()
        .map_err(|source| ServiceError::File { path: PathBuf::from("this program"), source })?;
    let user = if place.is_system { unit::USER.to_owned() } else { host.user_name() };
    Ok(Texts {
        config: files::config_text(wishes, &place.data),
        unit: unit::server(&program, &place.config, &place.data, &user),
    })
}

/// What can be known before anything is written.
async fn look(wishes: &Wishes, data: &Path) -> Vec<Check> {
    let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let doors = [
        Door { flag: "--control-port", address: SocketAddr::new(any, wishes.control_port) },
        Door { flag: "--public-port", address: SocketAddr::new(any, wishes.public_port) },
    ];
    let domain = wishes.domain.as_str();
    let (mut checks, ports) = tokio::join!(names(domain), ports(&doors, data));
    let are_free = ports.iter().all(|check| check.status == Status::Ok);
    let is_found = checks.iter().all(|check| check.status != Status::Failed);
    checks.extend(ports);
    if are_free && is_found {
        checks.push(rehearse(domain, &doors).await);
    }
    checks.push(clock());
    checks
}

/// A server that is there has its ports already, and nothing would be written.
fn refuse_a_taken_port(checks: &[Check], config: &Path, force: bool) -> Result<(), InitError> {
    let ports = checks.iter().find(|check| check.name == "ports" && check.status == Status::Failed);
    match ports {
        Some(check) if !force && !config.exists() => {
            let cure = check.cure.as_deref().unwrap_or_default();
            Err(InitError::Port(format!("{}: {cure}", check.finding)))
        }
        _ => Ok(()),
    }
}

fn make_account(host: &Host, place: &Place, console: Console) -> Result<account::Account, Failure> {
    let (account, is_new) = host.make_account(&place.data)?;
    if is_new {
        console.line(&format!("made      the user {}", unit::USER));
    }
    Ok(account)
}

/// Makes what there is none of. The token, if there was none.
async fn keys(wishes: &Wishes, data: &Path, console: Console) -> Result<Option<String>, Failure> {
    let mut names = vec![wishes.domain.as_str().to_owned()];
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names.dedup();
    let (_, key) = identity::paths(data);
    let is_new = !key.exists();
    let identity = identity::load_or_make(data, &names)?;
    if is_new {
        let login = format!("{}:{}", wishes.domain.as_str(), wishes.control_port);
        Facts::new(true).reached_by(login).save(data)?;
    }
    let verb = if is_new { "made" } else { "kept" };
    console.line(&format!("{verb:<9} {}, pin {:.16}…", key.display(), identity.pin()));
    let store = store::open(data)?;
    if !store.tokens().is_empty() {
        console.line("kept      the tokens that are there");
        return Ok(None);
    }
    let pin = Some(*identity.pin().as_bytes());
    let new = NewToken { name: FIRST_TOKEN.into(), rights: Rights::default(), pin };
    let token = store.create(new, Actor::Command).await?;
    console.line(&format!("made      the token `{FIRST_TOKEN}`"));
    Ok(Some(token.expose()))
}

fn write_unit(host: &Host, place: &Place, text: &str, force: bool, console: Console) -> Result<(), Failure> {
    let outcome = if place.is_system {
        let unit = Unit { name: "tunnel.service", scope: Scope::System, text: text.to_owned() };
        match host.put(&unit, force) {
            Ok(Change::Written | Change::Replaced) => Outcome::Written,
            Ok(Change::Nothing) => Outcome::Unchanged,
            Err(ServiceError::Foreign(_)) => Outcome::Kept,
            Err(error) => return Err(error.into()),
        }
    } else {
        files::write_plain(&place.unit, text, force)?
    };
    tell(console, &place.unit, outcome);
    if let Some(judgement) = host.judge(&place.unit) {
        console.line(&format!("          {judgement}"));
    }
    Ok(())
}

/// Has systemd run it, if that is wanted and possible.
fn start(host: &Host, place: &Place, yes: bool, console: Console) -> Result<bool, Failure> {
    if !place.is_system || !host.has_systemd() {
        return Ok(false);
    }
    if !yes && !ask::yes_or_no("Start it now, and whenever this machine starts?") {
        return Ok(false);
    }
    host.enable("tunnel.service", Scope::System)?;
    console.line("started   tunnel.service");
    Ok(true)
}

fn tell(console: Console, path: &Path, outcome: Outcome) {
    let (verb, note) = match outcome {
        Outcome::Written => ("wrote", ""),
        Outcome::Unchanged => ("unchanged", ""),
        Outcome::Kept => ("kept", " (it says something else; --force writes it anew)"),
    };
    console.line(&format!("{verb:<9} {}{note}", path.display()));
}

/// What became of it.
struct Rest {
    token: Option<String>,
    is_started: bool,
    records_are_missing: bool,
}

/// What a person has to do now.
fn rest(wishes: &Wishes, place: &Place, rest: Rest, console: Console) {
    let domain = wishes.domain.as_str();
    if rest.records_are_missing {
        let addresses = addresses_of_this_machine();
        console.line("\nAdd to the DNS of the domain:");
        for name in [domain.to_owned(), format!("*.{domain}")] {
            records(&name, &addresses).iter().for_each(|record| console.line(&format!("  {record}")));
        }
    }
    console.line(&format!(
        "\nOpen in the firewall: {}/tcp, {}/tcp, and 20000-29999/tcp and /udp for TCP and UDP tunnels.",
        wishes.control_port, wishes.public_port
    ));
    if !rest.is_started {
        console.line("\nStart it:");
        console.line(&format!("  {}", place.start_line()));
    }
    console.line("\nOn the laptop:");
    let token = rest.token.unwrap_or_else(|| "TOKEN".into());
    console.line(&format!("  tunnel login {domain}:{} --token {token}", wishes.control_port));
    console.line("  tunnel http 3000");
    if token == "TOKEN" {
        console.line(&format!("\nA token for somebody more: {}", place.token_line()));
    }
}

fn is_root() -> bool {
    #[cfg(unix)]
    return rustix::process::geteuid().is_root();
    #[cfg(not(unix))]
    false
}

#[cfg(test)]
mod tests;
