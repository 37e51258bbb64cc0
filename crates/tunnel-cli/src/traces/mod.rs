//! Traces of `tunnel server`: the flags, what OpenTelemetry's own variables say, and the exporter.

mod args;
mod variables;

use tunnel_otel::{Exporter, Settings};
use tunnel_server::ServerHandle;

pub use self::args::TraceArgs;
use crate::run::Failure;

/// Where spans go.
pub(crate) type TracePlan = Settings;

/// Traces that are being sent, if there are any.
#[derive(Debug)]
pub(crate) struct Traces(Option<Exporter>);

impl Traces {
    /// Begins to send what becomes of `server`'s visitors and sessions; nothing without a plan.
    ///
    /// # Errors
    /// Settings that no request can be made of.
    pub(crate) fn begin(plan: Option<&TracePlan>, server: &ServerHandle) -> Result<Self, Failure> {
        let exporter = plan.map(|settings| Exporter::begin(settings.clone(), server)).transpose()?;
        Ok(Self(exporter))
    }

    /// Sends what is left, to a receiver that works.
    pub(crate) async fn end(self) {
        if let Some(exporter) = self.0 {
            exporter.end().await;
        }
    }
}
