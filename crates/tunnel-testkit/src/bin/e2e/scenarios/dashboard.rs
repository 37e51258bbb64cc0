//! The dashboard in a real browser: what a person does there works, and what others try has no effect.
//!
//! Without a Chromium on the machine, these are skipped and say so. With `E2E_PICTURES=DIR` the first leaves pictures of
//! every section there, light and dark, wide and as on a phone.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use serde_json::{Value, json};
use tunnel_client::Client;
use tunnel_protocol::Token;
use tunnel_testkit::{Upstream, Visitor};

use crate::harness::{Browser, Fault, Laptop, Outcome, Process, Told, View, Vps, World, check, within};

super::scenarios! {
    "dashboard: a browser signs in, sees a request, makes a token and ends a session" => walked,
    "dashboard: markup of strangers, pages elsewhere and other names have no effect" => hostile,
}

/// A name that isn't the server's and leads to it.
const ELSEWHERE: &str = "evil.example";
/// What would be seen if it were taken for markup.
const MARKUP: &str = "<img/src=x/onerror=window.hacked=1>";
const SECTIONS: [&str; 6] = ["Overview", "Tunnels", "Clients", "Requests", "Tokens", "Activity"];

/// A server with a dashboard, and a browser that is signed in there.
struct Stage {
    world: Arc<World>,
    vps: Vps,
    server: Process,
    token: String,
    browser: Browser,
    /// The dashboard's address.
    dashboard: String,
}

impl Stage {
    /// `None` on a machine without a browser.
    async fn new(world: &Arc<World>) -> Outcome<Option<Self>> {
        let Some(program) = Browser::find() else { return Ok(None) };
        let mut vps = Vps::new(world, &["--admin-port", "0"])?;
        let server = vps.start().await?;
        let token = server.token()?;
        let browser = Browser::start(world, &program, ELSEWHERE).await?;
        let (world, server) = (world.clone(), server.process);
        let mut stage = Self { world, vps, server, token, browser, dashboard: String::new() };
        let said = stage.command(&["dashboard"]).await?;
        let link = said.lines().next().unwrap_or_default();
        let (dashboard, _) = link.split_once("/#").ok_or(Fault::new(format!("no link in: {said}")))?;
        stage.dashboard = dashboard.to_owned();
        stage.browser.open(link).await?;
        stage.browser.says("Sign out").await?;
        let address = stage.browser.value("location.href").await?;
        check!(address == format!("{dashboard}/"), "the link's secret stays in the address: {address}");
        Ok(Some(stage))
    }

    /// What a command on the server says.
    async fn command(&self, words: &[&str]) -> Outcome<String> {
        let data = self.vps.data_dir();
        let ended =
            self.world.run(self.world.tunnel("vps", [words, &["--data-dir", &data]].concat())).await?;
        check!(ended.status == Some(0), "{words:?}: {ended:?}");
        Ok(ended.stdout)
    }

    /// Visits a path until the page shows that somebody did: it follows only from some moment on.
    async fn visit_until_shown(&mut self, host: &str, path: &str) -> Outcome {
        let shown = format!("document.body.innerText.includes({})", json!(path));
        within("a request that is seen", async {
            while self.browser.value(&shown).await? != true {
                Visitor::get(self.vps.web(), host, path).await?;
                // sleep: the page shows what is new a few times a second
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
            Ok(())
        })
        .await?
    }
}

async fn walked(world: Arc<World>) -> Outcome<String> {
    let Some(mut stage) = Stage::new(&world).await? else { return Ok(SKIPPED.into()) };
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "laptop", stage.vps.control(), &stage.token);
    let (_client, online) = laptop.http(upstream.address(), "shop").await?;
    stage.browser.click("Requests").await?;
    stage.visit_until_shown(online.host(), "/seen?as=it-happens").await?;

