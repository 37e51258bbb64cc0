//! Being asked to stop: the first signal drains, the second ends at once.

use std::{
    fmt, io,
    time::{Duration, Instant},
};

use super::Failure;

/// Signals this close together are one: `timeout`, and shells that pass Ctrl-C on, send each twice.
const ONE: Duration = Duration::from_millis(100);

/// What asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// A service manager, or `kill`.
    Terminate,
    /// The terminal was closed.
    Hangup,
}

/// Listens for signals, from its making on.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// For a program that belongs to a terminal, which hangs up when it is closed.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
    last: Option<Instant>,
}

impl Signal {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
            Self::Hangup => 1,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "end of the terminal",
        })
    }
}

impl Signals {
    /// The next signal. Cancel safe.
    pub(super) async fn next(&mut self) -> Signal {
        loop {
            let signal = self.any().await;
            let repeated = self.last.is_some_and(|last| last.elapsed() < ONE);
            self.last = Some(Instant::now());
            if !repeated {
                return signal;
            }
        }
    }
}

/// Whether the process can be seen on a terminal.
#[cfg(unix)]
fn has_terminal() -> bool {
    use std::io::{IsTerminal, stderr, stdin, stdout};
    stdin().is_terminal() || stdout().is_terminal() || stderr().is_terminal()
}

/// Hangups, by which daemons are told to read their files again.
#[derive(Debug)]
pub(crate) struct Hangups {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Hangups {
    pub(crate) fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { hangup: signal(SignalKind::hangup()).map_err(Failure::Signals)? })
    }

    /// The next one. Cancel safe.
    pub(crate) async fn next(&mut self) {
        self.hangup.recv().await;
    }
}

#[cfg(not(unix))]
impl Hangups {
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self {})
    }

    pub(crate) async fn next(&mut self) {
        std::future::pending::<()>().await;
    }
}

#[cfg(unix)]
impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| -> Result<_, io::Error> { signal(kind) };
        let interrupt = listen(SignalKind::interrupt()).map_err(Failure::Signals)?;
        let terminate = listen(SignalKind::terminate()).map_err(Failure::Signals)?;
        Ok(Self { interrupt, terminate, hangup: None, last: None })
    }

    /// The same for a client. A hangup doesn't end it, which may mean that it is to read its settings again, unless it
    /// belongs to a terminal and that is gone: nobody is to publish anything unseen because a window was closed.
    pub(super) fn of_a_client() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = signal(SignalKind::hangup()).map_err(Failure::Signals)?;
        // Once listened to, a hangup never ends the process by itself.
        Ok(Self { hangup: has_terminal().then_some(hangup), ..Self::listen()? })
    }

    async fn any(&mut self) -> Signal {
        loop {
            let hangup = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.interrupt.recv() => return Signal::Interrupt,
                _ = self.terminate.recv() => return Signal::Terminate,
                _ = hangup => {
                    if !has_terminal() {
                        return Signal::Hangup;
                    }
                }
            }
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        Ok(Self { last: None })
    }

    pub(super) fn of_a_client() -> Result<Self, Failure> {
        Self::listen()
    }

    async fn any(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}
