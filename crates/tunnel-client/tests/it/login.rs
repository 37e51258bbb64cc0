//! Getting in, and being kept out.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tunnel_client::{BindError, ClientError, Code, ConnectError, Event, LoginError, Phase, Refusal};
use tunnel_protocol::Version;

use crate::support::{connected, event, server, soon, welcome};

#[tokio::test]
async fn a_server_that_is_being_replaced_sends_a_login_on_and_nobody_hears_of_it() {
    let (mut server, builder) = server();
    let sent_on = async {
        for _ in 0..2 {
            server.login().await.refuse(Refusal::passing(Code::Draining, "another process", 0)).await;
        }
        server.login().await.welcome().await
    };
    let (client, _session) = tokio::join!(builder.fail_fast(true).connect(), sent_on);
    client.unwrap();
    // But not for ever.
    let (mut server, builder) = self::server();
    let refusing = async {
        loop {
            server.login().await.refuse(Refusal::passing(Code::Draining, "another process", 0)).await;
        }
    };
    let refused = tokio::select! {
        refused = builder.fail_fast(true).connect() => refused,
        () = refusing => unreachable!("it refuses for ever"),
    };
    assert!(refused.is_err());
    assert!(server.dials() < 10, "{}", server.dials());
}

#[tokio::test]
async fn connect_returns_when_welcomed_having_proven_the_token() {
    let (mut server, builder) = server();
    let (client, _session) = tokio::join!(builder.agent("test/1").machine("box").connect(), async {
        let login = server.login().await;
        assert!(login.is_proven());
        assert_eq!((login.hello.agent.as_str(), login.hello.machine.as_str()), ("test/1", "box"));
        assert!(login.hello.attach.is_none());
        login.welcome().await
    });
    let status = client.unwrap().status();
    assert_eq!(status.phase, Phase::Online);
    let session = status.session.unwrap();
    assert_eq!((session.id.0, session.account.as_str(), session.lanes), (1, "laptop", 1));
}

#[tokio::test]
async fn a_refusal_for_good_ends_the_client_with_the_servers_words() {
    let (mut server, builder) = server();
    let refused = Refusal::permanent(Code::Unauthorized, "this token was revoked\x1b[2J");
    let (client, ()) = tokio::join!(builder.connect(), async { server.login().await.refuse(refused).await });
    let error = client.unwrap_err();
    assert!(matches!(&error, ConnectError::Ended(ClientError::Login(login))
        if matches!(&**login, LoginError::Refused(refusal) if refusal.code == Code::Unauthorized)));
    let text = error.to_string();
    assert!(text.contains("this token was revoked") && !text.contains('\x1b'), "{text}");
}

#[tokio::test]
async fn a_refusal_that_passes_is_waited_out() {
    let (mut server, builder) = server();
    let client = builder.start().unwrap();
    let mut events = client.events();
    server.login().await.refuse(Refusal::passing(Code::ServerBusy, "full", 20)).await;
    let (reason, retry_in) = event(&mut events, |event| match event {
        Event::Reconnecting { reason, retry_in, held: None } => Some((reason, retry_in)),
        _ => None,
    })
    .await;
    assert!(reason.contains("full") && retry_in >= Duration::from_millis(20), "{reason}, {retry_in:?}");
    let _session = server.login().await.welcome().await;
    soon(client.connected()).await.unwrap();
}

#[tokio::test]
async fn with_fail_fast_the_first_failure_is_the_last() {
    let (server, builder) = server();
    drop(server);
    let error = soon(builder.fail_fast(true).connect()).await.unwrap_err();
    assert!(error.to_string().contains("the pipe is closed"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_it_connecting_goes_on_until_its_timeout_and_says_what_failed() {
    let (server, builder) = server();
    drop(server);
    let error = builder.connect_timeout(Duration::from_secs(60)).connect().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ConnectError::Timeout { .. }) && text.contains("the pipe is closed"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up_and_tried_again() {
    let (mut server, builder) = server();
    let client = builder.start().unwrap();
    let silent = server.connection().await;
    let _session = server.login().await.welcome().await;
    client.connected().await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn a_server_of_another_kind_is_named_as_such() {
    let (mut server, builder) = server();
    let (client, ()) = tokio::join!(builder.fail_fast(true).connect(), async {
        let mut connection = server.connection().await;
        connection.io.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Kept open until the client has given up.
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut connection.io, &mut rest).await;
    });
    assert!(client.unwrap_err().to_string().contains("not a tunnel server's"));
}

#[tokio::test]
async fn a_version_nobody_offered_ends_the_client() {
    let (mut server, builder) = server();
    let client = builder.start().unwrap();
    let mut mad = welcome(1);
    mad.version = Version(99);
    server.login().await.welcome_alone(mad).await;
    let error = soon(client.connected()).await.unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
}

#[tokio::test]
async fn a_revoked_token_ends_a_client_that_was_online_and_its_tunnels_know_why() {
    let (mut server, client, mut session) = connected().await;
    let (listener, _) = tokio::join!(client.http().listen(), session.grant("fox"));
    let mut listener = listener.unwrap();
    session.cut();
    server.login().await.refuse(Refusal::permanent(Code::Unauthorized, "revoked")).await;
    assert!(matches!(soon(client.closed()).await, Err(ClientError::Login(_))));
    let end = soon(listener.accept()).await.unwrap_err();
    assert!(matches!(end, tunnel_client::TunnelEnd::Client(Some(ClientError::Login(_)))), "{end}");
    assert!(matches!(client.tcp().listen().await, Err(BindError::Ended(Some(_)))));
    assert_eq!(client.status().phase, Phase::Ended);
}

#[tokio::test]
async fn an_address_that_is_none_fails_before_anything_is_sent() {
    let error = tunnel_client::Client::builder("https://vps.example.com/").connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Address(_)), "{error}");
}
