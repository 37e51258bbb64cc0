//! A new process in the running server's place: nobody notices, and one that can't serve changes nothing.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixDatagram},
    task::JoinSet,
    time::Instant,
};
use tunnel_testkit::{Upstream, Visitor};

use super::{
    changes::{Stage, nothing_failed},
    live::echo_after_upgrade,
};
use crate::harness::{
    Ended, Fault, Laptop, Outcome, Process, Steady, Told, Vps, World, check, spread, until, within,
};

super::scenarios! {
    "upgrading the server under load fails no request and leaks no file" => under_load,
    "a program that can't serve leaves the old process serving, and two upgrades at once are one" => broken,
    "a service manager follows an upgrade" => notified,
    "a client's upgrade under load fails no request" => clients,
}

/// Requests a second: half of them POST, half of them over HTTP/2, a quarter on fresh connections.
pub(super) const RATE: u32 = 200;
const RATE_LONG: u32 = 500;

async fn under_load(world: Arc<World>) -> Outcome<String> {
    let (rounds, rate) = (world.pick(3, 20), world.pick(RATE, RATE_LONG));
    let grace = Duration::from_secs(5);
    let mut stage = Stage::with(&world, 1, &["--grace", "5s", "--hold", "0s"]).await?;
    let laptop = Laptop::new(&world, "ana", stage.vps.control(), &stage.vps.token("ana").await?);
    let _client = stage.join(&laptop, &[]).await?;
    let echo = Upstream::echo().await?;
    let (_tcp, address) = laptop.tcp(echo.address()).await?;
    let steady = Steady::start(stage.goal.clone(), rate);
    let chat = Upstream::start(|stream| async move { drop(echo_after_upgrade(stream).await) }).await?;
    let _chat = laptop.http(chat.address(), "chat").await?;
    let lives = Lives::default();
    let mut streams = JoinSet::new();
    for _ in 0..3 {
        streams.spawn(lives.clone().talk(move || TcpStream::connect(address)));
        let web = stage.vps.web();
        streams.spawn(lives.clone().talk(move || web_socket(web)));
    }
    let (mut took, mut files) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        steady.answers(u64::from(rate)).await?;
        let (mark, asked) = (stage.server.mark(), Instant::now());
        if round % 2 == 0 {
            let said = stage.vps.upgrade().await?;
            check!(said.status == Some(0), "no upgrade: {said:?}");
            let lines: Vec<&str> = said.stdout.lines().collect();
            check!(lines.len() == 2 && lines[1] == "3 clients have moved", "it said {said:?}");
            took.push(asked.elapsed());
        } else {
            stage.server.signal(Signal::USR2)?;
        }
        stage.server.succeeded(mark).await?;
        stage.server.says(mark, "clients have moved").await?;
        files.push(stage.server.open_files()?);
    }
    steady.answers(u64::from(rate)).await?;
    let visits = steady.stop().await;
    nothing_failed(&visits)?;
    // Whoever still talks is cut at the end of the grace, and so may talk at least that long.
    drop(streams);
    let lives = lives.told()?;
    check!(lives.iter().all(|life| *life >= grace), "streams were cut before the grace was over: {lives:?}");
    let only = |process: &Process| Ok(process.open_files()? <= files[0] + SLACK);
    until("a process without files left open", || only(&stage.server)).await?;
    Ok(format!(
        "{rounds} upgrades at {rate} requests a second, {} answered, 0 failed, {} asked again after GOAWAY; `tunnel upgrade` took {}; {} \
         streams lived to the end of a grace, {}; open files at the end {}, after the first {}",
        visits.answered,
        visits.moved,
        spread(took),
        lives.len(),
        spread(lives.clone()),
        stage.server.open_files()?,
        files[0]
    ))
}

/// Files that a process may have open beyond what its predecessor had: visitors come and go.
const SLACK: usize = 8;

/// How long streams lived that nobody ended but the server.
#[derive(Clone, Debug, Default)]
struct Lives(Arc<Mutex<Vec<Outcome<Duration>>>>);

impl Lives {
    /// Talks on a stream until it is cut, then on another one, for ever.
    async fn talk<S>(self, connect: impl Fn() -> S)
    where
        S: Future<Output = std::io::Result<TcpStream>>,
    {
        loop {
            let life = talk(connect()).await;
            let is_broken = life.is_err();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(life);
            if is_broken {
                return;
            }
        }
    }

    fn told(&self) -> Outcome<Vec<Duration>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }
}

async fn talk(connecting: impl Future<Output = std::io::Result<TcpStream>>) -> Outcome<Duration> {
    let mut stream = connecting.await.told("a long-lived stream")?;
    let since = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for number in 0_u64.. {
        ticks.tick().await;
        let mut heard = [0; 8];
        let said = number.to_be_bytes();
        if stream.write_all(&said).await.is_err() || stream.read_exact(&mut heard).await.is_err() {
            break;
        }
        check!(heard == said, "another echo");
    }
    Ok(since.elapsed())
}

/// A connection that an upgrade has made a stream.
async fn web_socket(web: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(web).await?;
    let asked = "GET /chat HTTP/1.1\r\nHost: chat.t.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(asked.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\nhello") {
        head.push(stream.read_u8().await?);
    }
    match head.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(stream),
        false => Err(std::io::Error::other(String::from_utf8_lossy(&head).into_owned())),
    }
}

