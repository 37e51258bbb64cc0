//! The flags of traces, and what they mean together with OpenTelemetry's variables.

use clap::Args;
use tunnel_otel::{Endpoint, Settings};
use tunnel_server::Config;

use super::variables::Variables;
use crate::{env::Environment, resolve::values};

/// Traces; part of `tunnel server`.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Traces")]
pub struct TraceArgs {
    /// An OTLP receiver (http/protobuf) that is sent a span for each visitor's exchange and each session, such as
    /// `http://localhost:4318` [default: OTEL_EXPORTER_OTLP_ENDPOINT, or none]
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<Endpoint>,

    /// How many of the visitors' exchanges are traced, from 0 to 1: 0.01 is one of a hundred [default: 1]
    #[arg(long, value_name = "SHARE", value_parser = values::share)]
    pub otlp_sample: Option<u32>,

    /// What the server is called in traces [default: OTEL_SERVICE_NAME, or `tunnel`]
    #[arg(long, value_name = "NAME")]
    pub otlp_service: Option<String>,

    /// What OpenTelemetry's own variables say.
    #[arg(skip)]
    variables: Variables,
}

/// Of a million exchanges.
const ALL: u32 = 1_000_000;

impl TraceArgs {
    /// Takes what OpenTelemetry's own variables say where no flag says anything.
    ///
    /// # Errors
    /// What is wrong with them or the flags, in words.
    pub(crate) fn hear(&mut self, environment: Environment<'_>) -> Result<(), String> {
        if self.otlp_endpoint.is_none() {
            self.otlp_endpoint = Variables::endpoint(environment)?;
        }
        if self.otlp_endpoint.is_some() {
            self.variables = Variables::read(environment)?;
            return Ok(());
        }
        let vain =
            [("--otlp-sample", self.otlp_sample.is_some()), ("--otlp-service", self.otlp_service.is_some())];
        match vain.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => {
                Err(format!("`{flag}` needs a receiver: add --otlp-endpoint http://localhost:4318"))
            }
            None => Ok(()),
        }
    }

    /// Where spans go, if anywhere; the engine is told how many there are to be.
    pub(crate) fn resolve(self, config: &mut Config) -> Option<Settings> {
        let mut settings = Settings::new(self.otlp_endpoint?);
        config.traces = Some(self.otlp_sample.unwrap_or(ALL));
        let Variables { service, headers, attributes } = self.variables;
        if let Some(service) = self.otlp_service.or(service) {
            settings.service = service;
        }
        settings.headers = headers;
        settings.attributes = attributes;
        Some(settings)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::args::{Command, Usage, parse_with};

    fn parsed(flags: &str, variables: &[(&str, &str)]) -> Result<TraceArgs, Usage> {
        let words = format!("tunnel server {flags}");
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let invocation = parse_with(words.split_whitespace().map(OsString::from), &environment, &|_| None)?;
        match invocation.command {
            Command::Server(args) => Ok(args.traces),
            other => panic!("{other:?}"),
        }
    }

    fn plan(flags: &str, variables: &[(&str, &str)]) -> Option<(String, Option<u32>, String)> {
        let mut config = Config::new("test".parse().unwrap());
        let settings = parsed(flags, variables).unwrap().resolve(&mut config)?;
        Some((settings.endpoint.to_string(), config.traces, settings.service))
    }

    #[test]
    fn a_receiver_is_named_by_a_flag_or_by_the_standard_variables() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://base:4318");
        let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces/here");
        let url = |flags, variables: &[_]| plan(flags, variables).map(|(url, ..)| url);
        assert_eq!(url("", &[]), None);
        assert_eq!(url("", &[base]).as_deref(), Some("http://base:4318/v1/traces"));
        assert_eq!(url("", &[base, traces]).as_deref(), Some("http://traces/here"));
        assert_eq!(url("--otlp-endpoint https://flag", &[traces]).as_deref(), Some("https://flag/v1/traces"));
    }

    #[test]
    fn the_rest_has_defaults() {
        let named = ("OTEL_SERVICE_NAME", "edge");
        let rest = |flags, variables: &[_]| {
            let (_, share, service) = plan(&format!("--otlp-endpoint http://h {flags}"), variables).unwrap();
            (share, service)
        };
        assert_eq!(rest("", &[]), (Some(ALL), "tunnel".into()));
        assert_eq!(rest("--otlp-sample 0.01", &[named]), (Some(10_000), "edge".into()));
        assert_eq!(rest("--otlp-sample 0 --otlp-service a", &[named]), (Some(0), "a".into()));
    }

    #[test]
    fn what_cant_be_is_said_at_once() {
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        let url = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4317");
        for (flags, variables, words) in [
            ("--otlp-sample 1", &[][..], "--otlp-endpoint"),
            ("--otlp-service a", &[], "--otlp-endpoint"),
            ("--otlp-endpoint localhost:4318", &[], "http://localhost:4318"),
            ("--otlp-endpoint http://h --otlp-sample 2", &[], "0 to 1"),
            ("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "h:4318")], "OTEL_EXPORTER_OTLP_ENDPOINT"),
            ("", &[url, grpc], "http/protobuf"),
            ("", &[url, ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,secret")], "OTEL_EXPORTER_OTLP_HEADERS: entry 2"),
        ] {
            let line = parsed(flags, variables).unwrap_err().line();
            assert!(line.contains(words) && !line.contains("secret"), "{line}");
        }
        parsed("--otlp-endpoint http://h", &[grpc]).unwrap();
        parsed("", &[grpc]).unwrap();
    }
}
