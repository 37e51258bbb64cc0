//! The exporter as a whole: its two tasks, and how they end.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use tunnel_server::ServerHandle;
use tunnel_transport::CertError;

use crate::{
    collector::Collector,
    endpoint::Endpoint,
    gather::Gatherer,
    losses::Losses,
    message::Resource,
    pairs::Pairs,
    send::Sender,
    spans::{Sessions, text},
};

/// How many spans wait for a receiver, of a few KiB each. Further ones are lost.
const QUEUE: usize = 4096;

/// How long the receiver may take for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Where spans go, and what they say of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The receiver.
    pub endpoint: Endpoint,
    /// Fields that go with each request to it, such as one that shows who we are. Default: none.
    pub headers: Pairs,
    /// What the server is called in traces (`service.name`). Default `tunnel`.
    pub service: String,
    /// What else is said of it, by OpenTelemetry's names: `deployment.environment.name`. Default: nothing.
    pub attributes: Pairs,
}

/// Why there can be no spans.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A field that can't stand in a request; which one.
    #[error("`{0}` can't be a field of a request to the OTLP receiver, or its value can't")]
    Header(String),
    /// The system has no certificates to trust.
    #[error("no certificate of an OTLP receiver can be verified")]
    Certificates(#[from] CertError),
}

/// Spans of a server under way to a receiver. Dropping it ends that at once.
#[derive(Debug)]
pub struct Exporter {
    tasks: JoinSet<()>,
    ending: CancellationToken,
    losses: Arc<Losses>,
}

impl Settings {
    /// The defaults for a receiver.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, headers: Pairs::default(), service: "tunnel".into(), attributes: Pairs::default() }
    }

    fn headers(&self) -> Result<HeaderMap, StartError> {
        let field = |(name, value): &(String, String)| {
            let wrong = || StartError::Header(name.clone());
            let mut value: HeaderValue = value.parse().map_err(|_| wrong())?;
            value.set_sensitive(true);
            Ok((name.parse::<HeaderName>().map_err(|_| wrong())?, value))
        };
        self.headers.0.iter().map(field).collect()
    }

    fn resource(&self, domain: &str) -> Resource {
        let own = [
            text("service.name", &self.service),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("tunnel.domain", domain),
        ];
        let is_own = |name: &str| own.iter().any(|own| own.key == name);
        let others = self.attributes.0.iter().filter(|(name, _)| !is_own(name));
        let attributes = others.map(|(name, value)| text(name, value)).collect::<Vec<_>>();
        Resource { attributes: [own.to_vec(), attributes].concat() }
    }
}

impl Exporter {
    /// Sends what becomes of `server`'s visitors and sessions from now on. Which visitors' exchanges are traced is the
    /// server's [`Config::traces`](tunnel_server::Config::traces). Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn begin(settings: Settings, server: &ServerHandle) -> Result<Self, StartError> {
        let headers = settings.headers()?;
        let resource = settings.resource(server.config().domain.as_str());
        let collector = Collector::new(settings.endpoint, headers)?;
        let (ending, losses) = (CancellationToken::new(), Arc::<Losses>::default());
        let (queue, queued) = mpsc::channel(QUEUE);
        let mut gatherer = Gatherer {
            server: server.clone(),
            records: server.requests(),
            events: server.subscribe(),
            sessions: Sessions::default(),
            queue,
            losses: losses.clone(),
            ending: ending.clone(),
        };
        gatherer.look();
        let sender = Sender {
            collector,
            resource,
            queue: queued,
            losses: losses.clone(),
            ending: ending.clone(),
            is_down: false,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(gatherer.run());
        tasks.spawn(sender.run());
        Ok(Self { tasks, ending, losses })
    }

    /// Sends what is left, for 3 s at most: call it when the server has ended.
    pub async fn end(self) {
        self.ending.cancel();
        if timeout(LAST_SPANS, self.tasks.join_all()).await.is_err() {
            warn!("the OTLP receiver is too slow for the last spans, which are lost");
        }
        self.losses.end();
    }
}
