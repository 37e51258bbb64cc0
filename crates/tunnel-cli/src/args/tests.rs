//! The contract: commands, flags, defaults and the ways to get them wrong.

use std::time::Duration;

use super::*;

fn parse_line(line: &str) -> Result<Invocation, Usage> {
    // Every variable reads as empty, that is as not set: tests don't depend on where they run.
    parse_with(line.split_whitespace().map(OsString::from), &|_| Some(OsString::new()), &|_| None)
}

fn server(line: &str) -> ServerArgs {
    match parse_line(line).unwrap().command {
        Command::Server(args) => *args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_defaults_of_the_server() {
    let args = server("tunnel server");
    assert_eq!(args.domain.as_str(), "localhost");
    assert_eq!((args.control_port, args.public_port), (4444, 8080));
    assert_eq!(args.bind.to_string(), "::");
    assert_eq!(args.tcp_ports, Ports(Some(20_000..=29_999)));
    assert_eq!((args.udp_ports, args.udp_idle), (Ports(Some(20_000..=29_999)), Duration::from_secs(60)));
    assert_eq!([args.hold, args.lease, args.grace], [10, 60, 30].map(Duration::from_secs));
    assert_eq!((args.log_format, args.auth), (LogFormat::Text, Auth::Token));
    assert!(!args.plaintext && args.trusted_proxy.is_empty() && args.data_dir.is_none());
}

#[test]
fn every_flag_of_the_server() {
    let args = server(
        "tunnel server --domain vps.example.com --control-port 1 --public-port 0 --bind 127.0.0.1 --tcp-ports 5-6 \
         --udp-ports none --udp-idle 5m --data-dir /d --hold 0s --lease 90s --grace 1m --log-format json --auth none --public-url-port 80 \
         --trusted-proxy 10.0.0.0/8 --trusted-proxy ::1,192.0.2.1 --max-visitors 5 --control-cert c --control-key k \
         --https-port 8443 --cert a.crt --key a.key --cert b.crt --key b.key --redirect-https --https-url-port 443",
    );
    assert_eq!(args.trusted_proxy.len(), 3);
    assert_eq!((args.max_visitors, args.public_url_port), (Some(5), Some(80)));
    assert_eq!((args.log_format, args.auth), (LogFormat::Json, Auth::None));
    assert_eq!((args.https_port, args.https_url_port), (Some(8443), Some(443)));
    assert_eq!((args.cert.len(), args.key.len(), args.redirect_https), (2, 2, true));
}

#[test]
fn the_commands_people_type() {
    for line in [
        "tunnel http 3000",
        "tunnel http 3000 --subdomain myapp --server vps:4444 --token-file t --output json -v --grace 5s",
        "tunnel http http://localhost:3000 --ca-file ca.pem",
        "tunnel tcp 5432 --remote-port 25432 --plaintext",
        "tunnel http https://nas.lan --upstream-ca ca.pem",
        "tunnel http https://nas.lan:8443 --upstream-insecure --proxy socks5://u:p@proxy",
        "tunnel http src",
        "tunnel http 3000 --basic-auth a:b --basic-auth c:d --basic-auth-file f --allow-cidr 10.0.0.0/8,::1 --compress",
        "tunnel http 3000 --host-header rewrite --request-header X-A:b --request-header -X-C --response-header -Server",
        "tunnel client --local 3000 --host-header shop.test:80 --rate-limit 100/s --bandwidth 10MB/s --expire 2h",
        "tunnel tcp 22 --deny-cidr 192.0.2.1 --proxy-protocol v2 --rate-limit 5/m --bandwidth 1MiB/s --expire 1h",
        "tunnel udp 53 --allow-cidr ::/0 --rate-limit 5/m --bandwidth 1MiB/s --expire 1h",
        "tunnel tcp unix:/run/db.sock --proxy none",
        "tunnel login vps:4444 --proxy http://proxy:3128",
        "tunnel udp 27015",
        "tunnel tls 8443",
        "tunnel tls localhost:8443 --subdomain secure --pool",
        "tunnel tls unix:/run/db.sock --domain db.example.com",
        "tunnel udp localhost:53 --remote-port 27015 --output json",
        "tunnel client --server vps.example.com:4444 --local localhost:3000 --subdomain myapp",
        "tunnel token create laptop",
        "tunnel token list --data-dir /d",
        "tunnel token --data-dir /d revoke laptop",
        "tunnel login vps:4444 --token tnl_x",
        "tunnel login vps --no-check",
        "tunnel demo --dir site",
        "tunnel --log debug demo",
    ] {
        parse_line(line).unwrap_or_else(|usage| panic!("{line}: {usage}"));
    }
}

#[test]
fn bad_usage_is_told_apart_from_help() {
    for line in [
        "tunnel",
        "tunnel htp 3000",
        "tunnel http",
        "tunnel http localhost",
        "tunnel http 99999",
        "tunnel http ftp://localhost:3000",
        "tunnel http http://localhost:3000/api",
        "tunnel http 3000 --server https://vps",
        "tunnel http 3000 --token a --token-file b",
        "tunnel tcp 22 --remote-port 0",
        "tunnel tcp 22 --basic-auth a:b",
        "tunnel tcp 22 --compress",
        "tunnel udp 53 --proxy-protocol v1",
        "tunnel http 3000 --host-header http://x",
        "tunnel http 3000 --request-header Host:x",
        "tunnel http 3000 --response-header X-A",
        "tunnel http 3000 --rate-limit 0/s",
        "tunnel http 3000 --bandwidth fast",
        "tunnel http 3000 --allow-cidr vpn",
        "tunnel udp 53 --remote-port 0",
        "tunnel server --udp-ports 9-1",
        "tunnel server --udp-idle soon",
        "tunnel client --server vps",
        "tunnel server --control-cert c",
        "tunnel server --plaintext --control-cert c --control-key k",
        "tunnel server --auth maybe",
        "tunnel server --max-visitors 0",
        "tunnel server --hold soon",
        "tunnel token create",
    ] {
        assert_eq!(parse_line(line).map(|_| ()).unwrap_err().status(), 2, "{line}");
    }
    for line in ["tunnel --help", "tunnel --version", "tunnel http --help", "tunnel help server"] {
        assert_eq!(parse_line(line).map(|_| ()).unwrap_err().status(), 0, "{line}");
    }
}

#[test]
fn mistyped_words_get_a_suggestion_and_tokens_are_not_repeated() {
    let usage = parse_line("tunnel htp 3000").unwrap_err().line();
    assert!(usage.contains("`http`"), "{usage}");
    let invocation = parse_line("tunnel http 3000 --token tnl_secret").unwrap();
    assert!(!format!("{invocation:?}").contains("tnl_secret"));
    let invocation =
        parse_line("tunnel http 3000 --basic-auth ann:hunter2 --request-header X-Key:hunter2").unwrap();
    assert!(!format!("{invocation:?}").contains("hunter2"));
    let system = |name: &str| (name == "HTTPS_PROXY").then(|| "http://u:hunter2@proxy".into());
    let words = ["tunnel", "http", "3000", "--proxy", "http://u:hunter2@proxy"].map(Into::into);
    let invocation = parse_with(words, &system, &|_| None).unwrap();
    assert!(!format!("{invocation:?}").contains("hunter2"));
}

#[test]
fn the_help_has_each_flag_under_its_own_heading() {
    let root = Invocation::command();
    for (command, flag, heading) in [
        ("http", "subdomain", None),
        ("http", "upstream-ca", None),
        ("http", "compress", Some("Policies")),
        ("http", "server", Some("Connection")),
        ("http", "grace", Some("Connection")),
        ("tcp", "rate-limit", Some("Policies")),
        ("tcp", "token", Some("Connection")),
        ("tls", "proxy", Some("Connection")),
        ("udp", "output", Some("Connection")),
        ("client", "config", Some("Connection")),
        ("start", "state-dir", Some("Connection")),
        ("start", "all", None),
        ("server", "max-visitors", None),
        ("server", "interstitial", Some("Protection")),
        ("server", "admin-bind", Some("Admin port")),
        ("server", "data-dir", None),
    ] {
        let mut args = root.find_subcommand(command).unwrap().get_arguments();
        let arg = args.find(|arg| arg.get_long() == Some(flag)).unwrap();
        assert_eq!(arg.get_help_heading(), heading, "{command} --{flag}");
    }
}

#[test]
fn a_tunnel_has_one_host() {
    for (line, fits) in [
        ("tunnel http 1 --domain x.test --path /api --pool", true),
        ("tunnel client --local 1 --domain *.dev.test", true),
        ("tunnel http 1 --subdomain x --domain x.test", false),
        ("tunnel tls 1 --subdomain x --domain x.test", false),
        ("tunnel tcp 1 --domain x.test", false),
        ("tunnel udp 1 --pool", true),
    ] {
        assert_eq!(parse_line(line).is_ok(), fits, "{line}");
    }
}

#[test]
fn a_tokens_rights_are_read_strictly() {
    let line = "tunnel token create ci --subdomain dev-*,www --domain app.example.com --domain *.dev.test";
    let Command::Token(args) = parse_line(line).unwrap().command else { panic!() };
    let TokenCommand::Create { rights, .. } = args.command else { panic!() };
    assert_eq!((rights.subdomain.len(), rights.domain.len()), (2, 2));
    let line = "tunnel token edit ci --kind http,tcp --tcp-ports 20000-20009,22022 --udp-ports none --max-tunnels 2 \
                --max-connections any --bandwidth 1MB/s --monthly-bytes 100GB --expires 30d";
    assert!(parse_line(line).is_ok());
    for (line, fits) in [
        ("tunnel reserve demo --for ci", true),
        ("tunnel reserve --list --json", true),
        ("tunnel reserve tcp:20022 --release", true),
        ("tunnel reserve demo", false),
        ("tunnel reserve 20022 --for ci", false),
        ("tunnel reserve demo --for ci --release", false),
        ("tunnel token rotate ci --grace 1h", true),
        ("tunnel token show ci --json", true),
    ] {
        assert_eq!(parse_line(line).is_ok(), fits, "{line}");
    }
    for bad in [
        "--subdomain a.b",
        "--subdomain *a*",
        "--domain 127.0.0.1",
        "--domain *",
        "--kind ftp",
        "--max-tunnels 0",
        "--expires soon",
    ] {
        assert!(parse_line(&format!("tunnel token edit ci {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn init_has_flags_of_its_own_and_may_be_run_again_beside_its_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("server.toml");
    std::fs::write(&file, "version = 1\ndomain = \"vps.example.com\"\npublic_port = 80\n").unwrap();
    let place = |_| Some(file.clone());
    let parse = |line: &str| {
        let words = line.split_whitespace().map(OsString::from);
        parse_with(words, &|_| Some(OsString::new()), &place)
    };
    parse("tunnel server init --yes").unwrap();
    let usage = parse("tunnel server --public-port 81 init").unwrap_err();
    assert!(usage.line().contains("after `init`"), "{}", usage.line());
    match parse("tunnel server doctor").unwrap().command {
        Command::Server(args) => assert_eq!(args.public_port, 80),
        other => panic!("{other:?}"),
    }
}
