//! From the flags of `tunnel server` to what a server is told.

use std::{net::SocketAddr, path::PathBuf};

use tunnel_server::{Config, Hostname};

use crate::{
    access_log::AccessLogPlan,
    args::{AdminArgs, Auth, LogFormat, ServerArgs},
    state::{certificates::CertFiles, files::FileError, places},
    traces::TracePlan,
};

/// All a server is told before it runs.
#[derive(Debug)]
pub(crate) struct ServerPlan {
    pub(crate) config: Config,
    /// Where clients are taken; the port may be 0.
    pub(crate) control: SocketAddr,
    /// Where web visitors are taken; the port may be 0.
    pub(crate) web: SocketAddr,
    /// Where visitors with TLS are taken, if anywhere; the port may be 0.
    pub(crate) https: Option<SocketAddr>,
    /// What they are shown.
    pub(crate) certificates: Vec<CertFiles>,
    pub(crate) tls: Tls,
    pub(crate) auth: Auth,
    pub(crate) data: PathBuf,
    pub(crate) format: LogFormat,
    pub(crate) access_log: Option<AccessLogPlan>,
    /// Where traces are sent, if anywhere.
    pub(crate) traces: Option<TracePlan>,
    /// The admin port, if there is to be one.
    pub(crate) admin: Option<AdminPlan>,
}

/// The admin port.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AdminPlan {
    /// Where; the port may be 0.
    pub(crate) address: SocketAddr,
    /// The file with the password.
    pub(crate) password: Option<PathBuf>,
    /// The file with the token for programs.
    pub(crate) token: Option<PathBuf>,
    /// What else it is called, beside the domain.
    pub(crate) hosts: Vec<Hostname>,
}

impl ServerPlan {
    /// What differs from another plan and counts after a restart only, by its flags.
    pub(crate) fn fixed_changes(&self, new: &Self) -> Vec<&'static str> {
        let Self { config, control, web, https, certificates: _, tls, auth, data, format, .. } = self;
        let Self { access_log, traces, admin, .. } = self;
        let changes = [
            ("--domain", config.domain != new.config.domain),
            ("--bind", config.bind != new.config.bind),
            ("--control-port", control.port() != new.control.port()),
            ("--public-port", web.port() != new.web.port()),
            ("--https-port", https.map(|at| at.port()) != new.https.map(|at| at.port())),
            ("--plaintext, --control-cert, --control-key", *tls != new.tls),
            ("--auth", *auth != new.auth),
            ("--data-dir", *data != new.data),
            ("--log-format", *format != new.format),
            ("--access-log, --access-log-format", *access_log != new.access_log),
            ("--otlp-endpoint and what goes with it", *traces != new.traces),
            ("--admin-port and what goes with it", *admin != new.admin),
        ];
        changes.into_iter().filter_map(|(flag, differs)| differs.then_some(flag)).collect()
    }
}

/// How the server shows clients who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// By its own key, whose pin is in the tokens.
    Own,
    /// By a certificate of the operator's.
    Files { certificate: PathBuf, key: PathBuf },
    /// Not at all.
    Plaintext,
}

impl ServerArgs {
    pub(crate) fn resolve(self) -> Result<ServerPlan, FileError> {
        let mut config = Config::new(self.domain);
        config.public_port = self.public_url_port;
        config.public_https_port = self.https_url_port;
        config.redirect_https = self.redirect_https;
        config.bind = self.bind;
        config.tcp_ports = self.tcp_ports.0;
        config.udp_ports = self.udp_ports.0;
        config.timeouts.udp_idle = self.udp_idle;
        config.trusted_proxies = self.trusted_proxy;
        config.proxy_protocol_from = self.accept_proxy_protocol;
        config.limits.udp_answer_ratio = self.udp_answer_ratio;
        config.timeouts.hold = self.hold;
        config.timeouts.lease = self.lease;
        config.timeouts.grace = self.grace;
        if let Some(max) = self.max_visitors {
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            config.limits.visitors_per_tunnel = max;
            // One tunnel's visitors must find room at the door.
            config.limits.connections = config.limits.connections.max(max);
        }
        self.protection.resolve(&mut config);
        let traces = self.traces.resolve(&mut config);
        let tls = match (self.plaintext, self.control_cert, self.control_key) {
            (true, ..) => Tls::Plaintext,
            (false, Some(certificate), Some(key)) => Tls::Files { certificate, key },
            (false, ..) => Tls::Own,
        };
        let pairs = self.cert.into_iter().zip(self.key);
        Ok(ServerPlan {
            config,
            control: SocketAddr::new(self.bind, self.control_port),
            web: SocketAddr::new(self.bind, self.public_port),
            https: self.https_port.map(|port| SocketAddr::new(self.bind, port)),
            certificates: pairs.map(|(certificate, key)| CertFiles { certificate, key }).collect(),
            tls,
            auth: self.auth,
            data: places::server_data(self.data_dir)?,
            format: self.log_format,
            access_log: self.access_log.map(|path| AccessLogPlan { path, format: self.access_log_format }),
            traces,
            admin: self.admin.resolve(),
        })
    }
}

