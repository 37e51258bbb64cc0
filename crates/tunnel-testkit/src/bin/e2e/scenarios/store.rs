//! The store: killed while it is written to, it opens and has all that was answered for; commands reach it through a
//! server that runs and past one that doesn't.

use std::{path::Path, sync::Arc};

use serde_json::Value;
use tokio::net::UnixStream;
use tunnel_testkit::{Answer, Visitor};

use crate::harness::{Fault, Outcome, Told, Vps, World, check, within};

super::scenarios! {
    "a server killed while tokens are written keeps every one that it answered for" => killed,
    "once the last token was revoked, a server that starts anew makes none and says so" => none_left,
    "token and reserve: carried out by the server that runs, and where none runs in its directory" => both_ways,
}

/// Programs that write at once.
const WRITERS: usize = 4;

async fn killed(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let socket = Path::new(&vps.data_dir()).join("admin.sock");
    let rounds = world.pick(5, 200);
    let mut kept = Vec::new();
    let mut server = vps.start().await?;
    for round in 0..rounds {
        // Killed while others are under way, each time after another number of answers.
        let enough = round % 7 + 1;
        let mut writers = tokio::task::JoinSet::new();
        let (answered, mut answers) = tokio::sync::mpsc::channel(1024);
        for writer in 0..WRITERS {
            let (socket, answered) = (socket.clone(), answered.clone());
            writers.spawn(async move {
                for number in 0.. {
                    let name = format!("r{round}-{writer}-{number}");
                    match create(&socket, &name).await {
                        Ok(201) if answered.send(name).await.is_ok() => {}
                        _ => return,
                    }
                }
            });
        }
        drop(answered);
        for _ in 0..enough {
            kept.push(within("an answer", answers.recv()).await?.ok_or(Fault::new("the writers gave up"))?);
        }
        server.process.kill().await?;
        while let Some(name) = answers.recv().await {
            kept.push(name);
        }
        server = vps.start().await?;
    }
    let listed = vps.token_command(&["list", "--json"]).await?;
    let listed: Value = serde_json::from_str(&listed.stdout).told(format!("{listed:?}"))?;
    let names: Vec<&str> =
        listed.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    let lost: Vec<&String> = kept.iter().filter(|name| !names.contains(&name.as_str())).collect();
    check!(lost.is_empty(), "answered for and lost: {lost:?}");
    server.process.stop().await?;
    Ok(format!("{rounds} kills, {} tokens answered for, {} there", kept.len(), names.len()))
}

async fn none_left(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let first = vps.start().await?;
    vps.revoke("default").await?;
    first.process.stop().await?;
    let mut second = vps.start().await?;
    second.process.says(0, "no token is left").await?;
    let listed = vps.token_command(&["list", "--json"]).await?;
    check!(listed.stdout.trim() == "[]", "{listed:?}");
    let lines = second.process.lines();
    check!(!lines.iter().any(|line| line.text.contains("token-created")), "a new token: {lines:?}");
    second.process.stop().await?;
    Ok("a warning, and no token".into())
}

async fn both_ways(world: Arc<World>) -> Outcome<String> {
    let mut vps = Vps::new(&world, &[])?;
    let socket = Path::new(&vps.data_dir()).join("admin.sock");
    let server = vps.start().await?;
    let with = carried_out(&world, &vps, "taken").await?;
    server.process.kill().await?;
    check!(socket.exists(), "a server that was killed leaves no socket to be mistaken for one that runs");
    let without = carried_out(&world, &vps, "given").await?;
    check!(with == without.replace("given", "taken"), "with a server: {with}\nwithout one: {without}");

    let server = vps.start().await?;
    let answer = ask(&socket, "GET /api/v1/audit", "").await?;
    let audit: Value = serde_json::from_slice(&answer.body)?;
    let by = |name: &str| {
        let mut entries = audit["entries"].as_array().into_iter().flatten();
        entries
            .find(|entry| entry["about"] == name)
            .and_then(|entry| entry["by"].as_str())
            .unwrap_or("nobody")
    };
    let uid = rustix::process::getuid().as_raw();
    check!(by("taken") == format!("socket, uid {uid}"), "the server's entry is by {}", by("taken"));
    check!(by("given") == "command", "the command's entry is by {}", by("given"));
    server.process.stop().await?;
    Ok("the same words in both ways, the user noted by the server".into())
}

/// What commands say, all of it, but for secrets, ids and dates.
async fn carried_out(world: &World, vps: &Vps, name: &str) -> Outcome<String> {
    let data = vps.data_dir();
    let reserved = format!("{name}-name");
    let commands: [&[&str]; 13] = [
        &["token", "create", name, "--kind", "http"],
        &["token", "create", name],
        &["token", "create", "-", "--kind", "http"],
        &["token", "edit", name, "--subdomain", "dev-*", "--kind", "any"],
        &["token", "edit", name, "--remove-domain", "a.example.com"],
        &["token", "show", "nobody"],
        &["reserve", &reserved, "--for", name],
        &["reserve", &reserved, "--for", "default"],
        &["reserve", "--list"],
        &["reserve", "--release", &reserved],
        &["reserve", "--release", &reserved],
        &["token", "show", name],
        &["token", "revoke", name],
    ];
    let mut said = String::new();
    for command in commands {
        let ended = world.run(world.tunnel("vps", [command, &["--data-dir", &data]].concat())).await?;
        let words = format!("{} {}", ended.stdout, ended.stderr);
        let is_own = |word: &&str| !(word.starts_with("tnl_") || word.ends_with('Z') || word.len() == 16);
        let words: Vec<&str> = words.split_whitespace().filter(is_own).collect();
        said += &format!("{command:?}: {:?} {}\n", ended.status, words.join(" "));
    }
    Ok(said)
}

/// Asks for a token at the admin socket; the status of the answer.
async fn create(socket: &Path, name: &str) -> Outcome<u16> {
    Ok(ask(socket, "POST /api/v1/tokens", &format!(r#"{{"name":"{name}"}}"#)).await?.status)
}

async fn ask(socket: &Path, line: &str, body: &str) -> Outcome<Answer> {
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut visitor = Visitor::over(UnixStream::connect(socket).await?);
    visitor.send(request).await?;
    Ok(visitor.answer().await?)
}
