//! Which source counts, that each flag can be in a file, and that it means the same there.

use std::{ffi::OsString, fs, path::Path};

use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory};

use super::super::schema::{KINDS, keys_of, keys_of_side, keys_of_tunnel};
use crate::{
    args::{self, Invocation, Usage, innermost, parse_tunnel},
    config::{FromFile, Side, Sources, load, show, tunnel_words},
};

/// Each variable reads as empty, that is as not set: tests don't depend on where they run.
const NOTHING: fn(&str) -> Option<OsString> = |_| Some(OsString::new());

fn write(directory: &Path, text: &str) -> std::path::PathBuf {
    let path = directory.join("a.toml");
    fs::write(&path, format!("version = 1\n{text}")).unwrap();
    path
}

fn read(line: &str, file: &Path) -> Result<(ArgMatches, FromFile), Usage> {
    let words = format!("tunnel {line}");
    let words = words.split_whitespace().map(OsString::from);
    args::matches(words.chain(["--config".into(), file.into()]), &NOTHING, &|_| None)
}

/// A value that a flag takes: the one of the table, or one that fits what clap knows of it.
fn example(arg: &Arg) -> String {
    let values = arg.get_possible_values();
    if let Some(value) = values.last() {
        return value.get_name().to_owned();
    }
    let known = [
        ("domain", "a.example"),
        ("bind", "127.0.0.1"),
        ("tcp_ports", "5-6"),
        ("udp_ports", "none"),
        ("local", "3000"),
        ("upstream", "3000"),
        ("remote_port", "7"),
        ("path", "/api"),
        ("request_header", "X-A: ${NO}"),
        ("basic_auth", "ann:pa$$word"),
        ("upstream_ca", "ca.pem"),
        ("bandwidth", "10MB/s"),
        ("rate_limit", "5/s"),
        ("otlp_sample", "0.01"),
    ];
    let named = known.iter().find(|(id, _)| arg.get_id().as_str() == *id);
    named.map_or("", |(_, value)| value).to_owned()
}

/// Values to try for a flag nobody knows: one of them fits each kind of flag there is.
const CANDIDATES: [&str; 13] = [
    "5",
    "10s",
    "x",
    "10.0.0.0/8",
    "a.example",
    "5-6",
    "3000",
    "5/s",
    "10MB/s",
    "512MiB",
    "X-A: b",
    "127.0.0.1",
    "http://a.example",
];

/// A text that clap takes for a flag of a command.
fn fitting(command: &str, arg: &Arg) -> String {
    let root = Invocation::command();
    let flag = arg.get_long().unwrap();
    let fits = |value: &&str| {
        let words = ["tunnel".to_owned(), command.to_owned(), format!("--{flag}={value}")];
        let read = root.clone().try_get_matches_from(words);
        read.err().is_none_or(|error| {
            use clap::error::ErrorKind::{InvalidValue, ValueValidation};
            !matches!(error.kind(), InvalidValue | ValueValidation)
        })
    };
    let known = example(arg).replace("${NO}", "b").replace("$$", "$");
    if !known.is_empty() {
        return known;
    }
    (*CANDIDATES.iter().find(|value| fits(value)).unwrap_or_else(|| panic!("nothing fits --{flag}")))
        .to_owned()
}

fn settings(command: &Command) -> impl Iterator<Item = &Arg> {
    let no_settings = ["help", "version", "config", "all"];
    command
        .get_arguments()
        .filter(move |arg| arg.get_long().is_some() && !no_settings.contains(&arg.get_id().as_str()))
}

/// What clap makes of a flag, all values.
fn raw(matches: &ArgMatches, arg: &Arg) -> Vec<OsString> {
    let values = innermost(matches).get_raw(arg.get_id().as_str());
    values.map(|values| values.map(OsString::from).collect()).unwrap_or_default()
}

#[test]
fn every_flag_of_both_sides_can_be_in_a_file_and_means_the_same_there() {
    let home = tempfile::tempdir().unwrap();
    let root = Invocation::command();
    for command in ["server", "http", "tcp", "tls", "udp", "client"] {
        for arg in settings(root.find_subcommand(command).unwrap()) {
            let flag = arg.get_long().unwrap();
            let key = flag.replace('-', "_");
            let side = if command == "server" { Side::Server } else { Side::Client };
            let (typed, written) = if arg.get_action().takes_values() {
                let value = fitting(command, arg);
                let quoted = format!("{:?}", value.replace('$', "$$"));
                let written = match arg.get_action() {
                    ArgAction::Append => format!("{key} = [{quoted}]"),
                    _ => format!("{key} = {quoted}"),
                };
                (format!("--{flag}={value}"), written)
            } else {
                (format!("--{flag}"), format!("{key} = true"))
            };
            let path = write(home.path(), &written);
            let (_, problems) = load(&root, &path, side, &NOTHING);
            assert!(problems.is_empty(), "{command}: {written}: {problems:?}");
            // Without what else the flags need, which isn't the question here.
            let lenient = root.clone().ignore_errors(true);
            let typed = lenient.clone().try_get_matches_from(["tunnel", command, &typed]).unwrap();
            let layered = super::layer(
                &root,
                ["tunnel", command, "--config", path.to_str().unwrap()].map(OsString::from).into(),
                &NOTHING,
                &|_| None,
            );
            let layered = lenient.try_get_matches_from(layered.unwrap().arguments).unwrap();
            assert_eq!(raw(&typed, arg), raw(&layered, arg), "{command}: {written}");
            assert!(!raw(&layered, arg).is_empty(), "{command}: {written}");
        }
    }
}

