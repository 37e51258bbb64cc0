//! One certificate with its chain and key, and what an operator would want to know about it before visitors do.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

use crate::{
    CertError, certs,
    validity::{self, Validity},
};

/// A certificate chain and its key, for the names in it. Cheap to clone.
#[derive(Clone)]
pub struct WebCertificate {
    certified: Arc<CertifiedKey>,
    names: Arc<[Box<str>]>,
    validity: Option<Validity>,
}

impl WebCertificate {
    /// Reads a certificate chain, the certificate for the names first, and its private key (PKCS#8, PKCS#1 or SEC1).
    ///
    /// # Errors
    ///
    /// [`CertError`] when either is not PEM, is of a kind that cannot be used, or they are not of one pair.
    pub fn from_pem(cert_pem: &[u8], key_pem: &[u8]) -> Result<Self, CertError> {
        let certified = certs::read_pair(cert_pem, key_pem)?;
        let first = certified.end_entity_cert().map_err(|error| CertError::Unusable(error.into()))?;
        let (names, validity) = (names(first)?, validity::of(first));
        Ok(Self { certified: Arc::new(certified), names, validity })
    }

    /// The host names it is for, wildcards (`*.example.com`) among them, in lower case. Empty for a certificate
    /// without a "subject alternative name", which no browser takes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// When it ends, unless that can't be read.
    pub fn expiry(&self) -> Option<SystemTime> {
        self.validity.map(|validity| validity.not_after)
    }

    /// Whether it isn't valid before a time after `now`.
    pub fn begins_after(&self, now: SystemTime) -> bool {
        self.validity.is_some_and(|validity| now < validity.not_before)
    }

    pub(super) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for WebCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebCertificate").field("names", &self.names).finish_non_exhaustive()
    }
}

fn names(certificate: &CertificateDer<'_>) -> Result<Arc<[Box<str>]>, CertError> {
    let parsed =
        webpki::EndEntityCert::try_from(certificate).map_err(|error| CertError::Unusable(Box::new(error)))?;
    Ok(parsed.valid_dns_names().map(|name| name.to_ascii_lowercase().into()).collect())
}
