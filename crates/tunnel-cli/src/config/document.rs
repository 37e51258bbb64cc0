//! What a file says, before anybody asks what it means: keys and values with their lines.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::variables::expand;
use crate::env::Environment;

/// The form that this program reads.
const VERSION: i64 = 1;

/// A file's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Document {
    /// Those above the tables.
    pub(crate) settings: Vec<Setting>,
    /// The tunnels, in the file's order.
    pub(crate) tunnels: Vec<Table>,
}

/// `[tunnel.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) settings: Vec<Setting>,
}

/// `key = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// What flags can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A switch, on or off.
    Switch(bool),
    /// One text, or a number as a text.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Value {
    /// The texts, if it isn't a switch.
    pub(crate) fn texts(&self) -> &[String] {
        match self {
            Self::Switch(_) => &[],
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// A line, and what is wrong with it.
pub(super) type Fault = (usize, String);

/// Reads a file's text: all that can be made out of it, and all that is wrong.
pub(super) fn read(text: &str, environment: Environment<'_>) -> (Document, Vec<Fault>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { lines: Lines::of(text), environment, faults: Vec::new() };
    for error in errors {
        let line = reader.lines.at(error.span().map_or(0, |span| span.start));
        reader.faults.push((line, error.message().lines().collect::<Vec<_>>().join(", ")));
    }
    let mut document = Document::default();
    let mut version = None;
    for (key, value) in in_order(root.get_ref()) {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("version", value) => version = Some((reader.lines.at(key.span().start), value.as_integer())),
            ("tunnel", DeValue::Table(tables)) => {
                document.tunnels =
                    in_order(tables).filter_map(|(name, table)| reader.table(name, table)).collect();
            }
            ("tunnel", _) => {
                let line = reader.lines.at(key.span().start);
                reader.faults.push((line, "tunnels are tables: [tunnel.NAME]".into()));
            }
            _ => document.settings.extend(reader.setting(key, value)),
        }
    }
    match version {
        None => reader.faults.push((1, format!("the first line must be `version = {VERSION}`"))),
        Some((line, number)) => {
            let number = number.and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
            if number != Some(VERSION) {
                let words = "this program reads files of version";
                reader
                    .faults
                    .push((line, format!("{words} {VERSION}; upgrade it, or write `version = {VERSION}`")));
            }
        }
    }
    reader.faults.sort();
    (document, reader.faults)
}

struct Reader<'a> {
    lines: Lines,
    environment: Environment<'a>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn table(&mut self, name: &Spanned<impl AsRef<str>>, table: &Spanned<DeValue<'_>>) -> Option<Table> {
        let line = self.lines.at(name.span().start);
        let name = name.get_ref().as_ref().to_owned();
        let DeValue::Table(settings) = table.get_ref() else {
            self.faults.push((line, format!("`{name}` must be a table: [tunnel.{name}]")));
            return None;
        };
        if name.is_empty() || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            self.faults.push((line, "a tunnel's name has no spaces and isn't empty".into()));
            return None;
        }
        let settings = in_order(settings).filter_map(|(key, value)| self.setting(key, value)).collect();
        Some(Table { name, line, settings })
    }

    fn setting(&mut self, key: &Spanned<impl AsRef<str>>, value: &Spanned<DeValue<'_>>) -> Option<Setting> {
        let line = self.lines.at(key.span().start);
        let key = key.get_ref().as_ref().to_owned();
        let read = match value.get_ref() {
            DeValue::Boolean(on) => Ok(Value::Switch(*on)),
            DeValue::Array(values) => values
                .iter()
                .map(|value| self.text(value.get_ref()))
                .collect::<Result<_, _>>()
                .map(Value::Many),
            one => self.text(one).map(Value::One),
        };
        match read {
            Ok(value) => Some(Setting { key, line, value }),
            Err(reason) => {
                self.faults.push((line, format!("`{key}`: {reason}")));
                None
            }
        }
    }

    fn text(&self, value: &DeValue<'_>) -> Result<String, String> {
        match value {
            DeValue::String(text) => expand(text, self.environment),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(|number| number.to_string())
                .map_err(|_| "the number is too large".into()),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::Boolean(_) => Err("write a text in \"quotation marks\"".into()),
            DeValue::Datetime(_) => Err("no setting is a date".into()),
            DeValue::Array(_) => Err("a list holds texts, no lists".into()),
            DeValue::Table(_) => Err("no setting is a table; only tunnels are: [tunnel.NAME]".into()),
        }
    }
}

/// In the order of the file, which the parser's own order isn't.
fn in_order<'a, 'i>(
    table: &'a DeTable<'i>,
) -> impl Iterator<Item = (&'a Spanned<std::borrow::Cow<'i, str>>, &'a Spanned<DeValue<'i>>)> {
    let entries: BTreeMap<_, _> = table.iter().map(|(key, value)| (key.span().start, (key, value))).collect();
    entries.into_values()
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of a byte, counted from 1.
    fn at(&self, byte: usize) -> usize {
        self.0.partition_point(|end| *end < byte) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<Fault> {
        read(text, &|_| None).1
    }

    #[test]
    fn keys_values_and_lines() {
        let text = "version = 1\nhold = 5\n\ntrusted_proxy = [\n  '10.0.0.0/8', '::1']\nplaintext = true\n\
                    [tunnel.web]\nkind = \"http\"\nbasic_auth = \"ann:${PW}\"\n[tunnel.\"a.b\"]\n";
        let (document, faults) = read(text, &|name| (name == "PW").then(|| "secret".into()));
        assert_eq!(faults, []);
        let setting = |key: &str, line, value| Setting { key: key.into(), line, value };
        let many = Value::Many(vec!["10.0.0.0/8".into(), "::1".into()]);
        assert_eq!(
            document.settings,
            [
                setting("hold", 2, Value::One("5".into())),
                setting("trusted_proxy", 4, many),
                setting("plaintext", 6, Value::Switch(true)),
            ]
        );
        let [web, other] = &document.tunnels[..] else { panic!("{document:?}") };
        assert_eq!((web.name.as_str(), web.line, other.name.as_str(), other.line), ("web", 7, "a.b", 10));
        assert_eq!(web.settings[1], setting("basic_auth", 9, Value::One("ann:secret".into())));
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let text = "hold = \n[tunnel.a b]\nversion = 2\nx = 1979-05-27\ny = \"${NO}\"\n[tunnel]\nz = 1\n";
        let faults = faults(text);
        assert!(faults.len() >= 2 && faults[0].0 == 1, "{faults:?}");
        for (text, line, words) in [
            ("", 1, "must be `version = 1`"),
            ("hold = 1\n", 1, "must be `version = 1`"),
            ("version = 2", 1, "of version 1"),
            ("version = \"1\"", 1, "of version 1"),
            ("version = 1\nx = 1979-05-27", 2, "`x`: no setting is a date"),
            ("version = 1\n\ny = [\"a\", \"${NO}\"]", 3, "`y`: the variable NO is not set"),
            ("version = 1\ntunnel = 5", 2, "[tunnel.NAME]"),
            ("version = 1\n[tunnel]\nweb = 5", 3, "[tunnel.web]"),
            ("version = 1\n[server]\nhold = 5", 2, "only tunnels are"),
            ("version = 1\nhold = 1\nhold = 2", 3, "duplicate"),
            ("version = 1\n[tunnel.\"a b\"]", 2, "no spaces"),
        ] {
            let faults = self::faults(text);
            assert!(
                matches!(&faults[..], [(at, said)] if *at == line && said.contains(words)),
                "{text}: {faults:?}"
            );
        }
    }
}
