//! What a token may do, through the program itself: each right refuses, and each bites a client that is online.

use std::sync::Arc;

use tunnel_testkit::{Upstream, Visitor, header};

use super::refusals::is_one_line;
use crate::harness::{Laptop, Online, Outcome, Process, Vps, World, check, within};

super::scenarios! {
    "a token without a right is refused, by each flag" => refused,
    "a right that is taken away ends what needs it, by each flag" => tightened,
    "what a token's visitors may have is counted over all its tunnels" => counted,
    "a reserved name is one token's, and a rotated token another secret" => reserved,
}

/// A port of the default range for UDP, and one that isn't it.
const PORTS: [&str; 2] = ["20500", "20501"];

async fn refused(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let _server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let rows: [(&[&str], &str, &[&str], &str); 5] = [
        (&["--kind", "tcp,udp"], "http", &[], "kind-not-allowed"),
        (&["--kind", "http"], "tcp", &[], "kind-not-allowed"),
        (&["--udp-ports", PORTS[0]], "udp", &["--remote-port", PORTS[1]], "port-not-allowed"),
        (&["--subdomain", "dev-*"], "http", &["--subdomain", "other"], "domain-not-allowed"),
        (&["--domain", "app.example.com"], "http", &["--domain", "www.example.com"], "domain-not-allowed"),
    ];
    for (number, (rights, kind, flags, code)) in rows.into_iter().enumerate() {
        let name = format!("t{number}");
        let laptop = laptop(&world, &vps, &name, rights).await?;
        let ended = world.run(laptop.command(kind, upstream.address(), flags)).await?;
        is_one_line(&ended, 1, &[code])?;
    }
    let one = laptop(&world, &vps, "one", &["--max-tunnels", "1"]).await?;
    let (_first, _) = one.http(upstream.address(), "first").await?;
    let ended = world.run(one.command("http", upstream.address(), &["--subdomain", "second"])).await?;
    is_one_line(&ended, 1, &["limit-reached"])?;
    let over = laptop(&world, &vps, "over", &["--expires", "1s"]).await?;
    let mut client = over.start("http", upstream.address(), &[])?;
    ends_with(&mut client, "token-expired").await?;
    let wrong = vps.token_command(&["create", "wrong", "--max-tunnels", "many"]).await?;
    check!(wrong.status == Some(2) && wrong.stderr.contains("--max-tunnels"), "{wrong:?}");
    Ok(format!("{} rights", rows.len() + 2))
}

async fn tightened(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let _server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let rows: [(&str, &[&str], &[&str], &str); 5] = [
        ("http", &[], &["--kind", "tcp"], "kind-not-allowed"),
        ("tcp", &[], &["--tcp-ports", "1"], "port-not-allowed"),
        ("udp", &["--remote-port", PORTS[0]], &["--udp-ports", PORTS[1]], "port-not-allowed"),
        ("http", &["--subdomain", "other"], &["--subdomain", "dev-*"], "domain-not-allowed"),
        ("http", &[], &["--expires", "1s"], "token-expired"),
    ];
    for (number, (kind, flags, edit, code)) in rows.into_iter().enumerate() {
        let name = format!("t{number}");
        let laptop = laptop(&world, &vps, &name, &[]).await?;
        let mut client = laptop.start(kind, upstream.address(), flags)?;
        Online::wait(&mut client, 0).await?;
        edited(&vps, &name, edit).await?;
        ends_with(&mut client, code).await?;
    }
    let two = laptop(&world, &vps, "two", &[]).await?;
    let (older, online) = two.http(upstream.address(), "older").await?;
    let (mut newer, _) = two.http(upstream.address(), "newer").await?;
    edited(&vps, "two", &["--max-tunnels", "1"]).await?;
    ends_with(&mut newer, "limit-reached").await?;
    let answer = within("the older one's page", Visitor::get(vps.web(), online.host(), "/")).await??;
    check!(answer.status == 200, "the older one is gone too: {}", answer.status);
    older.stop().await?;
    Ok(format!("{} rights", rows.len() + 1))
}

