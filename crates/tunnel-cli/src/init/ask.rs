//! What the server is to be: from flags, from a configuration that is there, or from the person.

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
};

use tunnel_server::Hostname;

use super::InitError;
use crate::{args::InitArgs, resolve::values};

/// The web port of a server that is to be visited by browsers.
const WEB: u16 = 80;

/// What the server is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) domain: Hostname,
    pub(super) control_port: u16,
    pub(super) public_port: u16,
}

/// Flags first, then what an earlier run wrote, then the person.
pub(super) fn complete(args: &InitArgs, config: &Path) -> Result<Wishes, InitError> {
    let written = Written::read(config);
    let domain = match args.domain.clone().or(written.domain) {
        Some(domain) => domain,
        None => ask_domain(args.yes)?,
    };
    Ok(Wishes {
        domain,
        control_port: args.control_port.or(written.control_port).unwrap_or(tunnel_transport::DEFAULT_PORT),
        public_port: args.public_port.or(written.public_port).unwrap_or(WEB),
    })
}

/// What a configuration says. Of one that can't be read, nothing: it will be kept, and its reader complains.
#[derive(Default)]
struct Written {
    domain: Option<Hostname>,
    control_port: Option<u16>,
    public_port: Option<u16>,
}

impl Written {
    fn read(config: &Path) -> Self {
        let text = fs::read_to_string(config).unwrap_or_default();
        let Ok(table) = text.parse::<toml::Table>() else { return Self::default() };
        let port =
            |key| table.get(key).and_then(toml::Value::as_integer).and_then(|port| port.try_into().ok());
        Self {
            domain: table
                .get("domain")
                .and_then(toml::Value::as_str)
                .and_then(|text| values::domain(text).ok()),
            control_port: port("control_port"),
            public_port: port("public_port"),
        }
    }
}

fn ask_domain(yes: bool) -> Result<Hostname, InitError> {
    if yes || !is_anybody_there() {
        return Err(InitError::NoDomain);
    }
    loop {
        let answer = ask("The domain of the server, such as vps.example.com: ").ok_or(InitError::NoDomain)?;
        match values::domain(&answer) {
            Ok(domain) => return Ok(domain),
            Err(error) => say(&format!("{error}\n")),
        }
    }
}

/// Whether a question could be answered.
pub(super) fn is_anybody_there() -> bool {
    io::stdin().is_terminal()
}

/// The answer to a question; yes if nothing is typed, no if nobody is there.
pub(super) fn yes_or_no(question: &str) -> bool {
    if !is_anybody_there() {
        return false;
    }
    let answer = ask(&format!("{question} [Y/n] "));
    answer.is_some_and(|answer| answer.is_empty() || answer.to_lowercase().starts_with('y'))
}

fn ask(question: &str) -> Option<String> {
    say(question);
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(length) if length > 0 => Some(line.trim().to_owned()),
        _ => None,
    }
}

fn say(text: &str) {
    let mut terminal = io::stderr();
    // A question that can't be shown can still be answered.
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}
