//! A command says the same whether a server runs or not; only who did it is another.

use std::{sync::Arc, time::SystemTime};

use tokio::task::JoinSet;
use tunnel_admin::{About, AdminServer, AdminSocket, AuditPage, NoTokens, Takeover};
use tunnel_server::{Config, Hostname, Server};

use super::*;
use crate::output::tokens as output;

/// A server's admin socket in a data directory.
fn serve(data: &Path, tokens: Arc<dyn Tokens>, store: &Store) -> JoinSet<()> {
    let server = Server::builder(Config::new(Hostname::parse("test").unwrap()))
        .authenticator(store.clone())
        .build()
        .unwrap();
    let about = About { version: "1".into(), domain: "test".into(), started: SystemTime::now() };
    let socket = AdminSocket::bind(&data.join(super::super::ask::SOCKET), Takeover::No).unwrap();
    let mut running = JoinSet::new();
    running.spawn(AdminServer::new(about, server.handle(), tokens).socket(socket).run());
    running
}

/// What a person does, and what comes of it: lines without ids, dates and secrets.
async fn carried_out(books: &Books) -> Vec<String> {
    fn told<T>(outcome: Result<T, Failure>, words: impl FnOnce(T) -> String) -> String {
        outcome.map_or_else(|failure| format!("{} {}", failure.status(), failure.line()), words)
    }
    let new = |name: &str, rights: &str| NewToken {
        name: name.into(),
        rights: serde_json::from_str(rights).unwrap(),
    };
    let changes = |text: &str| serde_json::from_str::<RightsChanges>(text).unwrap();
    let without_id = |token: &Token| output::line(token).split_off(token.id.len());
    let reservation =
        |name: &str, token: &str| Reservation { name: name.into(), token: token.into(), since: None };
    let mut lines = Vec::new();
    for (name, rights) in [
        ("bob", "{}"),
        ("ana", r#"{"kinds":["http","tcp"],"tcp_ports":["1-9","20"],"expires":"2100-01-01T00:00:00Z"}"#),
        ("ana", "{}"),
        ("no name", "{}"),
        ("x", r#"{"kinds":["ftp"]}"#),
    ] {
        lines.push(told(books.create(new(name, rights)).await, |made| made.token.name));
    }
    for (name, wanted) in [
        ("ana", r#"{"give_subdomains":["dev-*"],"kinds":[],"max_tunnels":3}"#),
        ("ana", r#"{"take_subdomains":["www"]}"#),
        ("ana", r#"{"take_subdomains":["dev-*"]}"#),
        ("ana", r#"{"expires":null,"udp_ports":["none"]}"#),
        ("a/b", "{}"),
    ] {
        lines.push(told(books.change(name.into(), changes(wanted)).await, |token| without_id(&token)));
    }
    for (name, token) in [
        ("demo", "ana"),
        ("demo", "bob"),
        ("demo.test", "bob"),
        ("*.example.com", "bob"),
        ("tcp:20000", "nobody"),
    ] {
        lines.push(told(books.reserve(reservation(name, token)).await, |()| "reserved".into()));
    }
    lines.extend(books.reservations().await.unwrap().iter().map(|one| format!("{} {}", one.name, one.token)));
    for name in ["*.example.com", "*.example.com"] {
        lines.push(told(books.release(name.into()).await, |()| "released".into()));
    }
    let rotated = books.rotate("ana".into(), Duration::from_secs(3600)).await;
    lines.push(told(rotated, |made| format!("{}", made.token.former_until.is_some())));
    for name in ["ana", "nobody"] {
        lines.push(told(books.token(name.into()).await, |found| {
            output::lines(&found).split_off(5).join("; ")
        }));
    }
    lines.extend(books.tokens().await.unwrap().iter().map(without_id));
    for name in ["bob", "bob"] {
        lines.push(told(books.revoke(name.into()).await, |()| "revoked".into()));
    }
    lines
}

/// Dates are of one run or the other.
fn without_dates(lines: &[String]) -> Vec<String> {
    let is_date = |word: &&str| !(word.ends_with('Z') && word.starts_with("202"));
    lines.iter().map(|line| line.split(' ').filter(is_date).collect::<Vec<_>>().join(" ")).collect()
}

async fn actors(store: &Store) -> Vec<String> {
    let keeper = Keeper::new(store.clone(), None, None);
    let all = spawn_blocking(move || keeper.audit(&AuditPage::default())).await.unwrap().unwrap();
    let mut by: Vec<_> = all.into_iter().map(|entry| entry.by.0).collect();
    by.dedup();
    by
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_says_the_same_with_a_server_and_without_one() {
    let (home, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = store::open(home.path()).unwrap();
    let domain = Hostname::parse("test").ok();
    let running = serve(home.path(), Arc::new(Keeper::new(store.clone(), None, domain)), &store);
    let asked = Books::open(home.path()).await.unwrap();
    assert!(matches!(asked.way, Way::Server(_)));
    let by_server = without_dates(&carried_out(&asked).await);
    drop(running);

    Facts::new(true).reached_by("test:4444".into()).save(elsewhere.path()).unwrap();
    let direct = Books::open(elsewhere.path()).await.unwrap();
    let Way::Directory { store: beside, .. } = &direct.way else { panic!("nobody runs there") };
    let by_directory = without_dates(&carried_out(&direct).await);
    assert_eq!(by_server, by_directory);
    assert!(by_server.iter().all(|line| !line.contains('\n')), "{by_server:#?}");
    assert!(
        by_server.contains(
            &"1 there is a token called `ana` already; choose another name, or run: tunnel token revoke ana"
                .to_owned()
        ),
        "{by_server:#?}"
    );
    assert!(
        by_server
            .iter()
            .any(|line| line.contains("`demo.test` is the same as `demo`, which is reserved for `ana`")),
        "{by_server:#?}"
    );
    assert!(by_server.iter().any(|line| line.starts_with("2 a token's name has 1 to 64")), "{by_server:#?}");
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(actors(&store).await, [format!("socket, uid {uid}")]);
    assert_eq!(actors(beside).await, ["command"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_without_a_server_or_a_server_without_tokens_leaves_the_directory() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(super::super::ask::SOCKET);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind, as by a server that was killed");
    let books = Books::open(home.path()).await.unwrap();
    let Way::Directory { store, .. } = &books.way else { panic!("nobody runs there") };
    let made = books.create(NewToken { name: "ana".into(), rights: Default::default() }).await.unwrap();
    assert!(made.secret.starts_with("tnl_"), "{made:?}");

    let _running = serve(home.path(), Arc::new(NoTokens), store);
    let books = Books::open(home.path()).await.unwrap();
    assert!(matches!(books.way, Way::Directory { .. }), "as of a server with --auth none");
    assert_eq!(books.tokens().await.unwrap().len(), 1);
}