#[test]
fn every_flag_of_a_tunnel_can_be_in_its_table() {
    let home = tempfile::tempdir().unwrap();
    let root = Invocation::command();
    for kind in KINDS {
        let command = root.find_subcommand(kind).unwrap();
        let keys = keys_of_tunnel(&root, kind);
        assert!(
            keys.contains_key("allow_cidr") && !keys.contains_key("server") && !keys.contains_key("verbose")
        );
        for arg in
            settings(command).filter(|arg| keys.contains_key(&arg.get_long().unwrap().replace('-', "_")))
        {
            let key = arg.get_long().unwrap().replace('-', "_");
            let value = if arg.get_action().takes_values() {
                format!("{:?}", fitting(kind, arg).replace('$', "$$"))
            } else {
                "true".into()
            };
            let text = format!("[tunnel.a]\nkind = \"{kind}\"\nupstream = 3000\n{key} = {value}\n");
            let path = write(home.path(), &text);
            let (document, problems) = load(&root, &path, Side::Client, &NOTHING);
            assert!(problems.is_empty(), "{text}: {problems:?}");
            let (words, lines) = tunnel_words(&root, &document, &document.tunnels[0]);
            assert_eq!(lines.get(arg.get_id().as_str()), Some(&5), "{text}");
            parse_tunnel(&words).unwrap_or_else(|usage| panic!("{text}: {}", usage.line()));
        }
    }
}

#[test]
fn flags_count_before_variables_and_those_before_the_file() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), "hold = 1\nlease = \"2s\"\nmax_visitors = 7\nplaintext = false\n");
    let (matches, file) = read("server --hold 5s", &path).unwrap();
    let matches = innermost(&matches);
    let text = |id: &str| matches.get_raw(id).unwrap().next().unwrap().to_str().unwrap().to_owned();
    assert_eq!([text("hold"), text("lease"), text("max_visitors")], ["5s", "2s", "7"]);
    assert_eq!(file.lines.get("hold"), None, "it doesn't count");
    assert_eq!(file.lines.get("lease"), Some(&3));
    let root = Invocation::command();
    let shown = show(&root, "server", matches, Sources::new(matches, &file.lines), file.read());
    let of = |key: &str| shown.iter().find(|shown| shown.key == key).unwrap().from.clone();
    assert_eq!(of("hold"), "flag");
    assert!(of("lease").ends_with("a.toml:3") && of("plaintext").ends_with("a.toml:5"), "{}", of("lease"));
    assert_eq!([of("grace"), of("cert")], ["default", "not set"]);
}

