//! Who gets a name, in every state it can be in.

mod hosts;
mod pauses;
mod pools;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tunnel_protocol::{InstanceId, Secret, SessionId, TokenId, TunnelId, bind::UpstreamProtocol};
use tunnel_router::Hostname;

use super::{Claim, ClaimError, Name, Registry};
use crate::{
    auth::Identity,
    config::Config,
    routes::Part,
    session::{Session, Who},
    shared::Shared,
};

/// Whoever waits here.
const VISITOR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn shared() -> Shared {
    let mut config = Config::new(Hostname::parse("test").unwrap());
    config.bind = [127, 0, 0, 1].into();
    config.tcp_ports = Some(1..=65535);
    Shared::new(config)
}

/// A claim by a fresh session of the token and installation of these numbers.
fn claim(token: u8, instance: u8) -> Claim {
    let who = Who {
        identity: Identity {
            token: TokenId([token; 8]),
            name: format!("token-{token}").into(),
            generation: 0,
        },
        instance: InstanceId([instance; 16]),
        machine: format!("machine-{instance}"),
        agent: String::new(),
        address: "192.0.2.1:1".parse().unwrap(),
        twins: false,
    };
    let id = SessionId(crate::ids::session_id().0);
    let (session, _outbox) = Session::new(id, Secret::new([0; 32]), who, 1, CancellationToken::new());
    Claim {
        session,
        tunnel: TunnelId(1),
        upstream: "localhost:1".into(),
        protocol: UpstreamProtocol::default(),
        pool: false,
        report_requests: false,
        is_fleeting: false,
        replaces: None,
        policies: Arc::default(),
        max_tunnels: None,
    }
}

fn web(host: &str, path: &str) -> Name {
    Name::web(host.parse().unwrap(), path.parse().unwrap())
}

fn myapp() -> Name {
    web("myapp.test", "/")
}

fn routed(registry: &Registry) -> bool {
    registry.shared.routes.lookup(&Hostname::parse("myapp.test").unwrap(), "/").is_some()
}

