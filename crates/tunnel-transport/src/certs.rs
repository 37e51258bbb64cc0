//! The server's identity: a certificate, its private key, and the pin by which clients know it again.
//!
//! A self-hosted server has no certificate authority and often no name. It makes its own key once; a token
//! carries the [`Pin`] of that key, and so a client needs to trust nobody else.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use data_encoding::HEXLOWER;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};

use crate::{CertError, tls};

/// The SHA-256 of a certificate's public key (its `SubjectPublicKeyInfo` in DER, as in RFC 7469 section 2.4).
///
/// Of the key and not of the certificate, so that a certificate can be renewed without new tokens. It is a public
/// value. `Display` is lowercase hex, which is also what
/// `openssl x509 -pubkey -noout | openssl pkey -pubin -outform der | sha256sum` prints; a precision cuts it short.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

impl Pin {
    /// The pin with this hash.
    pub fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The pin of the key in `certificate`.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        Ok(Self(Sha256::digest(parsed.subject_public_key_info()).into()))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}

/// A fresh certificate and its key, to be stored by whoever asked for them.
pub struct ServerKeyPair {
    /// The self-signed certificate.
    pub cert_pem: String,
    /// The private key, PKCS#8. Secret: store it readable by the server alone.
    pub key_pem: String,
}

impl fmt::Debug for ServerKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerKeyPair").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

/// Makes an ECDSA P-256 key and a certificate for it, valid for ten years from now.
///
/// `names` are DNS names and IP addresses. They may be empty: clients that pin the key don't look at them.
///
/// # Errors
///
/// [`CertError::Generate`] when a name cannot stand in a certificate.
pub fn generate_self_signed(names: &[String]) -> Result<ServerKeyPair, CertError> {
    self_signed(names).map_err(|error| CertError::Generate(error.into()))
}

/// The certificate chain and key a server proves itself with.
#[derive(Clone)]
pub struct ControlIdentity {
    certified: Arc<CertifiedKey>,
    pin: Pin,
}

impl ControlIdentity {
    /// Reads a certificate chain, the server's own certificate first, and its private key
    /// (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    ///
    /// [`CertError`] when either is not PEM, is of a kind that cannot be used, or they are not of one pair.
    pub fn from_pem(cert_pem: &[u8], key_pem: &[u8]) -> Result<Self, CertError> {
        let certified = read_pair(cert_pem, key_pem)?;
        let pin = certified.end_entity_cert().and_then(Pin::of);
        let pin = pin.map_err(|error| CertError::Unusable(error.into()))?;
        Ok(Self { certified: Arc::new(certified), pin })
    }

    /// What clients pin to know this server again.
    pub fn pin(&self) -> Pin {
        self.pin
    }

    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl fmt::Debug for ControlIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlIdentity").field("pin", &self.pin).finish_non_exhaustive()
    }
}

/// A certificate chain and its key, which belong together.
pub(crate) fn read_pair(cert_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, CertError> {
    let chain = read_certificates(cert_pem, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| {
        if is_encrypted(key_pem) {
            return CertError::EncryptedKey;
        }
        CertError::Pem { what: "private key", source: error.into() }
    })?;
    CertifiedKey::from_der(chain, key, &tls::provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => CertError::KeyMismatch,
        other => CertError::Unusable(other.into()),
    })
}

/// PKCS#8 (RFC 7468 §11), or the older form with a header (RFC 1421 §4.6.1.1).
fn is_encrypted(key_pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(key_pem);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// All certificates in `pem`, at least one.
pub(crate) fn read_certificates(
    pem: &[u8],
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertError::Pem { what, source: error.into() })?;
    if certificates.is_empty() { Err(CertError::NoCertificate { what }) } else { Ok(certificates) }
}

const DAY: Duration = Duration::from_hours(24);
/// Nobody wants to renew what is pinned by key anyway; ten years outlives the machine.
const VALIDITY: Duration = Duration::from_hours(24 * 3653);

fn self_signed(names: &[String]) -> Result<ServerKeyPair, rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names)?;
    let now = SystemTime::now();
    // A day early, for clients whose clock is behind.
    params.not_before = (now - DAY).into();
    params.not_after = (now + VALIDITY).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "tunnel server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    Ok(ServerKeyPair { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> ServerKeyPair {
        generate_self_signed(&["vps.example.com".into(), "192.0.2.1".into()]).unwrap()
    }

    #[test]
    fn a_generated_pair_is_an_identity() {
        let pair = pair();
        let identity = ControlIdentity::from_pem(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes()).unwrap();
        assert_eq!(Pin::from_bytes(*identity.pin().as_bytes()), identity.pin());
        assert_eq!(identity.pin().to_string().len(), 64);
        assert_eq!(format!("{:.4}", identity.pin()), identity.pin().to_string()[..4]);
    }

    #[test]
    fn the_pin_is_the_hash_of_the_public_key() {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let spki: [u8; 32] = Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key)).into();
        assert_eq!(Pin::of(certificate.der()).unwrap(), Pin::from_bytes(spki));
    }

    #[test]
    fn no_names_and_bad_names() {
        assert!(generate_self_signed(&[]).is_ok());
        assert!(matches!(generate_self_signed(&["münchen".into()]), Err(CertError::Generate(_))));
    }

    #[test]
    fn what_is_wrong_with_the_files_is_named() {
        let (a, b) = (pair(), pair());
        let read =
            |cert: &str, key: &str| ControlIdentity::from_pem(cert.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(matches!(read(&a.cert_pem, &b.key_pem), CertError::KeyMismatch));
        assert!(matches!(read("", &a.key_pem), CertError::NoCertificate { .. }));
        assert!(matches!(read(&a.key_pem, &a.key_pem), CertError::NoCertificate { .. }));
        assert!(matches!(read(&a.cert_pem, &a.cert_pem), CertError::Pem { what: "private key", .. }));
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(read(garbage, &a.key_pem), CertError::Unusable(_)));
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        let pair = pair();
        assert!(!format!("{pair:?}").contains("PRIVATE KEY"));
    }
}
