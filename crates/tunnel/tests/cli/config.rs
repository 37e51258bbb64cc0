//! `tunnel config`: what is found out about files before anything is started by them.

use crate::support::{User, text};

/// The status of a check, and what is said.
fn check(user: &User, name: &str, settings: &str) -> (Option<i32>, String) {
    std::fs::write(user.home().join(name), format!("version = 1\n{settings}")).unwrap();
    let output = user.output(&format!("config check {name}"));
    (output.status.code(), text(&output.stdout).to_owned())
}

#[test]
fn a_server_that_couldnt_start_isnt_called_good() {
    let user = User::new();
    for (settings, complaint) in [
        ("", None),
        ("control_port = 0\npublic_port = 0", None),
        ("public_port = 4444", Some("--control-port and --public-port are both 4444")),
        ("https_port = 8080", Some("--public-port and --https-port are both 8080")),
        ("admin_port = 8080", Some("--public-port and --admin-port are both 8080")),
        ("admin_port = 9000", None),
        (
            "admin_port = 9000\nadmin_bind = \"192.0.2.1\"",
            Some("add --admin-password-file or --admin-token-file"),
        ),
        ("admin_port = 9000\nadmin_token_file = \"none\"", Some("cannot read none (--admin-token-file)")),
        ("auth = \"none\"", Some("loopback only")),
        ("control_cert = \"none\"\ncontrol_key = \"none\"", Some("cannot read none (--control-cert)")),
        ("data_dir = \"new/data\"", None),
        ("data_dir = \"server.toml\"", Some("cannot write server.toml: not a directory")),
        ("data_dir = \"server.toml/data\"", Some("cannot write server.toml/data: not a directory")),
        ("access_log = \"access.log\"", None),
        ("access_log = \"none/access.log\"", Some("cannot write the access log none/access.log (choose ")),
        ("access_log = \".\"", Some("cannot write the access log . (choose ")),
        ("auth = \"none\"\nbind = \"127.0.0.1\"", None),
    ] {
        let (status, said) = check(&user, "server.toml", settings);
        assert_eq!(status, Some(complaint.map_or(0, |_| 1)), "{settings}: {said}");
        assert!(said.contains(complaint.unwrap_or("good for a server")), "{settings}: {said}");
    }
}

#[test]
fn a_name_that_is_reserved_for_two_tokens_is_found() {
    let user = User::new();
    // Before a server has run there, nobody knows its domain.
    for command in [
        "token create ann",
        "token create ben",
        "reserve demo --for ann",
        "reserve demo.vps.test --for ben",
        "reserve own --for ann",
        "reserve own.vps.test --for ann",
    ] {
        let output = user.output(&format!("{command} --data-dir data"));
        assert_eq!(output.status.code(), Some(0), "{command}: {}", text(&output.stderr));
    }
    let (status, said) = check(&user, "server.toml", "data_dir = \"data\"\ndomain = \"vps.test\"");
    assert_eq!((status, said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("`demo.vps.test`, which is the same, for `ben`"), "{said}");
    let (status, said) = check(&user, "server.toml", "data_dir = \"data\"\ndomain = \"other.test\"");
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn a_client_that_couldnt_publish_isnt_called_good() {
    let user = User::new();
    let of = |kind: &str, rest: &str| format!("kind = \"{kind}\"\n{rest}\n");
    let one = |kind: &str, rest: &str| format!("[tunnel.a]\n{}", of(kind, rest));
    let two = |kind: &str, rest: &str| {
        let table = of(kind, &format!("upstream = 1\n{rest}"));
        format!("[tunnel.a]\n{table}[tunnel.b]\n{table}")
    };
    for (settings, complaint) in [
        (one("http", "upstream = \".\""), None),
        (one("tcp", "upstream = \"./site\""), Some("[tunnel.a]: a directory is for web visitors")),
        (one("tls", "upstream = \"./site\""), Some("a directory is for web visitors")),
        (one("http", "upstream = \"./none\""), Some(":2: [tunnel.a]: there is no directory ")),
        (one("http", "upstream = \"./client.toml\""), Some("[tunnel.a]: cannot show ")),
        ("state_dir = \"new\"".into(), None),
        ("state_dir = \"client.toml/new\"".into(), Some("cannot write client.toml/new: not a directory")),
        (one("tcp", "upstream = \"unix:/run/x\""), None),
        (one("udp", "upstream = \"unix:/run/x\""), Some("takes datagrams")),
        (one("udp", "upstream = \"https://x\""), Some("takes datagrams")),
        (one("udp", "upstream = 53"), None),
        (two("http", "subdomain = \"x\""), Some("[tunnel.b]: [tunnel.a] has the subdomain `x`, too; ")),
        (
            two("http", "subdomain = \"x\"\npool = true"),
            Some("shares the subdomain `x` for the same upstream"),
        ),
        (two("http", "subdomain = \"x\"\npool = true").replacen("= 1", "= 2", 1), None),
        (two("http", "subdomain = \"x\"").replacen("\"x\"", "\"X\"", 1), Some("has the subdomain `x`, too")),
        (two("http", ""), None),
        (two("tls", "domain = \"x.test\""), Some("has the domain `x.test` for TLS, too")),
        (two("tcp", "remote_port = 20000"), Some("has the TCP port 20000, too")),
        ("token = \"hunter2\"".into(), Some("it should begin with `tnl_`")),
        (one("http", "basic_auth = \"hunter2\""), Some("client.toml:4: `basic_auth`: the value: a login is")),
        ("token_file = \"none\"".into(), Some("cannot read none (--token-file)")),
        ("ca_file = \"none\"".into(), Some("cannot read none (--ca-file)")),
        ("server = \"vps\"\nproxy = \"ftp://x\"".into(), Some("can't be used")),
    ] {
        let (status, said) = check(&user, "client.toml", &settings);
        assert_eq!(status, Some(complaint.map_or(0, |_| 1)), "{settings}: {said}");
        assert!(said.contains(complaint.unwrap_or("good for a client")), "{settings}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn what_is_shown_is_a_good_file() {
    let user = User::new();
    let settings = "version = 1\nverbose = true\n[tunnel.\"a.b\"]\nkind = \"http\"\nupstream = 1\n\
                    basic_auth = \"ann:hunter2\"\n[tunnel.c]\nkind = \"udp\"\nupstream = 2\n";
    std::fs::write(user.home().join("client.toml"), settings).unwrap();
    for (words, name, lines) in [
        ("server --hold 5s", "server", &["hold = \"5s\"  # flag", "#max_visitors =  # default: 12000"][..]),
        (
            "start --all --config client.toml",
            "client",
            &["[tunnel.\"a.b\"]", "verbose = true  # client.toml:2"],
        ),
        ("http 3000 --path $$x", "client", &[]),
        ("http 3000 --path /${x}", "client", &["path = \"/$${x}\"  # flag", "#upstream = \"3000\"  # flag"]),
    ] {
        let output = user.output(&format!("config show {words}"));
        if lines.is_empty() {
            assert_eq!(output.status.code(), Some(2), "{words}");
            continue;
        }
        let shown = text(&output.stdout);
        for line in lines {
            assert!(shown.lines().any(|shown| shown == *line), "{words}: no {line} in {shown}");
        }
        assert!(!shown.contains("hunter2") && !shown.contains("= -"), "{shown}");
        let path = user.home().join(format!("shown-{name}.toml"));
        std::fs::write(&path, shown).unwrap();
        let output = user.output(&format!("config check shown-{name}.toml"));
        assert_eq!(output.status.code(), Some(0), "{words}: {}\n{shown}", text(&output.stdout));
    }
}
