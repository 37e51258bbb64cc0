//! The server's own key and certificate: made once, kept for as long as tokens that pin it are out there.

use std::path::{Path, PathBuf};

use tunnel_transport::{CertError, ControlIdentity, generate_self_signed};

use super::files::{self, FileError};
use crate::output::chain;

/// The identity in the data directory; made if there is none.
///
/// `names` go into a new certificate, for clients that verify it by name.
pub(crate) fn load_or_make(directory: &Path, names: &[String]) -> Result<ControlIdentity, FileError> {
    let (certificate, key) = paths(directory);
    let _lock = files::lock(directory)?;
    if files::read(&key)?.is_none() {
        // A first start that was cut short leaves a certificate too, but none that anybody has seen.
        if files::read(&certificate)?.is_some() && is_in_use(directory) {
            let reason = format!(
                "is missing beside its certificate; restore it, or remove {} too, and make every token anew",
                certificate.display()
            );
            return Err(FileError::content(&key, reason));
        }
        let pair = generate_self_signed(names).map_err(|error| FileError::content(&key, chain(&error)))?;
        // The key last: it is what says that there is an identity.
        files::write(&certificate, pair.cert_pem.as_bytes())?;
        files::write(&key, pair.key_pem.as_bytes())?;
    } else if files::read(&certificate)?.is_none() {
        let reason = format!(
            "is missing beside its key; restore it, or remove {} too, and make every token anew",
            key.display()
        );
        return Err(FileError::content(&certificate, reason));
    }
    load(&certificate, &key)
}

/// Whether there may be tokens that carry the key's pin.
fn is_in_use(directory: &Path) -> bool {
    ["store.db", "server.json"].iter().any(|name| directory.join(name).exists())
}

/// An identity from files of the operator's own.
pub(crate) fn load(certificate: &Path, key: &Path) -> Result<ControlIdentity, FileError> {
    if let Some(mode) = files::open_to_others(key) {
        return Err(FileError::TooOpen { path: key.to_owned(), mode });
    }
    let (chain_pem, key_pem) = (files::read_existing(certificate)?, files::read_existing(key)?);
    ControlIdentity::from_pem(&chain_pem, &key_pem).map_err(|error| {
        let of_the_key = matches!(error, CertError::Pem { what: "private key", .. } | CertError::KeyMismatch);
        FileError::content(if of_the_key { key } else { certificate }, chain(&error))
    })
}

/// Where the server's own certificate is.
pub(crate) fn certificate_path(directory: &Path) -> PathBuf {
    directory.join("control.crt")
}

/// Certificate and key of a server of its own.
pub(crate) fn paths(directory: &Path) -> (PathBuf, PathBuf) {
    (certificate_path(directory), directory.join("control.key"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_stays() {
        let home = tempfile::tempdir().unwrap();
        let first = load_or_make(home.path(), &["localhost".into()]).unwrap().pin();
        assert_eq!(load_or_make(home.path(), &[]).unwrap().pin(), first);
    }

    #[test]
    fn a_key_without_its_certificate_is_an_error_and_not_a_new_key() {
        let home = tempfile::tempdir().unwrap();
        load_or_make(home.path(), &[]).unwrap();
        let (certificate, key) = paths(home.path());
        let before = fs::read(&key).unwrap();
        fs::remove_file(certificate).unwrap();
        let error = load_or_make(home.path(), &[]).unwrap_err();
        assert!(error.to_string().contains("is missing beside its key"), "{error}");
        assert_eq!(fs::read(&key).unwrap(), before);
    }

    #[test]
    fn a_key_that_is_lost_is_an_error_once_there_may_be_tokens() {
        let home = tempfile::tempdir().unwrap();
        let first = load_or_make(home.path(), &[]).unwrap().pin();
        let (certificate, key) = paths(home.path());
        fs::remove_file(&key).unwrap();
        let second = load_or_make(home.path(), &[]).unwrap().pin();
        assert_ne!(first, second, "a start that was cut short is made up for");
        fs::write(home.path().join("store.db"), "").unwrap();
        fs::remove_file(&key).unwrap();
        let error = load_or_make(home.path(), &[]).unwrap_err();
        assert!(error.to_string().contains("is missing beside its certificate"), "{error}");
        assert!(!key.exists());
        fs::remove_file(certificate).unwrap();
        load_or_make(home.path(), &[]).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        load_or_make(home.path(), &[]).unwrap();
        let (_, key) = paths(home.path());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load_or_make(home.path(), &[]).unwrap_err();
        assert!(matches!(error, FileError::TooOpen { mode: 0o644, .. }), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
