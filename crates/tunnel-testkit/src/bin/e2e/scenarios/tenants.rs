//! Every answer is from the upstream that was asked.

use std::{net::SocketAddr, sync::Arc};

use tokio::{task::JoinSet, time::Instant};
use tunnel_testkit::{Upstream, Visitor};

use crate::harness::{Laptop, Outcome, Vps, World, check, within};

super::scenarios! {
    "requests that alternate two hosts on one connection are answered by the right one" => alternating,
}

const CONNECTIONS: usize = 8;
/// Requests sent before the first answer is read.
const BURST: usize = 16;

async fn alternating(world: Arc<World>) -> Outcome<String> {
    let all = world.pick(20_000, 100_000);
    let mut vps = Vps::new(&world, &[])?;
    let _server = vps.start().await?;
    let (first, second) = (Upstream::hello("first").await?, Upstream::hello("second").await?);
    let ana = Laptop::new(&world, "ana", vps.control(), &vps.token("ana").await?);
    let ben = Laptop::new(&world, "ben", vps.control(), &vps.token("ben").await?);
    let (_ana, one) = ana.http(first.address(), "one").await?;
    let (_ben, two) = ben.http(second.address(), "two").await?;
    let hosts = Arc::new([("first", one.host().to_owned()), ("second", two.host().to_owned())]);
    let began = Instant::now();
    let mut visitors = JoinSet::new();
    for connection in 0..CONNECTIONS {
        visitors.spawn(visit(vps.web(), hosts.clone(), connection, all / CONNECTIONS));
    }
    while let Some(visited) = visitors.join_next().await {
        visited??;
    }
    let rate = all as f64 / began.elapsed().as_secs_f64();
    Ok(format!(
        "{all} requests on {CONNECTIONS} connections, half in bursts of {BURST}: 0 wrong; {rate:.0} a second"
    ))
}

/// Bursts and single requests in turn, until `requests` were answered.
async fn visit(
    web: SocketAddr,
    hosts: Arc<[(&'static str, String); 2]>,
    connection: usize,
    requests: usize,
) -> Outcome {
    let mut visitor = Visitor::connect(web).await?;
    let mut next = 0;
    while next < requests {
        // As many alone as in bursts.
        let sizes = std::iter::once(BURST).chain(std::iter::repeat_n(1, BURST));
        for size in sizes {
            let numbers = next..(next + size).min(requests);
            next = numbers.end;
            let mut heads = String::new();
            for number in numbers.clone() {
                // Not simply in turn, so that a mix-up of neighbours can't cancel out.
                let (_, host) = &hosts[(number + number / 7) % 2];
                heads += &format!("GET /{connection}/{number} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            }
            visitor.send(heads).await?;
            for number in numbers {
                let (name, host) = &hosts[(number + number / 7) % 2];
                let answer = within("an answer", visitor.answer()).await??;
                let body = String::from_utf8_lossy(&answer.body);
                let expected = format!("{name} /{connection}/{number} {host}\n");
                check!(
                    answer.status == 200 && body == expected,
                    "`{body}` instead of `{expected}`: {}",
                    answer.head
                );
            }
        }
    }
    Ok(())
}
