//! What outlives a process: small files, each with one owner here, all written whole or not at all.
//!
//! ```text
//!   server's data directory            client's state directory
//!     control.key  control.crt           instance        which installation this is
//!     store.db     server.json           names.json      which random names it was given
//!     leases.json  server.lock           logins.json     servers and tokens (secret)
//! ```

pub(crate) mod files;
pub(crate) mod places;
pub(crate) mod stamp;

pub(crate) mod certificates;
pub(crate) mod facts;
pub(crate) mod identity;
pub(crate) mod leases;
pub(crate) mod ownership;
pub(crate) mod store;

pub(crate) mod instance;
pub(crate) mod logins;
pub(crate) mod names;
