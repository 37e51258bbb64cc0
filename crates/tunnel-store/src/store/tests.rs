//! What the store promises: to commands, to the engine, and to whoever opens it next.

use std::fs;

use tunnel_protocol::{InstanceId, login::Credential};
use tunnel_server::TunnelKind;

use super::*;
use crate::tokens::Change;

fn logs_in(store: &Store, token: &Token) -> Option<Identity> {
    let credential = Credential::Token { id: token.id(), secret: token.secret().clone() };
    store.authenticate(Login { credential: &credential, nonce: None, instance: &InstanceId([0; 16]) })
}

async fn make(store: &Store, name: &str) -> Token {
    let new = NewToken { name: name.into(), rights: Rights::default(), pin: None };
    store.create(new, Actor::Command).await.unwrap()
}

async fn edit(store: &Store, name: &str, changes: Changes) -> Result<Arc<TokenRecord>, WriteError> {
    store.edit(name, changes, Actor::Command).await
}

#[tokio::test]
async fn a_token_works_at_once_and_ends_at_once() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let token = make(&store, "laptop").await;
    let mut changes = store.changes().unwrap();
    let identity = logs_in(&store, &token).expect("a new token works");
    assert_eq!(&*identity.name, "laptop");
    let other = make(&store, "ci").await;
    changes.changed().await.unwrap();
    store.revoke("laptop", Actor::Command).await.unwrap();
    changes.changed().await.unwrap();
    assert!(logs_in(&store, &token).is_none() && store.rights(&identity).is_none());
    assert!(logs_in(&store, &other).is_some());
    drop(store);
    let again = Store::open(home.path()).unwrap();
    assert!(logs_in(&again, &other).is_some() && logs_in(&again, &token).is_none());
}

#[tokio::test]
async fn the_secret_is_not_in_the_files() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let token = make(&store, "laptop").await;
    let secret = token.secret().expose();
    for file in fs::read_dir(home.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

#[tokio::test]
async fn what_another_process_writes_is_seen() {
    let home = tempfile::tempdir().unwrap();
    let server = Store::open(home.path()).unwrap();
    let command = Store::open(home.path()).unwrap();
    let mut changes = server.changes().unwrap();
    let token = make(&command, "laptop").await;
    let identity = logs_in(&server, &token).expect("an unknown token is looked up");
    changes.mark_unchanged();
    command.revoke("laptop", Actor::Command).await.unwrap();
    changes.changed().await.unwrap();
    assert!(server.rights(&identity).is_none());
}

#[tokio::test]
async fn names_are_checked_and_belong_to_one_token() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let create = |name: &str| {
        store.create(NewToken { name: name.into(), rights: Rights::default(), pin: None }, Actor::Command)
    };
    for name in ["", "-x", "a b", "a/b", "ü", "a\nb", &"x".repeat(65)] {
        assert!(matches!(create(name).await, Err(WriteError::Name)), "{name}");
    }
    create(&"x".repeat(64)).await.unwrap();
    create("me@home_1.x-y").await.unwrap();
    assert!(matches!(create("me@home_1.x-y").await, Err(WriteError::Exists(_))));
    let error = store.revoke("nope", Actor::Command).await.unwrap_err();
    assert!(error.to_string().contains("`me@home_1.x-y`"), "{error}");
}

#[tokio::test]
async fn rights_are_given_and_taken_one_by_one() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    make(&store, "ci").await;
    let subdomains = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
    let give = |names: &[&str]| Changes { give_subdomains: subdomains(names), ..Changes::default() };
    let take = |names: &[&str]| Changes { take_subdomains: subdomains(names), ..Changes::default() };
    edit(&store, "ci", give(&["dev-*"])).await.unwrap();
    let all = Changes {
        kinds: Change::Set(vec![TunnelKind::Tcp, TunnelKind::Http, TunnelKind::Tcp]),
        tcp_ports: Change::Set("22022".parse().unwrap()),
        max_tunnels: Change::Set(2),
        ..give(&["dev-*", "www"])
    };
    let record = edit(&store, "ci", all).await.unwrap();
    assert_eq!(record.rights.subdomains, subdomains(&["dev-*", "www"]));
    assert_eq!(record.rights.kinds, [TunnelKind::Http, TunnelKind::Tcp]);
    assert_eq!(record.rights.max_tunnels, Some(2));
    let lifted = Changes { max_tunnels: Change::Lift, kinds: Change::Lift, ..Changes::default() };
    let record = edit(&store, "ci", lifted).await.unwrap();
    assert!(record.rights.max_tunnels.is_none() && record.rights.kinds.is_empty());
    assert!(record.rights.tcp_ports.is_some(), "what wasn't named stays");
    assert!(matches!(edit(&store, "ci", take(&["nope"])).await, Err(WriteError::NoRight { .. })));
    assert!(matches!(edit(&store, "ci", take(&["dev-*"])).await, Err(WriteError::LastRight(_))));
    assert!(matches!(edit(&store, "x", give(&["a"])).await, Err(WriteError::UnknownToken { .. })));
    assert_eq!(store.token("ci").unwrap(), record, "what failed changed nothing");
    let widened = Changes { give_subdomains: subdomains(&["*"]), ..take(&["dev-*"]) };
    let record = edit(&store, "ci", widened).await.unwrap();
    assert_eq!(record.rights.subdomains, subdomains(&["www", "*"]));
}

