//! What can go wrong, in words for the person who asked.

use std::{io, path::PathBuf};

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file or its directory can't be used.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't a database, or a damaged one.
    #[error("{} can't be read as a store", path.display())]
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A newer program has used it.
    #[error(
        "{} is of version {found}, and this program knows none after {known}: a newer tunnel has used it; upgrade this \
         one, or restore the copy of the directory from before the upgrade",
        path.display()
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// Something in it makes no sense.
    #[error("{}: {reason}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No thread could be started.
    #[error("the system gives no thread to write with")]
    Thread(#[source] io::Error),
}

/// Why something wasn't written. Nothing of it was, then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// There is a token of that name.
    #[error("there is a token called `{0}` already; choose another name, or run: tunnel token revoke {0}")]
    Exists(String),
    /// There is no token of that name.
    #[error("no token is called `{name}`; there {}", existing(known))]
    UnknownToken {
        /// The name asked for.
        name: String,
        /// Some of the names there are.
        known: Vec<String>,
    },
    /// It has no such right.
    #[error(
        "the token `{token}` has no right to `{name}`; its rights are shown by: tunnel token show {token}"
    )]
    NoRight {
        /// The token's name.
        token: String,
        /// What was to be taken.
        name: String,
    },
    /// Without it, it would have more rights than with it.
    #[error(
        "`{0}` has no other right to subdomains, and a token without any may have them all; give it another one as well \
         (--subdomain NAME, or '*' for all), or run: tunnel token revoke {0}"
    )]
    LastRight(String),
    /// What it may do can't be read, and so not be changed in part.
    #[error(
        "the rights of the token `{token}` can't be read ({reason}); if a newer tunnel wrote them, use that one, or run: \
         tunnel token revoke {token}"
    )]
    UnreadableRights {
        /// The token's name.
        token: String,
        /// What is wrong with them.
        reason: String,
    },
    /// Not a name for a token.
    #[error("a token's name has 1 to 64 letters, digits and `.`, `_`, `-`, `@`, and doesn't begin with `-`")]
    Name,
    /// It is reserved for another token.
    #[error(
        "`{name}` is reserved for `{holder}`; to change that, run first: tunnel reserve --release {name}"
    )]
    Reserved {
        /// The name asked for.
        name: String,
        /// Whose it is.
        holder: String,
    },
    /// It is, under the other of its two names: a subdomain's own and the host's that it is.
    #[error(
        "`{name}` is the same as `{alias}`, which is reserved for `{holder}`; to change that, run first: tunnel reserve \
         --release {alias}"
    )]
    ReservedAs {
        /// The name asked for.
        name: String,
        /// What it is reserved as.
        alias: String,
        /// Whose it is.
        holder: String,
    },
    /// It isn't reserved.
    #[error("`{0}` isn't reserved; what is, is shown by: tunnel reserve --list")]
    NotReserved(String),
    /// The operating system gave no random numbers.
    #[error("the operating system gave no random numbers")]
    Random(#[source] io::Error),
    /// More is waiting to be written than can be kept.
    #[error("the store has too much to write just now; try again")]
    Busy,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The database.
    #[error("the store can't be written")]
    Database(#[from] rusqlite::Error),
}

fn existing(known: &[String]) -> String {
    match known {
        [] => "are none; make one: tunnel token create NAME".into(),
        [only] => format!("is only `{only}`"),
        all => {
            let some: Vec<_> = all.iter().take(10).map(|name| format!("`{name}`")).collect();
            let more = if all.len() > some.len() { " …" } else { "" };
            format!("are {}{more}", some.join(", "))
        }
    }
}
