//! Proving a token without sending it, for connections that have no TLS of ours around them.
//!
//! On a plaintext control connection the server speaks first with a random nonce, and the client answers with a
//! MAC over it: who records the login can neither replay it nor learn the token.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{InstanceId, Secret, TokenHash};

/// Keeps this MAC from ever meaning anything in another context.
const CONTEXT: &[u8] = b"tunnel plaintext login 1";

/// The MAC that answers `nonce`: HMAC-SHA-256 (RFC 2104) keyed by the token's hash, which both sides know.
pub fn prove(token: &TokenHash, nonce: &[u8; 32], instance: &InstanceId) -> Secret<32> {
    Secret::new(answer(token, nonce, instance).finalize().into_bytes().into())
}

/// Whether `proof` answers `nonce`, in constant time.
pub fn verify(token: &TokenHash, nonce: &[u8; 32], instance: &InstanceId, proof: &Secret<32>) -> bool {
    answer(token, nonce, instance).verify_slice(proof.expose()).is_ok()
}

/// HMAC-SHA-256 of a text under a salt.
pub(crate) fn mac(salt: &[u8], text: &[u8]) -> [u8; 32] {
    salted(salt, text).finalize().into_bytes().into()
}

/// Whether `mac` is that of the text, in constant time.
pub(crate) fn mac_matches(salt: &[u8], text: &[u8], mac: &[u8]) -> bool {
    salted(salt, text).verify_slice(mac).is_ok()
}

fn salted(salt: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = keyed(salt);
    mac.update(text);
    mac
}

fn answer(token: &TokenHash, nonce: &[u8; 32], instance: &InstanceId) -> Hmac<Sha256> {
    let mut mac = keyed(token.as_bytes());
    for part in [CONTEXT, nonce, &instance.0] {
        mac.update(part);
    }
    mac
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("invariant: HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Token;

    #[test]
    fn a_proof_answers_its_own_nonce_and_instance_only() {
        let token = Token::new([5; 32], None).hash();
        let proof = prove(&token, &[1; 32], &InstanceId([2; 16]));
        assert!(verify(&token, &[1; 32], &InstanceId([2; 16]), &proof));
        assert!(!verify(&token, &[9; 32], &InstanceId([2; 16]), &proof), "a replay against another nonce");
        assert!(!verify(&token, &[1; 32], &InstanceId([9; 16]), &proof));
        assert!(!verify(&Token::new([6; 32], None).hash(), &[1; 32], &InstanceId([2; 16]), &proof));
    }
}
