//! The store, killed while it is written to: it opens, and has all that was answered for.

use std::{path::Path, sync::Arc};

use serde_json::Value;
use tokio::net::UnixStream;
use tunnel_testkit::Visitor;

use crate::harness::{Fault, Outcome, Told, Vps, World, check, within};

super::scenarios! {
    "a server killed while tokens are written keeps every one that it answered for" => killed,
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

/// Asks for a token at the admin socket; the status of the answer.
async fn create(socket: &Path, name: &str) -> Outcome<u16> {
    let body = format!(r#"{{"name":"{name}"}}"#);
    let request = format!(
        "POST /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut visitor = Visitor::over(UnixStream::connect(socket).await?);
    visitor.send(request).await?;
    Ok(visitor.answer().await?.status)
}
