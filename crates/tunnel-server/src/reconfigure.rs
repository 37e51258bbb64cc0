//! New settings for a running server: all of them or none, and nobody who is connected notices.

use std::sync::Arc;

use tracing::info;

use crate::{
    config::{Config, ConfigError, Limits},
    server::ServerHandle,
};

/// Why a running server keeps the settings that it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconfigureError {
    /// Settings that contradict each other.
    #[error("the configuration can't work: {0}")]
    Config(#[from] ConfigError),
    /// Visitors are to be sent on to an https listener that isn't there.
    #[error("`redirect_https` needs an https listener")]
    NoHttps,
    /// These settings, by their names in [`Config`], are fixed when a server starts.
    #[error("a restart is needed to change {}", .0.join(", "))]
    NeedsRestart(Vec<&'static str>),
}

/// What clients were told their names are under, and what sockets are open at.
const FIXED: [&str; 2] = ["domain", "bind"];

impl ServerHandle {
    /// The settings that the server goes by now.
    pub fn config(&self) -> Arc<Config> {
        self.control.shared.settings.full()
    }

    /// Notes in one line why settings that somebody wants aren't in use; `None` if all are. [`ServerHandle::totals`]
    /// and [`ServerHandle::snapshot`] show it.
    pub fn set_settings_fault(&self, reason: Option<String>) {
        self.control.shared.settings.set_fault(reason);
    }

    /// Gives the server other settings; which ones differ from the former, by their names in [`Config`].
    ///
    /// What is connected stays. A limit that is lower than what is there counts for those who come next. Heartbeats,
    /// lanes and streams per lane count for sessions and lanes that begin after it, ports in public addresses for
    /// tunnels that are published after it.
    ///
    /// # Errors
    /// [`ReconfigureError`]; nothing has changed then.
    pub fn reconfigure(&self, config: Config) -> Result<Vec<&'static str>, ReconfigureError> {
        config.validate()?;
        let shared = &self.control.shared;
        if config.redirect_https && shared.https.is_none() {
            return Err(ReconfigureError::NoHttps);
        }
        let changes = changes(&shared.config(), &config);
        let (fixed, changes): (Vec<_>, Vec<_>) = changes.into_iter().partition(|name| FIXED.contains(name));
        if !fixed.is_empty() {
            return Err(ReconfigureError::NeedsRestart(fixed));
        }
        shared.unread.set_limit(config.limits.unread_bytes);
        shared.settings.replace(config);
        info!(?changes, "reconfigured");
        Ok(changes)
    }
}

/// Which fields of a type differ. Names all of them, or it doesn't compile.
macro_rules! differing {
    ($former:expr, $new:expr, $Type:ident { $($field:ident),* $(,)? }) => {{
        let $Type { $($field: _),* } = $former;
        [$((stringify!($field), $former.$field != $new.$field)),*].into_iter()
    }};
}

fn changes(former: &Config, new: &Config) -> Vec<&'static str> {
    let settings = differing!(
        former,
        new,
        Config {
            domain,
            public_port,
            public_https_port,
            redirect_https,
            bind,
            tcp_ports,
            udp_ports,
            trusted_proxies,
            proxy_protocol_from,
            interstitial,
            abuse_contact,
            traces,
            limits,
            timeouts,
        }
    );
    let limits = differing!(
        former.limits,
        new.limits,
        Limits {
            unauthenticated,
            unauthenticated_per_address,
            sessions,
            lanes,
            streams_per_lane,
            tunnels_per_session,
            tunnels_per_token,
            sessions_per_token,
            login_rate_per_token,
            login_rate_per_address,
            unread_bytes,
            visitors_per_tunnel,
            waiting_per_tunnel,
            waiting,
            udp_flows_per_tunnel,
            udp_flows_per_address,
            udp_answer_ratio,
            connections,
            connections_per_address,
            connection_rate_per_address,
            request_rate_per_address,
            requests_per_address,
            waiting_per_address,
            memory,
        }
    );
    let timeouts = former.timeouts.each().zip(new.timeouts.each());
    let timeouts = timeouts.map(|((name, former), (_, new))| (name, former != new));
    let settings = settings.filter(|(name, _)| !["limits", "timeouts"].contains(name));
    let all = settings.chain(limits).chain(timeouts);
    all.filter_map(|(name, is_other)| is_other.then_some(name)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tunnel_router::Hostname;

    use super::*;
    use crate::{auth::AllowAll, server::Server};

    fn server() -> ServerHandle {
        let domain = Hostname::parse("test").unwrap();
        Server::for_domain(domain).authenticator(AllowAll).build().unwrap().handle()
    }

    fn changed(server: &ServerHandle, change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::clone(&server.config());
        change(&mut config);
        config
    }

    #[test]
    fn what_changes_is_named_and_counts() {
        let server = server();
        let config = changed(&server, |config| {
            config.tcp_ports = Some(20_000..=20_009);
            config.limits.unread_bytes = 1 << 20;
            config.timeouts.hold = Duration::ZERO;
        });
        assert_eq!(server.reconfigure(config.clone()), Ok(vec!["tcp_ports", "unread_bytes", "hold"]));
        assert_eq!(*server.config(), config);
        assert_eq!(server.control.shared.unread.limit(), 1 << 20);
        assert_eq!(server.reconfigure(config), Ok(vec![]), "the same again");
    }

    #[test]
    fn what_cant_be_changes_nothing() {
        let server = server();
        let before = server.config();
        for (change, expected) in [
            (
                (|config| {
                    config.domain = Hostname::parse("other.test").unwrap();
                    config.bind = [127, 0, 0, 1].into();
                }) as fn(&mut Config),
                "a restart is needed to change domain, bind",
            ),
            (|config| config.redirect_https = true, "`redirect_https` needs an https listener"),
            (
                |config| config.timeouts.heartbeat = Duration::ZERO,
                "the configuration can't work: `dead_after` must be at least two heartbeats",
            ),
        ] {
            let config = changed(&server, |config| {
                config.limits.connections = 7;
                change(config);
            });
            assert_eq!(server.reconfigure(config).unwrap_err().to_string(), expected);
            assert_eq!(server.config(), before);
        }
    }
}
