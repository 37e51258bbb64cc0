//! Which keys there are and what they take, read off clap's definitions of the flags.

use std::{any::TypeId, collections::BTreeMap, ffi::OsString};

use clap::{
    Arg, ArgAction, Args, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{Setting, Side, Value};
use crate::{
    args::{Connection, SecretText},
    resolve::policies::Edit,
};

/// The kinds of tunnels, which are commands of the same names.
pub(crate) const KINDS: [&str; 4] = ["http", "tcp", "tls", "udp"];
/// What says where a tunnel leads, which commands take without a flag.
pub(crate) const UPSTREAM: &str = "upstream";
/// The commands whose flags are in a client's file.
const CLIENT: [&str; 6] = ["http", "tcp", "tls", "udp", "client", "start"];
/// Flags that are about one call of the program: in a file they would be about themselves.
const NO_SETTINGS: [&str; 4] = ["help", "version", "config", "all"];
/// How alike a mistyped word and a key must be, of 1.
const ALIKE: f64 = 0.8;

/// How a flag is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// `true` or `false`.
    Switch,
    /// One text or number.
    One,
    /// One or a list.
    Many,
}

/// A key of a file, which is a flag.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Its name in clap.
    pub(crate) id: String,
    /// Its flag; none for what is written without one.
    pub(crate) long: Option<String>,
    pub(crate) takes: Takes,
    /// Whether it may be shown.
    pub(crate) is_secret: bool,
    /// What the help says of one that clap knows no default of: `[default: …]`.
    pub(crate) default: Option<String>,
}

/// Keys by their names.
pub(crate) type Keys = BTreeMap<String, Key>;

impl Key {
    fn of(arg: &Arg) -> Option<(String, Self)> {
        let id = arg.get_id().as_str();
        let long = arg.get_long();
        if NO_SETTINGS.contains(&id) || (long.is_none() && id != UPSTREAM) {
            return None;
        }
        let takes = match arg.get_action() {
            ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count => Takes::Switch,
            ArgAction::Append => Takes::Many,
            _ => Takes::One,
        };
        let is_secret = is_secret(arg);
        let name = long.map_or_else(|| id.to_owned(), |long| long.replace('-', "_"));
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let default = help.rsplit_once("[default: ").and_then(|(_, rest)| rest.strip_suffix(']'));
        let default = default.map(str::to_owned);
        Some((name, Self { id: id.to_owned(), long: long.map(str::to_owned), takes, is_secret, default }))
    }

    /// What would be typed for a value.
    ///
    /// # Errors
    /// What it should be, in words.
    pub(crate) fn words(&self, value: &Value) -> Result<Vec<OsString>, String> {
        let flag = |text: &String| match &self.long {
            Some(long) => format!("--{long}={text}").into(),
            None => text.into(),
        };
        match (self.takes, value) {
            (Takes::Switch, Value::Switch(true)) => {
                Ok(self.long.iter().map(|l| format!("--{l}").into()).collect())
            }
            (Takes::Switch, Value::Switch(false)) => Ok(Vec::new()),
            (Takes::Switch, _) => Err("write true or false, without quotation marks".into()),
            (_, Value::Switch(_)) => Err("write a text in \"quotation marks\", or a number".into()),
            (Takes::One, Value::Many(_)) => Err("takes one value, no list".into()),
            (_, value) => Ok(value.texts().iter().map(flag).collect()),
        }
    }
}

/// Whether what an argument takes is for nobody's eyes.
pub(crate) fn is_secret(arg: &Arg) -> bool {
    let parser = arg.get_value_parser().type_id();
    parser == TypeId::of::<SecretText>() || parser == TypeId::of::<Edit>()
}

/// The keys of a command.
pub(crate) fn keys_of(root: &Command, command: &str) -> Keys {
    let command = root.find_subcommand(command).into_iter().flat_map(Command::get_arguments);
    command.chain(root.get_arguments()).filter_map(Key::of).collect()
}

/// The keys of a whole file, above its tables.
pub(crate) fn keys_of_side(root: &Command, side: Side) -> Keys {
    match side {
        Side::Server => keys_of(root, "server"),
        Side::Client => {
            let mut keys: Keys = CLIENT.iter().flat_map(|command| keys_of(root, command)).collect();
            keys.remove(UPSTREAM);
            keys
        }
    }
}

/// The keys of a tunnel's table, but for `kind`: those of its command that aren't about the whole client.
pub(crate) fn keys_of_tunnel(root: &Command, kind: &str) -> Keys {
    let client = Connection::augment_args(Command::new("client"));
    let mut keys = keys_of(root, kind);
    keys.retain(|_, key| {
        let is_clients = |arg: &Arg| arg.get_id().as_str() == key.id;
        !client.get_arguments().chain(root.get_arguments()).any(is_clients)
    });
    keys
}

/// The key that was meant, perhaps.
pub(crate) fn nearest<'a>(mistyped: &str, keys: impl IntoIterator<Item = &'a String>) -> Option<&'a str> {
    let alike = keys.into_iter().map(|key| (strsim::jaro_winkler(mistyped, key), key.as_str()));
    let best = alike.filter(|(score, _)| *score >= ALIKE).max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.map(|(_, key)| key)
}

/// What clap says of one value alone, read as a flag of `command`.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn check_value(root: &Command, command: &str, key: &Key, setting: &Setting) -> Result<(), String> {
    let words = key.words(&setting.value)?;
    let line = ["tunnel", command].map(OsString::from).into_iter().chain(words);
    let Err(error) = root.clone().try_get_matches_from(line) else { return Ok(()) };
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => {
            texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    };
    let value = if key.is_secret {
        "the value".to_owned()
    } else {
        format!("`{}`", context(ContextKind::InvalidValue))
    };
    match error.kind() {
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            // A reason that quotes it has said it all.
            if reason.contains(&value) { Err(reason) } else { Err(format!("{value}: {reason}")) }
        }
        ErrorKind::InvalidValue => Err(format!("{value} is none of {}", context(ContextKind::ValidValue))),
        ErrorKind::WrongNumberOfValues | ErrorKind::TooManyValues | ErrorKind::TooFewValues => {
            Err("takes another number of values".into())
        }
        // What else the flags need or exclude is asked for all of them together.
        _ => Ok(()),
    }
}
