//! Which certificate a visitor is shown: the one whose name fits best what it asked for.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::WebCertificate;

/// The certificates of one or more ports. Cheap to clone; all clones are one store.
///
/// A visitor gets the certificate that names its host, else one for the wildcard above it, else (and when it names no
/// host) the first of all. Of several for one name, the first that it can check: an ECDSA and an RSA certificate can
/// be there for the same names.
#[derive(Clone, Debug, Default)]
pub struct CertStore(Arc<RwLock<Arc<Set>>>);

type Certified = Vec<Arc<CertifiedKey>>;

#[derive(Debug, Default)]
struct Set {
    exact: HashMap<Box<str>, Certified>,
    /// By what follows the `*.`.
    wildcard: HashMap<Box<str>, Certified>,
    default: Option<Arc<CertifiedKey>>,
}

impl CertStore {
    /// A store of these; the first is the default. With none, visitors are refused until there is one.
    pub fn new(certificates: &[WebCertificate]) -> Self {
        let store = Self::default();
        store.replace(certificates);
        store
    }

    /// Shows these from now on, and no others. Connections that are there already go on.
    pub fn replace(&self, certificates: &[WebCertificate]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Set::new(certificates));
    }

    /// Whether a certificate names this host, or the wildcard above it. Of a wildcard (`*.example.com`): whether a
    /// certificate names the same one.
    pub fn covers(&self, host: &str) -> bool {
        self.set().find(&host.to_ascii_lowercase()).is_some()
    }

    /// Whether there is nothing to show, so that no handshake can succeed.
    pub fn is_empty(&self) -> bool {
        self.set().default.is_none()
    }

    fn set(&self) -> Arc<Set> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for CertStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let set = self.set();
        // In lower case already.
        let found = hello.server_name().and_then(|name| set.find(name.strip_suffix('.').unwrap_or(name)));
        let Some(found) = found else { return set.default.clone() };
        let can_check = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        found.iter().find(can_check).or(found.first()).cloned()
    }
}

impl Set {
    fn new(certificates: &[WebCertificate]) -> Self {
        let mut set = Self::default();
        for certificate in certificates {
            let certified = certificate.certified();
            for name in certificate.names() {
                let entry = match name.strip_prefix("*.") {
                    Some(base) => set.wildcard.entry(base.into()),
                    None => set.exact.entry(name.into()),
                };
                entry.or_default().push(certified.clone());
            }
            set.default.get_or_insert_with(|| certified.clone());
        }
        set
    }

    fn find(&self, host: &str) -> Option<&Certified> {
        // A star matches one whole label and nothing else (RFC 6125 §6.4.3).
        self.exact.get(host).or_else(|| self.wildcard.get(host.split_once('.')?.1))
    }
}