async fn broken(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let installed = vps.install()?;
    let mut server = vps.start().await?;
    let upstream = Upstream::hello("site").await?;
    let laptop = Laptop::new(&world, "laptop", vps.control(), &server.token()?);
    let (_client, online) = laptop.http(upstream.address(), "myapp").await?;
    let serves = async || -> Outcome {
        let answer = within("an answer", Visitor::get(vps.web(), online.host(), "/")).await??;
        check!(answer.status == 200, "{}", answer.head);
        Ok(())
    };
    for (script, reason) in [
        ("echo this is broken >&2; exit 3", "ended before it was ready (exit status: 3)"),
        (
            "exec \"$REAL\" server --domain t.localhost --https-port 0 --cert /nowhere --key /nowhere",
            "/nowhere",
        ),
        ("exec \"$REAL\" server --no-such-flag", "ended before it was ready (exit status: 2)"),
    ] {
        replace(&installed, &world, script)?;
        let refused = vps.upgrade().await?;
        check!(refused.status == Some(1) && one_line(&refused, reason), "no `{reason}`: {refused:?}");
        serves().await?;
    }
    fs::remove_file(&installed)?;
    let refused = vps.upgrade().await?;
    check!(refused.status == Some(1) && one_line(&refused, "cannot start"), "it said {refused:?}");
    serves().await?;
    // One that takes its time, so that another upgrade can be asked for meanwhile.
    replace(&installed, &world, "read wait < \"$GATE\"; exec \"$REAL\" \"$@\"")?;
    let gate = world.path("gate");
    let made = std::process::Command::new("mkfifo").arg(&gate).status()?;
    check!(made.success(), "no fifo");
    let mark = server.process.mark();
    let (first, second) = tokio::join!(vps.upgrade(), async {
        server.process.says(mark, "a new process is starting").await?;
        let second = vps.upgrade().await;
        let gate = gate.clone();
        tokio::task::spawn_blocking(move || fs::write(gate, "\n")).await??;
        second
    });
    let (first, second) = (first?, second?);
    check!(second.status == Some(1) && one_line(&second, "under way already"), "the second: {second:?}");
    check!(first.status == Some(0), "the first: {first:?}");
    server.process.succeeded(mark).await?;
    serves().await?;
    // And by the program itself, in the place of the file that the first process was started from.
    world.install(&installed)?;
    let mark = server.process.mark();
    let upgraded = vps.upgrade().await?;
    check!(upgraded.status == Some(0), "no upgrade: {upgraded:?}");
    server.process.succeeded(mark).await?;
    serves().await?;
    server.process.stop().await?;
    let nobody = vps.upgrade().await?;
    check!(nobody.status == Some(1) && one_line(&nobody, "is the server running"), "it said {nobody:?}");
    Ok("4 kinds of failure; 1 of 2 at once refused".into())
}

/// Puts a script in the place of the program.
fn replace(installed: &Path, world: &World, script: &str) -> Outcome {
    let new = installed.with_extension("new");
    let (real, gate) = (world.binary().display(), world.path("gate"));
    fs::write(&new, format!("#!/bin/sh\nREAL='{real}'\nGATE='{}'\n{script}\n", gate.display()))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    Ok(fs::rename(new, installed)?)
}

pub(super) fn one_line(ended: &Ended, part: &str) -> bool {
    ended.stderr.lines().count() == 1 && ended.stderr.starts_with("error: ") && ended.stderr.contains(part)
}

async fn notified(world: Arc<World>) -> Outcome<String> {
    let path = world.path("notify");
    let manager = UnixDatagram::bind(&path)?;
    let mut vps = Vps::new(&world, &[])?;
    vps.set("NOTIFY_SOCKET", &path.display().to_string());
    vps.set("WATCHDOG_USEC", "200000");
    let mut server = vps.start().await?;
    hear(&manager, "READY=1").await?;
    hear(&manager, "STATUS=0 clients, 0 tunnels").await?;
    hear(&manager, "WATCHDOG=1").await?;
    let mark = server.process.mark();
    let upgraded = vps.upgrade().await?;
    check!(upgraded.status == Some(0), "no upgrade: {upgraded:?}");
    server.process.succeeded(mark).await?;
    hear(&manager, &format!("MAINPID={}", server.process.pid())).await?;
    hear(&manager, "READY=1").await?;
    hear(&manager, "WATCHDOG=1").await?;
    server.process.stop().await?;
    hear(&manager, "STOPPING=1").await?;
    Ok("told of both processes".into())
}

/// Reads what a service manager is told until it is told this.
async fn hear(manager: &UnixDatagram, what: &str) -> Outcome {
    let hearing = async {
        loop {
            let mut buffer = [0; 1000];
            let length = manager.recv(&mut buffer).await?;
            let said = String::from_utf8_lossy(&buffer[..length]);
            if said.lines().any(|line| line == what) {
                return Ok::<_, Fault>(());
            }
        }
    };
    within(&format!("`{what}` for the service manager"), hearing).await?
}

async fn clients(world: Arc<World>) -> Outcome<String> {
    let rounds = world.pick(3, 20);
    let stage = Stage::with(&world, 1, &["--hold", "0s"]).await?;
    let laptop = Laptop::new(&world, "ana", stage.vps.control(), &stage.vps.token("ana").await?);
    let mut client = stage.join(&laptop, &[]).await?;
    let steady = Steady::start(stage.goal.clone(), RATE);
    for _ in 0..rounds {
        steady.answers(u64::from(RATE)).await?;
        // The new one takes the name, and the old one ends when its visitors have left.
        let next = stage.join(&laptop, &[]).await?;
        let mut old = std::mem::replace(&mut client, next);
        let status = within("the end of the old client", old.exit()).await??;
        check!(status == Some(1), "the old client ended with {status:?}");
    }
    let visits = steady.stop().await;
    nothing_failed(&visits)?;
    Ok(format!("{rounds} upgrades, {} answered, 0 failed", visits.answered))
}