async fn counted(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let _server = vps.start().await?;
    let (site, echo) = (Upstream::hello("site").await?, Upstream::echo().await?);
    let laptop = laptop(&world, &vps, "ana", &[]).await?;
    let (_web, online) = laptop.http(site.address(), "ana").await?;
    let (_tcp, port) = laptop.tcp(echo.address()).await?;
    until_answered(&vps, online.host(), "").await?;

    let mut open = Visitor::connect(port).await?;
    open.send("x").await?;
    within("the echo", open.exactly(1)).await??;
    edited(&vps, "ana", &["--max-connections", "1"]).await?;
    until_answered(&vps, online.host(), "too-many-visitors").await?;
    open.send("y").await?;
    within("the visitor that was there goes on", open.exactly(1)).await??;
    drop(open);
    until_answered(&vps, online.host(), "").await?;

    edited(&vps, "ana", &["--max-connections", "any", "--monthly-bytes", "1kB"]).await?;
    until_answered(&vps, online.host(), "quota-used").await?;
    let shown = vps.token_command(&["show", "ana"]).await?;
    check!(shown.status == Some(0) && shown.stdout.contains("1"), "{shown:?}");
    edited(&vps, "ana", &["--monthly-bytes", "any"]).await?;
    until_answered(&vps, online.host(), "").await?;
    Ok("visitors at once, and bytes of a month".into())
}

async fn reserved(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let _server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let ana = laptop(&world, &vps, "ana", &["--subdomain", "dev-*"]).await?;
    let bob = laptop(&world, &vps, "bob", &[]).await?;
    let (mut holder, _) = bob.http(upstream.address(), "demo").await?;
    let data = vps.data_dir();
    let reserve = async |words: &[&str]| {
        let words = [&["reserve", "--data-dir", &data], words].concat();
        world.run(world.tunnel("vps", words)).await
    };
    let made = reserve(&["demo", "--for", "ana"]).await?;
    check!(made.status == Some(0), "{made:?}");
    ends_with(&mut holder, "name-reserved").await?;
    let (owner, _) = ana.http(upstream.address(), "demo").await?;
    owner.stop().await?;
    let ended = world.run(bob.command("http", upstream.address(), &["--subdomain", "demo"])).await?;
    is_one_line(&ended, 1, &["name-reserved"])?;
    let twice = reserve(&["demo", "--for", "bob"]).await?;
    is_one_line(&twice, 1, &["`demo` is reserved for `ana`"])?;
    let listed = reserve(&["--list"]).await?;
    check!(listed.stdout.contains("demo") && listed.stdout.contains("ana"), "{listed:?}");

    let (mut online, _) = bob.http(upstream.address(), "other").await?;
    let rotated = vps.token_command(&["rotate", "bob"]).await?;
    check!(rotated.status == Some(0), "{rotated:?}");
    ends_with(&mut online, "revoked").await?;
    let renewed = Laptop::new(&world, "bob", vps.control(), rotated.stdout.trim());
    let (again, _) = renewed.http(upstream.address(), "other").await?;
    again.stop().await?;
    Ok("for its owner, not for who had it; the former secret is worth nothing".into())
}

/// A laptop with a token of this name and these rights.
async fn laptop(world: &Arc<World>, vps: &Vps, name: &str, rights: &[&str]) -> Outcome<Laptop> {
    let made = vps.token_command(&[&["create", name], rights].concat()).await?;
    check!(made.status == Some(0), "{made:?}");
    Ok(Laptop::new(world, name, vps.control(), made.stdout.trim()))
}

async fn edited(vps: &Vps, name: &str, rights: &[&str]) -> Outcome {
    let edited = vps.token_command(&[&["edit", name], rights].concat()).await?;
    check!(edited.status == Some(0), "{edited:?}");
    Ok(())
}

/// Waits until a client has ended for this reason: by 3, if it is the token itself that isn't taken any more.
async fn ends_with(client: &mut Process, code: &str) -> Outcome {
    client.says(0, code).await?;
    let status = client.exit().await?;
    let expected = if ["token-expired", "revoked"].contains(&code) { 3 } else { 1 };
    check!(status == Some(expected), "{code}: it ended with {status:?}");
    Ok(())
}

/// Waits until visitors are refused with this code, or with none if it is empty.
async fn until_answered(vps: &Vps, host: &str, code: &str) -> Outcome {
    within("the answer", async {
        loop {
            let answer = Visitor::get(vps.web(), host, "/").await?;
            let said = header(&answer.head, "tunnel-error").unwrap_or_default();
            if said == code && (answer.status == 200) == code.is_empty() {
                return Ok(());
            }
        }
    })
    .await?
}
