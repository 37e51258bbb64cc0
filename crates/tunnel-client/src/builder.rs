//! Describing a client before it connects.

use std::{fmt, time::Duration};

use tokio::time::timeout;
use tunnel_protocol::{InstanceId, Token};
use tunnel_transport::{Dial, Pin, Proxy, ServerAddress, TcpDialer, Trust};

use crate::{
    Client, ConnectError, Limits, Timeouts,
    shared::{Settings, Shared},
};

/// What the server and its people see as this client's name, unless told otherwise.
const AGENT: &str = concat!("tunnel/", env!("CARGO_PKG_VERSION"));
/// The longest agent and machine names sent, in characters: a login is small.
const NAME_MAX: usize = 200;

/// A client to be; made by [`Client::builder`].
#[must_use = "nothing happens before `connect` or `start`"]
pub struct Builder {
    address: String,
    token: Option<Token>,
    trust: Option<Trust>,
    plaintext: bool,
    proxy: Option<Proxy>,
    dialer: Option<Box<dyn Dial>>,
    instance: Option<InstanceId>,
    agent: String,
    machine: String,
    timeouts: Timeouts,
    limits: Limits,
    report_requests: bool,
    fail_fast: bool,
    connect_timeout: Option<Duration>,
}

impl Builder {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            token: None,
            trust: None,
            plaintext: false,
            proxy: None,
            dialer: None,
            instance: None,
            agent: AGENT.into(),
            machine: String::new(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            report_requests: false,
            fail_fast: false,
            connect_timeout: None,
        }
    }

    /// Who the client is. Default: nobody, which only a server with `--auth none` takes.
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// How the client knows the server. Default: by the key pinned in the token; without one, by a certificate that
    /// the system trusts.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = Some(trust);
        self
    }

    /// No TLS: whoever is in between can read and change everything but the token. For a server on this machine, or
    /// behind another tunnel that encrypts.
    pub fn plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }

    /// Reaches the server through a proxy: `"socks5://proxy:1080".parse()`. Default: none, whatever the environment says.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Another way to the server than TCP and TLS. It must have made sure of the server before the token is sent;
    /// with [`Builder::plaintext`] the token is proven instead of sent. The address is only shown.
    pub fn dialer(mut self, dialer: impl Dial) -> Self {
        self.dialer = Some(Box::new(dialer));
        self
    }

    /// Which installation this is: keep it on disk, and a restarted client gets its names back at once. Default:
    /// random.
    pub fn instance(mut self, instance: InstanceId) -> Self {
        self.instance = Some(instance);
        self
    }

    /// The program's name and version, for people. Default: `tunnel/` and this crate's version.
    pub fn agent(mut self, agent: &str) -> Self {
        self.agent = agent.chars().take(NAME_MAX).collect();
        self
    }

    /// The machine's name, for people. Default: empty.
    pub fn machine(mut self, machine: &str) -> Self {
        self.machine = machine.chars().take(NAME_MAX).collect();
        self
    }

    /// How long the client waits for whom.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How much the client takes on. Numbers out of bounds are taken as the nearest bound.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether the server tells of each visitor's request: [`Event::Request`](crate::Event::Request). Default:
    /// false.
    pub fn report_requests(mut self, report: bool) -> Self {
        self.report_requests = report;
        self
    }

    /// Whether a first attempt that fails ends the client, even if a later one might not. Default: false.
    pub fn fail_fast(mut self, fail_fast: bool) -> Self {
        self.fail_fast = fail_fast;
        self
    }

    /// How long [`Builder::connect`] tries. Default: for ever.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = Some(limit);
        self
    }

    /// Starts the client and waits for its first login; through failures that may pass, unless
    /// [`Builder::fail_fast`].
    ///
    /// # Errors
    /// [`ConnectError`]; nothing goes on then.
    ///
    /// # Cancel safety
    /// Dropping the future ends the client.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let limit = self.connect_timeout;
        let client = self.start()?;
        match limit {
            None => client.connected().await?,
            Some(after) => match timeout(after, client.connected()).await {
                Ok(connected) => connected?,
                Err(_) => {
                    let last = client.last_failure();
                    let last = if last.is_empty() { "no attempt has failed yet".into() } else { last };
                    return Err(ConnectError::Timeout { after, last });
                }
            },
        }
        Ok(client)
    }

    /// Starts the client without waiting: to see its events from the first one on, or to ask for tunnels right away.
    /// [`Client::connected`] waits.
    ///
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError::Address`], [`ConnectError::Trust`] or [`ConnectError::Random`]: nothing was sent yet.
    pub fn start(self) -> Result<Client, ConnectError> {
        let instance = match self.instance {
            Some(instance) => instance,
            None => random_instance()?,
        };
        let timeouts = self.timeouts.clamped();
        let (dialer, plaintext) = match self.dialer {
            Some(dialer) => (dialer, self.plaintext),
            None => {
                let trust = match (self.trust, self.token.as_ref().and_then(Token::pin)) {
                    _ if self.plaintext => Trust::Plaintext,
                    (Some(trust), _) => trust,
                    (None, Some(pin)) => Trust::Pinned(Pin::from_bytes(pin)),
                    (None, None) => Trust::System,
                };
                let plaintext = matches!(trust, Trust::Plaintext);
                let address: ServerAddress = self.address.parse()?;
                let mut dialer = TcpDialer::new(address, trust)?.with_timeout(timeouts.dial);
                if let Some(proxy) = self.proxy {
                    dialer = dialer.with_proxy(proxy);
                }
                (Box::new(dialer) as Box<dyn Dial>, plaintext)
            }
        };
        Ok(Client::start(Shared::new(Settings {
            dialer,
            plaintext,
            token: self.token,
            instance,
            agent: self.agent,
            machine: self.machine,
            timeouts,
            limits: self.limits.clamped(),
            report_requests: self.report_requests,
            fail_fast: self.fail_fast,
        })))
    }
}

fn random_instance() -> Result<InstanceId, ConnectError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| ConnectError::Random(std::io::Error::other(error.to_string())))?;
    Ok(InstanceId(bytes))
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("address", &self.address)
            .field("token", &self.token)
            .field("plaintext", &self.plaintext)
            .finish_non_exhaustive()
    }
}
