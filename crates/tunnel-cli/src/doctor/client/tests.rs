//! Each step with a server that fails at just that one.

use std::net::Ipv4Addr;

use tokio::net::TcpListener;
use tunnel_transport::{
    ControlIdentity, ControlTls, Listener, ServerAddress, acceptor, generate_self_signed,
};

use super::*;
use crate::doctor::check::Status;

fn target(port: u16, trust: Trust) -> Patient {
    let server = ServerAddress::new("127.0.0.1", port).unwrap();
    Patient { target: Ok(Target { server, token: None, trust: Some(trust), proxy: None }), upstream: None }
}

fn names_of(report: &Report, status: Status) -> Vec<&'static str> {
    report.checks.iter().filter(|check| check.status == status).map(|check| check.name).collect()
}

fn identity() -> ControlIdentity {
    let pair = generate_self_signed(&[]).unwrap();
    ControlIdentity::from_pem(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes()).unwrap()
}

/// A whole server, which takes anyone; its port.
async fn server(identity: &ControlIdentity, tasks: &mut JoinSet<()>) -> u16 {
    let mut config = tunnel_server::Config::new("localhost".parse().unwrap());
    config.bind = Ipv4Addr::LOCALHOST.into();
    config.udp_ports = Some(20_000..=65_535);
    let any = || Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let control = any();
    let port = control.local_addr().unwrap().port();
    let server = tunnel_server::Server::builder(config)
        .control(control, ControlTls::Tls(acceptor(identity).unwrap()))
        .web(any())
        .authenticator(tunnel_server::AllowAll)
        .build()
        .unwrap();
    tasks.spawn(server.run(std::future::pending()));
    port
}

#[tokio::test]
async fn all_is_well_with_a_server_that_is() {
    let (identity, mut tasks) = (identity(), JoinSet::new());
    let port = server(&identity, &mut tasks).await;
    let report = examine(&target(port, Trust::Pinned(identity.pin()))).await;
    assert!(report.failed().is_empty(), "{report:#?}");
    let well = ["dns", "tcp", "tls", "pin", "version", "login", "clock", "heartbeat", "udp"];
    assert_eq!(names_of(&report, Status::Ok), well, "{report:#?}");
}

#[tokio::test]
async fn another_key_is_the_pins_fault_and_not_tls_s() {
    let mut tasks = JoinSet::new();
    let port = server(&identity(), &mut tasks).await;
    let report = examine(&target(port, Trust::Pinned(identity().pin()))).await;
    assert_eq!(report.failed(), ["pin"]);
    assert_eq!(names_of(&report, Status::Ok), ["dns", "tcp", "tls"]);
    let skipped = ["version", "login", "clock", "heartbeat", "udp", "upstream"];
    assert_eq!(names_of(&report, Status::Skipped), skipped);
    assert_eq!(report.checks[4].finding, "`pin` failed");
}

#[tokio::test]
async fn a_port_of_something_else_is_tls_s_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-x\r\n").await;
        }
    });
    let report = examine(&target(port, Trust::Pinned(identity().pin()))).await;
    assert_eq!(report.failed(), ["tls"], "{report:#?}");
    assert!(report.checks[2].cure.as_deref().unwrap().contains("control port"), "{report:#?}");
}

#[tokio::test]
async fn a_port_where_nothing_is_is_tcps_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let report = examine(&target(port, Trust::Plaintext)).await;
    assert_eq!(report.failed(), ["tcp"], "{report:#?}");
}

#[tokio::test]
async fn no_server_is_a_finding_with_a_cure() {
    let target = Err("no server is known; name one with --server".into());
    let report = examine(&Patient { target, upstream: None }).await;
    assert_eq!(report.failed(), ["dns"]);
    assert_eq!(report.checks[0].cure.as_deref(), Some("name one with --server"));
}

#[test]
fn a_dead_address_beside_a_living_one_is_a_warning() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 4444));
    let check = tell_reached(&["192.0.2.1 in 3 ms".into()], &[], &[address]);
    assert_eq!(check.status, Status::Warning);
    assert_eq!(check.finding, "192.0.2.1 in 3 ms; 127.0.0.1 not: no answer yet");
    assert_eq!(tell_reached(&["192.0.2.1 in 3 ms".into()], &[], &[]).status, Status::Ok);
}
