//! Each way to get a command line wrong, and the line it is told in.

use super::*;
use crate::args::parse_with;

fn said(line: &str) -> String {
    // Every variable reads as empty, that is as not set: tests don't depend on where they run.
    let words = line.split_whitespace().map(OsString::from);
    let usage = parse_with(words, &|_| Some(OsString::new()), &|_| None).map(|_| ()).expect_err(line);
    assert_eq!(usage.status(), 2, "{line}");
    usage.to_string()
}

#[test]
fn flags_and_words_that_have_no_place() {
    for (line, expected) in [
        (
            "tunnel http 3000 --subdomian x",
            "there is no flag --subdomian; did you mean --subdomain? see: tunnel http --help",
        ),
        ("tunnel http 3000 --subdomian=x", "did you mean --subdomain?"),
        ("tunnel --log debug http 3000 --verison", "did you mean --version? see: tunnel http --help"),
        ("tunnel http 3000 --xyzzy x", "there is no flag --xyzzy; see: tunnel http --help"),
        ("tunnel udp 53 --subdomain x", "`udp` has no --subdomain; http, tls, client, "),
        ("tunnel udp 53 --path /x", "`udp` has no --path; http and client have; see: tunnel udp --help"),
        ("tunnel http 3000 --bind ::1", "`http` has no --bind; server has; see: tunnel http --help"),
        ("tunnel token list --grace 1s", "`token list` has no --grace; "),
        ("tunnel --verbose http 3000", "--verbose goes behind `http`; see: tunnel http --help"),
        ("tunnel --verbose", "--verbose goes behind a command that has it: http, tcp, "),
        ("tunnel http 3000 -q", "`http` has no flag -q; see: tunnel http --help"),
        ("tunnel http 3000 4000", "`4000` is a word too many for `http`; see: tunnel http --help"),
        ("tunnel token create -- -x --data-dir d", "`--data-dir` is a word too many for `token create`: "),
        ("tunnel htp 3000", "there is no command `htp`; did you mean `http`? see: tunnel --help"),
        ("tunnel xyzzy", "there is no command `xyzzy`; see: tunnel --help"),
        (
            "tunnel token lst",
            "there is no command `lst` of `token`; did you mean `list`? see: tunnel token --help",
        ),
        (
            "tunnel server nit",
            "there is no command `nit` of `server`; did you mean `init`? see: tunnel server --help",
        ),
        ("tunnel --log debug", "no command was given; see: tunnel --help"),
        (
            "tunnel token --data-dir d",
            "`token` needs a command: create, list, show, edit, rotate or revoke; see: ",
        ),
    ] {
        let said = said(line);
        assert!(
            said.starts_with(expected) || (!expected.starts_with("there") && said.contains(expected)),
            "{line}: {said}"
        );
        assert!(!said.contains('\n') && !said.contains("'--"), "{line}: {said}");
    }
}

#[test]
fn what_is_missing_and_what_contradicts() {
    for (line, expected) in [
        ("tunnel start", "`start` needs NAME, or --all; see: tunnel start --help"),
        ("tunnel http", "`http` needs UPSTREAM such as 3000; see: tunnel http --help"),
        ("tunnel reserve", "`reserve` needs --for TOKEN and NAME, or --list; see: tunnel reserve --help"),
        ("tunnel reserve demo", "`reserve` needs --for TOKEN, or --release; see: tunnel reserve --help"),
        (
            "tunnel service status",
            "`service status` needs SIDE: server or client; see: tunnel service status --help",
        ),
        (
            "tunnel server --cert c",
            "what was given needs --https-port PORT and --key FILE as well; see: tunnel server --help",
        ),
        (
            "tunnel start a --all",
            "NAME and --all can't both be given; leave one out; see: tunnel start --help",
        ),
        (
            "tunnel server --plaintext --control-cert c --control-key k",
            "--plaintext can't be given along with --control-cert and --control-key; leave one side out; see: tunnel server --help",
        ),
        (
            "tunnel http 1 --subdomain a --subdomain b",
            "--subdomain can be given once only; see: tunnel http --help",
        ),
        (
            "tunnel http 1 --subdomain a --domain b.c",
            "`--subdomain` and `--domain` can't both be given; leave one out; see: tunnel http --help",
        ),
        ("tunnel http 1 --subdomain", "--subdomain needs a value: --subdomain NAME; see: tunnel http --help"),
        (
            "tunnel http 1 --output --pool",
            "--output needs a value: --output FORM, text or json; see: tunnel http --help",
        ),
        (
            "tunnel http 1 --pool=x",
            "--pool takes no value: write it alone, or leave it out; see: tunnel http --help",
        ),
    ] {
        assert_eq!(said(line), expected, "{line}");
    }
}

#[test]
fn values_that_cant_be() {
    for (line, expected) in [
        ("tunnel server --public-port abc", "--public-port can't be `abc`: write a port, from 0 to 65535"),
        ("tunnel server --admin-port=70000", "--admin-port can't be `70000`: write a port, from 0 to 65535"),
        ("tunnel tcp 22 --remote-port 0", "--remote-port can't be `0`: write a port, from 1 to 65535"),
        ("tunnel server --max-visitors 0", "--max-visitors can't be `0`: write a whole number, 1 or more"),
        ("tunnel server --max-visitors -1", "--max-visitors can't be `-1`: write a whole number, 1 or more"),
        (
            "tunnel server --bind nope",
            "--bind can't be `nope`: write an IP address such as `127.0.0.1`, or `::`",
        ),
        ("tunnel server --hold -5", "--hold can't be `-5`: write a time such as"),
        ("tunnel server --hold -5s", "--hold can't be `-5s`: write a time such as"),
        ("tunnel http 1 --subdomain -5", "there is no flag -5; if it is a value, write --subdomain=-5"),
        ("tunnel http 1 --output x", "--output can't be `x`: write text or json"),
        ("tunnel http 1 --rate-limit 5", "--rate-limit can't be `5`: write "),
        ("tunnel http 1 --request-header hunter2", "--request-header: write "),
        ("tunnel http 1 --basic-auth hunter2", "--basic-auth: a login is `USER:PASSWORD`, both not empty"),
        ("tunnel service status x", "SIDE can't be `x`: write server or client"),
        ("tunnel http :3000", "UPSTREAM: `:3000` has no host; write `3000`, or `localhost:3000`"),
        ("tunnel tcp localhost", "UPSTREAM: `localhost` has no port; write `localhost:3000`"),
        (
            "tunnel http nope",
            "UPSTREAM: `nope` has no port, and there is no such directory; write `nope:3000`",
        ),
        ("tunnel client --local 99999", "--local: `99999` is no port; ports are from 1 to 65535"),
        (
            "tunnel http localhost:1/api",
            "UPSTREAM can't be `localhost:1/api`: an upstream has no path (`/api`)",
        ),
    ] {
        let said = said(line);
        assert!(said.starts_with(expected) && said.ends_with("--help"), "{line}: {said}");
        assert!(!said.contains("hunter2") && !said.contains('\n'), "{line}: {said}");
    }
}

#[test]
fn of_a_file_with_several_faults_the_number_is_told() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("client.toml");
    for (text, expected) in [
        ("version = 1\nfoo = 1\n", "client.toml:2: unknown key `foo`"),
        ("version = 1\nfoo = 1\nbar = 1\n", "client.toml; see them: tunnel config check "),
    ] {
        std::fs::write(&path, text).unwrap();
        let said = said(&format!("tunnel http 3000 --config {}", path.display()));
        assert!(said.contains(expected) && !said.contains('\n') && !said.contains("--help"), "{said}");
    }
}
