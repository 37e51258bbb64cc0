//! `tunnel config check` and `tunnel config show`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::CommandFactory;
use serde_json::{Map, Value, json};
use tunnel_store::Store;

use super::Failure;
use crate::{
    args::{
        self, Auth, Command, CommandLine, ConfigArgs, ConfigCommand, Connection, Invocation, Usage,
        WhichSide, innermost, parse_tunnel,
    },
    config::{
        self, FromFile, Problem, REDACTED, Shown, Side, Sources, UPSTREAM, default_place, load, show,
        tunnel_words,
    },
    output::Console,
    resolve::{client::TunnelPlan, server::ServerPlan},
    state::{certificates::Certificates, files, logins::Logins, places, store},
};

pub(super) fn run(args: ConfigArgs, line: &CommandLine, console: Console) -> Result<(), Failure> {
    match args.command {
        ConfigCommand::Check { file, side } => check(file, side, line, console),
        ConfigCommand::Show { side, json, command } => {
            let command = if command.is_empty() { usual_command(side) } else { command };
            let shown = shown(command, line).map_err(|usage| Failure::Usage(usage.to_string()))?;
            tell(&shown, json, console);
            Ok(())
        }
    }
}

fn check(
    file: Option<PathBuf>,
    side: WhichSide,
    line: &CommandLine,
    console: Console,
) -> Result<(), Failure> {
    let files = match file {
        Some(path) => vec![(side_of(&path, side, line), path)],
        None => {
            let sides = match (side.server, side.client) {
                (true, _) => vec![Side::Server],
                (_, true) => vec![Side::Client],
                _ => vec![Side::Server, Side::Client],
            };
            let places = sides.into_iter().filter_map(|side| Some((side, default_place(side)?)));
            places.filter(|(_, path)| path.exists()).collect()
        }
    };
    if files.is_empty() {
        return Err(Failure::NothingToCheck);
    }
    let mut found = 0;
    for (side, path) in files {
        let (summary, problems) = look_through(&path, side, line);
        problems.iter().for_each(|problem| console.line(&problem.to_string()));
        if problems.is_empty() {
            console.line(&format!("{}: {summary}", path.display()));
        }
        found += problems.len();
    }
    if found == 0 { Ok(()) } else { Err(Failure::Faults(found)) }
}

/// Whose file it is: as was said, or as its name says, or the side that finds less wrong with it.
fn side_of(path: &Path, said: WhichSide, line: &CommandLine) -> Side {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    match (said.server, said.client, name.contains("server"), name.contains("client")) {
        (true, ..) | (false, false, true, false) => Side::Server,
        (_, true, ..) | (false, false, false, true) => Side::Client,
        _ => {
            let root = Invocation::command();
            let faults = |side| load(&root, path, side, &line.environment).1.len();
            if faults(Side::Server) < faults(Side::Client) { Side::Server } else { Side::Client }
        }
    }
}

/// All that is wrong with a file, and if nothing is, what it is.
fn look_through(path: &Path, side: Side, line: &CommandLine) -> (String, Vec<Problem>) {
    let root = Invocation::command();
    let (document, problems) = load(&root, path, side, &line.environment);
    if !problems.is_empty() {
        return (String::new(), problems);
    }
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let settings = count(document.settings.len(), "setting");
    let mut problems = Vec::new();
    let config = OsString::from("--config");
    let words = |command: &[&str]| {
        let words = ["tunnel"].iter().chain(command).map(OsString::from);
        words.chain([config.clone(), path.into()]).collect::<Vec<_>>()
    };
    match side {
        Side::Server => {
            let found = server_problems(words(&["server"]), line);
            problems.extend(found.into_iter().map(|text| Problem::of_all(path, text)));
            (format!("good for a server: {settings}"), problems)
        }
        Side::Client => {
            let parsed = args::parse_with(words(&["start", "--all"]), &line.environment, &|_| None);
            problems.extend(client_problem(parsed).map(|text| Problem::of_all(path, text)));
            let mut plans: Vec<(&str, TunnelPlan)> = Vec::new();
            for table in &document.tunnels {
                let blame = |text: String| {
                    Problem::on_line(path, table.line, format!("[tunnel.{}]: {text}", table.name))
                };
                match parse_tunnel(&tunnel_words(&root, &document, table).0) {
                    Err(usage) => problems.push(blame(usage.line())),
                    Ok(command) => match command.publishes(&mut Vec::new()) {
                        Some(Err(error)) => problems.push(blame(crate::output::chain(&error))),
                        Some(Ok((plan, _))) => {
                            let clash = plans.iter().find_map(|(name, other)| plan.clash(name, other));
                            problems.extend(clash.map(blame));
                            problems.extend(plan.missing().map(|error| blame(error.to_string())));
                            plans.push((&table.name, plan));
                        }
                        None => {}
                    },
                }
            }
            let tunnels = count(document.tunnels.len(), "tunnel");
            (format!("good for a client: {settings}, {tunnels}"), problems)
        }
    }
}

