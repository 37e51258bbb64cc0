//! The admin API at its doors: who gets in, what is refused, and what is done to a running server.

use std::{sync::Arc, time::SystemTime};

use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use tunnel_admin::{
    About, AdminClient, AdminServer, AdminSocket, AdminToken, ClientError, NoTokens, Secrets, SessionList,
    SignInLink, Status, Takeover, TunnelList, WebDoor,
};
use tunnel_server::{Listener, ServerHandle};
use tunnel_testkit::{Answer, Site, Upstream, Visitor, header};

use crate::support::{PATIENCE, until};

/// The admin token of these tests.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// An admin server with both doors.
struct Admin {
    address: std::net::SocketAddr,
    socket: AdminClient,
    _home: tempfile::TempDir,
    _running: AbortOnDropHandle<()>,
}

/// What a browser has after it signed in.
struct Browser {
    cookie: String,
    key: String,
}

impl Admin {
    fn start(engine: ServerHandle) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("admin.sock");
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let secrets = Secrets { password: None, token: Some(AdminToken::new(TOKEN).unwrap()) };
        let door = WebDoor::new(listener, None, vec!["admin.test".into()], secrets).unwrap();
        let about = About { version: "1".into(), domain: "test".into(), started: SystemTime::now() };
        let server = AdminServer::new(about, engine, Arc::new(NoTokens))
            .socket(AdminSocket::bind(&path, Takeover::No).unwrap())
            .web(door);
        let running = AbortOnDropHandle::new(tokio::spawn(server.run()));
        Self { address, socket: AdminClient::new(&path), _home: home, _running: running }
    }

    /// One request with these header lines, and a body if there is one.
    async fn ask(&self, line: &str, headers: &[&str], body: Option<&Value>) -> Answer {
        let mut visitor = Visitor::connect(self.address).await.unwrap();
        let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|header| header.starts_with("Host:")) {
            request += &format!("Host: {}\r\n", self.address);
        }
        for header in headers {
            request += &format!("{header}\r\n");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        if !body.is_empty() {
            request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        visitor.send(request + "\r\n" + &body).await.unwrap();
        tokio::time::timeout(PATIENCE, visitor.answer()).await.unwrap().unwrap()
    }

    async fn link(&self) -> String {
        let link: SignInLink = self.socket.post("/api/v1/sign-in-links", &()).await.unwrap();
        link.url.split_once("/#sign-in=").unwrap().1.to_owned()
    }

    fn origin(&self) -> String {
        format!("Origin: http://{}", self.address)
    }

    async fn browser(&self) -> Browser {
        let body = json!({ "link": self.link().await });
        let answer = self.ask("POST /api/v1/sign-in", &[&self.origin()], Some(&body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = header(&answer.head, "set-cookie").unwrap();
        for word in ["__Host-tunnel-admin=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
            assert!(cookie.contains(word), "{cookie}");
        }
        let cookie = cookie.split(';').next().unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        Browser {
            cookie: format!("Cookie: other=1; {cookie}"),
            key: format!("X-Tunnel-Key: {}", body["key"].as_str().unwrap()),
        }
    }
}

fn code(answer: &Answer) -> String {
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(header(&answer.head, "content-type"), Some("application/problem+json"));
    problem["code"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_shows_and_steers() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let admin = Admin::start(server.handle.clone());
    let upstream = Upstream::hello("here").await.unwrap();
    let client = site.client(&site.token("ci")).connect().await.unwrap();
    let tunnel = client.http().subdomain("a").forward(upstream.target()).await.unwrap();
    Visitor::get(site.web_address(), "a.test", "/").await.unwrap();
    until(&server.handle, |snapshot| snapshot.tunnels[0].traffic.requests == 1).await;

    let status: Status = admin.socket.get("/api/v1/status").await.unwrap();
    assert_eq!((status.sessions, status.tunnels, status.state.as_str()), (1, 1, "running"));
    let sessions: SessionList = admin.socket.get("/api/v1/sessions").await.unwrap();
    let [session] = sessions.sessions.as_slice() else { panic!("{sessions:?}") };
    assert_eq!((session.token.as_str(), session.tunnels), ("ci", 1));
    let tunnels: TunnelList = admin.socket.get("/api/v1/tunnels?q=A.TEST").await.unwrap();
    assert_eq!(tunnels.tunnels[0].url, tunnel.url());
    assert_eq!((tunnels.total, tunnels.tunnels[0].requests, tunnels.tunnels[0].state.as_str()), (1, 1, "up"));
    let none: TunnelList = admin.socket.get("/api/v1/tunnels?q=nothing-like-it").await.unwrap();
    assert_eq!(none.total, 0);

    let named = json!({ "url": tunnel.url() });
    for (verb, status) in [("pause", 503), ("resume", 200)] {
        admin.socket.post::<()>(&format!("/api/v1/tunnels/{verb}"), &named).await.unwrap();
        let answer = Visitor::get(site.web_address(), "a.test", "/").await.unwrap();
        assert_eq!(answer.status, status, "after {verb}");
    }
    admin.socket.post::<()>("/api/v1/tunnels/close", &named).await.unwrap();
    until(&server.handle, |snapshot| snapshot.tunnels.is_empty()).await;
    let kick = format!("/api/v1/sessions/{}/kick", session.id);
    admin.socket.post::<()>(&kick, &json!({ "reason": "test" })).await.unwrap();
    until(&server.handle, |snapshot| snapshot.sessions.is_empty()).await;

    for (path, body) in [
        ("/api/v1/sessions/0000000000000000/kick", json!({})),
        ("/api/v1/sessions/nonsense/kick", json!({})),
        ("/api/v1/tunnels/close", named),
        ("/api/v1/nothing", json!({})),
    ] {
        match admin.socket.post::<()>(path, &body).await {
            Err(ClientError::Refused(problem)) => assert_eq!(problem.code, "not-found", "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_lets_in_who_shows_the_right_thing_and_nobody_else() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let admin = Admin::start(server.handle.clone());
    let browser = admin.browser().await;
    let (cookie, key) = (browser.cookie.as_str(), browser.key.as_str());
    let bearer = format!("Authorization: Bearer {TOKEN}");
    for (headers, expected) in [
        (&[][..], Some("not-signed-in")),
        (&[cookie], Some("not-signed-in")),
        (&[key], Some("not-signed-in")),
        (&["Authorization: Bearer wrong"], Some("wrong-secret")),
        (&[cookie, "X-Tunnel-Key: wrong"], Some("not-signed-in")),
        (&[cookie, key], None),
        (&[bearer.as_str()], None),
    ] {
        for path in ["/api/v1/status", "/metrics", "/api/v1/openapi.json", "/api/v1/events"] {
            if expected.is_none() && path.ends_with("events") {
                continue;
            }
            let answer = admin.ask(&format!("GET {path}"), headers, None).await;
            match expected {
                None => assert_eq!(answer.status, 200, "{path} with {headers:?}"),
                // A wrong token is a try, and tries are few.
                Some("wrong-secret") => assert!([401, 429].contains(&answer.status), "{answer:?}"),
                Some(expected) => assert_eq!(code(&answer), expected, "{path} with {headers:?}"),
            }
        }
    }
    for path in ["/", "/assets/app.js", "/healthz", "/readyz", "/api/v1/sign-in"] {
        assert_eq!(admin.ask(&format!("GET {path}"), &[], None).await.status, 200, "{path}");
    }
    let answer = admin.ask("POST /api/v1/sign-in-links", &[&bearer], None).await;
    assert_eq!(code(&answer), "socket-only");
    let leave = admin.ask("POST /api/v1/sign-out", &[cookie, key, &admin.origin()], None).await;
    assert_eq!(leave.status, 204);
    assert_eq!(code(&admin.ask("GET /api/v1/status", &[cookie, key], None).await), "not-signed-in");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_pages_and_other_names_have_no_effect() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let admin = Admin::start(server.handle.clone());
    let browser = admin.browser().await;
    let (cookie, key, own) = (browser.cookie.as_str(), browser.key.as_str(), admin.origin());
    let drain = "POST /api/v1/drain";
    for headers in [
        // A page elsewhere has no key, whatever the browser sends along.
        &[cookie, "Origin: https://evil.example"][..],
        // And with it, it is still elsewhere.
        &[cookie, key, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"],
        &[cookie, key, "Origin: http://127.0.0.1:3000", "Sec-Fetch-Site: same-site"],
        &[cookie, key, "Origin: null"],
        &[cookie, key, own.as_str(), "Sec-Fetch-Site: cross-site"],
        &[cookie, key],
    ] {
        let answer = admin.ask(drain, headers, None).await;
        assert!([401, 403].contains(&answer.status), "{headers:?}: {answer:?}");
    }
    // Signing in from elsewhere would sign somebody in as somebody else.
    let link = json!({ "link": admin.link().await });
    let answer = admin.ask("POST /api/v1/sign-in", &["Origin: https://evil.example"], Some(&link)).await;
    assert_eq!(code(&answer), "cross-origin");
    // A name that was made to point here.
    for host in
        ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "evil.example@localhost"]
    {
        let host = format!("Host: {host}");
        for path in ["/", "/assets/app.js", "/api/v1/sign-in", "/api/v1/status"] {
            let answer = admin.ask(&format!("GET {path}"), &[&host, cookie, key], None).await;
            assert_eq!(code(&answer), "wrong-host", "{host} {path}");
        }
    }
    for host in ["localhost:1234", "[::1]:80", "admin.test", "ADMIN.test:443", "192.0.2.1"] {
        let answer = admin.ask("GET /api/v1/status", &[&format!("Host: {host}"), cookie, key], None).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    let two = admin.ask("GET /", &["Host: localhost", "Host: evil.example"], None).await;
    assert!(two.status >= 400, "{two:?}");
    // Nothing is changed by a GET.
    let status: Status = admin.socket.get("/api/v1/status").await.unwrap();
    assert_eq!(status.state, "running");
    for path in ["/api/v1/drain", "/api/v1/sign-out", "/api/v1/tunnels/close"] {
        let answer = admin.ask(&format!("GET {path}"), &[cookie, key], None).await;
        assert_eq!(code(&answer), "method-not-allowed", "{path}");
    }
    assert!(!server.handle.is_draining());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_the_browser_what_it_may_not_do() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let admin = Admin::start(server.handle.clone());
    for path in ["/", "/assets/app.js", "/assets/nothing", "/api/v1/status", "/healthz", "/nothing"] {
        let answer = admin.ask(&format!("GET {path}"), &[], None).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(header(&answer.head, name), Some(value), "{path}");
        }
        let policy = header(&answer.head, "content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(header(&answer.head, "access-control-allow-origin").is_none());
    }
    let page = admin.ask("GET /", &[], None).await;
    let page = String::from_utf8(page.body).unwrap();
    for inline in ["<script>", " style=", " onclick=", "javascript:"] {
        assert!(!page.contains(inline), "{inline} in the page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_as_it_happens_and_as_text() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let admin = Admin::start(server.handle.clone());
    let upstream = Upstream::hello("here").await.unwrap();
    let client = site.client(&site.token("ci")).connect().await.unwrap();
    let _tunnel = client.http().subdomain("a").forward(upstream.target()).await.unwrap();
    let mut reader = Visitor::connect(admin.address).await.unwrap();
    let request =
        format!("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    reader.send(request).await.unwrap();
    let head = reader.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
    Visitor::get(site.web_address(), "a.test", "/%3Cscript%3E'-alert(1)-'").await.unwrap();
    let mut told = String::new();
    let reading = async {
        while !(told.contains("event: requests") && told.contains("event: sample")) {
            told += &String::from_utf8(reader.exactly(1).await.unwrap()).unwrap();
        }
        // To the end of the block.
        while !told.ends_with("\n\n") {
            told += &String::from_utf8(reader.exactly(1).await.unwrap()).unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    assert!(told.contains("event: status"), "{told}");
    assert!(told.contains(r#""path":"/%3Cscript%3E'-alert(1)-'""#), "as it was asked for: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_readiness_follow_the_server() {
    let site = Site::new().unwrap();
    let mut server = site.start(Vec::new()).unwrap();
    let admin = Admin::start(server.handle.clone());
    let bearer = format!("Authorization: Bearer {TOKEN}");
    Visitor::get(site.web_address(), "hidden.test", "/secret-path").await.unwrap();
    let text = admin.ask("GET /metrics", &[&bearer], None).await;
    let text = String::from_utf8(text.body).unwrap();
    for line in [
        "# TYPE tunnel_visits_total counter",
        "tunnel_visits_total{kind=\"http\"} 1",
        "tunnel_http_answers_total{class=\"4xx\"} 1",
        "tunnel_refusals_total{code=\"tunnel-not-found\"} 1",
        "tunnel_draining 0",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
    }
    assert!(!text.contains("hidden") && !text.contains("secret-path"), "{text}");
    assert_eq!(admin.ask("GET /readyz", &[], None).await.status, 200);
    // Somebody who stays keeps it draining.
    let upstream = Upstream::silent().await.unwrap();
    let client = site.client(&site.token("ci")).connect().await.unwrap();
    let _tunnel = client.http().subdomain("a").forward(upstream.target()).await.unwrap();
    let mut visitor = Visitor::connect(site.web_address()).await.unwrap();
    visitor.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    until(&server.handle, |snapshot| snapshot.tunnels[0].visitors == 1).await;
    server.begin_drain();
    let draining = async {
        while admin.ask("GET /readyz", &[], None).await.status != 503 {
            // sleep: polling the server; the test goes on as soon as it drains
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, draining).await.unwrap();
    assert_eq!(admin.ask("GET /healthz", &[], None).await.status, 200);
}

#[tokio::test]
async fn beyond_loopback_there_is_no_port_without_secret_and_tls() {
    let listener = || Listener::bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let secrets = || Secrets { password: None, token: Some(AdminToken::new(TOKEN).unwrap()) };
    let refused = WebDoor::new(listener(), None, Vec::new(), Secrets::default()).unwrap_err();
    assert!(refused.to_string().contains("needs a password or a token"), "{refused}");
    let refused = WebDoor::new(listener(), None, Vec::new(), secrets()).unwrap_err();
    assert!(refused.to_string().contains("needs TLS"), "{refused}");
}

/// Whoever reaches the port can make connections and say nothing.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_keep_nobody_out_and_nobody_who_is_in_loses_its_place() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let admin = Admin::start(server.handle.clone());
    let mut follower = Visitor::connect(admin.address).await.unwrap();
    let request = format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
        admin.address
    );
    follower.send(request).await.unwrap();
    tokio::time::timeout(PATIENCE, follower.head()).await.unwrap().unwrap();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(Visitor::connect(admin.address).await.unwrap());
    }
    assert_eq!(admin.ask("GET /healthz", &[], None).await.status, 200);
    let mut seen = String::new();
    while seen.matches("event: sample").count() < 3 {
        let chunk = tokio::time::timeout(PATIENCE, follower.chunk()).await.unwrap().unwrap();
        assert!(!chunk.is_empty(), "cut off after {seen}");
        seen += &String::from_utf8(chunk).unwrap();
    }
}
