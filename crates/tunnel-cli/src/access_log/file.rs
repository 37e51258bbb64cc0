//! The file that lines are appended to, away from the runtime's threads: a disk may take its time.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::spawn_blocking;

/// A file that grows.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// Locked by one blocking task at a time, which the one writing task waits for.
    sink: Arc<Mutex<Sink>>,
}

#[derive(Debug)]
struct Sink {
    /// `None` is standard output.
    file: Option<File>,
    /// What was written last broke off within a line.
    is_torn: bool,
}

impl LogFile {
    /// Opens a file at its end, or makes it; `-` is standard output.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let sink = Sink { file: open(path)?, is_torn: false };
        Ok(Self { path: path.to_owned(), sink: Arc::new(Mutex::new(sink)) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens whatever is at the path now. If that fails, the file stays the one that it is.
    pub(super) async fn reopen(&mut self) -> io::Result<()> {
        let path = self.path.clone();
        let file = spawn_blocking(move || open(&path)).await.map_err(io::Error::other)??;
        *self.sink.lock().unwrap_or_else(PoisonError::into_inner) = Sink { file, is_torn: false };
        Ok(())
    }

    /// Appends whole lines and empties them.
    ///
    /// # Errors
    /// How many of the lines are lost, and why.
    pub(super) async fn append(&mut self, lines: &mut Vec<u8>) -> Result<(), (u64, io::Error)> {
        let (sink, mut bytes) = (self.sink.clone(), std::mem::take(lines));
        let written = spawn_blocking(move || {
            let result = sink.lock().unwrap_or_else(PoisonError::into_inner).append(&bytes);
            bytes.clear();
            (bytes, result)
        });
        match written.await {
            Ok((bytes, result)) => {
                *lines = bytes;
                result
            }
            // The runtime is going down.
            Err(error) => Err((0, io::Error::other(error))),
        }
    }
}

impl Sink {
    fn append(&mut self, lines: &[u8]) -> Result<(), (u64, io::Error)> {
        let mut left = lines;
        let mut mend = self.is_torn;
        while !left.is_empty() {
            // A torn line is ended first, so that the next one is whole.
            let written = if mend { self.write(b"\n") } else { self.write(left) };
            match written {
                Ok(0) => return Err((count(left), io::ErrorKind::WriteZero.into())),
                Ok(_) if mend => mend = false,
                Ok(n) => {
                    self.is_torn = left[n - 1] != b'\n';
                    left = &left[n..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((count(left), error)),
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()?;
                Ok(bytes.len())
            }
        }
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn open(path: &Path) -> io::Result<Option<File>> {
    if path == Path::new("-") {
        return Ok(None);
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    // It tells who visited what: for the operator, and for the group that reads logs.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_was_moved_away_is_left_at_the_next_opening() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
        let mut file = LogFile::open(&path).unwrap();
        let mut lines = b"one\ntwo\n".to_vec();
        file.append(&mut lines).await.unwrap();
        assert!(lines.is_empty());
        std::fs::rename(&path, &moved).unwrap();
        file.append(&mut b"three\n".to_vec()).await.unwrap();
        file.reopen().await.unwrap();
        file.append(&mut b"four\n".to_vec()).await.unwrap();
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\ntwo\nthree\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\n");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(file.reopen().await.is_err());
        file.append(&mut b"lost to a file without a name\n".to_vec()).await.unwrap();
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_costs_lines_which_are_counted() {
        let mut file = LogFile::open(Path::new("/dev/full")).unwrap();
        let (lost, error) = file.append(&mut b"one\ntwo\n".to_vec()).await.unwrap_err();
        assert_eq!((lost, error.kind()), (2, io::ErrorKind::StorageFull));
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let mut sink = Sink { file: open(&path).unwrap(), is_torn: false };
        sink.append(b"a line that is to").unwrap();
        assert!(sink.is_torn);
        sink.append(b"whole\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a line that is to\nwhole\n");
    }
}