/// What is wrong with how a client reaches its server, as far as that can be said without trying.
fn client_problem(parsed: Result<Invocation, Usage>) -> Option<String> {
    match parsed {
        Err(usage) => Some(usage.line()),
        Ok(invocation) => {
            let connection = connection_of(invocation.command)?;
            let place = places::client_state(connection.state_dir.clone()).ok();
            let place = place.map_or(Ok(()), |place| files::check_directory(&place));
            let error = connection.check().and_then(|()| Ok(place?)).err();
            error.map(|error| crate::output::chain(&error))
        }
    }
}

/// What would keep a server from starting, or else what it would say at its start.
fn server_problems(words: Vec<OsString>, line: &CommandLine) -> Vec<String> {
    let invocation = match args::parse_with(words, &line.environment, &|_| None) {
        Ok(invocation) => invocation,
        Err(usage) => return vec![usage.line()],
    };
    let Command::Server(args) = invocation.command else { return Vec::new() };
    let plan = match args.resolve() {
        Ok(plan) => plan,
        Err(error) => return vec![crate::output::chain(&error)],
    };
    if let Some(problem) = server_problem(&plan) {
        return vec![problem];
    }
    if plan.auth == Auth::None {
        return Vec::new();
    }
    // Whoever may not read the store may check the file all the same.
    let reserved = Store::reserved_in(&plan.data).unwrap_or_default();
    store::reserved_twice(&reserved, &plan.config.domain)
}

fn server_problem(plan: &ServerPlan) -> Option<String> {
    if let Err(error) = plan.config.validate() {
        return Some(error.to_string());
    }
    if let Err(failure) = super::server::check(plan) {
        return Some(failure.line());
    }
    if let Err(failure) = super::server::check_places(plan) {
        return Some(failure.line());
    }
    Certificates::load(&plan.certificates).err().map(|error| crate::output::chain(&error))
}

/// What is shown if no command is named: that of the side, or of the one that has a file.
fn usual_command(side: WhichSide) -> Vec<OsString> {
    let has_file = |side| default_place(side).is_some_and(|path| path.exists());
    let is_client = side.client || (!side.server && !has_file(Side::Server) && has_file(Side::Client));
    if is_client { vec!["start".into(), "--all".into()] } else { vec!["server".into()] }
}

/// What a command would go by: its own settings, and those of the tunnels in its file.
struct AllShown {
    file: Option<PathBuf>,
    settings: Vec<Shown>,
    /// Names, kinds and settings.
    tunnels: Vec<(String, String, Vec<Shown>)>,
}

