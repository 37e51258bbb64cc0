//! The one place that decides which source of a value counts: a typed flag, then a variable, then the file. (What
//! `tunnel login` saved comes after them, in `resolve`, and then the default.)
//!
//! The command line is read twice: first to see what was typed and what variables say, and then with what the file
//! adds to that.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, Command, parser::ValueSource};

use super::{
    DefaultPlaces, Document, FromFile, Problem, Setting, Side, Table, load,
    schema::{UPSTREAM, keys_of, keys_of_side, keys_of_tunnel},
};
use crate::{
    env::Environment,
    state::{files, stamp::Stamp},
};

/// A command line with what its file adds.
#[derive(Debug)]
pub(crate) struct Layered {
    pub(crate) arguments: Vec<OsString>,
    pub(crate) file: FromFile,
}

/// Adds to a command line what its file says and neither flags nor variables do.
///
/// # Errors
/// All that is wrong with the file.
pub(crate) fn layer(
    root: &Command,
    arguments: Vec<OsString>,
    environment: Environment<'_>,
    places: DefaultPlaces<'_>,
) -> Result<Layered, Vec<Problem>> {
    let typed = root.clone().ignore_errors(true).try_get_matches_from(&arguments);
    let command = typed.as_ref().ok().and_then(ArgMatches::subcommand);
    // Whatever else is wrong is told when it is read in earnest.
    let Some((name, typed)) = command.filter(|(name, typed)| reads_a_file(root, name, typed)) else {
        return Ok(Layered { arguments, file: FromFile::default() });
    };
    let side = if name == "server" { Side::Server } else { Side::Client };
    let named = typed.get_raw("config").and_then(|mut raw| raw.next()).map(PathBuf::from);
    let Some(mut file) = open(root, named, side, environment, places)? else {
        return Ok(Layered { arguments, file: FromFile::default() });
    };
    let keys = keys_of(root, name);
    let is_open = |id: &str| matches!(typed.value_source(id), None | Some(ValueSource::DefaultValue));
    let mut words = Vec::new();
    for Setting { key, line, value } in &file.document.settings {
        if let Some(key) = keys.get(key).filter(|key| is_open(&key.id)) {
            words.extend(key.words(value).unwrap_or_default());
            file.lines.insert(key.id.clone(), *line);
        }
    }
    let mut arguments = arguments;
    let at = after_subcommand(root, &arguments);
    arguments.splice(at..at, words);
    Ok(Layered { arguments, file })
}

/// Whether a command has settings, which what makes the file in the first place has not.
fn reads_a_file(root: &Command, name: &str, typed: &ArgMatches) -> bool {
    let command = root.find_subcommand(name);
    typed.subcommand_name() != Some("init")
        && command.is_some_and(|command| command.get_arguments().any(|arg| arg.get_id() == "config"))
}

/// The file that was named, which must be there, or else the one in the default place, if it is there.
fn open(
    root: &Command,
    named: Option<PathBuf>,
    side: Side,
    environment: Environment<'_>,
    places: DefaultPlaces<'_>,
) -> Result<Option<FromFile>, Vec<Problem>> {
    let must_be_there = named.is_some();
    let Some(path) = named.or_else(|| places(side)).filter(|path| path != Path::new("none")) else {
        return Ok(None);
    };
    let stamp = Stamp::of(&path);
    if stamp.is_none() && !must_be_there {
        return Ok(Some(FromFile { path: Some(path), ..FromFile::default() }));
    }
    let (document, problems) = load(root, &path, side, environment);
    if !problems.is_empty() {
        return Err(problems);
    }
    let warnings = warning(root, &path, side, &document).into_iter().collect();
    Ok(Some(FromFile { path: Some(path), stamp, document, warnings, ..FromFile::default() }))
}

/// A file that holds secrets is for its owner's eyes.
fn warning(root: &Command, path: &Path, side: Side, document: &Document) -> Option<String> {
    let keys = keys_of_side(root, side);
    let tables = document.tunnels.iter().flat_map(|table| &table.settings);
    let is_secret = |setting: &Setting| keys.get(&setting.key).is_some_and(|key| key.is_secret);
    let secret = document.settings.iter().chain(tables).find(|setting| is_secret(setting))?;
    let mode = files::open_to_others(path)?;
    let path = path.display();
    Some(format!(
        "others on this machine can read {path} (mode {mode:03o}), and with it `{}`; run: chmod 600 {path}",
        secret.key
    ))
}

/// Where a command's own flags may begin: behind its name, which stands behind the flags of all commands.
fn after_subcommand(root: &Command, arguments: &[OsString]) -> usize {
    let takes_value = |flag: &str| {
        let mut args = root.get_arguments();
        args.any(|arg| arg.get_long() == Some(flag) && arg.get_action().takes_values())
    };
    let mut at = 1;
    while let Some(argument) = arguments.get(at).map(|argument| argument.to_string_lossy()) {
        at += 1;
        match argument.strip_prefix("--") {
            Some(flag) if takes_value(flag) => at += 1,
            Some(_) => {}
            None if argument.starts_with('-') => {}
            None => break,
        }
    }
    at.min(arguments.len())
}

/// The command line of one of a file's tunnels: its table, and what stands above the tables for all that know it. With
/// the line on which each value stands, by clap's names.
pub(crate) fn tunnel_words(
    root: &Command,
    document: &Document,
    table: &Table,
) -> (Vec<OsString>, BTreeMap<String, usize>) {
    let text = |key: &str| {
        let setting = table.settings.iter().find(|setting| setting.key == key)?;
        setting.value.texts().first().cloned()
    };
    let kind = text("kind").unwrap_or_default();
    let keys = keys_of_tunnel(root, &kind);
    let says = |key: &str| table.settings.iter().any(|setting| setting.key == key);
    let names_host = says("subdomain") || says("domain");
    let for_all = document.settings.iter().filter(|setting| {
        let is_host = ["subdomain", "domain"].contains(&setting.key.as_str());
        let is_overruled = says(&setting.key) || (is_host && names_host);
        !is_overruled
    });
    let own = table.settings.iter().filter(|setting| setting.key != UPSTREAM);
    let mut line: Vec<OsString> = vec!["tunnel".into(), kind.into()];
    let mut lines = BTreeMap::new();
    for setting in for_all.chain(own) {
        if let Some(key) = keys.get(&setting.key) {
            line.extend(key.words(&setting.value).unwrap_or_default());
            lines.insert(key.id.clone(), setting.line);
        }
    }
    line.push("--".into());
    for setting in table.settings.iter().filter(|setting| setting.key == UPSTREAM) {
        line.extend(setting.value.texts().first().map(OsString::from));
        lines.insert(UPSTREAM.into(), setting.line);
    }
    (line, lines)
}

#[cfg(test)]
mod tests;
