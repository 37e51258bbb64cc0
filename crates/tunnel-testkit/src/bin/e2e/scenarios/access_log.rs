//! The access log has a line for each request, also while it is rotated.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rustix::process::Signal;
use serde_json::Value;
use tokio::task::JoinSet;
use tunnel_testkit::Visitor;

use crate::harness::{Laptop, Online, Outcome, Vps, World, check, mirror, until};

super::scenarios! {
    "an access log that is rotated under load has each request once" => rotated,
}

const VISITORS: u64 = 4;
/// Requests between two rotations.
const BETWEEN: u64 = 100;

async fn rotated(world: Arc<World>) -> Outcome<String> {
    let rotations = world.pick(10, 200);
    let log = world.path("access.log");
    let shown = log.display().to_string();
    let mut vps = Vps::new(&world, &["--access-log", &shown, "--access-log-format", "json"])?;
    let server = vps.start().await?;
    let laptop = Laptop::new(&world, "ana", vps.control(), &server.token()?);
    let service = mirror().await?;
    let mut client = laptop.start("http", service.address(), &["--subdomain", "shop"])?;
    Online::wait(&mut client, 0).await?;

    let (answered, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut visitors = JoinSet::new();
    for number in 0..VISITORS {
        let (web, host) = (vps.web(), vps.host("shop"));
        let (answered, over) = (answered.clone(), over.clone());
        visitors.spawn(async move {
            let mut visitor = Visitor::connect(web).await?;
            let mut asked = 0_u64;
            while !over.load(Ordering::Relaxed) {
                visitor.send(format!("GET /{number}/{asked} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await?;
                visitor.answer().await?;
                asked += 1;
                answered.fetch_add(1, Ordering::Relaxed);
            }
            std::io::Result::Ok((number, asked))
        });
    }
    let mut files = Vec::<PathBuf>::new();
    for rotation in 0..rotations {
        let so_far = answered.load(Ordering::Relaxed);
        until("requests", || Ok(answered.load(Ordering::Relaxed) >= so_far + BETWEEN)).await?;
        let old = world.path(&format!("access.log.{rotation}"));
        fs::rename(&log, &old)?;
        files.push(old);
        server.process.signal(Signal::HUP)?;
        until("a new file", || Ok(log.exists())).await?;
    }
    over.store(true, Ordering::Relaxed);
    let mut wanted = BTreeMap::new();
    while let Some(visitor) = visitors.join_next().await {
        let (number, asked) = visitor??;
        wanted.extend((0..asked).map(|asked| (format!("/{number}/{asked}"), 1)));
    }
    client.stop().await?;
    server.process.stop().await?;
    files.push(log);
    let mut found = BTreeMap::new();
    for file in &files {
        for line in fs::read_to_string(file)?.lines() {
            let line: Value = serde_json::from_str(line)?;
            check!(line["status"] == 200 && line["whole"] == true, "{line}");
            *found.entry(line["path"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
        }
    }
    let (lines, requests) = (found.len(), wanted.len());
    check!(found == wanted, "{lines} requests have lines, and {requests} were answered");
    Ok(format!("{rotations} rotations, {requests} requests, as many lines"))
}
