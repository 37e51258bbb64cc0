//! Custom domains, wildcards and paths, and who may have them.

use std::net::SocketAddr;

use tunnel_client::{BindError, Client, Code, HttpTunnel, TunnelEnd};
use tunnel_server::Rights;
use tunnel_testkit::{Site, Upstream, Visitor};

use crate::support::{PATIENCE, until};

fn rights(subdomains: &[&str], domains: &[&str]) -> Rights {
    Rights {
        subdomains: subdomains.iter().map(|text| text.parse().unwrap()).collect(),
        domains: domains.iter().map(|text| text.parse().unwrap()).collect(),
        ..Rights::default()
    }
}

/// Who answers, or the status if it isn't 200.
async fn who(web: SocketAddr, host: &str, path: &str) -> String {
    let answer = Visitor::get(web, host, path).await.unwrap();
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status == 200 { body.split(' ').next().unwrap().to_owned() } else { answer.status.to_string() }
}

async fn refused(tunnel: HttpTunnel) -> (Code, String) {
    match tunnel.forward("localhost:1").await {
        Err(BindError::Refused(refusal)) => (refusal.code, refusal.message),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_needs_a_right_that_the_refusal_tells_how_to_give() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let token = site.token("ci");
    let client = site.client(&token).connect().await.unwrap();
    let http = || client.http();
    for (tunnel, code, cure) in [
        (http().domain("app.example.com"), Code::DomainNotAllowed, "token edit ci --domain app.example.com"),
        (
            http().domain("*.Dev.example.com"),
            Code::DomainNotAllowed,
            "token edit ci --domain '*.dev.example.com'",
        ),
        (http().domain("test"), Code::DomainNotAllowed, "token edit ci --domain test"),
        (http().domain("a.b.test"), Code::DomainNotAllowed, "token edit ci --domain a.b.test"),
        (http().domain("www.test"), Code::NameReserved, "token edit ci --subdomain www"),
        (http().subdomain("api"), Code::NameReserved, "token edit ci --subdomain api"),
        (http().subdomain("_acme-challenge"), Code::NameInvalid, "letters"),
        (http().domain("127.0.0.1"), Code::NameInvalid, "address"),
        (http().domain("a..b"), Code::NameInvalid, "empty label"),
        (http().domain("*"), Code::NameInvalid, "domain"),
        (http().subdomain("a").domain("a.example.com"), Code::NameInvalid, "both"),
        (http().path("api"), Code::NameInvalid, "`/`"),
        (http().path("/a/../b"), Code::NameInvalid, "`..`"),
        (http().path("/a?b"), Code::NameInvalid, "`?`"),
        (http().path(format!("/{}", "a".repeat(500))), Code::NameInvalid, "shorter"),
    ] {
        let (refused, message) = refused(tunnel).await;
        assert!(refused == code && message.contains(cure), "{refused}: {message}");
    }
    // The server's own domain, said in full, is a subdomain like any other.
    let tunnel = client.http().domain("Foo.test").forward("localhost:1").await.unwrap();
    assert!(tunnel.url().starts_with("http://foo.test"), "{}", tunnel.url());
    drop(tunnel);

    site.allow(&token, rights(&["dev-*", "www"], &["app.example.com", "*.dev.example.com", "test"]));
    let mut tunnels = Vec::new();
    for domain in
        ["app.example.com", "*.dev.example.com", "x.dev.example.com", "test", "www.test", "dev-1.test"]
    {
        tunnels.push(client.http().domain(domain).forward("localhost:1").await.unwrap());
    }
    let (code, message) = refused(client.http().subdomain("foo")).await;
    assert!(code == Code::DomainNotAllowed && message.contains("`dev-*`"), "{message}");
    let random = client.http().forward("localhost:1").await.unwrap();
    assert!(random.url().starts_with("http://dev-"), "{}", random.url());
    site.allow(&token, rights(&["mine"], &[]));
    let (code, message) = refused(client.http()).await;
    assert!(code == Code::DomainNotAllowed && message.contains("`mine`"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_find_hosts_by_the_most_specific_name_and_the_longest_path() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let token = site.token("ci");
    site.allow(&token, rights(&[], &["*.dev.example.com"]));
    let client = site.client(&token).connect().await.unwrap();
    let other: Client = site.client(&token).connect().await.unwrap();
    let mut tunnels = Vec::new();
    let mut upstreams = Vec::new();
    for (client, name, domain, path) in [
        (&client, "wild", "*.dev.example.com", "/"),
        (&client, "rest", "app.dev.example.com", "/"),
        (&other, "api", "app.dev.example.com", "/api/"),
        (&client, "v2", "app.dev.example.com", "/api/v2"),
    ] {
        let upstream = Upstream::hello(name).await.unwrap();
        tunnels.push(client.http().domain(domain).path(path).forward(upstream.target()).await.unwrap());
        upstreams.push(upstream);
    }
    assert!(tunnels[2].url().ends_with("/api"), "{}", tunnels[2].url());
    let web = site.web_address();
    for (host, path, expected) in [
        ("x.dev.example.com", "/api", "wild"),
        ("app.dev.example.com", "/", "rest"),
        ("app.dev.example.com", "/apix", "rest"),
        ("app.dev.example.com", "/%61pi", "rest"),
        ("APP.dev.example.com.", "/api", "api"),
        ("app.dev.example.com", "/api?x", "api"),
        ("app.dev.example.com", "/api/v2x", "api"),
        ("app.dev.example.com", "/api/v2/x", "v2"),
        ("app.dev.example.com", "http://app.dev.example.com/api/v2", "v2"),
        ("app.dev.example.com", "http://app.dev.example.com", "rest"),
        ("x.y.dev.example.com", "/", "404"),
        ("dev.example.com", "/", "404"),
    ] {
        assert_eq!(who(web, host, path).await, expected, "{host} {path}");
    }
    // The upstream gets the path as it was asked for.
    let answer = Visitor::get(web, "app.dev.example.com", "/api/v1?q").await.unwrap();
    assert!(answer.body.starts_with(b"api /api/v1?q "), "{}", String::from_utf8_lossy(&answer.body));
    // One connection may go from tunnel to tunnel.
    let mut visitor = Visitor::connect(web).await.unwrap();
    for (path, expected) in [("/api", "api "), ("/", "rest "), ("/api/v2", "v2 "), ("/api", "api ")] {
        visitor.send(format!("GET {path} HTTP/1.1\r\nHost: app.dev.example.com\r\n\r\n")).await.unwrap();
        assert!(visitor.answer().await.unwrap().body.starts_with(expected.as_bytes()), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_of_one_token_with_all_its_paths() {
    let site = Site::new().unwrap();
    let _server = site.start(Vec::new()).unwrap();
    let (owner, other) = (site.token("owner"), site.token("other"));
    for token in [&owner, &other] {
        site.allow(token, rights(&[], &["*.example.com"]));
    }
    let (first, second) =
        (site.client(&owner).connect().await.unwrap(), site.client(&other).connect().await.unwrap());
    let _wild = first.http().domain("*.example.com").forward("localhost:1").await.unwrap();
    let _api = first.http().domain("app.example.com").path("/api").forward("localhost:1").await.unwrap();
    for tunnel in [
        second.http().domain("app.example.com"),
        second.http().domain("app.example.com").path("/api"),
        second.http().domain("app.example.com").path("/other"),
        second.http().domain("*.example.com").path("/other"),
    ] {
        let (code, message) = refused(tunnel).await;
        assert!(code == Code::NameTaken && message.contains("another token"), "{message}");
    }
    let theirs = Upstream::hello("theirs").await.unwrap();
    let _exact = second.http().domain("mine.example.com").path("/x").forward(theirs.target()).await.unwrap();
    assert_eq!(who(site.web_address(), "mine.example.com", "/x").await, "theirs");
    assert_eq!(who(site.web_address(), "mine.example.com", "/").await, "404", "not the wildcard's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_ends_the_tunnels_that_need_it_and_no_others() {
    let site = Site::new().unwrap();
    let server = site.start(Vec::new()).unwrap();
    let token = site.token("ci");
    site.allow(&token, rights(&["www"], &["app.example.com"]));
    let client = site.client(&token).connect().await.unwrap();
    let domain = client.http().domain("app.example.com").forward("localhost:1").await.unwrap();
    let reserved = client.http().subdomain("www").forward("localhost:1").await.unwrap();
    let _stays = client.http().subdomain("foo").forward("localhost:1").await.unwrap();
    site.allow(&token, rights(&[], &[]));
    for (tunnel, code) in [(domain, Code::DomainNotAllowed), (reserved, Code::NameReserved)] {
        let end = tokio::time::timeout(PATIENCE, tunnel.closed()).await.unwrap();
        assert!(matches!(&end, TunnelEnd::Refused(refusal) if refusal.code == code), "{end:?}");
    }
    let now = until(&server.handle, |now| now.tunnels.len() == 1).await;
    assert!(now.tunnels[0].url.contains("foo.test"));
    assert_eq!(who(site.web_address(), "app.example.com", "/").await, "404", "nobody waits there");
    // Free at once for whoever has the right now.
    let next = site.token("next");
    site.allow(&next, rights(&[], &["app.example.com"]));
    let client = site.client(&next).connect().await.unwrap();
    client.http().domain("app.example.com").forward("localhost:1").await.unwrap();
}
