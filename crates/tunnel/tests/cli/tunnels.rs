//! Real tunnels: a server's and a client's process, a visitor and an upstream.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Running, User, text, upstream, visit};

fn address(event: &Value, field: &str) -> SocketAddr {
    event[field].as_str().unwrap().parse().unwrap()
}

/// A server and a client that is logged in to it; the server, and where visitors come in.
fn server_and_login(user: &User) -> (Running, SocketAddr) {
    let (mut server, listening) = user.server("");
    let created = server.event("token-created");
    let mut login = user.command(&format!("login {}", address(&listening, "control")));
    let output = login.env("TUNNEL_TOKEN", created["token"].as_str().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (server, address(&listening, "web"))
}

#[test]
fn a_page_through_a_tunnel_whose_name_survives_restarts() {
    let user = User::new();
    let (server, web) = server_and_login(&user);
    let port = upstream("hello");
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut client = user.start(&format!("http {port} --output json -v"));
        let online = client.event("online");
        assert_eq!(online["upstream"], format!("http://localhost:{port}"));
        let url = online["url"].as_str().unwrap().to_owned();
        assert_eq!(visit(&url, web), (200, "hello".into()));
        let request = client.event("request");
        assert_eq!((&request["method"], &request["status"]), (&"GET".into(), &200.into()));
        client.signal(Signal::TERM);
        assert_eq!(client.event("closed")["status"], 0);
        assert_eq!(client.status(), Some(0));
        names.push(url);
    }
    assert_eq!(names[0], names[1]);
    server.signal(Signal::INT);
    assert_eq!(server.status(), Some(0));
}

#[test]
fn a_connection_through_a_tcp_tunnel() {
    let user = User::new();
    let (_server, _) = server_and_login(&user);
    let port = upstream("over tcp");
    let mut client = user.start(&format!("tcp {port} --output json"));
    let url = client.event("online")["url"].as_str().unwrap().to_owned();
    let public: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", public)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("over tcp"), "{answer}");
}

#[test]
fn tokens_are_made_and_revoked_while_the_server_runs() {
    let user = User::new();
    let (_server, listening) = user.server("");
    let control = address(&listening, "control");
    let token = user.output("token create laptop --data-dir data");
    assert_eq!(text(&token.stdout).lines().count(), 1, "the token alone");
    assert!(text(&user.output("token list --data-dir data").stdout).contains("laptop"));

    let client_with = |token: &str| {
        let mut command = user.command(&format!("http 1 --output json --server {control}"));
        Running::new(command.env("TUNNEL_TOKEN", token))
    };
    let token = text(&token.stdout).trim().to_owned();
    let mut client = client_with(&token);
    client.event("online");
    assert!(user.output("token revoke laptop --data-dir data").status.success());
    let closed = client.event("closed");
    assert_eq!(closed["status"], 3, "{closed}");
    assert_eq!(client.status(), Some(3));

    let mut again = client_with(&token);
    let closed = again.event("closed");
    assert_eq!((&closed["status"], &closed["code"]), (&3.into(), &"unauthorized".into()), "{closed}");
    assert_eq!(again.status(), Some(3));
    // The same with a file of tunnels, none of which has failed by itself; several times, since that was a race.
    let file =
        format!("version = 1\nserver = \"{control}\"\n[tunnel.web]\nkind = \"http\"\nupstream = \"1\"\n");
    std::fs::write(user.home().join("client.toml"), file).unwrap();
    for _ in 0..4 {
        let mut command = user.command("start --all --output json --config client.toml");
        let mut fleet = Running::new(command.env("TUNNEL_TOKEN", &token));
        let closed = fleet.event("closed");
        assert_eq!((&closed["status"], &closed["code"]), (&3.into(), &"unauthorized".into()), "{closed}");
        assert_eq!(fleet.status(), Some(3));
    }
}

#[test]
fn a_name_that_another_token_holds_ends_the_client_with_the_reason() {
    let user = User::new();
    let (mut server, listening) = user.server("");
    let control = address(&listening, "control");
    let first = server.event("token-created")["token"].as_str().unwrap().to_owned();
    let second = text(&user.output("token create second --data-dir data").stdout).trim().to_owned();
    let words = format!("client --local 1 --subdomain mine --output json --server {control}");
    let mut holder = Running::new(user.command(&words).env("TUNNEL_TOKEN", first));
    holder.event("online");
    let output = user.command(&words).env("TUNNEL_TOKEN", second).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("name-taken") && error.contains("another token"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_log_that_nobody_reads_stops_no_visitor_and_not_the_end() {
    let user = User::new();
    let words = "server --bind 127.0.0.1 --control-port 0 --public-port 0 --data-dir data --log-format json --log debug";
    let (mut server, _unread) = Running::with_unread_log(&mut user.command(words));
    let web = address(&server.event("listening"), "web");
    // Far more lines than a pipe holds (64 KiB) and the queue takes.
    visit_often(web, "nobody.localhost", 404, 6000);
    server.signal(Signal::TERM);
    assert_eq!(server.status(), Some(0));
}

#[test]
fn a_story_that_nobody_reads_stops_no_visitor_and_not_the_end() {
    let user = User::new();
    let (server, web) = server_and_login(&user);
    std::fs::create_dir(user.home().join("site")).unwrap();
    std::fs::write(user.home().join("site/index.html"), "hello").unwrap();
    let mut client = user.start("http ./site --subdomain app --output json -v");
    client.event("online");
    visit_often(web, "app.localhost", 200, 2000);
    client.signal(Signal::TERM);
    assert_eq!(client.status(), Some(0));
    drop(server);
}

/// Asks for a page again and again over one connection.
fn visit_often(web: SocketAddr, host: &str, status: u16, times: u32) {
    let mut stream = TcpStream::connect(web).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let request = format!("HEAD / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for number in 0..times {
        stream.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert!(line.starts_with(&format!("HTTP/1.1 {status}")), "{number}: {line}");
        while answers.read_line(&mut line).unwrap() > 2 {}
    }
}
