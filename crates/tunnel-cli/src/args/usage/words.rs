//! What clap found, in a sentence.

use std::error::Error;

use clap::{
    Arg, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::typed::Typed;
use crate::config::{is_secret, nearest};

/// What may be given in the place of what is missing, or how it looks; by command (any, if it is empty) and argument.
const HINTS: [(&str, &str, &str); 4] = [
    ("", "UPSTREAM", " such as 3000"),
    ("start", "NAME", ", or --all"),
    ("reserve", "NAME", ", or --list"),
    ("reserve", "--for TOKEN", ", or --release"),
];
/// With more commands than this not all are named that have a flag.
const FEW: usize = 6;

/// The sentence for an error.
pub(super) fn say(error: &clap::Error, typed: &Typed<'_>) -> String {
    let of = |kind| texts(error, kind);
    let first = |kind| of(kind).into_iter().next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(&first(ContextKind::InvalidArg), typed),
        ErrorKind::InvalidSubcommand => no_command(&first(ContextKind::InvalidSubcommand), typed),
        ErrorKind::MissingSubcommand => missing_command(typed),
        ErrorKind::MissingRequiredArgument => missing(&of(ContextKind::InvalidArg), typed),
        ErrorKind::ArgumentConflict if error.get(ContextKind::InvalidArg).is_some() => {
            conflict(&first(ContextKind::InvalidArg), &of(ContextKind::PriorArg), typed)
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => value(error, typed),
        ErrorKind::TooManyValues => {
            let flag = plain(&first(ContextKind::InvalidArg));
            format!("{} takes no value: write it alone, or leave it out", typed.origin(&flag))
        }
        ErrorKind::InvalidUtf8 => "a word of the command line isn't UTF-8".into(),
        _ => first_paragraph(error),
    }
}

/// A flag or word that has no place here.
fn unknown(word: &str, typed: &Typed<'_>) -> String {
    let name = typed.name();
    if !word.starts_with('-') || word == "-" {
        return format!("`{word}` is a word too many for `{name}`");
    }
    if typed.is_behind_dashes(word) {
        return format!("`{word}` is a word too many for `{name}`: behind `--` it is no flag");
    }
    if let Some((joined, words)) = typed.with_number_joined(word) {
        // Read as the value that was meant, it is told what is wrong with that.
        return match typed.root().clone().try_get_matches_from(&words) {
            Err(error) if error.kind() == ErrorKind::ValueValidation => {
                value(&error, &Typed::read(typed.root(), &words))
            }
            _ => format!("there is no flag {word}; if it is a value, write {joined}"),
        };
    }
    let Some(long) = word.strip_prefix("--") else { return format!("`{name}` has no flag {word}") };
    if typed.flag(word).is_some() {
        return format!("{word} goes behind `{name}`");
    }
    let others = typed.others_with(long);
    if !others.is_empty() {
        return if typed.is_bare() {
            format!("{word} goes behind a command that has it: {}", some(&others, "or"))
        } else {
            format!("`{name}` has no {word}; {} {}", some(&others, "and"), has(&others))
        };
    }
    let own = typed.args().filter_map(Arg::get_long).chain(["help", "version"]);
    let own: Vec<_> = own.map(str::to_owned).collect();
    match nearest(long, &own) {
        Some(meant) => format!("there is no flag {word}; did you mean --{meant}?"),
        None => format!("there is no flag {word}"),
    }
}

fn no_command(word: &str, typed: &Typed<'_>) -> String {
    let names: Vec<_> = commands(typed).collect();
    let whose = if typed.is_bare() { String::new() } else { format!(" of `{}`", typed.name()) };
    match nearest(word, &names) {
        Some(meant) => format!("there is no command `{word}`{whose}; did you mean `{meant}`?"),
        None => format!("there is no command `{word}`{whose}"),
    }
}

fn missing_command(typed: &Typed<'_>) -> String {
    if typed.is_bare() {
        return "no command was given".into();
    }
    format!("`{}` needs a command: {}", typed.name(), listed(&commands(typed).collect::<Vec<_>>(), "or"))
}

fn commands(typed: &Typed<'_>) -> impl Iterator<Item = String> {
    typed.command().get_subcommands().map(Command::get_name).filter(|name| *name != "help").map(str::to_owned)
}

/// What isn't there and must be.
fn missing(what: &[String], typed: &Typed<'_>) -> String {
    let name = typed.name();
    let needed: Vec<_> = what.iter().map(|what| what.replace(['<', '>', '[', ']', '.'], "")).collect();
    let must_be = |needed: &String| {
        let flag = needed.split(' ').next().unwrap_or_default();
        typed.flag(flag).is_none_or(Arg::is_required_set)
    };
    let hint = HINTS.iter().find(|(command, argument, _)| {
        (command.is_empty() || *command == name) && needed.iter().any(|needed| needed == argument)
    });
    let described: Vec<_> = needed.iter().map(|needed| described(needed, typed)).collect();
    match hint {
        Some((_, _, hint)) => format!("`{name}` needs {}{hint}", listed(&described, "and")),
        // What another flag asks for; clap doesn't say which one.
        None if !needed.iter().any(must_be) => {
            format!("what was given needs {} as well", listed(&described, "and"))
        }
        None => format!("`{name}` needs {}", listed(&described, "and")),
    }
}

/// The name of an argument, with what it can be if that is little.
fn described(needed: &str, typed: &Typed<'_>) -> String {
    let named =
        |arg: &&Arg| arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == needed));
    let possible = typed.command().get_positionals().find(named).map(Arg::get_possible_values);
    let possible: Vec<_> =
        possible.unwrap_or_default().iter().map(|value| value.get_name().to_owned()).collect();
    if possible.is_empty() { needed.to_owned() } else { format!("{needed}: {}", listed(&possible, "or")) }
}

