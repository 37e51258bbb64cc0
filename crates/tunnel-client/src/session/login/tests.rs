//! The login against a scripted server: golden frames, and what each refusal means.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tunnel_protocol::{InstanceId, Token};
use tunnel_transport::{BoxFuture, Dial};

use super::*;
use crate::{Limits, Timeouts};

struct Nowhere;

impl Dial for Nowhere {
    fn dial(&self) -> BoxFuture<'_, Result<BoxedIo, DialError>> {
        Box::pin(std::future::pending())
    }

    fn describe(&self) -> String {
        "nowhere".into()
    }
}

fn settings(plaintext: bool) -> Settings {
    Settings {
        dialer: Box::new(Nowhere),
        plaintext,
        token: Some(Token::new(std::array::from_fn(|i| u8::try_from(i).unwrap()), None)),
        instance: InstanceId([0xAB; 16]),
        agent: "tunnel/0.1.0".into(),
        machine: "laptop".into(),
        timeouts: Timeouts::default(),
        limits: Limits::default(),
        report_requests: false,
        fail_fast: false,
    }
}

/// What the client says, given what the server says.
async fn dialogue(settings: &Settings, server_says: &[u8]) -> (Result<Welcome, LoginError>, Vec<u8>) {
    let (mut client, mut server) = duplex(64 * 1024);
    server.write_all(server_says).await.unwrap();
    let outcome = introduce(&mut client, settings, None).await;
    drop(client);
    let mut said = Vec::new();
    server.read_to_end(&mut said).await.unwrap();
    (outcome, said)
}

fn framed(json: &str) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap();
    [&length.to_be_bytes(), json.as_bytes()].concat()
}

const WELCOME: &str = r#"{"type":"welcome","version":1,"session":"0000000000000001","resume":"CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg","heartbeat_ms":5000,"dead_after_ms":15000,"streams_per_lane":256,"max_lanes":4,"hold_s":60,"agent":"tunnel/0.1.0","account":"laptop"}"#;

// Other implementations rely on these exact bytes: see docs/PROTOCOL.md.

#[tokio::test]
async fn golden_over_tls_the_token_is_sent() {
    let (outcome, said) = dialogue(&settings(false), &framed(WELCOME)).await;
    assert_eq!(outcome.unwrap().max_lanes, 4);
    let hello = r#"{"versions":{"min":1,"max":1},"credential":{"kind":"token","id":"0001020304050607","secret":"CAkKCwwNDg8QERITFBUWFxgZGhscHR4f"},"instance":"abababababababababababababababab","agent":"tunnel/0.1.0","machine":"laptop","twins":true}"#;
    assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(&framed(hello)));
}

#[tokio::test]
async fn golden_in_plaintext_it_is_proven() {
    let challenge = framed(r#"{"nonce":"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk"}"#);
    let (outcome, said) = dialogue(&settings(true), &[challenge, framed(WELCOME)].concat()).await;
    outcome.unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains(r#""credential":{"kind":"proof","id":"0001020304050607","mac":""#), "{said}");
    assert!(!said.contains("CAkKCwwN"), "the secret was sent: {said}");
}

#[tokio::test]
async fn not_a_byte_after_the_answer_is_taken() {
    let (mut client, mut server) = duplex(64 * 1024);
    server.write_all(&framed(WELCOME)).await.unwrap();
    server.write_all(b"the multiplexer's").await.unwrap();
    introduce(&mut client, &settings(false), None).await.unwrap();
    let mut rest = [0; 17];
    client.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"the multiplexer's");
}

#[tokio::test]
async fn every_cut_and_every_kind_of_nonsense_is_an_error() {
    let whole = framed(WELCOME);
    for cut in [0, 3, 4, 5, whole.len() - 1] {
        let (mut client, mut server) = duplex(64 * 1024);
        server.write_all(&whole[..cut]).await.unwrap();
        server.shutdown().await.unwrap();
        let error = introduce(&mut client, &settings(false), None).await.unwrap_err();
        assert!(matches!(error, LoginError::Io(_)) && !error.is_permanent(), "cut at {cut}: {error}");
    }
    for nonsense in [&b"HTTP/1.1 400"[..], &framed("{}"), &framed("null"), &[0, 0, 0x10, 1], &[0, 0, 0, 0]] {
        let (outcome, _) = dialogue(&settings(false), nonsense).await;
        assert!(matches!(outcome, Err(LoginError::NotAServer(_))), "{nonsense:?}");
    }
}

#[tokio::test]
async fn refusals_pass_or_dont() {
    for (json, permanent) in [
        (r#"{"type":"refused","code":"unauthorized","message":"no"}"#, true),
        (r#"{"type":"refused","code":"server-busy","message":"full","retry_after_ms":1000}"#, false),
        (r#"{"type":"refused","code":"from-the-future","message":"?","retry_after_ms":1,"x":1}"#, false),
    ] {
        let (outcome, _) = dialogue(&settings(false), &framed(json)).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.is_permanent(), permanent, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn neither_a_dialer_nor_a_server_can_stall_a_login() {
    let error = log_in(&settings(false), None).await.err().unwrap();
    assert!(error.to_string().contains("nowhere"), "{error}");
}
