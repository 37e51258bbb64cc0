//! A token's text, and the ids and hashes that travel or are stored as text.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sha2::{Digest, Sha256};
use tunnel_protocol::{InstanceId, RequestId, SessionId, Token, TokenHash, TokenId};

/// Reads `data` as text, and as the inside of a token whose checksum is right, which no fuzzer would ever guess.
pub fn check(data: &[u8]) {
    let sealed = [data, &Sha256::digest(data)[..4]].concat();
    check_token(&format!("tnl_{}", BASE64URL_NOPAD.encode(&sealed)));
    let Ok(text) = str::from_utf8(data) else { return };
    check_token(text);
    check_id::<SessionId>(text);
    check_id::<RequestId>(text);
    check_id::<InstanceId>(text);
    check_id::<TokenId>(text);
    if let Ok(hash) = text.parse::<TokenHash>() {
        assert_eq!(String::from(hash), text);
    }
}

/// A token has one text, and shows it to nobody who doesn't ask for it.
fn check_token(text: &str) {
    match text.parse::<Token>() {
        Ok(token) => {
            assert_eq!(token.expose(), text.trim());
            assert_eq!(token.expose().parse(), Ok(token.clone()));
            assert!(token.hash().matches(token.secret()));
            let shown = format!("{token:?}");
            let secret = token.secret().expose();
            for leak in [BASE64URL_NOPAD.encode(secret), HEXLOWER.encode(secret), format!("{secret:?}")] {
                assert!(!shown.contains(&leak), "Debug shows the secret");
            }
        }
        Err(error) => {
            let inside = text.trim().strip_prefix("tnl_").unwrap_or("");
            assert!(inside.len() < 8 || !error.to_string().contains(inside), "the error shows the text");
        }
    }
}

fn check_id<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(id) = text.parse::<T>() {
        assert_eq!(id.to_string(), text);
    }
}
