//! Who is let in, and what guessing costs.

use http::HeaderValue;

use super::*;

fn logins() -> Logins {
    let mut logins = Logins::default();
    for (n, login) in ["ann:s3cret", "bo:pässwörd:x"].into_iter().enumerate() {
        logins.add(&BasicLogin::new(login, [u8::try_from(n).unwrap(); 16])).unwrap();
    }
    logins
}

fn headers(values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
}

fn basic(login: &str) -> String {
    format!("Basic {}", BASE64.encode(login.as_bytes()))
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[test]
fn only_a_whole_login_matches() {
    let logins = logins();
    let check = |values: &[&str]| logins.check(ip(1), &headers(values));
    assert_eq!(check(&[&basic("ann:s3cret")]), Ok(()));
    assert_eq!(check(&[&basic("bo:pässwörd:x")]), Ok(()));
    assert_eq!(check(&[&basic("ann:s3cret").replace("Basic", "bASIC")]), Ok(()));
    let good = basic("ann:s3cret");
    let (long, cut) = (format!("{good}{}", "A".repeat(CREDENTIALS_MAX)), &good[..good.len() - 4]);
    for values in [
        &[][..],
        &[""],
        &["Basic"],
        &["Basic "],
        &["Basic !"],
        &[&basic("ann:")],
        &[&basic("ann")],
        &[&basic("bo:s3cret")],
        &[&basic("ann:s3cret ")],
        &["Bearer YW5uOnMzY3JldA=="],
        &[&long],
        &[cut],
        &[&good, &good],
    ] {
        assert_eq!(check(values), Err(NoLogin::Wrong), "{values:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn guessing_costs_one_address_time_and_no_other_anything() {
    let logins = logins();
    let (wrong, right) = (headers(&[&basic("ann:guess")]), headers(&[&basic("ann:s3cret")]));
    for _ in 0..GUESSES {
        assert_eq!(logins.check(ip(1), &wrong), Err(NoLogin::Wrong));
    }
    let wait = GUESSES_PER / GUESSES;
    assert_eq!(logins.check(ip(1), &wrong), Err(NoLogin::Wait(wait)));
    assert_eq!(logins.check(ip(1), &right), Err(NoLogin::Wait(wait)), "the answer tells nothing");
    assert_eq!(logins.check(ip(1), &HeaderMap::new()), Err(NoLogin::Wrong), "no guess");
    assert_eq!(logins.check(ip(2), &right), Ok(()));
    tokio::time::advance(wait).await;
    for _ in 0..100 {
        assert_eq!(logins.check(ip(1), &right), Ok(()), "right ones cost nothing");
    }
}

#[test]
fn a_login_that_cannot_be_read_is_refused() {
    let login = BasicLogin::new("a:b", [0; 16]);
    for broken in [
        BasicLogin { mac: String::new(), ..login.clone() },
        BasicLogin { mac: "g".repeat(64), ..login.clone() },
        BasicLogin { salt: String::new(), ..login },
    ] {
        assert!(Logins::default().add(&broken).is_err());
    }
}
