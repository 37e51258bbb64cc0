//! The certificates of the https port: files of the operator's, which something else renews while the server runs.
//!
//! Whatever renews them writes two files one after the other, and few do that in one step. So a change counts when
//! nothing has moved for one look, a pair that can't be used leaves the former one in place, and the next change is
//! another chance.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};
use tunnel_server::{CertStore, WebCertificate};
use tunnel_transport::CertError;

use super::{
    files::{self, FileError},
    stamp::Stamp,
};
use crate::output::chain;

/// How often the files are looked at: a renewed certificate is in use after two looks.
const LOOK: Duration = Duration::from_secs(2);

/// The two files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertFiles {
    /// The certificate and its chain (PEM).
    pub(crate) certificate: PathBuf,
    /// Its private key (PEM).
    pub(crate) key: PathBuf,
}

/// All certificates of the https port.
#[derive(Debug)]
pub(crate) struct Certificates {
    pairs: Vec<Pair>,
    store: CertStore,
}

#[derive(Debug)]
struct Pair {
    files: CertFiles,
    /// In use.
    current: WebCertificate,
    /// The files that were read last, whether they could be used or not.
    read: Stamps,
    /// The files at the last look.
    seen: Stamps,
}

type Stamps = [Option<Stamp>; 2];

impl Certificates {
    /// Reads the files for the first time.
    pub(crate) fn load(files: &[CertFiles]) -> Result<Self, FileError> {
        let pairs = files.iter().map(Pair::load).collect::<Result<Vec<_>, _>>()?;
        let store = CertStore::default();
        let certificates = Self { pairs, store };
        certificates.show();
        Ok(certificates)
    }

    /// What visitors are shown.
    pub(crate) fn store(&self) -> CertStore {
        self.store.clone()
    }

    /// What the operator should change, though it keeps nobody from starting.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let now = SystemTime::now();
        self.pairs.iter().flat_map(|pair| pair.warnings(now)).collect()
    }

    /// When the first of them ends.
    pub(crate) fn first_expiry(&self) -> Option<SystemTime> {
        self.pairs.iter().filter_map(|pair| pair.current.expiry()).min()
    }

    /// Keeps what visitors are shown up to date; `hangup` has the files read at once, and what comes by `others` is
    /// shown instead. Never returns.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn keep(mut self, mut hangup: impl AsyncFnMut(), mut others: mpsc::Receiver<Self>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let at_once = tokio::select! {
                _ = looks.tick() => false,
                () = hangup() => true,
                Some(other) = others.recv() => {
                    self.pairs = other.pairs;
                    self.show();
                    continue;
                }
            };
            self.look(at_once);
        }
    }

    /// Reads what has changed, and shows it if it is any good.
    fn look(&mut self, at_once: bool) {
        let changed: Vec<bool> = self.pairs.iter_mut().map(|pair| pair.look(at_once)).collect();
        if !changed.contains(&true) {
            return;
        }
        self.show();
        // Told after it is so: scripts wait for the line.
        for (pair, _) in self.pairs.iter().zip(changed).filter(|(_, has_changed)| *has_changed) {
            pair.tell();
        }
    }

    fn show(&self) {
        let all: Vec<_> = self.pairs.iter().map(|pair| pair.current.clone()).collect();
        self.store.replace(&all);
    }
}

impl Pair {
    fn load(files: &CertFiles) -> Result<Self, FileError> {
        let stamps = files.stamps();
        Ok(Self { files: files.clone(), current: files.load()?, read: stamps, seen: stamps })
    }

    /// Whether there is a new certificate to show.
    fn look(&mut self, at_once: bool) -> bool {
        let now = self.files.stamps();
        let is_settled = std::mem::replace(&mut self.seen, now) == now;
        if !at_once && (now == self.read || !is_settled) {
            return false;
        }
        self.read = now;
        match self.files.load() {
            Ok(certificate) => {
                self.current = certificate;
                true
            }
            Err(error) => {
                warn!(
                    error = chain(&error),
                    "a changed certificate can't be used; the one read before stays in use"
                );
                false
            }
        }
    }

    /// Logs that it is in use, and what there is to say about it.
    fn tell(&self) {
        let names: Vec<_> = self.current.names().collect();
        info!(certificate = %self.files.certificate.display(), names = names.join(" "), "certificate read again");
        for warning in self.warnings(SystemTime::now()) {
            warn!("{warning}");
        }
    }

    fn warnings(&self, now: SystemTime) -> Vec<String> {
        let file = self.files.certificate.display();
        let mut warnings = Vec::new();
        match self.current.expiry() {
            Some(expiry) if expiry <= now => {
                let days = now.duration_since(expiry).unwrap_or_default().as_secs() / 86_400;
                warnings.push(format!(
                    "the certificate {file} expired {days} days ago: browsers refuse it; renew it"
                ));
            }
            _ if self.current.begins_after(now) => {
                warnings.push(format!("the certificate {file} isn't valid yet; check this machine's clock"));
            }
            _ => {}
        }
        if self.current.names().next().is_none() {
            warnings.push(format!(
                "the certificate {file} names no host (subjectAltName): browsers refuse it, and it is only shown to \
                 visitors that no other fits"
            ));
        }
        if let Some(mode) = files::readable_by_all(&self.files.key) {
            let key = self.files.key.display();
            warnings.push(format!(
                "the key {key} can be read by everyone here (mode {mode:03o}); run: chmod 600 {key}"
            ));
        }
        warnings
    }
}

