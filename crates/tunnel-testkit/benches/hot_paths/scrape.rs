//! What watching a server costs: a scrape and a snapshot beside many tunnels, each with a client.

use std::{hint::black_box, sync::Arc, time::SystemTime};

use criterion::Criterion;
use tokio::{net::UnixStream, task::JoinSet};
use tunnel_admin::{About, AdminServer, AdminSocket, NoTokens, Takeover};
use tunnel_client::{Client, Tunnel};
use tunnel_testkit::{Site, Visitor};

/// How many tunnels there are.
const TUNNELS: usize = 5_000;
/// Clients that have them, each with a token of its own.
const CLIENTS: usize = 50;

pub(crate) fn beside_tunnels(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let site = Site::new().unwrap();
    let server = runtime.block_on(async { site.start(Vec::new()) }).unwrap();
    let _clients = runtime.block_on(clients(&site));
    let handle = &server.handle;
    assert_eq!(handle.totals().tunnels, TUNNELS);

    let mut group = criterion.benchmark_group("watching");
    group.bench_function(format!("totals beside {TUNNELS} tunnels"), |bencher| {
        bencher.iter(|| black_box(handle.totals()));
    });
    group.bench_function(format!("states of {TUNNELS} tunnels"), |bencher| {
        bencher.iter(|| black_box(handle.tunnel_counts()));
    });
    group.bench_function(format!("a snapshot of {TUNNELS} tunnels"), |bencher| {
        bencher.iter(|| black_box(handle.snapshot()));
    });
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("admin.sock");
    let about = About { version: "1".into(), domain: "test".into(), started: SystemTime::now() };
    let mut tasks = JoinSet::new();
    let _entered = runtime.enter();
    let admin = AdminServer::new(about, handle.clone(), Arc::new(NoTokens))
        .socket(AdminSocket::bind(&path, Takeover::No).unwrap());
    tasks.spawn(admin.run());
    group.bench_function(format!("a scrape beside {TUNNELS} tunnels, with its connection"), |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let mut visitor = Visitor::over(UnixStream::connect(&path).await.unwrap());
                visitor.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
                black_box(visitor.answer().await.unwrap())
            })
        });
    });
    group.finish();
}

async fn clients(site: &Site) -> Vec<(Client, Vec<Tunnel>)> {
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let client = site.client(&site.token(&format!("token-{number}"))).connect().await.unwrap();
        let mut tunnels = Vec::new();
        for tunnel in 0..TUNNELS / CLIENTS {
            let name = format!("app-{number}-{tunnel}");
            tunnels.push(client.http().subdomain(&name).forward("127.0.0.1:9").await.unwrap());
        }
        clients.push((client, tunnels));
    }
    clients
}
