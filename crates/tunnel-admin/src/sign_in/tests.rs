//! Secrets, links, browsers and tries, without the HTTP around them.

use super::*;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn sign_in() -> SignIn {
    let token = AdminToken::new(&"t".repeat(32)).unwrap();
    SignIn::new(Secrets { password: None, token: Some(token) })
}

#[test]
fn secrets_that_are_soon_guessed_are_refused() {
    assert_eq!(Password::new("short").unwrap_err(), SecretError::ShortPassword);
    assert_eq!(AdminToken::new("short").unwrap_err(), SecretError::ShortToken);
    assert!(matches!(Password::new("$argon2id$nonsense"), Err(SecretError::Hash(_))));
}

#[test]
fn a_password_is_known_again_and_so_is_its_hash() {
    let password = Password::new("correct horse").unwrap();
    assert!(password.is("correct horse") && !password.is("correct horsf"));
    let Password(hash) = &password;
    assert!(hash.starts_with("$argon2id$") && Password::new(hash).unwrap().is("correct horse"));
    assert_eq!(format!("{password:?}"), "Password");
}

#[tokio::test(start_paused = true)]
async fn a_link_works_once_and_not_for_long() {
    let sign_in = sign_in();
    let first = sign_in.new_link().secret;
    let entry = sign_in.enter(HOME, Shown::Link(first.clone())).await.unwrap();
    assert!(sign_in.is_in(&entry.cookie, &entry.key));
    assert_eq!(sign_in.enter(HOME, Shown::Link(first)).await, Err(Denied::Wrong));
    let late = sign_in.new_link().secret;
    tokio::time::advance(Duration::from_secs(601)).await;
    assert_eq!(sign_in.enter(HOME, Shown::Link(late)).await, Err(Denied::Wrong));
}

#[tokio::test(start_paused = true)]
async fn a_cookie_is_worth_nothing_without_its_key_and_ends() {
    let sign_in = sign_in();
    let mut entries = Vec::new();
    for _ in 0..2 {
        entries.push(sign_in.enter(HOME, Shown::Token("t".repeat(32))).await.unwrap());
    }
    assert!(!sign_in.is_in(&entries[0].cookie, ""));
    assert!(!sign_in.is_in(&entries[0].cookie, &entries[1].key));
    assert!(sign_in.is_in(&entries[0].cookie, &entries[0].key));
    sign_in.leave(&entries[0].cookie);
    assert!(!sign_in.is_in(&entries[0].cookie, &entries[0].key));
    // In use it lasts for twelve hours, left alone for one.
    for _ in 0..23 {
        tokio::time::advance(Duration::from_secs(1800)).await;
        assert!(sign_in.is_in(&entries[1].cookie, &entries[1].key));
    }
    tokio::time::advance(Duration::from_secs(1801)).await;
    assert!(!sign_in.is_in(&entries[1].cookie, &entries[1].key));
}

#[tokio::test(start_paused = true)]
async fn tries_are_few_for_each_address() {
    let sign_in =
        SignIn::new(Secrets { password: Some(Password::new("correct horse").unwrap()), token: None });
    let wrong = || Shown::Token("wrong".into());
    let right = || Shown::Password("correct horse".into());
    for _ in 0..5 {
        assert_eq!(sign_in.enter(HOME, wrong()).await, Err(Denied::Wrong));
    }
    let Err(Denied::TooMany(wait)) = sign_in.enter(HOME, right()).await else {
        panic!("the sixth try was taken")
    };
    assert_eq!(wait, Duration::from_secs(12));
    assert_eq!(sign_in.enter(HOME, wrong()).await, Err(Denied::TooMany(wait)));
    assert_eq!(sign_in.enter([192, 0, 2, 1].into(), wrong()).await, Err(Denied::Wrong));
    tokio::time::advance(wait).await;
    assert!(sign_in.enter(HOME, right()).await.is_ok());
    assert!(sign_in.enter(HOME, right()).await.is_ok(), "right ones cost no tries");
}

/// All users of a machine come from one address.
#[tokio::test(start_paused = true)]
async fn who_only_guesses_keeps_nobody_out_who_has_a_link_or_the_token() {
    let sign_in = sign_in();
    while sign_in.enter(HOME, Shown::Link("guess".into())).await == Err(Denied::Wrong) {}
    let link = sign_in.new_link().secret;
    assert!(sign_in.enter(HOME, Shown::Link(link)).await.is_ok());
    while sign_in.enter(HOME, Shown::Link("guess".into())).await == Err(Denied::Wrong) {}
    assert!(sign_in.enter(HOME, Shown::Token("t".repeat(32))).await.is_ok());
}
