//! Which of several servers, tokens and ways to trust counts.

use std::ffi::OsString;

use super::*;
use crate::args::parse_with;

fn token(seed: u8, pin: Option<[u8; 32]>) -> Token {
    Token::new([seed; 32], pin)
}

fn save(home: &Path, server: &str, token: &Token, plaintext: bool) {
    let login = SavedLogin { server: server.into(), token: token.expose(), ca_file: None, plaintext };
    Logins::remember(home, login).unwrap();
}

fn resolve(home: &Path, flags: &[&str]) -> Result<ClientPlan, ResolveError> {
    let words = ["tunnel", "http", "3000", "--state-dir"].map(OsString::from);
    let words = words.into_iter().chain([home.into()]).chain(flags.iter().map(OsString::from));
    ClientPlan::of(parse_with(words, &|_| Some(OsString::new()), &|_| None).unwrap().command).unwrap()
}

#[test]
fn a_server_that_is_named_counts_and_else_the_newest_login() {
    let home = tempfile::tempdir().unwrap();
    assert!(matches!(resolve(home.path(), &[]), Err(ResolveError::NoServer)));
    let (a, b) = (token(1, None), token(2, None));
    save(home.path(), "a:4444", &a, false);
    save(home.path(), "b:1", &b, false);
    for (flags, server, expected) in [
        (&[][..], "b:1", Some(&b)),
        (&["--server", "a"], "a:4444", Some(&a)),
        (&["--server", "a:9"], "a:9", None),
    ] {
        let plan = resolve(home.path(), flags).unwrap();
        assert_eq!(
            (plan.session.target.server.to_string().as_str(), plan.session.target.token.as_ref()),
            (server, expected)
        );
    }
}

#[test]
fn a_token_that_is_given_counts_before_the_saved_one() {
    let home = tempfile::tempdir().unwrap();
    save(home.path(), "a:4444", &token(1, None), true);
    let given = token(2, None);
    let file = home.path().join("token");
    std::fs::write(&file, format!("{}\n", given.expose())).unwrap();
    for flags in [["--token", &given.expose()], ["--token-file", file.to_str().unwrap()]] {
        let plan = resolve(home.path(), &flags).unwrap();
        assert_eq!(plan.session.target.token.as_ref(), Some(&given));
        assert!(plan.session.target.trust.is_none(), "the saved way to trust goes with the saved token");
    }
    let plan = resolve(home.path(), &[]).unwrap();
    assert!(matches!(plan.session.target.trust, Some(Trust::Plaintext)));
    assert!(plan.warnings.iter().any(|warning| warning.starts_with("--plaintext")), "{:?}", plan.warnings);
}

#[test]
fn a_token_that_was_typed_is_warned_about_and_one_that_is_none_is_not_repeated() {
    let home = tempfile::tempdir().unwrap();
    let given = token(2, None).expose();
    let plan = resolve(home.path(), &["--server", "a", "--token", &given]).unwrap();
    assert!(plan.warnings[0].contains("--token-file"), "{:?}", plan.warnings);
    let file = home.path().join("token");
    std::fs::write(&file, "hunter2").unwrap();
    for (flags, complaint) in [
        (["--token", "hunter2"], "not a tunnel token"),
        (["--token-file", file.to_str().unwrap()], "token: not a tunnel token"),
    ] {
        let error = resolve(home.path(), &[["--server", "a"], flags].concat()).unwrap_err().to_string();
        assert!(error.contains(complaint) && !error.contains("hunter2"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_token_file_that_others_can_read_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("token");
    std::fs::write(&file, token(1, None).expose()).unwrap();
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let plan = resolve(home.path(), &["--server", "a", "--token-file", file.to_str().unwrap()]).unwrap();
        assert_eq!(plan.warnings.iter().any(|warning| warning.contains("chmod 600")), warned, "{mode:o}");
    }
}

#[test]
fn a_ca_file_is_read_at_once() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ca.pem");
    let flags = ["--server", "a", "--ca-file", file.to_str().unwrap()];
    assert!(matches!(resolve(home.path(), &flags), Err(ResolveError::File(FileError::Read { .. }))));
    std::fs::write(&file, "pem").unwrap();
    let plan = resolve(home.path(), &flags).unwrap();
    assert!(matches!(plan.session.target.trust, Some(Trust::CaFile(pem)) if pem == b"pem"));
}

#[test]
fn logins_come_from_several_places_and_an_empty_file_is_no_open_door() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("logins");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "ann:one\n\nbo:two\n").unwrap();
    let flags = ["--server", "a", "--basic-auth", "cy:three", "--basic-auth-file", path];
    let plan = resolve(home.path(), &flags).unwrap();
    let three = ["cy:three", "ann:one", "bo:two"].into_iter();
    let expected = three.fold(Policies::new(), |policies, login| policies.basic_auth(login).unwrap());
    assert_eq!(plan.tunnel.policies, expected);
    assert!(plan.warnings.iter().any(|warning| warning.contains("--basic-auth-file")), "{:?}", plan.warnings);
    for (content, complaint) in [
        ("", "logins: it holds no login"),
        ("\n \n", "logins: it holds no login"),
        ("ann:one\n\nhunter2\n", "logins: line 3: a login is `USER:PASSWORD`"),
    ] {
        std::fs::write(&file, content).unwrap();
        let flags = ["--server", "a", "--basic-auth-file", path];
        let error = resolve(home.path(), &flags).unwrap_err().to_string();
        assert!(error.contains(complaint) && !error.contains("hunter2"), "{content:?}: {error}");
    }
}