    let browser = &mut stage.browser;
    browser.click("Tunnels").await?;
    let link = "[...document.querySelectorAll('td a')].find((link) => link.innerText.includes('shop'))";
    browser.until(&format!("(() => {{ const link = {link}; link?.click(); return !!link; }})()")).await?;
    browser.says("Served by").await?;
    browser.click("24 hours").await?;
    browser.until("document.querySelector('.switch [aria-pressed=true]').innerText === '24 hours'").await?;
    browser.until("document.querySelectorAll('svg.plot path').length >= 2").await?;
    browser.click("Tokens").await?;
    browser.click("New token").await?;
    browser.fill("token-name", "walker").await?;
    browser.click("Make token").await?;
    browser.says("This is shown once").await?;
    let secret = browser
        .value("[...document.querySelectorAll('#dialog code')].map((e) => e.textContent).find((text) => text.startsWith('tnl_'))")
        .await?;
    let secret = secret.as_str().ok_or(Fault::new("the dialog shows no secret"))?;
    browser.click("I have copied it").await?;
    browser.until(&format!("!document.documentElement.innerHTML.includes({})", json!(secret))).await?;

    let other = Laptop::new(&world, "walker", stage.vps.control(), secret);
    let (mut walker, walked) = other.http(upstream.address(), "walked").await?;
    let answer = within("its page", Visitor::get(stage.vps.web(), walked.host(), "/")).await??;
    check!(answer.status == 200, "the token that was made serves nothing: {}", answer.head);
    browser.click("Clients").await?;
    let row = "[...document.querySelectorAll('tr')].find((row) => row.innerText.includes('walker'))";
    browser
        .until(&format!(
            "(() => {{ const row = {row}; row?.querySelector('button').click(); return !!row; }})()"
        ))
        .await?;
    browser.fill("reason", "lunch").await?;
    browser.click("End the session").await?;
    walker.says(0, "the server's operator ended this session (lunch)").await?;
    browser.click("Activity").await?;
    for deed in ["token-created", "session-kicked"] {
        let row = format!(
            "[...document.querySelectorAll('tr')].some((row) => row.innerText.includes({}) && row.innerText.includes('dashboard, 127.0.0.1'))",
            json!(deed)
        );
        browser.until(&row).await?;
    }
    let pictures = pictures(&mut stage.browser).await?;
    stage.browser.click("Sign out").await?;
    stage.browser.says("tunnel dashboard").await?;
    stage.server.stop().await?;
    Ok(format!("signed in by a link, saw a request, made a token and used it, ended a session; {pictures}"))
}

async fn hostile(world: Arc<World>) -> Outcome<String> {
    let Some(mut stage) = Stage::new(&world).await? else { return Ok(SKIPPED.into()) };
    let upstream = Upstream::hello("site").await?;
    let client = Client::builder(stage.vps.control().to_string())
        .token(stage.token.parse::<Token>()?)
        .agent(MARKUP)
        .machine(MARKUP);
    let client = client.connect().await?;
    let _tunnel = client.http().subdomain("shop").forward(upstream.target()).await?;
    let host = stage.vps.host("shop");
    stage.browser.click("Requests").await?;
    stage.visit_until_shown(&host, "/%3Cimg%20src=x%20onerror=window.hacked=1%3E").await?;
    let mut visitor = Visitor::connect(stage.vps.web()).await?;
    let raw = format!(
        "GET /{MARKUP} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {MARKUP}\r\nReferer: {MARKUP}\r\n\r\n"
    );
    visitor.send(raw).await?;
    let answer = within("an answer", visitor.answer()).await??;
    for section in SECTIONS {
        if section == "Activity" {
            stage.command(&["kick", "default", "--reason", MARKUP]).await?;
        }
        stage.browser.click(section).await?;
        if ["Clients", "Activity"].contains(&section) {
            stage.browser.says(MARKUP).await?;
        }
        let harm = stage.browser.value("[window.hacked, document.querySelectorAll('img').length]").await?;
        check!(harm == json!([null, 0]), "{section} took markup for its own: {harm}");
    }

    let tried = elsewhere(&mut stage, upstream.address()).await?;
    let status: Value = serde_json::from_str(&stage.command(&["status", "--json"]).await?)?;
    check!(status["state"] == "running", "a page elsewhere had the server drain: {status}");
    stage.browser.open(&stage.dashboard).await?;
    stage.browser.says("Sign out").await?;
    Ok(format!("markup in a path (raw: {}), a machine, a reason; {tried}", answer.status))
}