#[tokio::test]
async fn a_new_secret_replaces_the_old_one_after_the_grace() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let first = make(&store, "laptop").await;
    let by_first = logs_in(&store, &first).unwrap();
    let second = store.rotate("laptop", Duration::from_secs(3600), None, Actor::Command).await.unwrap();
    assert_eq!(second.id(), first.id());
    assert!(second.secret() != first.secret());
    let by_second = logs_in(&store, &second).unwrap();
    assert!(logs_in(&store, &first).is_some(), "within the grace both are taken");
    assert!(store.rights(&by_first).is_some() && store.rights(&by_second).is_some());
    let third = store.rotate("laptop", Duration::ZERO, None, Actor::Command).await.unwrap();
    assert!(logs_in(&store, &first).is_none() && logs_in(&store, &second).is_none());
    assert!(store.rights(&by_first).is_none() && store.rights(&by_second).is_none());
    assert!(logs_in(&store, &third).is_some());
    assert!(store.token("laptop").unwrap().rotated.is_some());
}

#[tokio::test]
async fn reservations_go_with_their_token() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let (ann, ben) = (make(&store, "ann").await, make(&store, "ben").await);
    let reserve = |name: &str, token| store.reserve(name.parse().unwrap(), None, token, Actor::Command);
    reserve("demo", "ann").await.unwrap();
    reserve("demo", "ann").await.unwrap();
    reserve("tcp:22022", "ben").await.unwrap();
    let error = reserve("demo", "ben").await.unwrap_err().to_string();
    assert!(error.contains("`ann`") && error.contains("--release demo"), "{error}");
    assert!(matches!(reserve("x", "nobody").await, Err(WriteError::UnknownToken { .. })));
    assert_eq!(store.reservations().get(&"demo".parse().unwrap()), Some(ann.id()));
    assert_eq!(store.reservations().get(&"tcp:22022".parse().unwrap()), Some(ben.id()));
    store.revoke("ann", Actor::Command).await.unwrap();
    assert_eq!(store.reserved().len(), 1);
    store.release("tcp:22022".parse().unwrap(), Actor::Command).await.unwrap();
    let again = store.release("tcp:22022".parse().unwrap(), Actor::Command).await;
    assert!(matches!(again, Err(WriteError::NotReserved(_))));
}

#[tokio::test]
async fn the_two_names_of_a_host_are_reserved_for_one_token() {
    let home = tempfile::tempdir().unwrap();
    assert!(Store::reserved_in(home.path()).unwrap().is_empty());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "looking makes nothing");
    let store = Store::open(home.path()).unwrap();
    for name in ["ann", "ben"] {
        make(&store, name).await;
    }
    let reserve = |name: &str, alias: &str, token| {
        store.reserve(name.parse().unwrap(), Some(alias.parse().unwrap()), token, Actor::Command)
    };
    reserve("demo", "demo.vps.test", "ann").await.unwrap();
    let error = reserve("demo.vps.test", "demo", "ben").await.unwrap_err();
    assert!(matches!(error, WriteError::ReservedAs { .. }));
    let error = error.to_string();
    assert!(error.contains("`ann`") && error.ends_with("--release demo") && !error.contains('\n'), "{error}");
    reserve("demo.vps.test", "demo", "ann").await.unwrap();
    let error = reserve("demo", "demo.vps.test", "ben").await.unwrap_err().to_string();
    assert!(error.contains("--release demo.vps.test"), "{error}");
    let looked_at = Store::reserved_in(home.path()).unwrap();
    assert_eq!(looked_at.len(), 2);
    assert_eq!(looked_at, store.reserved());
}