#[tokio::test(start_paused = true)]
async fn a_live_name_goes_to_its_own_client_at_once_and_to_nobody_else() {
    let registry = Registry::new(shared(), 80);
    let first = registry.claim(&myapp(), &claim(1, 1)).unwrap();
    assert_eq!(first.endpoint().address.url(), "http://myapp.test");
    assert!(routed(&registry));

    let other = registry.claim(&myapp(), &claim(2, 2)).unwrap_err();
    assert!(matches!(&other, ClaimError::Held(message) if message.contains("another token")), "{other}");
    let elsewhere = registry.claim(&myapp(), &claim(1, 2)).unwrap_err();
    assert!(matches!(&elsewhere, ClaimError::Held(message) if message.contains("machine-1")), "{elsewhere}");

    let again = registry.claim(&myapp(), &claim(1, 1)).unwrap();
    drop(first);
    assert!(again.endpoint().is_live(), "the half-dead session's lease releases nothing of its successor's");
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_yields_to_another_machine_of_the_same_token_only() {
    let registry = Registry::new(shared(), 80);
    let _silent = registry.claim(&myapp(), &claim(1, 1)).unwrap();
    tokio::time::advance(Duration::from_secs(7)).await;
    assert!(registry.claim(&myapp(), &claim(2, 2)).is_err());
    assert!(registry.claim(&myapp(), &claim(1, 2)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_lost_name_is_held_for_its_owner_for_sixty_seconds() {
    let registry = Registry::new(shared(), 80);
    drop(registry.claim(&myapp(), &claim(1, 1)).unwrap());
    for _ in 0..1000 {
        assert!(registry.claim(&myapp(), &claim(2, 2)).is_err());
    }
    let regained = registry.claim(&myapp(), &claim(1, 9)).unwrap();
    drop(regained);
    tokio::time::advance(Duration::from_secs(59)).await;
    registry.sweep();
    assert!(registry.claim(&myapp(), &claim(2, 2)).is_err());
    tokio::time::advance(Duration::from_secs(2)).await;
    registry.sweep();
    assert!(!routed(&registry));
    assert!(registry.claim(&myapp(), &claim(2, 2)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_released_name_is_its_owners_while_visitors_wait_and_then_free() {
    let registry = Registry::new(shared(), 80);
    let lease = registry.claim(&myapp(), &claim(1, 1)).unwrap();
    let former = lease.endpoint().clone();
    lease.release();
    assert!(routed(&registry), "visitors still wait for the owner");
    let waiting = former.serve(VISITOR, None);
    tokio::pin!(waiting);
    assert!(futures_pending(&mut waiting).await);
    for _ in 0..1000 {
        let sniped = registry.claim(&myapp(), &claim(2, 2)).unwrap_err();
        assert!(matches!(sniped, ClaimError::Quarantined { .. }), "{sniped}");
        assert!(sniped.refusal(&myapp()).is_passing());
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    let stranger = registry.claim(&myapp(), &claim(2, 2)).unwrap();
    assert!(!Arc::ptr_eq(stranger.endpoint(), &former));
    assert!(waiting.await.is_err(), "those who waited never meet a stranger");
}

#[tokio::test(start_paused = true)]
async fn a_token_has_only_so_many_names_the_released_ones_included() {
    let shared = shared();
    let mut config = Config::clone(&shared.config());
    config.limits.tunnels_per_token = 2;
    shared.settings.replace(config);
    let registry = Registry::new(shared, 80);
    let name = |text| web(&format!("{text}.test"), "/");
    let _first = registry.claim(&name("a1"), &claim(1, 1)).unwrap();
    registry.claim(&name("a2"), &claim(1, 1)).unwrap().release();
    assert!(matches!(registry.claim(&name("a3"), &claim(1, 1)), Err(ClaimError::TooMany(2))));
    assert!(registry.claim(&name("a2"), &claim(1, 1)).is_ok(), "one that it has");
    assert!(registry.claim(&name("a3"), &claim(2, 2)).is_ok(), "another token");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_all_the_names_it_may_can_still_change_each_of_them_once() {
    let registry = Registry::new(shared(), 80);
    let name = |text: &str| web(&format!("{text}.test"), "/");
    let client = claim(1, 1);
    let wish = |tunnel, replaces: Option<u64>| Claim {
        session: client.session.clone(),
        tunnel: TunnelId(tunnel),
        replaces: replaces.map(TunnelId),
        max_tunnels: Some(2),
        ..claim(1, 1)
    };
    let old = [
        registry.claim(&name("a1"), &wish(1, None)).unwrap(),
        registry.claim(&name("a2"), &wish(2, None)).unwrap(),
    ];
    assert!(matches!(registry.claim(&name("b1"), &wish(3, None)), Err(ClaimError::TooMany(2))));
    let mut new = Vec::new();
    for (number, former) in (1..).zip(old) {
        let wish = wish(number + 2, Some(number));
        new.push(registry.claim(&name(&format!("b{number}")), &wish).unwrap());
        former.move_on();
    }
    assert!(new.iter().all(|lease| !registry.is_surplus(lease.name(), 2)));
    for left in ["a1", "a2"] {
        let sniped = registry.claim(&name(left), &claim(2, 2)).unwrap_err();
        assert!(matches!(sniped, ClaimError::Quarantined { .. }), "{sniped}");
        let back = registry.claim(&name(left), &wish(9, None));
        assert!(matches!(back, Err(ClaimError::TooMany(2))), "a name that was left is one more");
    }
    let again = registry.claim(&name("c1"), &wish(5, Some(3)));
    assert!(matches!(again, Err(ClaimError::TooMany(2))), "no token keeps names by leaving them");
    tokio::time::advance(Duration::from_secs(11)).await;
    registry.sweep();
    assert!(registry.claim(&name("c1"), &wish(5, Some(3))).is_ok());
}

#[tokio::test]
async fn two_clients_of_a_token_rename_their_tunnels_at_the_same_moment() {
    let registry = Registry::new(shared(), 80);
    let name = |text: &str| web(&format!("{text}.test"), "/");
    let clients = [claim(1, 1), claim(1, 2)];
    let wish = |client: usize, tunnel, replaces: Option<u64>| Claim {
        session: clients[client].session.clone(),
        tunnel: TunnelId(tunnel),
        replaces: replaces.map(TunnelId),
        max_tunnels: Some(2),
        ..claim(1, 1)
    };
    let one = registry.claim(&name("a1"), &wish(0, 1, None)).unwrap();
    let two = registry.claim(&name("a2"), &wish(1, 1, None)).unwrap();
    let new_one = registry.claim(&name("b1"), &wish(0, 2, Some(1))).unwrap();
    let new_two = registry.claim(&name("b2"), &wish(1, 2, Some(1))).unwrap();
    one.move_on();
    two.move_on();
    assert!(matches!(registry.claim(&name("c1"), &wish(0, 3, None)), Err(ClaimError::TooMany(2))));
    let again = registry.claim(&name("c1"), &wish(0, 3, Some(2)));
    assert!(matches!(again, Err(ClaimError::TooMany(2))), "nor by leaving them");
    drop((new_one, new_two));
}

#[tokio::test]
async fn a_stranger_isnt_told_whose_a_name_is() {
    for name in [myapp(), Name::Tcp(free_port()), Name::Udp(free_port())] {
        let registry = Registry::new(shared(), 80);
        let told = |case: &str| {
            let refused = registry.claim(&name, &claim(2, 2)).unwrap_err().to_string();
            let is_silent = !refused.contains("token-1") && !refused.contains("machine-1");
            assert!(is_silent && refused.contains("another token"), "{case}: {refused}");
        };
        let lease = registry.claim(&name, &claim(1, 1)).unwrap();
        told("live");
        drop(lease);
        told("held");
        registry.claim(&name, &claim(1, 1)).unwrap().release();
        told("released");
        registry.clear();
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_tokens_names_are_free_at_once() {
    let registry = Registry::new(shared(), 80);
    let _lease = registry.claim(&myapp(), &claim(1, 1)).unwrap();
    registry.revoke(TokenId([1; 8]));
    assert!(!routed(&registry));
    assert!(registry.claim(&myapp(), &claim(2, 2)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn visitors_that_waited_go_on_with_the_returned_owner() {
    let registry = Registry::new(shared(), 80);
    let lease = registry.claim(&myapp(), &claim(1, 1)).unwrap();
    let endpoint = lease.endpoint().clone();
    drop(lease);
    let waiting = endpoint.serve(VISITOR, None);
    tokio::pin!(waiting);
    assert!(futures_pending(&mut waiting).await);
    let back = claim(1, 1);
    let _lease = registry.claim(&myapp(), &back).unwrap();
    assert_eq!(waiting.await.unwrap().session.id, back.session.id);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_hold_time() {
    let registry = Registry::new(shared(), 80);
    let lease = registry.claim(&myapp(), &claim(1, 1)).unwrap();
    let endpoint = lease.endpoint().clone();
    drop(lease);
    let began = tokio::time::Instant::now();
    assert_eq!(endpoint.serve(VISITOR, None).await.unwrap_err(), crate::endpoint::Absent::Away);
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn a_released_port_is_closed_after_the_hold_and_in_quarantine_for_others() {
    let registry = Registry::new(shared(), 80);
    let port = free_port();
    let name = Name::Tcp(port);
    let lease = registry.claim(&name, &claim(1, 1)).unwrap();
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tokio::time::pause();
    lease.release();
    let refused = registry.claim(&name, &claim(2, 2)).unwrap_err();
    assert!(matches!(refused, ClaimError::Quarantined { .. }), "{refused}");
    tokio::time::advance(Duration::from_secs(11)).await;
    registry.sweep();
    assert!(registry.claim(&name, &claim(2, 2)).is_err(), "still in quarantine");
    // The port's task is aborted by the sweep and closes the port when it is next scheduled.
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(registry.claim(&name, &claim(1, 1)).is_ok(), "its owner may open it again");
}

#[tokio::test]
async fn leases_survive_a_restart_for_their_owners() {
    let before = Registry::new(shared(), 80);
    let port = free_port();
    let _web = before.claim(&myapp(), &claim(1, 1)).unwrap();
    let held = before.claim(&Name::Tcp(port), &claim(1, 1)).unwrap();
    assert!(before.pause(held.endpoint().address.url(), true));
    let saved = before.export();
    assert_eq!(saved.len(), 2);
    before.clear();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        tokio::task::yield_now().await;
    }

    let after = Registry::new(shared(), 80);
    after.import(saved.clone());
    assert_eq!(after.export(), saved);
    assert!(routed(&after), "visitors wait from the start");
    assert!(after.claim(&myapp(), &claim(2, 2)).is_err());
    assert!(after.claim(&myapp(), &claim(1, 1)).is_ok());
    let port = after.claim(&Name::Tcp(port), &claim(1, 1)).unwrap();
    assert!(port.endpoint().is_paused(), "whom the operator keeps out stays out");
    assert!(after.pause(port.endpoint().address.url(), false) && !port.endpoint().is_paused());
}

#[tokio::test(start_paused = true)]
async fn a_port_that_nobody_was_told_of_is_kept_over_an_upgrade_and_only_for_its_client() {
    let fleeting = || Claim { is_fleeting: true, ..claim(1, 1) };
    let port = free_port();
    let name = Name::Tcp(port);
    let before = Registry::new(shared(), 80);
    let _lease = before.claim(&name, &fleeting()).unwrap();
    let saved = before.export();
    assert!(saved[0].fleeting);
    before.clear();

    // Its client comes, goes, or says goodbye on the way.
    for (comes, says_goodbye) in [(true, false), (false, false), (false, true)] {
        while std::net::TcpListener::bind(("127.0.0.1", port)).is_err() {
            tokio::task::yield_now().await;
        }
        let after = Registry::new(shared(), 80);
        after.import(saved.clone());
        assert!(after.claim(&name, &claim(2, 2)).is_err());
        if comes {
            drop(after.claim(&name, &fleeting()).unwrap());
        } else if says_goodbye {
            after.give_up(&saved);
        } else {
            tokio::time::advance(Duration::from_secs(11)).await;
            after.sweep();
        }
        assert_eq!(after.len(), 0);
    }
}

#[tokio::test]
async fn udp_ports_are_leased_as_tcp_ports_are_and_apart_from_them() {
    let registry = Registry::new(shared(), 80);
    let port = free_port();
    let name = Name::Udp(port);
    let _tcp = registry.claim(&Name::Tcp(port), &claim(1, 1)).unwrap();
    let udp = registry.claim(&name, &claim(2, 2)).unwrap();
    assert_eq!(udp.endpoint().address.url(), format!("udp://test:{port}"));
    assert!(std::net::UdpSocket::bind(("127.0.0.1", port)).is_err(), "it is open");
    assert!(matches!(registry.claim(&name, &claim(1, 1)), Err(ClaimError::Held(_))));
    assert_eq!(registry.export().iter().filter_map(|lease| lease.udp_port).collect::<Vec<_>>(), [port]);
    udp.release();
    assert!(matches!(registry.claim(&name, &claim(1, 1)), Err(ClaimError::Quarantined { .. })));
    assert!(registry.claim(&name, &claim(2, 2)).is_ok());
    registry.clear();
    while std::net::UdpSocket::bind(("127.0.0.1", port)).is_err() {
        tokio::task::yield_now().await;
    }
}

/// Polls once; whether it isn't ready.
async fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending()))
        .await
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
