//! Asking for tunnels, being refused them, giving them back.

use tunnel_client::{BindError, Client, Code, Limits, Refusal, TunnelEnd, TunnelState};
use tunnel_protocol::{ClientMessage, ServerMessage, bind::HostSpec};

use crate::support::{Session, connected, connected_with, soon};

#[tokio::test]
async fn a_tunnel_is_bound_as_described_and_unbound_when_dropped() {
    let (_server, client, mut session) = connected_with(|builder| builder.report_requests(true)).await;
    let http = async { client.http().subdomain("myapp").forward("http://localhost:3000").await };
    let (tunnel, id) = tokio::join!(http, async {
        let Some(ClientMessage::Bind { tunnel, spec, upstream, report_requests, policies, .. }) =
            soon(session.hear()).await
        else {
            panic!("no bind");
        };
        assert_eq!(spec, HostSpec::subdomain("myapp").into());
        assert!(policies.is_empty());
        assert_eq!((upstream.as_str(), report_requests), ("localhost:3000", true));
        session.say(ServerMessage::Bound { tunnel, address: crate::support::http("myapp") }).await;
        tunnel
    });
    let tunnel = tunnel.unwrap();
    assert_eq!((tunnel.id(), tunnel.url().as_str()), (id, "http://myapp.fake"));
    assert!(tunnel.state().is_online());
    let closed = tunnel.closed();
    drop(tunnel);
    assert_eq!(soon(session.hear()).await, Some(ClientMessage::Unbind { tunnel: id }));
    assert!(matches!(soon(closed).await, TunnelEnd::Closed));
    assert!(client.status().tunnels.is_empty());
}

#[tokio::test]
async fn a_first_refusal_is_an_error_even_if_it_may_pass() {
    let (_server, client, mut session) = connected().await;
    for refusal in
        [Refusal::permanent(Code::NameTaken, "taken"), Refusal::passing(Code::PortTaken, "in use", 10)]
    {
        let (tunnel, ()) = tokio::join!(client.tcp().remote_port(22).listen(), async {
            let (tunnel, _) = session.bind().await;
            session.say(ServerMessage::Refused { tunnel, refusal: refusal.clone() }).await;
        });
        assert!(matches!(tunnel, Err(BindError::Refused(told)) if told == refusal));
    }
}

#[tokio::test]
async fn a_bind_given_up_is_taken_back() {
    let (_server, client, mut session) = connected().await;
    let id = {
        let bind = client.http().listen();
        tokio::pin!(bind);
        tokio::select! {
            _ = &mut bind => panic!("nobody answered"),
            (id, _) = session.bind() => id,
        }
    };
    assert_eq!(soon(session.hear()).await, Some(ClientMessage::Unbind { tunnel: id }));
}

#[tokio::test]
async fn a_tunnel_the_server_takes_down_for_good_is_over() {
    let (_server, client, mut session) = connected().await;
    let (mut listener, tunnel) = listen(&client, &mut session).await;
    let refusal = Refusal::permanent(Code::TakenOver, "another of your clients has it");
    session.say(ServerMessage::Unbound { tunnel, refusal }).await;
    let end = soon(listener.accept()).await.unwrap_err();
    assert!(matches!(end, TunnelEnd::Refused(refusal) if refusal.code == Code::TakenOver));
    assert_eq!(listener.tunnel().state(), TunnelState::Ended);
}

#[tokio::test]
async fn a_tunnel_the_server_takes_down_for_a_while_is_asked_for_again() {
    let (_server, client, mut session) = connected().await;
    let (listener, tunnel) = listen(&client, &mut session).await;
    let mut state = listener.tunnel().watch();
    session.say(ServerMessage::Unbound { tunnel, refusal: Refusal::passing(Code::Closed, "pause", 1) }).await;
    soon(state.wait_for(|state| matches!(state, TunnelState::Away(_)))).await.unwrap();
    assert_eq!(session.grant("fox").await, tunnel);
    soon(state.wait_for(TunnelState::is_online)).await.unwrap();
}

#[tokio::test]
async fn there_is_a_most() {
    let few = Limits { max_tunnels: 1, ..Limits::default() };
    let (_server, client, mut session) = connected_with(|builder| builder.limits(few)).await;
    let (_listener, _) = listen(&client, &mut session).await;
    assert!(matches!(client.tcp().listen().await, Err(BindError::TooMany(1))));
}

#[tokio::test]
async fn nonsense_is_refused_without_asking_the_server() {
    let (_server, client, _session) = connected().await;
    for nonsense in ["localhost", "ftp://localhost", "./there/is/no/such/directory", "http://localhost/path"]
    {
        let bound = soon(client.http().forward(nonsense)).await;
        assert!(matches!(bound, Err(BindError::Upstream(_))), "{nonsense}");
    }
    let there = soon(client.tcp().forward(".")).await;
    assert!(matches!(there, Err(BindError::Upstream(_))), "a directory speaks HTTP only");
    let long = "x".repeat(100_000);
    assert!(matches!(client.http().subdomain(long).listen().await, Err(BindError::Refused(_))));
}

#[tokio::test]
async fn tunnels_outlive_neither_their_client_nor_its_runtime_in_silence() {
    let (_server, client, mut session) = connected().await;
    let (mut listener, _) = listen(&client, &mut session).await;
    drop(client);
    assert!(matches!(soon(listener.accept()).await, Err(TunnelEnd::Client(Some(_)))));
    session.until_gone().await;
}

async fn listen(
    client: &Client,
    session: &mut Session,
) -> (tunnel_client::Listener, tunnel_client::TunnelId) {
    let (listener, tunnel) = tokio::join!(client.http().listen(), session.grant("fox"));
    (listener.unwrap(), tunnel)
}