impl AdminArgs {
    fn resolve(self) -> Option<AdminPlan> {
        let address = SocketAddr::new(self.admin_bind, self.admin_port?);
        let (password, token) = (self.admin_password_file, self.admin_token_file);
        Some(AdminPlan { address, password, token, hosts: self.admin_host })
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, time::Duration};

    use tunnel_server::Rate;

    use super::*;
    use crate::args::{AccessFormat, Command, parse_with};

    fn plan(flags: &str) -> ServerPlan {
        let words = format!("tunnel server --data-dir /d {flags}");
        let invocation =
            parse_with(words.split_whitespace().map(OsString::from), &|_| Some(OsString::new()), &|_| None);
        match invocation.unwrap().command {
            Command::Server(args) => args.resolve().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_become_a_config_that_is_valid() {
        let plan = plan(
            "--bind 127.0.0.1 --public-url-port 80 --hold 1s --lease 2s --grace 3s --max-visitors 30000 \
             --udp-ports 5-6 --udp-idle 4s --max-connections-per-address 7 --max-requests-per-address 8 \
             --max-waiting-per-address 9 --connection-rate-per-address 10/m --request-rate-per-address none \
             --memory-budget 64MiB --interstitial --abuse-contact abuse@example.com",
        );
        plan.config.validate().unwrap();
        assert_eq!(
            (plan.control.to_string(), plan.web.to_string()),
            ("127.0.0.1:4444".into(), "127.0.0.1:8080".into())
        );
        assert_eq!(plan.config.bind.to_string(), "127.0.0.1");
        let timeouts = &plan.config.timeouts;
        let times = [timeouts.hold, timeouts.lease, timeouts.grace, timeouts.udp_idle];
        assert_eq!(times, [1, 2, 3, 4].map(Duration::from_secs));
        assert_eq!((plan.config.tcp_ports, plan.config.udp_ports), (Some(20_000..=29_999), Some(5..=6)));
        assert_eq!(
            (plan.config.limits.visitors_per_tunnel, plan.config.limits.connections),
            (30_000, 30_000)
        );
        let limits = &plan.config.limits;
        let per_address =
            [limits.connections_per_address, limits.requests_per_address, limits.waiting_per_address];
        assert_eq!(per_address, [7, 8, 9]);
        let rate = Rate { count: 10, per: Duration::from_secs(60) };
        assert_eq!((limits.connection_rate_per_address, limits.request_rate_per_address), (Some(rate), None));
        assert_eq!(limits.memory, Some(64 << 20));
        let contact = plan.config.abuse_contact.map(|contact| contact.to_string());
        assert_eq!((plan.config.interstitial, contact), (true, Some("abuse@example.com".into())));
        assert_eq!((plan.config.public_port, plan.data), (Some(80), "/d".into()));
    }

    #[test]
    fn what_no_flag_says_is_the_engines_default() {
        let config = plan("").config;
        let mut defaults = Config::new(config.domain.clone());
        defaults.limits.memory = config.limits.memory;
        assert_eq!(config.limits, defaults.limits);
    }

    #[test]
    fn an_access_log_has_a_form() {
        assert_eq!(plan("").access_log, None);
        for (flag, format) in [("", AccessFormat::Common), ("--access-log-format json", AccessFormat::Json)] {
            let log = plan(&format!("--access-log /l {flag}")).access_log;
            assert_eq!(log, Some(AccessLogPlan { path: "/l".into(), format }));
        }
    }

    #[test]
    fn the_ways_to_show_who_it_is() {
        assert_eq!(plan("").tls, Tls::Own);
        assert_eq!(plan("--plaintext").tls, Tls::Plaintext);
        let files = Tls::Files { certificate: "c".into(), key: "k".into() };
        assert_eq!(plan("--control-cert c --control-key k").tls, files);
    }
}
