//! A directory as an upstream: a read-only web server for its files, inside the client.
//!
//! It is an axum application over the tunnel's own streams, as a program's own would be over
//! [`Listener`](crate::Listener): no port is opened. (axum runs a task for each of them, which ends with the stream, as
//! every stream does with its lane.) HTTP's part (ranges, conditions, kinds of content, HEAD, streaming)
//! is `tower-http`'s `ServeDir`; ours is what it reads from. [`root::Root`] is the one door to the file system: it
//! leads to visible files and directories below the root and nowhere else, and has an index page, made when asked
//! for, where a directory brings none.

mod root;

mod listing;
mod page;

mod app;

use std::{future, io, path::Path};

use tokio::sync::mpsc;

use self::root::Root;
use crate::tunnel::Conn;

/// Shows the files below `directory` to all `visitors`, for as long as the future lives.
///
/// # Errors
/// There is no such directory, or it can't be read.
pub(crate) fn serve(
    directory: &Path,
    visitors: mpsc::Receiver<Conn>,
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let app = app::router(Root::open(directory)?);
    Ok(async move {
        // It never ends, and never fails.
        let _ = axum::serve(Visitors(visitors), app).await;
    })
}

/// A tunnel's visitors, as axum takes them.
struct Visitors(mpsc::Receiver<Conn>);

impl axum::serve::Listener for Visitors {
    type Io = Conn;
    type Addr = ();

    async fn accept(&mut self) -> (Conn, ()) {
        match self.0.recv().await {
            Some(conn) => (conn, ()),
            None => future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
