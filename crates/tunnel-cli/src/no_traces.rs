//! No traces: the program was built without the feature `otel`.

use clap::Args;
use tunnel_server::{Config, ServerHandle};

use crate::{env::Environment, run::Failure};

/// No flags.
#[derive(Debug, Default, Args)]
pub struct TraceArgs {}

/// There is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TracePlan {}

/// None are sent.
#[derive(Debug)]
pub(crate) struct Traces;

impl TraceArgs {
    pub(crate) fn hear(&mut self, _environment: Environment<'_>) -> Result<(), String> {
        Ok(())
    }

    pub(crate) fn resolve(self, _config: &mut Config) -> Option<TracePlan> {
        None
    }
}

impl Traces {
    pub(crate) fn begin(plan: Option<&TracePlan>, _server: &ServerHandle) -> Result<Self, Failure> {
        match plan {
            Some(impossible) => match *impossible {},
            None => Ok(Self),
        }
    }

    pub(crate) async fn end(self) {}
}