fn conflict(one: &str, others: &[String], typed: &Typed<'_>) -> String {
    let origin = |flag: &str| typed.origin(&plain(flag)).into_owned();
    let (one, others) = (origin(one), others.iter().map(|flag| origin(flag)).collect::<Vec<_>>());
    match &others[..] {
        [other] if *other == one => format!("{one} can be given once only"),
        [other] => format!("{one} and {other} can't both be given; leave one out"),
        _ => format!("{one} can't be given along with {}; leave one side out", listed(&others, "and")),
    }
}

/// A value that can't be, by its flag or the variable it is from.
fn value(error: &clap::Error, typed: &Typed<'_>) -> String {
    let first = |kind| texts(error, kind).into_iter().next().unwrap_or_default();
    let (argument, given) = (first(ContextKind::InvalidArg), first(ContextKind::InvalidValue));
    let flag = plain(&argument);
    let origin = typed.origin(&flag);
    let valid = texts(error, ContextKind::ValidValue);
    let reason = match error.source() {
        Some(reason) => reason.to_string(),
        None if given.is_empty() && *origin == flag => {
            let how = argument.replace(['<', '>'], "");
            let which = if valid.is_empty() { String::new() } else { format!(", {}", listed(&valid, "or")) };
            return format!("{flag} needs a value: {how}{which}");
        }
        None => format!("write {}", listed(&valid, "or")),
    };
    let is_secret = typed.flag(&flag).is_some_and(is_secret);
    match given {
        // A reason that quotes it has said it all.
        given if reason.contains(&format!("`{given}`")) && !is_secret => format!("{origin}: {reason}"),
        given if !is_secret && !given.is_empty() => format!("{origin} can't be `{given}`: {reason}"),
        _ => format!("{origin}: {reason}"),
    }
}

fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// `--hold` of `--hold <TIME>`, `NAME` of `[NAME]...`.
fn plain(argument: &str) -> String {
    argument.split(' ').next().unwrap_or_default().replace(['<', '>', '[', ']', '.'], "")
}

/// `a, b and c`.
fn listed(all: &[String], last: &str) -> String {
    match all {
        [before @ .., end] if !before.is_empty() => format!("{} {last} {end}", before.join(", ")),
        _ => all.concat(),
    }
}

/// All of a few; of many the first.
fn some(all: &[String], last: &str) -> String {
    if all.len() <= FEW { listed(all, last) } else { format!("{} {last} others", all[..FEW / 2].join(", ")) }
}

fn has(all: &[String]) -> &'static str {
    if all.len() == 1 { "has" } else { "have" }
}

/// What is rare enough to be told in clap's own words.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let lines = paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    lines.strip_prefix("error: ").unwrap_or(&lines).to_owned()
}
