//! Who is let in at the port: a password, the admin token, or a link that works once.
//!
//! A browser that signed in holds two things: a cookie, and a key that its scripts keep for this origin and send with
//! each request. The cookie alone is worth nothing, since browsers send it to every port of a host: to a development
//! server on the laptop as well, where the port of the dashboard was forwarded to. And a page of another origin has
//! no way to send the key.

mod browsers;
mod links;
mod secrets;
mod tries;

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::Semaphore, time::Instant};

pub use self::secrets::{AdminToken, Password, SecretError};
use self::{browsers::Browsers, links::Links, tries::Tries};
pub(crate) use self::{browsers::Entry, links::Link};

/// Passwords that are checked at a time: each takes 19 MiB and a core for a while.
const CHECKS: usize = 2;

/// What lets people and programs in.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// For people. Without one they sign in by a link that the socket gives.
    pub password: Option<Password>,
    /// For programs.
    pub token: Option<AdminToken>,
}

/// What somebody shows to be let in.
pub(crate) enum Shown {
    Password(String),
    Token(String),
    Link(String),
}

/// Why nobody was let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It isn't right.
    Wrong,
    /// Too many tries; in so long, again.
    TooMany(Duration),
}

/// Decides, and remembers who is in.
#[derive(Debug)]
pub(crate) struct SignIn {
    secrets: Secrets,
    links: Links,
    browsers: Browsers,
    tries: Tries,
    checks: Arc<Semaphore>,
}

impl SignIn {
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            links: Links::default(),
            browsers: Browsers::default(),
            tries: Tries::default(),
            checks: Arc::new(Semaphore::new(CHECKS)),
        }
    }

    /// What may be shown.
    pub(crate) fn methods(&self) -> Vec<&'static str> {
        let password = self.secrets.password.is_some().then_some("password");
        let token = self.secrets.token.is_some().then_some("token");
        password.into_iter().chain(token).chain(["link"]).collect()
    }

    /// Makes a link that lets one browser in, once.
    pub(crate) fn new_link(&self) -> Link {
        self.links.make(Instant::now(), SystemTime::now())
    }

    /// Lets a browser in, if what it shows is right.
    pub(crate) async fn enter(&self, address: IpAddr, shown: Shown) -> Result<Entry, Denied> {
        let now = Instant::now();
        let is_right = match shown {
            // Long, random and cheap to look at: a right one is let in however often others have tried from its
            // address, or anybody on this machine could keep its operator out.
            Shown::Token(token) => self.is_token(&token),
            Shown::Link(link) => self.links.take(&link, now),
            Shown::Password(password) => {
                self.tries.take(address, now).map_err(Denied::TooMany)?;
                if !self.is_password(password).await {
                    return Err(Denied::Wrong);
                }
                true
            }
        };
        if !is_right {
            return Err(self.wrong(address, now));
        }
        self.tries.give_back(address);
        Ok(self.browsers.enter(now, SystemTime::now()))
    }

    /// Whether a browser that shows these is in.
    pub(crate) fn is_in(&self, cookie: &str, key: &str) -> bool {
        self.browsers.is_in(cookie, key, Instant::now())
    }

    /// Until when it is, at the latest.
    pub(crate) fn leave(&self, cookie: &str) {
        self.browsers.leave(cookie);
    }

    /// Whether a program shows the admin token. Wrong ones count as tries.
    pub(crate) fn is_program(&self, address: IpAddr, token: &str) -> Result<(), Denied> {
        if self.is_token(token) { Ok(()) } else { Err(self.wrong(address, Instant::now())) }
    }

    fn is_token(&self, shown: &str) -> bool {
        self.secrets.token.as_ref().is_some_and(|right| right.is(shown))
    }

    /// Counts a try; what it comes to.
    fn wrong(&self, address: IpAddr, now: Instant) -> Denied {
        match self.tries.take(address, now) {
            Ok(()) => Denied::Wrong,
            Err(wait) => Denied::TooMany(wait),
        }
    }

    async fn is_password(&self, shown: String) -> bool {
        let Some(right) = self.secrets.password.clone() else { return false };
        let Ok(place) = self.checks.clone().acquire_owned().await else { return false };
        let check = tokio::task::spawn_blocking(move || {
            let is_right = right.is(&shown);
            drop(place);
            is_right
        });
        check.await.unwrap_or(false)
    }
}

/// `N` random bytes as text that is safe in URLs and cookies.
fn random_text() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("invariant: the operating system gives random bytes");
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

/// What is remembered of a random text: enough to know it again, and nothing to show.
fn digest(text: &str) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests;
