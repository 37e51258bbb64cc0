//! A file read and looked at: every key known, every value one that its flag would take.

use std::path::Path;

use clap::Command;

use super::{
    Document, Problem, Setting, Side, Table, document, read,
    schema::{KINDS, Keys, UPSTREAM, check_value, keys_of_side, keys_of_tunnel, nearest},
};
use crate::env::Environment;

/// Reads a file: what it says, and all that is wrong with it.
pub(crate) fn load(
    root: &Command,
    path: &Path,
    side: Side,
    environment: Environment<'_>,
) -> (Document, Vec<Problem>) {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => return (Document::default(), vec![Problem::of(path, &error)]),
    };
    let (document, faults) = document::read(&text, environment);
    let mut judge = Judge { root, faults };
    judge.settings(side, &document.settings);
    for table in &document.tunnels {
        match side {
            Side::Client => judge.tunnel(table),
            Side::Server => judge.blame(table.line, "a server has no tunnels; they are in the client's file"),
        }
    }
    judge.faults.sort();
    let problems = judge.faults.into_iter().map(|(line, text)| Problem::on_line(path, line, text));
    let problems = problems.collect();
    (document, problems)
}

struct Judge<'a> {
    root: &'a Command,
    faults: Vec<(usize, String)>,
}

impl Judge<'_> {
    fn blame(&mut self, line: usize, text: impl Into<String>) {
        self.faults.push((line, text.into()));
    }

    fn settings(&mut self, side: Side, settings: &[Setting]) {
        let keys = keys_of_side(self.root, side);
        for setting in settings {
            match keys.get(&setting.key) {
                Some(key) => {
                    // A key of several commands means the same in each.
                    let commands: &[&str] = match side {
                        Side::Server => &["server"],
                        Side::Client => &["http", "tcp", "tls", "udp", "client", "start"],
                    };
                    let has = |command: &&&str| {
                        let command = self.root.find_subcommand(**command);
                        let mut args = command.into_iter().flat_map(Command::get_arguments);
                        args.any(|arg| arg.get_id().as_str() == key.id)
                    };
                    let command = commands.iter().find(has).unwrap_or(&commands[0]);
                    if let Err(reason) = check_value(self.root, command, key, setting) {
                        self.blame(setting.line, format!("`{}`: {reason}", setting.key));
                    }
                }
                None => self.unknown(setting, &keys, self.hint(side, &setting.key)),
            }
        }
    }

    fn tunnel(&mut self, table: &Table) {
        let of = |key: &str| table.settings.iter().find(|setting| setting.key == key);
        let kind = of("kind").and_then(|setting| setting.value.texts().first().cloned());
        let Some(kind) = kind.filter(|kind| KINDS.contains(&kind.as_str())) else {
            let line = of("kind").map_or(table.line, |setting| setting.line);
            let kinds = KINDS.map(|kind| format!("\"{kind}\"")).join(", ");
            return self
                .blame(line, format!("[tunnel.{}] needs a `kind`, which is one of {kinds}", table.name));
        };
        if of(UPSTREAM).is_none() {
            self.blame(
                table.line,
                format!("[tunnel.{}] needs an `upstream`, such as \"localhost:3000\"", table.name),
            );
        }
        let keys = keys_of_tunnel(self.root, &kind);
        for setting in table.settings.iter().filter(|setting| setting.key != "kind") {
            match keys.get(&setting.key) {
                Some(key) => {
                    if let Err(reason) = check_value(self.root, &kind, key, setting) {
                        self.blame(setting.line, format!("`{}`: {reason}", setting.key));
                    }
                }
                None => self.unknown(setting, &keys, self.hint_in_table(&kind, &setting.key)),
            }
        }
    }

    fn unknown(&mut self, setting: &Setting, keys: &Keys, hint: Option<String>) {
        let hint = hint.or_else(|| Some(format!("did you mean `{}`?", nearest(&setting.key, keys.keys())?)));
        let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        self.blame(setting.line, format!("unknown key `{}`{hint}", setting.key));
    }

    /// Where a key belongs that is none above the tables.
    fn hint(&self, side: Side, key: &str) -> Option<String> {
        let other = match side {
            Side::Server => Side::Client,
            Side::Client => Side::Server,
        };
        if ["kind", UPSTREAM].contains(&key) && side == Side::Client {
            return Some("it belongs into a table: [tunnel.NAME]".into());
        }
        let is_others = keys_of_side(self.root, other).contains_key(key);
        is_others.then(|| match side {
            Side::Server => "it is a setting of clients".into(),
            Side::Client => "it is a setting of the server".into(),
        })
    }

    /// Where a key belongs that is none of a tunnel of this kind.
    fn hint_in_table(&self, kind: &str, key: &str) -> Option<String> {
        let kinds: Vec<_> =
            KINDS.into_iter().filter(|kind| keys_of_tunnel(self.root, kind).contains_key(key)).collect();
        if !kinds.is_empty() {
            return Some(format!("a tunnel of kind {kind} has none; {} has", kinds.join(", ")));
        }
        let is_clients = keys_of_side(self.root, Side::Client).contains_key(key);
        is_clients.then(|| "it is about the whole client: write it above the first table".into())
    }
}
