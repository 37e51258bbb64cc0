//! A server set up by the README: its commands are run, and what they print is what it shows.

use std::{net::TcpListener, process::Stdio, sync::Arc};

use rustix::process::Signal;
use tokio::time::Instant;
use tunnel_testkit::{Upstream, Visitor};

use crate::harness::{Ended, Fault, Outcome, World, check, ms, within};

super::scenarios! {
    "a server set up as the README says works, and the output is what it shows" => by_the_readme,
}

const README: &str = include_str!("../../../../../../README.md");
/// What differs from machine to machine: these lines are not compared.
const OTHERS: [&str; 5] =
    ["ok        dns", "ok        wildcard", "ok        clock", "made      the user", "started   tunnel"];

async fn by_the_readme(world: Arc<World>) -> Outcome<String> {
    let begin = Instant::now();
    let (control, web) = (free_port()?, free_port()?);
    let dir = world.path("vps").join("server");
    let place = Place { dir: dir.display().to_string(), control, web };

    let init = place.init(&world, "sudo tunnel server init").await?;
    check!(init.status == Some(0), "{init:?}");
    let said = place.as_in_the_readme(&init.stdout);
    for line in shown_output()? {
        check!(said.contains(&line), "the README shows `{line}`; there is\n{}", said.join("\n"));
    }
    let again = place.init(&world, "sudo tunnel server init").await?;
    check!(
        again.status == Some(0) && !again.stdout.contains("wrote"),
        "a second run changes nothing: {again:?}"
    );
    check!(again.stdout.contains("kept      the tokens"), "a second run keeps the tokens: {again:?}");

    let start = words(&after(&init.stdout, "Start it:")?);
    let mut command = world.tunnel("vps", &start[1..]);
    command.stdout(Stdio::piped());
    let mut server = world.start("the server", command)?;
    server.says(0, "clients").await?;
    let login = words(&after(&init.stdout, "On the laptop:")?);
    let login = world.run(world.tunnel("laptop", &login[1..])).await?;
    check!(login.status == Some(0), "{login:?}");

    let upstream = Upstream::hello("site").await?;
    let port = upstream.address().port().to_string();
    let http: Vec<_> = words(&shown_command("tunnel http")?)
        .into_iter()
        .map(|word| if word == "3000" { port.clone() } else { word })
        .collect();
    let mut command = world.tunnel("laptop", &http[1..]);
    command.stdout(Stdio::piped());
    let mut client = world.start("the client", command)?;
    let (line, _) = client.says(0, "http").await?;
    check!(line.starts_with(&format!("http://myapp.localhost:{web} -> ")), "{line}");
    let at = ([127, 0, 0, 1], web).into();
    let answer = within("a page", Visitor::get(at, &format!("myapp.localhost:{web}"), "/")).await??;
    check!(answer.status == 200, "the page: {}", answer.status);
    let took = begin.elapsed();

    let doctor = world.run(world.tunnel("laptop", ["doctor", &port])).await?;
    check!(doctor.status == Some(0), "the client is well: {doctor:?}");
    let config = format!("{}/server.toml", place.dir);
    let doctor = world.run(world.tunnel("vps", ["server", "--config", &config, "doctor"])).await?;
    check!(doctor.status == Some(0), "the server is well: {doctor:?}");
    server.signal(Signal::KILL)?;
    server.exit().await?;
    let doctor = world.run(world.tunnel("laptop", ["doctor", "--json"])).await?;
    check!(doctor.status == Some(1) && doctor.stdout.contains(r#""status":"failed""#), "{doctor:?}");
    Ok(format!("from nothing to a page in {}", ms(took)))
}

struct Place {
    dir: String,
    control: u16,
    web: u16,
}

impl Place {
    /// The README's command, for this place in the machine's stead.
    async fn init(&self, world: &World, beginning: &str) -> Outcome<Ended> {
        let line = shown_command(beginning)?.replace("vps.example.com", "localhost");
        let line = line.strip_prefix("sudo tunnel ").unwrap_or(&line);
        let flags = format!("--dir {} --control-port {} --public-port {}", self.dir, self.control, self.web);
        world.run(world.tunnel("vps", words(&format!("{line} {flags}")))).await
    }

    /// What it printed, as it would be on the README's machine.
    fn as_in_the_readme(&self, said: &str) -> Vec<String> {
        let (control, web) = (self.control.to_string(), self.web.to_string());
        let said = said
            .replace(&format!("{}/server.toml", self.dir), "/etc/tunnel/server.toml")
            .replace(&format!("{}/data", self.dir), "/var/lib/tunnel")
            .replace(&format!("{}/tunnel.service", self.dir), "/etc/systemd/system/tunnel.service")
            .replace(&control, "4444")
            .replace(&web, "80")
            .replace("localhost", "vps.example.com");
        said.lines().map(without_secrets).collect()
    }
}

/// What init prints, by the README.
fn shown_output() -> Outcome<Vec<String>> {
    let block = section()?.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
    let block = block.ok_or(Fault::new("the README shows no output"))?;
    let lines = block.lines().map(|line| line.strip_prefix("   ").unwrap_or(line));
    let lines = lines.filter(|line| !line.is_empty() && !OTHERS.iter().any(|other| line.starts_with(other)));
    Ok(lines.map(without_secrets).collect())
}

/// The README's command that begins so, without what is said of it.
fn shown_command(beginning: &str) -> Outcome<String> {
    let mut lines = section()?.lines().map(str::trim);
    let line = lines.find(|line| line.starts_with(beginning) && !line.ends_with("3000"));
    let line = line.and_then(|line| line.split(" #").next());
    Ok(line.ok_or(Fault::new(format!("the README has no `{beginning}`")))?.trim().to_owned())
}

fn section() -> Outcome<&'static str> {
    let rest = README.split("## On a machine of your own").nth(1);
    rest.and_then(|rest| rest.split("\n## ").next()).ok_or(Fault::new("the README has another section now"))
}

/// Tokens and pins are different each time.
fn without_secrets(line: &str) -> String {
    let line = line.split("tnl_").next().unwrap_or(line);
    line.split(", pin ").next().unwrap_or(line).trim_end().to_owned()
}

/// The first line below a heading.
fn after(said: &str, heading: &str) -> Outcome<String> {
    let line = said.lines().skip_while(|line| *line != heading).nth(1);
    Ok(line.ok_or(Fault::new(format!("no `{heading}` in {said}")))?.trim().to_owned())
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Asked of the system: nobody else is likely to get it in the next second.
fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
