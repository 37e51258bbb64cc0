//! Which installation of the client this is (`instance`): what makes a restarted client the owner of its names.

use std::path::Path;

use tunnel_protocol::InstanceId;

use super::files::{self, FileError};

/// The id in the state directory; made up at the first call.
pub(crate) fn load_or_make(directory: &Path) -> Result<InstanceId, FileError> {
    let path = directory.join("instance");
    if let Some(id) = read(&path)? {
        return Ok(id);
    }
    let _lock = files::lock(directory)?;
    // Another client may have been first.
    if let Some(id) = read(&path)? {
        return Ok(id);
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| FileError::content(&path, error.to_string()))?;
    let id = InstanceId(bytes);
    files::write(&path, format!("{id}\n").as_bytes())?;
    Ok(id)
}

fn read(path: &Path) -> Result<Option<InstanceId>, FileError> {
    let Some(bytes) = files::read(path)? else { return Ok(None) };
    let id = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
    let id = id.ok_or_else(|| FileError::content(path, "holds no id; remove it, and a new one is made"))?;
    Ok(Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_stays_itself() {
        let home = tempfile::tempdir().unwrap();
        let id = load_or_make(home.path()).unwrap();
        assert_eq!(load_or_make(home.path()).unwrap(), id);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(load_or_make(other.path()).unwrap(), id);
    }

    #[test]
    fn clients_that_start_together_agree() {
        let home = tempfile::tempdir().unwrap();
        let ids: Vec<_> = std::thread::scope(|scope| {
            let starting: Vec<_> =
                (0..8).map(|_| scope.spawn(|| load_or_make(home.path()).unwrap())).collect();
            starting.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
    }
}