fn shown(command: Vec<OsString>, line: &CommandLine) -> Result<AllShown, Usage> {
    let name = command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let words: Vec<OsString> = ["tunnel".into()].into_iter().chain(command).collect();
    let root = Invocation::command();
    let (matches, file) = args::matches(words.clone(), &line.environment, &default_place)?;
    let sources = Sources::new(innermost(&matches), &file.lines);
    let mut settings = show(&root, &name, innermost(&matches), sources, file.read());
    let parsed = args::parse_with(words, &line.environment, &default_place)?;
    if let Some(connection) = connection_of(parsed.command) {
        add_login(&mut settings, &connection);
    }
    let tunnels = if name == "start" { tunnels(&file)? } else { Vec::new() };
    Ok(AllShown { file: file.read().map(Path::to_owned), settings, tunnels })
}

fn tunnels(file: &FromFile) -> Result<Vec<(String, String, Vec<Shown>)>, Usage> {
    let root = Invocation::command();
    let tables = file.document.tunnels.iter().map(|table| {
        let (words, lines) = tunnel_words(&root, &file.document, table);
        let kind = words.get(1).map(|kind| kind.to_string_lossy().into_owned()).unwrap_or_default();
        let matches = args::tunnel_matches(&words)?;
        let sources = Sources::new(innermost(&matches), &lines);
        let mut settings = show(&root, &kind, innermost(&matches), sources, file.read());
        let own = config::keys_of_tunnel(&root, &kind);
        settings.retain(|shown| own.contains_key(&shown.key));
        Ok((table.name.clone(), kind, settings))
    });
    tables.collect()
}

fn connection_of(command: Command) -> Option<Connection> {
    match command {
        Command::Start(args) => Some(args.connection),
        Command::Http(args) => Some(args.connection),
        Command::Tcp(args) => Some(args.connection),
        Command::Tls(args) => Some(args.connection),
        Command::Udp(args) => Some(args.connection),
        Command::Client(args) => Some(args.connection),
        _ => None,
    }
}

/// What a saved login adds, by the rules of `resolve`.
fn add_login(settings: &mut [Shown], connection: &Connection) {
    let Ok(state) = places::client_state(connection.state_dir.clone()) else { return };
    let Ok(logins) = Logins::load(&state) else { return };
    let saved = match &connection.server {
        Some(server) => logins.of(&server.to_string()),
        None => logins.newest(),
    };
    let Some(saved) = saved else { return };
    let mut set = |key: &str, value: Value| {
        if let Some(shown) = settings.iter_mut().find(|shown| shown.key == key) {
            shown.value = value;
            shown.from = "login".into();
        }
    };
    if connection.server.is_none() {
        set("server", json!(saved.server));
    }
    let credentials = &connection.credentials;
    if credentials.token.is_none() && credentials.token_file.is_none() {
        set("token", json!(REDACTED));
        match (&credentials.ca_file, &saved.ca_file) {
            (None, Some(file)) => set("ca_file", json!(file)),
            _ if saved.plaintext && !credentials.plaintext => set("plaintext", json!(true)),
            _ => {}
        }
    }
}

fn tell(shown: &AllShown, as_json: bool, console: Console) {
    let AllShown { file, settings, tunnels } = shown;
    if as_json {
        let object = |settings: &[Shown]| {
            let entry =
                |shown: &Shown| (shown.key.clone(), json!({ "value": shown.value, "from": shown.from }));
            Value::Object(settings.iter().map(entry).collect::<Map<_, _>>())
        };
        let tunnels: Map<_, _> =
            tunnels.iter().map(|(name, _, settings)| (name.clone(), object(settings))).collect();
        return console
            .line(&json!({ "file": file, "settings": object(settings), "tunnel": tunnels }).to_string());
    }
    match file {
        Some(file) => console.line(&format!("# {} was read", file.display())),
        None => console.line("# no file was read"),
    }
    console.line("version = 1");
    for shown in settings {
        // A file says it in a table.
        let line = if shown.key == UPSTREAM { shown.remark() } else { shown.line() };
        console.line(&line);
    }
    for (name, kind, settings) in tunnels {
        console.line(&format!("\n[tunnel.{name:?}]\nkind = \"{kind}\""));
        settings.iter().for_each(|shown| console.line(&shown.line()));
    }
}
