//! The one door to the file system: below a directory, visible, and a file or a directory; all else isn't there.
//!
//! Visitors' paths come in decoded and relative (`ServeDir` refuses `..` and absolute ones, and so do we). Links are
//! followed as far as they stay below the root. What is checked is the path that the system says the file has, and
//! that is the path that is opened.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::fs as serve;

use super::listing;
use crate::BoxFuture;

/// What a directory shows if it has it, and what is made up if it hasn't.
const INDEX: &str = "index.html";
/// Begins with a dot and is meant for the public (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// A directory, by its real path.
#[derive(Clone, Debug)]
pub(super) struct Root(Arc<Path>);

impl Root {
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let real = fs::canonicalize(directory)?;
        // Also whether it may be read.
        fs::read_dir(&real)?;
        Ok(Self(real.into()))
    }

    /// What a visitor's path leads to. Everything else about the file system is between it and the owner.
    pub(super) fn find(&self, path: &Path) -> io::Result<Found> {
        let relative = visible(path).ok_or(io::ErrorKind::NotFound)?;
        let found = self.real(&relative).and_then(|real| match fs::metadata(&real)? {
            data if data.is_dir() => Ok(Found::Directory),
            data if data.is_file() => Ok(Found::File(real, data)),
            // A pipe or a device: opening one may wait for ever.
            _ => Err(io::ErrorKind::NotFound.into()),
        });
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.index(&relative),
            found => found,
        }
    }

    /// The page that a directory has instead of an index of its own.
    fn index(&self, relative: &Path) -> io::Result<Found> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        // An index that is there, but leads out or nowhere, is not replaced: it would show what it hides.
        if !relative.ends_with(INDEX) || self.0.join(relative).symlink_metadata().is_ok() {
            return Err(missing());
        }
        let directory = relative.parent().ok_or_else(missing)?;
        let real = self.real(directory)?;
        if !real.is_dir() {
            return Err(missing());
        }
        listing::of(self, &real, directory).map(Found::Index)
    }

    /// The real path of something that is there, if it is below the root.
    pub(super) fn real(&self, relative: &Path) -> io::Result<PathBuf> {
        let real = fs::canonicalize(self.0.join(relative)).map_err(plain)?;
        let below = real.strip_prefix(&self.0).map_err(|_| io::ErrorKind::NotFound)?;
        // Windows has other names for a file than its own.
        if cfg!(windows) && visible(below).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(real)
    }
}

/// Something a visitor may see.
pub(super) enum Found {
    Directory,
    File(PathBuf, fs::Metadata),
    /// A page made for the directory.
    Index(String),
}

/// The path, if it goes down only and nothing in it is hidden.
fn visible(path: &Path) -> Option<PathBuf> {
    let mut visible = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) if !is_hidden(name.to_str()?) => visible.push(name),
            _ => return None,
        }
    }
    Some(visible)
}

pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.') && name != WELL_KNOWN
}

/// Names that can't be, loops of links and the like are not there; what is locked may be told from that.
fn plain(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::PermissionDenied { error } else { io::ErrorKind::NotFound.into() }
}

impl serve::Backend for Root {
    type File = File;
    type Metadata = Facts;
    type OpenFuture = BoxFuture<'static, io::Result<File>>;
    type MetadataFuture = BoxFuture<'static, io::Result<Facts>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let root = self.clone();
        Box::pin(blocking(move || match root.find(&path)? {
            Found::Directory => Err(io::ErrorKind::NotFound.into()),
            Found::Index(page) => Ok(File { facts: Facts::of_page(&page), content: Content::page(page) }),
            Found::File(real, _) => {
                let file = fs::File::open(real)?;
                // Of what was opened, whatever has taken its name meanwhile.
                let facts = Facts::of(&file.metadata()?);
                Ok(File { facts, content: Content::File(tokio::fs::File::from_std(file)) })
            }
        }))
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let root = self.clone();
        Box::pin(blocking(move || match root.find(&path)? {
            Found::Directory => Ok(Facts { is_directory: true, length: 0, modified: None }),
            Found::Index(page) => Ok(Facts::of_page(&page)),
            Found::File(_, data) => Ok(Facts::of(&data)),
        }))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// What is told of a file before its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    is_directory: bool,
    length: u64,
    /// `None` for what is made anew each time: it has no `ETag` then, and is never "not modified".
    modified: Option<SystemTime>,
}

impl Facts {
    fn of(data: &fs::Metadata) -> Self {
        Self { is_directory: data.is_dir(), length: data.len(), modified: data.modified().ok() }
    }

    fn of_page(page: &str) -> Self {
        Self { is_directory: false, length: page.len() as u64, modified: None }
    }
}

impl serve::Metadata for Facts {
    fn is_dir(&self) -> bool {
        self.is_directory
    }

    fn modified(&self) -> io::Result<SystemTime> {
        self.modified.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> u64 {
        self.length
    }
}

/// Something opened for a visitor.
pub(super) struct File {
    facts: Facts,
    content: Content,
}

enum Content {
    File(tokio::fs::File),
    Page(io::Cursor<Vec<u8>>),
}

impl Content {
    fn page(page: String) -> Self {
        Self::Page(io::Cursor::new(page.into_bytes()))
    }
}

impl serve::File for File {
    type Metadata = Facts;
    type MetadataFuture<'a> = std::future::Ready<io::Result<Facts>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        std::future::ready(Ok(self.facts))
    }
}

impl AsyncRead for File {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().content {
            Content::File(file) => Pin::new(file).poll_read(cx, buf),
            Content::Page(page) => Pin::new(page).poll_read(cx, buf),
        }
    }
}

impl AsyncSeek for File {
    fn start_seek(self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        match &mut self.get_mut().content {
            Content::File(file) => Pin::new(file).start_seek(position),
            Content::Page(page) => Pin::new(page).start_seek(position),
        }
    }

    fn poll_complete(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        match &mut self.get_mut().content {
            Content::File(file) => Pin::new(file).poll_complete(cx),
            Content::Page(page) => Pin::new(page).poll_complete(cx),
        }
    }
}