/// What a page of another name tries while the browser is signed in.
async fn elsewhere(stage: &mut Stage, upstream: SocketAddr) -> Outcome<String> {
    let dashboard = stage.dashboard.clone();
    let page = format!(
        "<!doctype html><iframe src='{dashboard}/'></iframe><iframe src='/inner'></iframe><iframe name=form></iframe>\
         <form id=send target=form method=post action='{dashboard}/api/v1/drain'></form>"
    );
    let page = Upstream::raw_http(move |head| {
        let body = if head.starts_with("GET / ") { page.as_str() } else { "inner" };
        let length = body.len();
        let kind = "Content-Type: text/html";
        Some(format!("HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes())
    })
    .await?;
    let browser = &mut stage.browser;
    browser.open(&format!("http://{ELSEWHERE}:{}/", page.address().port())).await?;
    let tries = browser.value(&requests(&dashboard, upstream)).await?;
    // The first shows that requests leave; of an answer of the dashboard's nothing is seen, and what asks is refused.
    check!(tries == json!(["opaque", "blocked", "blocked", "blocked", "blocked"]), "from elsewhere: {tries}");
    let framed = "[...document.querySelectorAll('iframe')].map((frame) => frame.contentDocument?.body.innerText ?? 'shut')";
    let framed = browser.value(framed).await?;
    check!(framed[1] == "inner", "frames can't be looked at here: {framed}");
    let frames = browser.in_frames("location.protocol + document.querySelectorAll('#main').length").await?;
    let is_shut = |frame: &Value| frame == "chrome-error:0";
    check!(
        !frames.is_empty() && frames.iter().all(is_shut),
        "the dashboard in a frame of another page: {frames:?}"
    );

    let port = dashboard.rsplit(':').next().unwrap_or_default();
    browser.open(&format!("http://{ELSEWHERE}:{port}/")).await?;
    browser.says("this isn't the name of this server").await?;
    let status = browser.value("fetch('/api/v1/status').then((r) => r.status)").await?;
    check!(status == 421, "a name that was made to lead here is answered {status}");
    Ok(format!("{} requests, a frame and a name from elsewhere", tries.as_array().map_or(0, Vec::len)))
}

/// Sends requests, as a script does: to some server, and to the dashboard in all ways that there are.
fn requests(dashboard: &str, upstream: SocketAddr) -> String {
    let (other, drain) = (format!("http://{upstream}/"), format!("{dashboard}/api/v1/drain"));
    let tries = json!([
        [other, { "mode": "no-cors" }],
        [drain, { "mode": "no-cors" }],
        [drain, { "mode": "no-cors", "body": "{}" }],
        [drain, { "headers": { "X-Tunnel-Key": "x" } }],
        [drain, {}],
    ]);
    format!(
        "(async () => {{ document.getElementById('send').submit(); const seen = []; \
           for (const [url, more] of {tries}) seen.push(await fetch(url, \
             {{ method: 'POST', credentials: 'include', ...more }}).then((r) => r.type, () => 'blocked')); \
           return seen; }})()"
    )
}

/// Leaves pictures of all sections, if somebody wants them.
#[expect(clippy::disallowed_methods, reason = "who runs this says where pictures go")]
async fn pictures(browser: &mut Browser) -> Outcome<String> {
    let Some(folder) = std::env::var_os("E2E_PICTURES").map(PathBuf::from) else {
        return Ok("no pictures".into());
    };
    std::fs::create_dir_all(&folder)?;
    let views = [
        ("light", View { size: (1280, 900), is_dark: false }),
        ("dark", View { size: (1280, 900), is_dark: true }),
        ("phone", View { size: (390, 844), is_dark: false }),
    ];
    for section in SECTIONS {
        browser.click(section).await?;
        browser.until("document.querySelector('main .section')?.innerText.length > 20").await?;
        for (name, view) in views {
            let file = folder.join(format!("{}-{name}.png", section.to_lowercase()));
            std::fs::write(&file, browser.picture(view).await?).told(file.display())?;
        }
        browser.picture(views[0].1).await?;
    }
    Ok(format!("pictures in {}", folder.display()))
}

const SKIPPED: &str = "skipped: there is no Chromium on this machine";