#[test]
fn what_flags_need_and_exclude_holds_for_files() {
    let home = tempfile::tempdir().unwrap();
    for (text, line, words) in [
        ("redirect_https = true", "server", "--cert"),
        (
            "control_cert = \"c\"\ncontrol_key = \"k\"\n",
            "server --plaintext",
            "--plaintext can't both be given",
        ),
    ] {
        let error = read(line, &write(home.path(), text)).unwrap_err().line();
        assert!(error.contains(words), "{error}");
    }
    let path = write(home.path(), "cert = \"c\"\nkey = \"k\"\nhttps_port = 0\n");
    assert!(read("server --redirect-https", &path).is_ok(), "what a flag needs may be in the file");
    let path = write(home.path(), "token = \"a\"\ntoken_file = \"b\"\n");
    let start = |line: &str| {
        let words = format!("tunnel {line}");
        let words = words.split_whitespace().map(OsString::from).chain(["--config".into(), (&path).into()]);
        args::parse_with(words, &NOTHING, &|_| None)
    };
    assert!(start("http 3000").is_err(), "one too many");
    assert!(start("http 3000 --token-file c").is_ok(), "a flag decides");
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_the_nearest_key() {
    let home = tempfile::tempdir().unwrap();
    let root = Invocation::command();
    for (side, text, line, words) in [
        (Side::Server, "hodl = 5", 2, "unknown key `hodl`; did you mean `hold`?"),
        (Side::Server, "subdomain = \"a\"", 2, "it is a setting of clients"),
        (Side::Server, "hold = \"soon\"", 2, "`hold`: `soon`: write a time such as"),
        (Side::Server, "auth = \"maybe\"", 2, "`auth`: `maybe` is none of `token`, `none`"),
        (Side::Server, "hold = [1, 2]", 2, "`hold`: takes one value, no list"),
        (Side::Server, "plaintext = \"yes\"", 2, "write true or false"),
        (Side::Server, "hold = true", 2, "write a text"),
        (Side::Server, "config = \"x\"", 2, "unknown key `config`"),
        (Side::Server, "[tunnel.a]", 2, "a server has no tunnels"),
        (Side::Client, "hold = 1", 2, "it is a setting of the server"),
        (Side::Client, "upstream = 1", 2, "it belongs into a table"),
        (Side::Client, "[tunnel.a]\nkind = \"ftp\"", 3, "needs a `kind`"),
        (Side::Client, "[tunnel.a]\nkind = \"http\"", 2, "needs an `upstream`"),
        (
            Side::Client,
            "[tunnel.a]\nkind = \"udp\"\nupstream = 1\nsubdomian = \"x\"",
            5,
            "unknown key `subdomian`",
        ),
        (
            Side::Client,
            "[tunnel.a]\nkind = \"udp\"\nupstream = 1\nsubdomain = \"x\"",
            5,
            "kind udp has none; http, tls has",
        ),
        (
            Side::Client,
            "[tunnel.a]\nkind = \"udp\"\nupstream = 1\nserver = \"x\"",
            5,
            "write it above the first table",
        ),
        (Side::Client, "[tunnel.a]\nkind = \"http\"\nupstream = \"ftp://x\"", 4, "`upstream`: `ftp://x`"),
        (
            Side::Client,
            "[tunnel.a]\nkind = \"http\"\nupstream = 1\nrequest_header = \"hunter2\"",
            5,
            "the value: ",
        ),
    ] {
        let (_, problems) = load(&root, &write(home.path(), text), side, &NOTHING);
        let [problem] = &problems[..] else { panic!("{text}: {problems:?}") };
        let said = problem.to_string();
        assert!(said.contains(&format!("a.toml:{line}: ")) && said.contains(words), "{text}: {said}");
        assert!(!said.contains("hunter2") && !said.contains('\n'), "{said}");
    }
    let (_, problems) =
        load(&root, &write(home.path(), "a = 1\nhold = \"x\"\nb = 2"), Side::Server, &NOTHING);
    assert_eq!(problems.len(), 3, "all are told: {problems:?}");
}

#[test]
fn a_setting_above_the_tables_counts_for_every_tunnel_that_knows_it_unless_that_says_otherwise() {
    let home = tempfile::tempdir().unwrap();
    let root = Invocation::command();
    let text = "subdomain = \"x\"\ncompress = true\nexpire = 5\nverbose = true\n\
                [tunnel.a]\nkind = \"http\"\nupstream = 1\nexpire = 6\ndomain = \"d.example\"\n\
                [tunnel.b]\nkind = \"udp\"\nupstream = 2\n";
    let (document, problems) = load(&root, &write(home.path(), text), Side::Client, &NOTHING);
    assert_eq!(problems, []);
    let words = |at: usize| {
        let (words, _) = tunnel_words(&root, &document, &document.tunnels[at]);
        words.iter().map(|word| word.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(words(0), "tunnel http --compress --expire=6 --domain=d.example -- 1");
    assert_eq!(words(1), "tunnel udp --expire=5 -- 2");
    assert!(keys_of(&root, "start").contains_key("verbose"));
}

/// The examples are right and whole, and so is each line that is commented out in them.
#[test]
fn the_examples_are_good() {
    let home = tempfile::tempdir().unwrap();
    let root = Invocation::command();
    for (side, text) in [
        (Side::Server, include_str!("../../../../../docs/server.toml")),
        (Side::Client, include_str!("../../../../../docs/client.toml")),
    ] {
        let is_setting =
            |line: &str| line.strip_prefix('#').is_some_and(|rest| rest.starts_with(char::is_alphabetic));
        let all =
            text.lines().map(|line| if is_setting(line) { &line[1..] } else { line }).collect::<Vec<_>>();
        let has = |key: &str| all.iter().any(|line| line.split(" = ").next() == Some(key));
        let keys = keys_of_side(&root, side);
        // Those of one build only, and what a table says by its `upstream`.
        let is_left_out = |key: &str| key.starts_with("otlp_") || key == "local";
        let missing: Vec<_> = keys.keys().filter(|key| !has(key) && !is_left_out(key)).collect();
        assert!(missing.is_empty(), "{side:?}: {missing:?}");
        for text in [text.to_owned(), all.join("\n")] {
            let path = home.path().join("example.toml");
            fs::write(&path, text).unwrap();
            let (document, problems) = load(&root, &path, side, &NOTHING);
            assert_eq!(problems, []);
            for table in &document.tunnels {
                parse_tunnel(&tunnel_words(&root, &document, table).0).unwrap();
            }
        }
    }
}
