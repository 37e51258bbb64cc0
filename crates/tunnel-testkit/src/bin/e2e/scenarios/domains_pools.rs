//! Names of one's own, parts of a name, and several clients at one.

use std::sync::Arc;

use tunnel_testkit::{Upstream, Visitor};

use super::refusals::is_one_line;
use crate::harness::{
    Ended, Fault, Laptop, Load, Online, Outcome, Process, Told, Vps, World, check, ms, within,
};

super::scenarios! {
    "a domain and a reserved name need a right, which the server gives and takes while it runs" => rights,
    "visitors of one host are told apart by path, and wildcards take what is left" => paths,
    "a client that doesn't fit into a pool is refused; those that do share the visitors" => fit,
    "ten kills of a pool's members under load cost no request" => kills,
}

async fn token(vps: &Vps, arguments: &[&str]) -> Outcome<Ended> {
    let ended = vps.token_command(arguments).await?;
    check!(ended.status == Some(0), "`tunnel token` failed: {ended:?}");
    Ok(ended)
}

/// Starts a client and waits until it is online.
async fn start(
    laptop: &Laptop,
    kind: &str,
    upstream: &Upstream,
    flags: &[&str],
) -> Outcome<(Process, Online)> {
    let mut process = laptop.start(kind, upstream.address(), flags)?;
    let online = Online::wait(&mut process, 0).await?;
    Ok((process, online))
}

/// Who answers at `path` of `host`; the status if it isn't 200.
async fn who(vps: &Vps, host: &str, path: &str) -> Outcome<String> {
    let answer = within("a page", Visitor::get(vps.web(), host, path)).await??;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    match answer.status {
        200 => Ok(body.split(' ').next().unwrap_or_default().to_owned()),
        status => Ok(status.to_string()),
    }
}

async fn rights(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    // The server's own variable is nobody's right.
    vps.set("TUNNEL_DOMAIN", "localhost");
    let _server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let at = upstream.address();
    let laptop = Laptop::new(&world, "ana", vps.control(), &vps.token("ana").await?);
    for (flags, parts) in [
        (["--domain", "app.example.com"], ["domain-not-allowed", "token edit ana --domain app.example.com"]),
        (["--domain", "*.dev.test"], ["domain-not-allowed", "token edit ana --domain '*.dev.test'"]),
        (["--domain", "localhost"], ["domain-not-allowed", "token edit ana --domain localhost"]),
        (["--subdomain", "www"], ["name-reserved", "token edit ana --subdomain www"]),
        (["--path", "/a/../b"], ["name-invalid", "`..`"]),
    ] {
        let ended = world.run(laptop.command("http", at, &flags)).await?;
        is_one_line(&ended, 1, &parts).told(format!("{flags:?} without a right"))?;
    }
    let both = world.run(laptop.command("http", at, &["--domain", "a.test", "--subdomain", "a"])).await?;
    check!(both.status == Some(2), "both names: {both:?}");

    let given = ["--domain", "app.example.com", "--domain", "*.dev.test", "--subdomain", "www"];
    let edited = token(&vps, &[&["edit", "ana"], &given[..]].concat()).await?;
    check!(edited.stdout.contains("subdomains: www  domains: app.example.com, *.dev.test"), "{edited:?}");
    let listed = token(&vps, &["list"]).await?;
    check!(listed.stdout.contains("domains: app.example.com, *.dev.test"), "not listed: {listed:?}");
    let (mut domain, _) = start(&laptop, "http", &upstream, &["--domain", "app.example.com"]).await?;
    let (_wild, online) = start(&laptop, "http", &upstream, &["--domain", "*.dev.test"]).await?;
    let (_www, _) = start(&laptop, "http", &upstream, &["--subdomain", "www"]).await?;
    let (_any, _) = start(&laptop, "http", &upstream, &["--subdomain", "other"]).await?;
    check!(online.url.contains("*.dev.test"), "the wildcard is {}", online.url);
    check!(who(&vps, "app.example.com", "/").await? == "site", "the domain doesn't lead to the site");
    check!(who(&vps, "x.dev.test", "/").await? == "site", "nor does the wildcard");

    let mark = tokio::time::Instant::now();
    token(&vps, &["edit", "ana", "--remove-domain", "app.example.com"]).await?;
    let status = within("the end of the domain's client", domain.exit()).await??;
    let took = mark.elapsed();
    check!(status == Some(1), "it ended with {status:?}");
    check!(who(&vps, "app.example.com", "/").await? == "404", "the domain is still there");
    check!(who(&vps, "x.dev.test", "/").await? == "site", "the wildcard went as well");

    let made = token(&vps, &["create", "ben", "--subdomain", "dev-*"]).await?;
    let ben = Laptop::new(&world, "ben", vps.control(), made.stdout.trim());
    let ended = world.run(ben.command("http", at, &["--subdomain", "app"])).await?;
    is_one_line(&ended, 1, &["domain-not-allowed", "`dev-*`"])?;
    let (_ben, online) = start(&ben, "http", &upstream, &[]).await?;
    check!(online.host().starts_with("dev-"), "a random name is {}", online.url);
    let ended = world.run(ben.command("http", at, &["--domain", "*.localhost"])).await?;
    is_one_line(&ended, 1, &["domain-not-allowed"]).told("the server's domain, by the server's variable")?;
    Ok(format!("a right that was taken away ended its tunnel within {}", ms(took)))
}

