//! What was typed, as far as it can be understood where clap gave up: the command, and where a flag's value came from.

use std::{borrow::Cow, ffi::OsString};

use clap::{Arg, Command};

/// A command line.
pub(super) struct Typed<'a> {
    root: &'a Command,
    /// From the outermost command to the one that was meant.
    path: Vec<&'a Command>,
    words: &'a [OsString],
}

impl<'a> Typed<'a> {
    pub(super) fn read(root: &'a Command, words: &'a [OsString]) -> Self {
        let mut typed = Self { root, path: Vec::new(), words };
        let mut rest = words.iter().skip(1).map(|word| word.to_string_lossy());
        while let Some(word) = rest.next() {
            if word.starts_with('-') {
                if typed.flag(&word).is_some_and(|arg| arg.get_action().takes_values()) {
                    rest.next();
                }
            } else if let Some(command) = typed.command().find_subcommand(word.as_ref()) {
                typed.path.push(command);
            } else {
                break;
            }
        }
        typed
    }

    pub(super) fn root(&self) -> &'a Command {
        self.root
    }

    /// The innermost command.
    pub(super) fn command(&self) -> &'a Command {
        self.path.last().copied().unwrap_or(self.root)
    }

    /// Whether there is none but the program itself.
    pub(super) fn is_bare(&self) -> bool {
        self.path.is_empty()
    }

    /// `http`, `token create`; `tunnel` for none.
    pub(super) fn name(&self) -> String {
        match self.path.iter().map(|command| command.get_name()).collect::<Vec<_>>() {
            names if names.is_empty() => self.root.get_name().to_owned(),
            names => names.join(" "),
        }
    }

    /// The command that shows how this one is used.
    pub(super) fn help(&self) -> String {
        let names: Vec<_> = self.path.iter().map(|command| command.get_name()).collect();
        [&["tunnel"], &names[..], &["--help"]].concat().join(" ")
    }

    /// What can be typed for the command: its own, and those of all commands below another.
    pub(super) fn args(&self) -> impl Iterator<Item = &'a Arg> + use<'a> {
        let above = std::iter::once(self.root).chain(self.path.clone());
        let global = above.flat_map(Command::get_arguments).filter(|arg| arg.is_global_set());
        self.command().get_arguments().chain(global)
    }

    /// The argument of `--flag`.
    pub(super) fn flag(&self, flag: &str) -> Option<&'a Arg> {
        self.args().find(|arg| arg.get_long().is_some_and(|long| flag.strip_prefix("--") == Some(long)))
    }

    /// The other commands that have a flag.
    pub(super) fn others_with(&self, long: &str) -> Vec<String> {
        let mut found = Vec::new();
        search(self.root, "", long, &mut found);
        found
    }

    /// Whether a word stands where flags aren't read.
    pub(super) fn is_behind_dashes(&self, word: &str) -> bool {
        let at = |what: &str| self.words.iter().position(|word| word == what);
        matches!((at("--"), at(word)), (Some(dashes), Some(word)) if dashes < word)
    }

    /// Who is to blame for a flag's value: the flag if it was typed, or else its variable.
    pub(super) fn origin<'b>(&self, flag: &'b str) -> Cow<'b, str> {
        let is_typed =
            self.words.iter().map(|word| word.to_string_lossy()).any(|word| {
                word.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            });
        let variable = self.flag(flag).filter(|_| !is_typed).and_then(Arg::get_env);
        variable.map_or(flag.into(), |name| name.to_string_lossy().into_owned().into())
    }

    /// The same line with a negative number as what it was meant to be: `--hold=-5` for `--hold -5`, with that flag.
    pub(super) fn with_number_joined(&self, found: &str) -> Option<(String, Vec<OsString>)> {
        let is_number = found.strip_prefix('-')?.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let text = |word: &OsString| word.to_string_lossy().into_owned();
        let at = self.words.windows(2).position(|pair| {
            let takes = self.flag(&text(&pair[0])).is_some_and(|arg| arg.get_action().takes_values());
            takes && text(&pair[1]).starts_with(found)
        });
        let at = at.filter(|_| is_number)?;
        let joined = format!("{}={}", text(&self.words[at]), text(&self.words[at + 1]));
        let mut words = self.words.to_vec();
        words.splice(at..=at + 1, [OsString::from(&joined)]);
        Some((joined, words))
    }
}

fn search(command: &Command, above: &str, long: &str, found: &mut Vec<String>) {
    for command in command.get_subcommands() {
        let name = format!("{above}{}", command.get_name());
        if command.get_arguments().any(|arg| arg.get_long() == Some(long)) {
            found.push(name.clone());
        }
        search(command, &format!("{name} "), long, found);
    }
}
