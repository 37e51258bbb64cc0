//! AES-GCM for processors with VAES but without AVX-512: EPYC of the third generation, which much of what is let as a
//! small VPS runs on, and most laptops.
//!
//! aws-lc's wide AES-GCM needs AVX-512, and a system other than Windows and macOS. Without that it takes code for
//! processors ten years older, at half the speed (`docs/BENCHMARKS.md`), while ring has one for AVX2. So on these
//! processors, and on no others, TLS 1.3's AES-GCM suites keep aws-lc's hash and key derivation and have their records
//! sealed and opened by ring.
//!
//! ring is called here and not had through rustls's feature of that name: with two providers built in, rustls knows no
//! default any more, and a program that embeds us may rely on one.

use std::sync::LazyLock;

use ring::aead::{self, Aad, Algorithm, LessSafeKey, UnboundKey};
use rustls::{
    CipherSuite, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite,
    Tls13CipherSuite,
    crypto::{
        CryptoProvider,
        aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384},
        cipher::{
            AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
            Nonce, OutboundChunks, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload,
            Tls13AeadAlgorithm, UnsupportedOperationError, make_tls13_aad,
        },
    },
};

/// How much is copied in one go: glibc's way with more can be slow on these very processors (`docs/BENCHMARKS.md`).
const PIECE: usize = 2048;

static BY_RING_256: AesGcm = AesGcm(&aead::AES_256_GCM);
static BY_RING_128: AesGcm = AesGcm(&aead::AES_128_GCM);
static AES_256_GCM: LazyLock<Option<Tls13CipherSuite>> =
    LazyLock::new(|| sealed_by(&TLS13_AES_256_GCM_SHA384, &BY_RING_256));
static AES_128_GCM: LazyLock<Option<Tls13CipherSuite>> =
    LazyLock::new(|| sealed_by(&TLS13_AES_128_GCM_SHA256, &BY_RING_128));

/// Whether this processor is one of those.
pub(crate) fn pays() -> bool {
    let has_vaes = is_x86_feature_detected!("vaes")
        && is_x86_feature_detected!("vpclmulqdq")
        && is_x86_feature_detected!("avx2");
    // What aws-lc asks for, where it has the code at all.
    let is_wide = cfg!(not(any(windows, target_vendor = "apple")))
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    has_vaes && !is_wide
}

/// The provider with ring's AES-GCM for TLS 1.3. The order of the suites, and with it what is negotiated, stays.
pub(crate) fn replace(mut provider: CryptoProvider) -> CryptoProvider {
    for suite in &mut provider.cipher_suites {
        let replaced = match suite.suite() {
            CipherSuite::TLS13_AES_256_GCM_SHA384 => &*AES_256_GCM,
            CipherSuite::TLS13_AES_128_GCM_SHA256 => &*AES_128_GCM,
            _ => continue,
        };
        replaced.iter().for_each(|replaced| *suite = SupportedCipherSuite::Tls13(replaced));
    }
    provider
}

fn sealed_by(suite: &SupportedCipherSuite, aead_alg: &'static AesGcm) -> Option<Tls13CipherSuite> {
    let Tls13CipherSuite { common, hkdf_provider, .. } = suite.tls13()?;
    let common = rustls::crypto::CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: common.confidentiality_limit,
    };
    Some(Tls13CipherSuite { common, hkdf_provider: *hkdf_provider, aead_alg, quic: None })
}

/// One of AES-GCM's two sizes.
struct AesGcm(&'static Algorithm);

/// One direction of one connection, until its keys are changed.
struct Records {
    key: LessSafeKey,
    iv: Iv,
}

impl AesGcm {
    fn records(&self, key: &AeadKey, iv: Iv) -> Records {
        let key = UnboundKey::new(self.0, key.as_ref());
        // Invariant: rustls derives keys of `key_len()` bytes.
        Records { key: LessSafeKey::new(key.expect("a key of this algorithm's length")), iv }
    }
}

impl Tls13AeadAlgorithm for AesGcm {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(self.records(&key, iv))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(self.records(&key, iv))
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(if self.0 == &aead::AES_256_GCM {
            ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        } else {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        })
    }
}

impl Records {
    /// The nonce of the record with this number, which rustls never gives twice (RFC 8446 §5.3).
    fn nonce(&self, sequence: u64) -> aead::Nonce {
        aead::Nonce::assume_unique_for_key(Nonce::new(&self.iv, sequence).0)
    }
}

impl MessageEncrypter for Records {
    fn encrypt(
        &mut self,
        message: OutboundPlainMessage<'_>,
        sequence: u64,
    ) -> Result<OutboundOpaqueMessage, Error> {
        let length = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(length);
        match message.payload {
            OutboundChunks::Single(bytes) => {
                bytes.chunks(PIECE).for_each(|piece| payload.extend_from_slice(piece));
            }
            several => payload.extend_from_chunks(&several),
        }
        payload.extend_from_slice(&message.typ.to_array());
        self.key
            .seal_in_place_append_tag(self.nonce(sequence), Aad::from(make_tls13_aad(length)), &mut payload)
            .map_err(|_| Error::EncryptError)?;
        // The outside of every record of TLS 1.3 (RFC 8446 §5.2).
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, plain: usize) -> usize {
        plain + 1 + self.key.algorithm().tag_len()
    }
}

impl MessageDecrypter for Records {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let aad = Aad::from(make_tls13_aad(message.payload.len()));
        let plain = self
            .key
            .open_in_place(self.nonce(sequence), aad, &mut message.payload)
            .map_err(|_| Error::DecryptError)?
            .len();
        message.payload.truncate(plain);
        message.into_tls13_unpadded_message()
    }
}

#[cfg(test)]
mod tests;
