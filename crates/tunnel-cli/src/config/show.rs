//! What counts in the end, and why: each setting of a command with its value and where that came from.

use std::path::Path;

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::{
    Origin, Sources,
    schema::{Key, Takes, keys_of},
};

/// One setting as it counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) key: String,
    /// Null if it isn't set; secrets are left out.
    pub(crate) value: Value,
    /// In words.
    pub(crate) from: String,
    /// What counts if it isn't set, as far as the help can say.
    pub(crate) default: Option<String>,
}

/// What stands for a secret.
pub(crate) const REDACTED: &str = "(secret)";

/// Where a value is from that nobody has set.
const DEFAULT: &str = "default";

/// The settings of a command, as clap read them.
pub(crate) fn show(
    root: &Command,
    command: &str,
    matches: &ArgMatches,
    sources: Sources<'_>,
    file: Option<&Path>,
) -> Vec<Shown> {
    let keys = keys_of(root, command);
    let shown = keys.iter().map(|(name, key)| {
        let variable = format!("TUNNEL_{}", name.to_uppercase());
        let from = match sources.of(&key.id) {
            None => "not set".into(),
            Some(Origin::Default) => DEFAULT.into(),
            Some(Origin::Flag) => "flag".into(),
            Some(Origin::Variable) => variable,
            Some(Origin::File(line)) => place(file, line),
        };
        Shown { key: name.clone(), value: value(key, matches), from, default: key.default.clone() }
    });
    shown.collect()
}

/// A line of a file, for people.
pub(crate) fn place(file: Option<&Path>, line: usize) -> String {
    format!("{}:{line}", file.unwrap_or(Path::new("?")).display())
}

fn value(key: &Key, matches: &ArgMatches) -> Value {
    if key.takes == Takes::Switch {
        return json!(matches.get_flag(&key.id));
    }
    let Some(raw) = matches.get_raw(&key.id) else { return Value::Null };
    let texts: Vec<_> = raw
        .map(|raw| if key.is_secret { REDACTED.to_owned() } else { raw.to_string_lossy().into_owned() })
        .collect();
    match key.takes {
        Takes::Many => json!(texts),
        _ => texts.first().map_or(Value::Null, |text| json!(text)),
    }
}

impl Shown {
    /// For people, and as a file may have it: the key, the value, and where it is from. What nobody has set is no
    /// setting, since some of them need others; nor is what is not to be shown.
    pub(crate) fn line(&self) -> String {
        let Self { key, value, from, default } = self;
        let is_secret = match value {
            Value::Array(texts) => texts.iter().any(|text| text == REDACTED),
            value => value == REDACTED,
        };
        match (value, default) {
            (Value::Null, Some(default)) => format!("#{key} =  # default: {default}"),
            (Value::Null, None) => format!("#{key} =  # {from}"),
            (value, _) if is_secret || from == DEFAULT => format!("#{key} = {value}  # {from}"),
            (value, _) => format!("{key} = {}  # {from}", written(value)),
        }
    }

    /// The same of a setting that has no place above a file's tables.
    pub(crate) fn remark(&self) -> String {
        format!("#{}", self.line().trim_start_matches('#'))
    }
}

/// In a file `$` may begin a variable.
fn written(value: &Value) -> String {
    let text = value.to_string();
    if text.contains("${") || text.contains("$$") { text.replace('$', "$$") } else { text }
}
