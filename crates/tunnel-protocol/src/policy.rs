//! What a tunnel's owner wants done with its visitors, on the server, before anything of them reaches the client.
//!
//! Policies are a list of tagged objects, so that one a server doesn't know is seen as such: it refuses the bind.
//! Ignored, `basic-auth` would be an open door.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{TokenHash, proof};

pub use crate::field::{FIELD_MAX, FieldEdit, FieldError};

/// One policy. A list may hold several of one kind where that makes sense; each says how they add up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Policy {
    /// Web visitors must log in (RFC 7617) with any one of the logins listed.
    BasicAuth(BasicLogin),
    /// Only visitors from any one of the networks listed are let in. All kinds of tunnels.
    AllowNetwork {
        /// An address or a network: `192.0.2.0/24`, `2001:db8::/32`.
        network: String,
    },
    /// Visitors from none of the networks listed are let in, also when they are in one that is allowed.
    DenyNetwork {
        /// As in `AllowNetwork`.
        network: String,
    },
    /// The upstream of a web tunnel sees this as `Host`; what its answers say of that host is said of the public
    /// one. At most one.
    HostHeader {
        /// The host, with a port if need be: `localhost:3000`.
        host: String,
        /// Whether the upstream speaks TLS, so that it knows itself by an `https://` address.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        https: bool,
    },
    /// A field of every request to the upstream, in the order of the list.
    RequestHeader(FieldEdit),
    /// A field of every answer of the upstream, in the order of the list.
    ResponseHeader(FieldEdit),
    /// How many requests (connections, flows) one visitor address may make. At most one.
    RateLimit {
        /// So many …
        count: u32,
        /// … in this many milliseconds.
        per_ms: u64,
    },
    /// How many bytes all visitors together may move in a second, each way. At most one.
    Bandwidth {
        /// Bytes per second.
        bytes: u64,
    },
    /// Answers of a web tunnel are compressed where the visitor takes that and it is of use.
    Compress,
    /// Each visitor connection of a web tunnel has streams of its own, so that what the client says at a stream's
    /// begin (PROXY protocol) is true of all requests on it.
    SeparateStreams,
    /// The tunnel ends after this time.
    Expire {
        /// What is left of it, in milliseconds.
        left_ms: u64,
    },
    /// A policy this build doesn't know: the bind is refused with [`Code::NotSupported`](crate::Code::NotSupported).
    #[serde(other)]
    Unknown,
}

/// A user and password that a server can check and not tell.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BasicLogin {
    /// Hexadecimal; any text that is used for no other login.
    pub salt: String,
    /// HMAC-SHA-256 of `user:password` under the salt's text, in lower-case hexadecimal.
    pub mac: String,
}

/// Keeps salts from ever meaning anything in another context.
const CONTEXT: &[u8] = b"tunnel basic login salt 1";

impl BasicLogin {
    /// Of a user and password, and a salt of 16 random bytes.
    pub fn new(user_and_password: &str, salt: [u8; 16]) -> Self {
        let salt = data_encoding::HEXLOWER.encode(&salt);
        let mac = data_encoding::HEXLOWER.encode(&proof::mac(salt.as_bytes(), user_and_password.as_bytes()));
        Self { salt, mac }
    }

    /// Of a user and password as a client with this token tells it: all clients of one token tell it in the same
    /// words, so that a pool of them can be seen to ask for the same.
    pub fn by_owner(user_and_password: &str, token: Option<&TokenHash>) -> Self {
        let key: &[u8] = token.map_or(&[], |token| token.as_bytes());
        let mut salt = [0; 16];
        salt.copy_from_slice(&proof::mac(key, &[CONTEXT, user_and_password.as_bytes()].concat())[..16]);
        Self::new(user_and_password, salt)
    }

    /// Whether it is of this user and password, in a time that doesn't depend on how much of it is right.
    pub fn matches(&self, user_and_password: &[u8]) -> bool {
        data_encoding::HEXLOWER
            .decode(self.mac.as_bytes())
            .is_ok_and(|mac| proof::mac_matches(self.salt.as_bytes(), user_and_password, &mac))
    }
}

impl fmt::Debug for BasicLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicLogin(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_matches_itself_only_and_is_not_shown() {
        let login = BasicLogin::new("ann:s3cret", [7; 16]);
        assert!(login.matches(b"ann:s3cret"));
        assert_eq!(login.mac, "48fde5ccdd6ee59182575c48ae85cc04323d46b7d886ecfeac5f36fde6cd3733");
        assert!(!login.matches(b"ann:s3cre"));
        assert!(!login.matches(b""));
        assert_ne!(login, BasicLogin::new("ann:s3cret", [8; 16]));
        let token = crate::Token::new([1; 32], None).hash();
        let owned = BasicLogin::by_owner("ann:s3cret", Some(&token));
        assert!(owned.matches(b"ann:s3cret"));
        assert_eq!(owned, BasicLogin::by_owner("ann:s3cret", Some(&token)));
        assert_ne!(owned.salt, BasicLogin::by_owner("ann:s3cret", None).salt);
        assert_ne!(owned.salt, BasicLogin::by_owner("bo:s3cret", Some(&token)).salt);
        assert_eq!(format!("{login:?}"), "BasicLogin(…)");
        let broken = BasicLogin { salt: String::new(), mac: "no hex".into() };
        assert!(!broken.matches(b""));
    }

    #[test]
    fn a_policy_of_the_future_is_seen_as_such() {
        let policies: Vec<Policy> =
            serde_json::from_str(r#"[{"policy":"compress"},{"policy":"captcha","hard":true}]"#).unwrap();
        assert_eq!(policies, [Policy::Compress, Policy::Unknown]);
    }
}