impl CertFiles {
    fn stamps(&self) -> Stamps {
        [Stamp::of(&self.certificate), Stamp::of(&self.key)]
    }

    fn load(&self) -> Result<WebCertificate, FileError> {
        let (chain_pem, key_pem) =
            (files::read_named(&self.certificate, "--cert")?, files::read_named(&self.key, "--key")?);
        WebCertificate::from_pem(&chain_pem, &key_pem).map_err(|error| {
            let of_the_key = matches!(
                error,
                CertError::Pem { what: "private key", .. } | CertError::KeyMismatch | CertError::EncryptedKey
            );
            FileError::content(if of_the_key { &self.key } else { &self.certificate }, chain(&error))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tunnel_transport::{ServerKeyPair, generate_self_signed};

    use super::*;

    fn pair(name: &str) -> ServerKeyPair {
        generate_self_signed(&[name.to_owned()]).unwrap()
    }

    fn files(home: &Path) -> CertFiles {
        CertFiles { certificate: home.join("a.crt"), key: home.join("a.key") }
    }

    fn write(files: &CertFiles, pair: &ServerKeyPair) {
        fs::write(&files.certificate, &pair.cert_pem).unwrap();
        fs::write(&files.key, &pair.key_pem).unwrap();
    }

    #[test]
    fn a_renewed_pair_is_shown_when_it_is_whole() {
        let home = tempfile::tempdir().unwrap();
        let files = files(home.path());
        write(&files, &pair("old.test"));
        let mut certificates = Certificates::load(std::slice::from_ref(&files)).unwrap();
        let store = certificates.store();
        let shows = |name: &str| store.covers(name);
        certificates.look(false);
        assert!(shows("old.test"));

        let new = pair("new-and-longer.test");
        fs::write(&files.certificate, &new.cert_pem).unwrap();
        certificates.look(false);
        assert!(shows("old.test"), "it may not be whole yet");
        certificates.look(false);
        assert!(shows("old.test"), "the key is still the old one");
        fs::write(&files.key, &new.key_pem).unwrap();
        certificates.look(false);
        certificates.look(false);
        assert!(shows("new-and-longer.test") && !shows("old.test"));

        fs::remove_file(&files.key).unwrap();
        fs::write(&files.certificate, "garbage").unwrap();
        certificates.look(true);
        assert!(shows("new-and-longer.test"), "what can't be used changes nothing");
        write(&files, &pair("third.test"));
        certificates.look(true);
        assert!(shows("third.test"), "at once, when asked to");
    }

    #[test]
    fn one_bad_pair_does_not_keep_the_others_from_being_renewed() {
        let home = tempfile::tempdir().unwrap();
        let a = files(home.path());
        let b = CertFiles { certificate: home.path().join("b.crt"), key: home.path().join("b.key") };
        write(&a, &pair("a.test"));
        write(&b, &pair("b.test"));
        let mut certificates = Certificates::load(&[a.clone(), b.clone()]).unwrap();
        fs::write(&a.certificate, "garbage").unwrap();
        write(&b, &pair("new.b.test"));
        certificates.look(true);
        let store = certificates.store();
        assert!(store.covers("a.test") && store.covers("new.b.test") && !store.covers("b.test"));
    }

    #[test]
    fn the_file_at_fault_is_named_with_the_cure() {
        let home = tempfile::tempdir().unwrap();
        let files = files(home.path());
        let (one, other) = (pair("a.test"), pair("b.test"));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for (cert, key, file, words) in [
            ("", &*one.key_pem, "a.crt", "holds no certificate"),
            (&*one.cert_pem, "", "a.key", "not valid PEM"),
            (&*one.cert_pem, &*other.key_pem, "a.key", "does not belong to the certificate"),
            (&*one.cert_pem, encrypted, "a.key", "is encrypted; decrypt it with `openssl pkey"),
            (&*one.cert_pem, &*one.cert_pem, "a.key", "not valid PEM"),
        ] {
            fs::write(&files.certificate, cert).unwrap();
            fs::write(&files.key, key).unwrap();
            let line = chain(&Certificates::load(std::slice::from_ref(&files)).unwrap_err());
            assert!(line.contains(file) && line.contains(words) && !line.contains('\n'), "{line}");
        }
        fs::remove_file(&files.certificate).unwrap();
        let line = chain(&Certificates::load(&[files]).unwrap_err());
        assert!(line.starts_with("cannot read ") && line.contains("a.crt"), "{line}");
    }
}
