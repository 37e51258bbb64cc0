//! Flags, then environment, then the saved login, then the default.

use crate::support::{Running, User, text};

/// The server that a client started with `words` and the variables tries to reach.
fn server_tried(user: &User, words: &str, variables: &[(&str, &str)]) -> String {
    let mut command = user.command(&format!("http 3000 --output json {words}"));
    command.envs(variables.iter().copied());
    let mut client = Running::new(&mut command);
    let reason = client.event("reconnecting")["reason"].as_str().unwrap().to_owned();
    let address = reason.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).unwrap();
    address.trim_end_matches([':', ';', ',']).to_owned()
}

#[test]
fn the_server() {
    let user = User::new();
    // Nothing listens on the first ports of loopback.
    let token = user.output("token create x --data-dir d");
    let mut login = user.command("login 127.0.0.1:3 --no-check");
    login.env("TUNNEL_TOKEN", text(&token.stdout).trim());
    assert!(login.output().unwrap().status.success());
    let variable = [("TUNNEL_SERVER", "127.0.0.1:2")];
    assert_eq!(server_tried(&user, "--server 127.0.0.1:1", &variable), "127.0.0.1:1");
    assert_eq!(server_tried(&user, "", &variable), "127.0.0.1:2");
    assert_eq!(server_tried(&user, "", &[]), "127.0.0.1:3");
    assert_eq!(server_tried(&user, "", &[("TUNNEL_SERVER", "")]), "127.0.0.1:3", "empty is not set");
    let other = User::new();
    assert_eq!(other.output("http 3000").status.code(), Some(2), "there is no default server");
}

#[test]
fn a_directory_that_is_typed_counts_before_the_variable() {
    let user = User::new();
    for (words, expected) in [("token create x", "variable"), ("token create x --data-dir flag", "flag")] {
        let mut command = user.command(words);
        assert!(command.env("TUNNEL_DATA_DIR", "variable").output().unwrap().status.success());
        assert!(user.home().join(expected).join("store.db").exists(), "{words}");
    }
}

#[test]
fn a_token_file_that_is_typed_counts_before_a_token_in_the_environment() {
    let user = User::new();
    let token = user.output("token create x --data-dir d").stdout;
    std::fs::write(user.home().join("token"), &token).unwrap();
    for (words, good) in [("--token-file token", true), ("", false)] {
        let mut command = user.command(&format!("login 127.0.0.1:1 --no-check {words}"));
        let output = command.env("TUNNEL_TOKEN", "tnl_damaged").output().unwrap();
        assert_eq!(output.status.success(), good, "{words}: {}", text(&output.stderr));
    }
}

#[test]
fn a_typed_host_counts_before_one_of_the_other_kind_in_the_environment() {
    let user = User::new();
    for (words, variables, contradict) in [
        ("--subdomain x", &["TUNNEL_DOMAIN"][..], false),
        ("--domain x.test", &["TUNNEL_SUBDOMAIN"], false),
        ("", &["TUNNEL_DOMAIN", "TUNNEL_SUBDOMAIN"], true),
    ] {
        let mut command = user.command(&format!("http 3000 {words}"));
        let output = command.envs(variables.iter().map(|name| (name, "y"))).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "no server is known");
        assert_eq!(text(&output.stderr).contains("can't both be given"), contradict, "{words}");
    }
}

#[test]
fn switches_take_words() {
    let user = User::new();
    for (value, status) in [("0", 1), ("no", 1), ("1", 0), ("yes", 0)] {
        let token = user.output(&format!("token create x{value} --data-dir d")).stdout;
        let mut command = user.command("login 127.0.0.1:1");
        command.env("TUNNEL_TOKEN", text(&token).trim()).env("TUNNEL_NO_CHECK", value);
        assert_eq!(command.output().unwrap().status.code(), Some(status), "{value}");
    }
}

#[test]
fn a_variable_is_named_where_it_is_to_blame() {
    let user = User::new();
    for (words, variable, value, complaint) in [
        (
            "server",
            "TUNNEL_PUBLIC_PORT",
            "abc",
            "TUNNEL_PUBLIC_PORT can't be `abc`: write a port, from 0 to 65535",
        ),
        ("server --domain a.b", "TUNNEL_HOLD", "banana", "TUNNEL_HOLD can't be `banana`: write a time"),
        ("server --hold=x", "TUNNEL_HOLD", "banana", "--hold can't be `x`: write a time"),
        ("server --hold x", "TUNNEL_HOLD", "banana", "--hold can't be `x`: write a time"),
        ("http 1", "TUNNEL_OUTPUT", "x", "TUNNEL_OUTPUT can't be `x`: write text or json"),
    ] {
        let output = user.command(words).env(variable, value).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{words}: {error}");
        assert!(error.starts_with(&format!("error: {complaint}")), "{words}: {error}");
    }
}
