//! What the admin API asks for is what the store then says, and the other way round.

use tokio::runtime::Runtime;

use super::*;

fn keeper(runtime: &Runtime, directory: &tempfile::TempDir) -> Keeper {
    let _entered = runtime.enter();
    Keeper::new(Store::open(directory.path()).unwrap(), None, None)
}

fn by() -> Actor {
    Actor::Dashboard { address: [192, 0, 2, 1].into() }
}

fn all_rights() -> TokenRights {
    TokenRights {
        subdomains: vec!["dev-*".into(), "www".into()],
        domains: vec!["*.example.com".into()],
        kinds: vec!["http".into(), "tcp".into()],
        tcp_ports: vec!["20000-20009".into(), "22022".into()],
        udp_ports: vec!["none".into()],
        max_tunnels: Some(1),
        max_connections: Some(2),
        bandwidth: Some(3),
        monthly_bytes: Some(4),
        expires: Some(Stamp(SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000))),
    }
}

#[test]
fn a_token_is_made_changed_rotated_and_revoked_and_all_of_it_is_noted() {
    let (runtime, home) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let keeper = keeper(&runtime, &home);
    let issued = keeper.create_token(&by(), &NewToken { name: "ci".into(), rights: all_rights() }).unwrap();
    assert!(issued.secret.starts_with("tnl_"), "{issued:?}");
    assert_eq!(issued.token.rights, all_rights());
    assert_eq!(keeper.tokens().unwrap(), std::slice::from_ref(&issued.token));
    let again = keeper.create_token(&by(), &NewToken { name: "ci".into(), rights: TokenRights::default() });
    assert!(matches!(again, Err(TokensError::Exists(_))), "{again:?}");

    let one_more: RightsChanges = serde_json::from_str(
        r#"{"give_subdomains":["api"],"take_subdomains":["www"],"kinds":[],"udp_ports":["1"],"max_tunnels":null}"#,
    )
    .unwrap();
    let changed = keeper.change_rights(&by(), "ci", &one_more).unwrap();
    let expected = TokenRights {
        subdomains: vec!["dev-*".into(), "api".into()],
        kinds: Vec::new(),
        udp_ports: vec!["1".into()],
        max_tunnels: None,
        ..all_rights()
    };
    assert_eq!(changed.rights, expected, "what wasn't named stays");
    let changed = keeper.set_rights(&by(), "ci", &TokenRights::default()).unwrap();
    assert_eq!(changed.rights, TokenRights::default());
    let rotated = keeper.rotate_token(&by(), "ci", Duration::from_secs(60)).unwrap();
    assert!(rotated.secret != issued.secret && rotated.token.id == issued.token.id);
    assert!(rotated.token.rotated.is_some());

    let name = |name: &str| Reservation { name: name.into(), token: "ci".into(), since: None };
    keeper.reserve(&by(), &name("tcp:20022")).unwrap();
    assert_eq!(keeper.reservations().unwrap().len(), 1);
    let TokenInFull { token, reserved, usage } = keeper.token("ci").unwrap();
    assert_eq!(
        (token, reserved, usage.len()),
        (keeper.tokens().unwrap().remove(0), vec!["tcp:20022".into()], 0)
    );
    keeper.release(&by(), "tcp:20022").unwrap();
    assert!(matches!(keeper.release(&by(), "tcp:20022"), Err(TokensError::Unknown(_))));

    keeper.revoke_token(&by(), "ci").unwrap();
    assert!(matches!(keeper.revoke_token(&by(), "ci"), Err(TokensError::Unknown(_))));
    let audit = keeper.audit(&AuditPage { limit: Some(10), ..AuditPage::default() }).unwrap();
    let done: Vec<_> = audit.iter().rev().map(|entry| entry.what.as_str()).collect();
    let expected = [
        "token-created",
        "token-edited",
        "token-edited",
        "token-rotated",
        "name-reserved",
        "name-released",
        "token-revoked",
    ];
    assert_eq!(done, expected);
    assert!(audit.iter().all(|entry| entry.by.0 == "dashboard, 192.0.2.1"), "{audit:?}");
}

#[test]
fn what_makes_no_sense_is_said_and_changes_nothing() {
    let (runtime, home) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let keeper = keeper(&runtime, &home);
    let wrong = [
        TokenRights { subdomains: vec!["a.b".into()], ..TokenRights::default() },
        TokenRights { domains: vec!["*".into()], ..TokenRights::default() },
        TokenRights { kinds: vec!["ftp".into()], ..TokenRights::default() },
        TokenRights { tcp_ports: vec!["0".into()], ..TokenRights::default() },
        TokenRights { max_tunnels: Some(u64::MAX), ..TokenRights::default() },
    ];
    for rights in wrong {
        let made = keeper.create_token(&by(), &NewToken { name: "ci".into(), rights: rights.clone() });
        assert!(matches!(made, Err(TokensError::Invalid(_))), "{rights:?}: {made:?}");
    }
    assert!(matches!(keeper.usage(Some("2026-13")), Err(TokensError::Invalid(_))));
    assert!(keeper.usage(None).unwrap().is_empty() && keeper.tokens().unwrap().is_empty());
}