async fn paths(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let _server = vps.start().await?;
    let made = token(&vps, &["create", "ana", "--domain", "*.dev.test"]).await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), made.stdout.trim());
    let mut kept = Vec::new();
    for (name, flags) in [
        ("wild", &["--domain", "*.dev.test"][..]),
        ("rest", &["--domain", "app.dev.test"]),
        ("api", &["--domain", "app.dev.test", "--path", "/api"]),
        ("v2", &["--domain", "app.dev.test", "--path", "/api/v2/"]),
        ("own", &["--subdomain", "app", "--path", "/own"]),
    ] {
        let upstream = Upstream::hello(name).await?;
        kept.push((start(&laptop, "http", &upstream, flags).await?, upstream));
    }
    for (host, path, expected) in [
        ("x.dev.test", "/api", "wild"),
        ("app.dev.test", "/", "rest"),
        ("app.dev.test", "/apix", "rest"),
        ("app.dev.test", "/api", "api"),
        ("app.dev.test", "/api?v2", "api"),
        ("app.dev.test", "/api/v2/x", "v2"),
        ("app.localhost", "/own/x", "own"),
        ("app.localhost", "/", "404"),
    ] {
        let found = who(&vps, host, path).await?;
        check!(found == expected, "{host}{path} led to {found}, not to {expected}");
    }
    let other = Laptop::new(&world, "ben", vps.control(), &vps.token("ben").await?);
    let at = kept[0].1.address();
    let ended = world.run(other.command("http", at, &["--subdomain", "app", "--path", "/else"])).await?;
    is_one_line(&ended, 1, &["name-taken", "another token"]).told("another path of somebody else's host")?;
    Ok("8 addresses on 5 tunnels".into())
}

async fn fit(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let _server = vps.start().await?;
    let ana = vps.token("ana").await?;
    let (a, b) = (Upstream::hello("a").await?, Upstream::hello("b").await?);
    let pool = ["--subdomain", "shop", "--pool"];
    let one = Laptop::new(&world, "one", vps.control(), &ana);
    let two = Laptop::new(&world, "two", vps.control(), &ana);
    let (_first, _) = start(&one, "http", &a, &pool).await?;
    let ended = world.run(two.command("http", b.address(), &pool[..2])).await?;
    is_one_line(&ended, 1, &["pool-mismatch", "--pool"]).told("without --pool")?;
    let ended = world.run(two.command("http", b.address(), &[&pool[..], &["--compress"]].concat())).await?;
    is_one_line(&ended, 1, &["pool-mismatch", "policies"]).told("with another policy")?;
    let ben = Laptop::new(&world, "ben", vps.control(), &vps.token("ben").await?);
    let ended = world.run(ben.command("http", b.address(), &pool)).await?;
    is_one_line(&ended, 1, &["name-taken", "another token"]).told("with another token")?;
    let (second, _) = start(&two, "http", &b, &pool).await?;
    let mut seen = [0, 0];
    for _ in 0..20 {
        let name = who(&vps, &vps.host("shop"), "/").await?;
        seen[usize::from(name == "b")] += 1;
    }
    check!(seen == [10, 10], "the visitors went {seen:?}");
    second.stop().await?;
    for _ in 0..5 {
        let name = who(&vps, &vps.host("shop"), "/").await?;
        check!(name == "a", "after one has left, {name} answers");
    }

    let (_tcp, online) = start(&one, "tcp", &a, &["--pool"]).await?;
    let port = online.url.rsplit(':').next().unwrap_or_default().to_owned();
    let ended = world.run(two.command("tcp", b.address(), &["--remote-port", &port])).await?;
    is_one_line(&ended, 1, &["pool-mismatch"]).told("a port without --pool")?;
    let (_tcp, _) = start(&two, "tcp", &b, &["--remote-port", &port, "--pool"]).await?;
    let (udp, online) = start(&one, "udp", &a, &["--pool"]).await?;
    let port = online.url.rsplit(':').next().unwrap_or_default().to_owned();
    let (_udp, _) = start(&two, "udp", &b, &["--remote-port", &port, "--pool"]).await?;
    udp.stop().await?;
    Ok(format!("20 visitors went {} to the one and {} to the other", seen[0], seen[1]))
}

const KILLS: usize = 10;
const MEMBERS: usize = 3;
const PER_SECOND: u32 = 200;

async fn kills(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let _server = vps.start().await?;
    let ana = vps.token("ana").await?;
    let upstream = Upstream::hello("site").await?;
    let pool = ["--subdomain", "shop", "--pool"];
    let laptops: Vec<_> = (0..MEMBERS)
        .map(|number| Laptop::new(&world, &format!("laptop-{number}"), vps.control(), &ana))
        .collect();
    let mut members = Vec::new();
    for laptop in &laptops {
        members.push(start(laptop, "http", &upstream, &pool).await?.0);
    }
    let load = Load::start(vps.web(), &vps.host("shop"), PER_SECOND);
    for round in 0..world.pick(KILLS, KILLS * 10) {
        load.answers(u64::from(PER_SECOND) / 4).await?;
        let place = round % MEMBERS;
        members.remove(place).kill().await?;
        load.answers(u64::from(PER_SECOND) / 4).await?;
        members.insert(place, start(&laptops[place], "http", &upstream, &pool).await?.0);
    }
    // And in good order, down to the last one but one.
    members.remove(0).stop().await?;
    load.answers(u64::from(PER_SECOND) / 4).await?;
    let report = load.stop().await;
    if !report.failures.is_empty() {
        return Err(Fault::new(format!("{} failed: {:#?}", report.failures.len(), report.failures)));
    }
    Ok(format!("{} answered, 0 failed, the slowest in {}", report.answered, ms(report.slowest)))
}
