//! `docs/REFERENCE.md` says what the program does: every command, flag, variable, default, event and code is in it,
//! and it names none that there isn't.

use std::collections::BTreeSet;

use clap::{Arg, Command, CommandFactory};
use tunnel_cli::args::Invocation;
use tunnel_protocol::Code;

const REFERENCE: &str = include_str!("../../../docs/REFERENCE.md");
/// Flags of a program that was built with more than this one.
#[cfg(not(feature = "otel"))]
const OF_FEATURES: [&str; 3] = ["--otlp-endpoint", "--otlp-sample", "--otlp-service"];
#[cfg(feature = "otel")]
const OF_FEATURES: [&str; 0] = [];
/// The module doc lists the events.
const EVENTS: &str = include_str!("../src/output/json.rs");

/// The rows of tables that are about `what`, which their first cells begin with.
fn rows(what: &str) -> impl Iterator<Item = &'static str> {
    let begins = move |cell: &str| ["`", " "].iter().any(|end| cell.starts_with(&format!("`{what}{end}")));
    REFERENCE.lines().filter(move |line| line.split('|').nth(1).is_some_and(|cell| begins(cell.trim())))
}

/// First cells of all rows of all tables, without what follows the first word.
fn firsts(text: &str) -> impl Iterator<Item = &str> {
    let cell = |line: &'_ str| line.trim_start_matches("//! ").starts_with('|');
    let rows = text.lines().filter(move |line| cell(line));
    rows.filter_map(|line| line.split('`').nth(1)?.split(' ').next())
}

fn is_ours(arg: &&Arg) -> bool {
    !["help", "version"].contains(&arg.get_id().as_str())
}

/// Calls `check` with each command and the words that lead to it.
fn walk(command: &Command, path: &str, check: &mut dyn FnMut(&str, &Command)) {
    check(path, command);
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        walk(inner, &format!("{path} {}", inner.get_name()), check);
    }
}

fn check_flag(path: &str, flag: &str, arg: &Arg, missing: &mut Vec<String>) {
    // What commands about tokens give and take has no variables, and a default of none.
    let is_about_tokens = ["tunnel token", "tunnel reserve"].iter().any(|of| path.starts_with(of));
    let has_variable = !is_about_tokens || ["data-dir", "log", "config"].contains(&flag);
    let variable = || format!("`TUNNEL_{}`", flag.to_uppercase().replace('-', "_"));
    let mut expected: Vec<String> = has_variable.then(variable).into_iter().collect();
    if arg.get_action().takes_values() {
        expected.extend(arg.get_value_names().into_iter().flatten().map(|name| format!("--{flag} {name}")));
        let defaults = arg.get_default_values().iter().filter(|_| !is_about_tokens);
        expected.extend(defaults.map(|default| format!("`{}`", default.to_string_lossy())));
        expected.extend(arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())));
    }
    if !rows(&format!("--{flag}")).any(|row| expected.iter().all(|text| row.contains(text))) {
        missing.push(format!("{path} --{flag}: {expected:?}"));
    }
}

#[test]
fn every_command_and_flag_is_described() {
    let mut command = Invocation::command();
    command.build();
    let mut missing = Vec::new();
    walk(&command, "tunnel", &mut |path, command| {
        if command.get_subcommands().next().is_none() && !REFERENCE.contains(&format!("`{path}")) {
            missing.push(path.to_owned());
        }
        for arg in command.get_arguments().filter(is_ours) {
            match arg.get_long() {
                // Switches without variables, described in words.
                Some("server" | "client") if path.starts_with("tunnel config") => {}
                Some(flag) => check_flag(path, flag, arg, &mut missing),
                None => assert!(arg.is_positional(), "{path}: every flag has a long form"),
            }
        }
    });
    assert!(missing.is_empty(), "not in docs/REFERENCE.md: {missing:#?}");
}

#[test]
fn no_flag_is_described_that_there_is_not() {
    let mut command = Invocation::command();
    command.build();
    let mut flags = BTreeSet::from(["--help".to_owned(), "--version".to_owned()]);
    walk(&command, "tunnel", &mut |_, command| {
        flags.extend(command.get_arguments().filter_map(Arg::get_long).map(|flag| format!("--{flag}")));
    });
    flags.extend(OF_FEATURES.map(str::to_owned));
    let described: BTreeSet<_> =
        firsts(REFERENCE).filter(|first| first.starts_with("--")).map(str::to_owned).collect();
    assert_eq!(described.difference(&flags).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(described.len() > 20, "the tables were found");
}

#[test]
fn every_event_and_code_is_described() {
    let events: BTreeSet<_> = firsts(EVENTS).collect();
    assert!(events.len() > 10, "the table was found");
    let names = events.into_iter().chain(Code::all().map(Code::name)).filter(|name| *name != "unknown");
    let missing: Vec<_> = names.filter(|name| rows(name).next().is_none()).collect();
    assert!(missing.is_empty(), "not in docs/REFERENCE.md: {missing:?}");
}
