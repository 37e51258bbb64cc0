//! A server's listening sockets, held outside it and passed on as a service manager does: with them, a server can be
//! restarted without a visitor ever being refused.

use std::{net::TcpListener, os::fd::OwnedFd, process::Stdio};

use tokio::{net::TcpSocket, process::Command};

use super::Outcome;

/// The listening sockets of a server.
#[derive(Debug)]
pub(crate) struct HeldSockets {
    control: TcpListener,
    web: TcpListener,
}

/// Visitors that may wait for a server to come back.
const BACKLOG: u32 = 1024;

/// Puts the sockets where `LISTEN_FDS` says they are. They come as standard input and output, because that is how
/// a file is passed on without unsafe code; so what the server prints goes where its log goes.
pub(crate) const PRELUDE: &str = "exec 3<&0 4<&1 0</dev/null 1>&2; export LISTEN_FDS=2 LISTEN_PID=$$";

impl HeldSockets {
    pub(crate) fn open() -> Outcome<Self> {
        let open = || {
            let socket = TcpSocket::new_v4()?;
            socket.bind(([127, 0, 0, 1], 0).into())?;
            socket.listen(BACKLOG)?.into_std()
        };
        Ok(Self { control: open()?, web: open()? })
    }

    /// The ports: control, web.
    pub(crate) fn ports(&self) -> Outcome<(u16, u16)> {
        Ok((self.control.local_addr()?.port(), self.web.local_addr()?.port()))
    }

    /// Passes the sockets on; [`PRELUDE`] does the rest.
    pub(crate) fn pass_to(&self, command: &mut Command) -> Outcome {
        command.stdin(Stdio::from(OwnedFd::from(self.control.try_clone()?)));
        command.stdout(Stdio::from(OwnedFd::from(self.web.try_clone()?)));
        Ok(())
    }
}