#[tokio::test]
async fn usage_of_two_processes_adds_up_and_outlives_them() {
    let home = tempfile::tempdir().unwrap();
    let used = Usage { bytes_in: 10, bytes_out: 90, requests: 1, connections: 0 };
    let token = {
        let (old, new) = (Store::open(home.path()).unwrap(), Store::open(home.path()).unwrap());
        let token = make(&old, "laptop").await.id();
        old.charge(token, used);
        old.charge(token, used);
        assert_eq!(old.used_this_month(token), 200, "before it is written");
        drop(old);
        new.charge(token, used);
        assert!(new.used_this_month(token) >= 100);
        token
    };
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.used_this_month(token), 300);
    let months = store.usage(token).await.unwrap();
    assert_eq!(months.len(), 1);
    assert_eq!(months[0].usage, Usage { bytes_in: 30, bytes_out: 270, requests: 3, connections: 0 });
}

#[tokio::test]
async fn what_happened_is_noted_down() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    make(&store, "laptop").await;
    store.revoke("laptop", Actor::Admin("dashboard".into())).await.unwrap();
    store.note(&Actor::Server, "session-kicked", "laptop", "two\nlines");
    drop(store);
    let entries = Store::open(home.path()).unwrap().audit(None, 10).await.unwrap();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.actor.as_str(), entry.action.as_str())).collect();
    assert_eq!(
        seen,
        [("server", "session-kicked"), ("dashboard", "token-revoked"), ("command", "token-created")]
    );
    assert_eq!(entries[0].detail, "twolines");
    let store = Store::open(home.path()).unwrap();
    assert_eq!(store.audit(Some(entries[0].id), 1).await.unwrap()[0].action, "token-revoked");
}

#[tokio::test]
async fn that_there_was_a_token_is_remembered() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    store.note(&Actor::Server, "login-refused", "192.0.2.1", "");
    assert!(!store.had_tokens().await.unwrap());
    make(&store, "last").await;
    store.revoke("last", Actor::Command).await.unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert!(store.tokens().is_empty() && store.had_tokens().await.unwrap());
}

/// Made by a program from before there were stores.
const OLD: &str = r#"{"version":1,"tokens":[
    {"id":"0001020304050607","name":"old","hash":"HASH","created":"2026-01-02T03:04:05Z","subdomains":["dev-*"]},
    {"id":"0101020304050607","name":"gone","hash":"HASH","created":"2026-01-02T03:04:05Z"}]}"#;

#[tokio::test]
async fn tokens_from_before_are_taken_over_once() {
    let home = tempfile::tempdir().unwrap();
    let token = Token::new(std::array::from_fn(|i| u8::try_from(i).unwrap()), None);
    let text = OLD.replace("HASH", &String::from(token.hash()));
    let path = home.path().join("tokens.json");
    fs::write(&path, &text).unwrap();
    let store = Store::open(home.path()).unwrap();
    assert!(path.exists(), "a server from before may still read it");
    let record = store.token("old").unwrap();
    assert_eq!(record.rights.subdomains, ["dev-*".parse().unwrap()]);
    assert_eq!(crate::time::to_seconds(record.created), 1_767_323_045);
    assert!(logs_in(&store, &token).is_some());
    store.revoke("gone", Actor::Command).await.unwrap();
    drop(store);
    let store = Store::open(home.path()).unwrap();
    assert!(store.token("gone").is_none(), "a revoked token doesn't return");
    store.take_over().unwrap();
    store.take_over().expect("once is enough, and twice no error");
    assert!(!path.exists());
    assert_eq!(fs::read_to_string(home.path().join("tokens.json.imported")).unwrap(), text);
    assert!(logs_in(&Store::open(home.path()).unwrap(), &token).is_some());
}

#[test]
fn a_damaged_file_from_before_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tokens.json");
    for text in [OLD, "{", "", r#"{"version":2,"tokens":[]}"#] {
        fs::write(&path, text).unwrap();
        let error = Store::open(home.path()).unwrap_err();
        assert!(error.to_string().contains("tokens.json"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[tokio::test]
async fn a_token_that_can_not_be_read_is_nobodys_and_harms_no_other() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let (one, other) = (make(&store, "one").await, make(&store, "other").await);
    let by_hand = schema::connect(&home.path().join(schema::FILE)).unwrap();
    by_hand.execute("UPDATE tokens SET rights = '{\"newer\":1}' WHERE name = 'one'", []).unwrap();
    assert!(logs_in(&Store::open(home.path()).unwrap(), &one).is_none());
    assert!(logs_in(&store, &other).is_some());
    let more = Changes { give_subdomains: vec!["dev-*".parse().unwrap()], ..Changes::default() };
    let error = edit(&store, "one", more).await.unwrap_err();
    assert!(
        matches!(error, WriteError::UnreadableRights { .. }),
        "an edit makes it nobody's but its own: {error}"
    );
    assert!(logs_in(&store, &one).is_none());
    store.revoke("one", Actor::Command).await.expect("and can be revoked");
}
