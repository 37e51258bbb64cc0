//! What the server keeps, and who else can read it.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use crate::{
    doctor::{
        check::{Check, Fault},
        client::day,
    },
    output::{chain, printable},
    resolve::server::{ServerPlan, Tls},
    state::{
        certificates::Certificates,
        files::{self, FileError},
        identity,
    },
};

/// A certificate that ends sooner than this should have been renewed by now.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

pub(super) fn examine(plan: &ServerPlan) -> Vec<Check> {
    vec![Check::of("data", data(&plan.data)), key(plan), certificates(plan)]
}

fn data(directory: &Path) -> Result<String, Fault> {
    let shown = directory.display();
    let metadata = match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => return Err(Fault::new(format!("{shown} is no directory"), "name another with --data-dir")),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let cure = "run this as the server's user, or as root";
            return Err(Fault::new(format!("{shown} can't be looked at: {error}"), cure));
        }
        Err(error) => {
            let cure = "start the server once, or name its directory with --data-dir";
            return Err(Fault::new(format!("{shown} can't be looked at: {error}"), cure));
        }
    };
    if let Some(mode) = files::open_to_others(directory) {
        let what = format!("{shown} is open to others (mode {mode:03o})");
        return Err(Fault::new(what, format!("chmod 700 {shown}")));
    }
    let open = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let open: Vec<_> = open.filter(|path| is_secret(path) && files::open_to_others(path).is_some()).collect();
    // Names in there are the server's user's to choose, and root is to type the cure: it has none of them, and changes
    // nothing that a link leads to.
    let printable = |path: &Path| printable(&path.display().to_string());
    if let Some(path) = open.first() {
        let what = format!("{} is secret, and others can read it", printable(path));
        return Err(Fault::new(what, format!("chmod --recursive go= {shown}")));
    }
    if let Some(path) = foreign(directory, &metadata) {
        let what = format!("{} belongs to another user than {shown}", printable(&path));
        return Err(Fault::new(what, format!("chown --recursive --reference={shown} {shown}")));
    }
    Ok(format!("{shown} is the server's alone"))
}

fn is_secret(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
        && path.extension().is_none_or(|extension| extension != "crt")
}

/// A file that the server's user may not be able to read: made by root, say.
fn foreign(directory: &Path, metadata: &fs::Metadata) -> Option<std::path::PathBuf> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let entries = fs::read_dir(directory).ok()?.flatten();
        let is_other = |entry: &fs::DirEntry| entry.metadata().is_ok_and(|of| of.uid() != metadata.uid());
        let mut others = entries.filter(is_other);
        others.next().map(|entry| entry.path())
    }
    #[cfg(not(unix))]
    {
        let _ = (directory, metadata);
        None
    }
}

fn key(plan: &ServerPlan) -> Check {
    let (certificate, key) = match &plan.tls {
        Tls::Plaintext => return Check::skipped("key", "none is used, as told by --plaintext"),
        Tls::Files { certificate, key } => (certificate.clone(), key.clone()),
        Tls::Own => identity::paths(&plan.data),
    };
    match identity::load(&certificate, &key) {
        Ok(identity) => Check::ok("key", format!("{}, pin {:.16}…", key.display(), identity.pin())),
        Err(FileError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Check::failed(
                "key",
                Fault::new(
                    format!("there is no {}", key.display()),
                    "the server makes one when it starts: start it",
                ),
            )
        }
        Err(error) => {
            let cure = "restore the file, or remove both and make every token anew";
            Check::failed("key", Fault::of_line(&chain(&error), cure))
        }
    }
}

fn certificates(plan: &ServerPlan) -> Check {
    if plan.certificates.is_empty() {
        return Check::skipped("certs", "none for visitors; see --https-port, --cert and --key");
    }
    let loaded = match Certificates::load(&plan.certificates) {
        Ok(loaded) => loaded,
        Err(error) => {
            return Check::failed("certs", Fault::of_line(&chain(&error), "check --cert and --key"));
        }
    };
    if let Some(warning) = loaded.warnings().first() {
        return Check::failed("certs", Fault::of_line(warning, "renew it, and check who may read its key"));
    }
    match loaded.first_expiry() {
        Some(expiry) if expiry < SystemTime::now() + SOON => Check::warning(
            "certs",
            Fault::new(
                format!("the first ends on {}", day(expiry)),
                "renew it; the server takes the new files by itself",
            ),
        ),
        Some(expiry) => {
            Check::ok("certs", format!("{}, valid until {}", plan.certificates.len(), day(expiry)))
        }
        None => Check::ok("certs", plan.certificates.len().to_string()),
    }
}
