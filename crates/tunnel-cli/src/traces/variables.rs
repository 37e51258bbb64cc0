//! OpenTelemetry's own variables, as far as they are about us: one that is named for traces counts before the one for
//! everything. One that is empty counts as not set.

use std::{fmt::Display, str::FromStr};

use tunnel_otel::{Endpoint, Pairs};

use crate::env::Environment;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const SERVICE: &str = "OTEL_SERVICE_NAME";
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// The only protocol there is here.
const SPOKEN: &str = "http/protobuf";

/// What they say beside where to.
#[derive(Debug, Default)]
pub(super) struct Variables {
    pub(super) service: Option<String>,
    pub(super) headers: Pairs,
    pub(super) attributes: Pairs,
}

impl Variables {
    /// Where spans are to go, if a variable says so.
    ///
    /// # Errors
    /// It can't be understood, or another protocol is spoken there; in words.
    pub(super) fn endpoint(environment: Environment<'_>) -> Result<Option<Endpoint>, String> {
        let endpoint = match text(environment, TRACES_ENDPOINT) {
            Some(url) => Some(Endpoint::exact(&url).map_err(in_variable(TRACES_ENDPOINT))?),
            None => read(environment, &[ENDPOINT])?,
        };
        let protocol = PROTOCOL.iter().find_map(|name| Some((name, text(environment, name)?)));
        match protocol.filter(|(_, protocol)| endpoint.is_some() && protocol != SPOKEN) {
            Some((name, protocol)) => Err(format!(
                "{name} is `{protocol}`, but spans are sent by {SPOKEN} only; name the receiver's port for that: \
                 --otlp-endpoint http://localhost:4318"
            )),
            None => Ok(endpoint),
        }
    }

    /// # Errors
    /// One can't be understood; in words.
    pub(super) fn read(environment: Environment<'_>) -> Result<Self, String> {
        Ok(Self {
            service: text(environment, SERVICE),
            headers: read(environment, &HEADERS)?.unwrap_or_default(),
            attributes: read(environment, &[ATTRIBUTES])?.unwrap_or_default(),
        })
    }
}

/// The value of the first of these that is set.
fn read<T: FromStr<Err: Display>>(environment: Environment<'_>, names: &[&str]) -> Result<Option<T>, String> {
    let set = names.iter().find_map(|name| Some((*name, text(environment, name)?)));
    set.map(|(name, text)| text.parse().map_err(in_variable(name))).transpose()
}

fn in_variable<E: Display>(name: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{name}: {error}")
}

fn text(environment: Environment<'_>, name: &str) -> Option<String> {
    environment(name)?.into_string().ok().filter(|text| !text.trim().is_empty())
}
