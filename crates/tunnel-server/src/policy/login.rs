//! Who may visit: HTTP Basic authentication (RFC 7617).
//!
//! A login costs a MAC or two, so nothing is remembered of those that matched. Wrong ones cost their address time.

use std::{net::IpAddr, time::Duration};

use data_encoding::BASE64;
use http::{HeaderMap, header::AUTHORIZATION};
use tunnel_protocol::{Refusal, policy::BasicLogin};

use super::{RateLimit, compile::invalid};

/// How many wrong logins one address may try …
const GUESSES: u32 = 20;
/// … in this time, before it has to wait: 30,000 a day.
const GUESSES_PER: Duration = Duration::from_secs(60);

/// The longest credentials that are looked at, in bytes.
const CREDENTIALS_MAX: usize = 1024;

/// The logins of which a visitor must have one.
#[derive(Debug)]
pub(crate) struct Logins {
    list: Vec<BasicLogin>,
    guesses: RateLimit,
}

/// Why a request has no login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoLogin {
    /// It has none, or a wrong one.
    Wrong,
    /// Its address has tried too many; its login wasn't looked at.
    Wait(Duration),
}

impl Default for Logins {
    fn default() -> Self {
        Self { list: Vec::new(), guesses: RateLimit::new(GUESSES, GUESSES_PER) }
    }
}

impl Logins {
    pub(super) fn add(&mut self, login: &BasicLogin) -> Result<(), Refusal> {
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if login.mac.len() != 64 || !is_hex(&login.mac) || !(1..=128).contains(&login.salt.len()) {
            return Err(invalid("`--basic-auth` can't be read: the client is broken or too new"));
        }
        self.list.push(login.clone());
        Ok(())
    }

    /// Whether the request has a login.
    ///
    /// # Errors
    /// [`NoLogin`]
    pub(crate) fn check(&self, address: IpAddr, headers: &HeaderMap) -> Result<(), NoLogin> {
        let Some(credentials) = credentials(headers) else { return Err(NoLogin::Wrong) };
        let wait = self.guesses.wait(address);
        if !wait.is_zero() {
            return Err(NoLogin::Wait(wait));
        }
        // All are looked at, so that the time doesn't tell which one nearly matched.
        if self.list.iter().fold(false, |found, login| found | login.matches(&credentials)) {
            return Ok(());
        }
        // That there was room for one was just seen; a race for the last costs nobody anything.
        let _ = self.guesses.take(address);
        Err(NoLogin::Wrong)
    }
}

/// What the one `Authorization` of a request says, if it is Basic.
fn credentials(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let value = value.as_bytes();
    if value.len() > CREDENTIALS_MAX {
        return None;
    }
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    BASE64.decode(rest.trim_ascii()).ok()
}

#[cfg(test)]
mod tests;
