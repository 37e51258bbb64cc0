//! The messages as other implementations see them: `golden/messages.json` is read, written again, and must be equal.
//!
//! A test that fails here after a change to the types says that the wire has changed.

#![expect(clippy::unwrap_used, reason = "what can't be unwrapped is the failure")]

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tunnel_protocol::{ClientMessage, FrameDecoder, Hello, LoginReply, ServerMessage, frame, limits};

fn golden(section: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../golden/messages.json")).unwrap();
    all[section].as_array().expect("a section of examples").clone()
}

fn holds<T: Serialize + DeserializeOwned>(section: &str) -> Vec<T> {
    let examples = golden(section);
    assert!(!examples.is_empty(), "{section}");
    examples
        .into_iter()
        .map(|example| {
            let message: T =
                serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{example}: {error}"));
            assert_eq!(serde_json::to_value(&message).unwrap(), example);
            message
        })
        .collect()
}

#[test]
fn login_messages_are_what_they_were() {
    for hello in holds::<Hello>("hello") {
        let frame = frame::encode(&hello, limits::LOGIN_FRAME_MAX).unwrap();
        let mut decoder = FrameDecoder::new(limits::LOGIN_FRAME_MAX);
        decoder.push(&frame);
        assert_eq!(decoder.next_message::<Hello>().unwrap().unwrap(), hello);
    }
    holds::<LoginReply>("login_reply");
}

#[test]
fn control_messages_are_what_they_were_and_each_kind_has_an_example() {
    let client = holds::<ClientMessage>("client");
    assert!(!client.contains(&ClientMessage::Unknown));
    let server = holds::<ServerMessage>("server");
    assert!(!server.contains(&ServerMessage::Unknown));
    let kinds = |section| {
        let kinds =
            golden(section).iter().map(|example| example["type"].as_str().unwrap().to_owned()).collect();
        let mut kinds: Vec<String> = kinds;
        kinds.sort();
        kinds.dedup();
        kinds.join(" ")
    };
    assert_eq!(kinds("client"), "bind drain ping pong unbind");
    assert_eq!(kinds("server"), "bound drained go-away notice ping pong refused request unbound want-lanes");
}

#[test]
fn what_a_newer_peer_says_is_skipped_not_refused() {
    let newer = r#"{"type":"from-the-future","anything":[1,2,3]}"#;
    assert_eq!(serde_json::from_str::<ClientMessage>(newer).unwrap(), ClientMessage::Unknown);
    assert_eq!(serde_json::from_str::<ServerMessage>(newer).unwrap(), ServerMessage::Unknown);
    let more = r#"{"type":"ping","seq":1,"urgent":true}"#;
    assert_eq!(serde_json::from_str::<ClientMessage>(more).unwrap(), ClientMessage::Ping { seq: 1 });
    let kind = r#"{"type":"bind","tunnel":1,"spec":{"kind":"carrier-pigeon","altitude":3}}"#;
    assert!(matches!(
        serde_json::from_str(kind).unwrap(),
        ClientMessage::Bind { spec: tunnel_protocol::BindSpec::Unknown, .. }
    ));
}
