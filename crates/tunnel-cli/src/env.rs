//! The environment's variables: one for each flag, all listed here.
//!
//! A variable stands for its flag wherever that flag exists, and counts when the flag isn't typed. Flags that are
//! switches take `1`, `true`, `yes`; `0`, `false`, `no` and the like leave them off. A variable that is set but empty
//! counts as not set, as container files often leave them.

use std::ffi::OsString;

use clap::Command;

use crate::args::SecretText;

/// Looks a variable up. Handed in, so that only `main` touches the process's environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Flag and variable.
const VARIABLES: &[(&str, &str)] = &[
    // Every command.
    ("log", "TUNNEL_LOG"),
    ("config", "TUNNEL_CONFIG"),
    // The client's side.
    ("server", "TUNNEL_SERVER"),
    ("token", "TUNNEL_TOKEN"),
    ("token-file", "TUNNEL_TOKEN_FILE"),
    ("ca-file", "TUNNEL_CA_FILE"),
    ("proxy", "TUNNEL_PROXY"),
    ("upstream-ca", "TUNNEL_UPSTREAM_CA"),
    ("upstream-insecure", "TUNNEL_UPSTREAM_INSECURE"),
    ("local", "TUNNEL_LOCAL"),
    ("subdomain", "TUNNEL_SUBDOMAIN"),
    ("remote-port", "TUNNEL_REMOTE_PORT"),
    ("path", "TUNNEL_PATH"),
    ("pool", "TUNNEL_POOL"),
    ("upstream-protocol", "TUNNEL_UPSTREAM_PROTOCOL"),
    ("allow-cidr", "TUNNEL_ALLOW_CIDR"),
    ("deny-cidr", "TUNNEL_DENY_CIDR"),
    ("rate-limit", "TUNNEL_RATE_LIMIT"),
    ("bandwidth", "TUNNEL_BANDWIDTH"),
    ("expire", "TUNNEL_EXPIRE"),
    ("proxy-protocol", "TUNNEL_PROXY_PROTOCOL"),
    ("basic-auth", "TUNNEL_BASIC_AUTH"),
    ("basic-auth-file", "TUNNEL_BASIC_AUTH_FILE"),
    ("host-header", "TUNNEL_HOST_HEADER"),
    ("request-header", "TUNNEL_REQUEST_HEADER"),
    ("response-header", "TUNNEL_RESPONSE_HEADER"),
    ("compress", "TUNNEL_COMPRESS"),
    ("output", "TUNNEL_OUTPUT"),
    ("verbose", "TUNNEL_VERBOSE"),
    ("state-dir", "TUNNEL_STATE_DIR"),
    ("all", "TUNNEL_ALL"),
    ("no-check", "TUNNEL_NO_CHECK"),
    ("json", "TUNNEL_JSON"),
    ("side", "TUNNEL_SIDE"),
    // Setting up.
    ("config", "TUNNEL_CONFIG"),
    ("system", "TUNNEL_SYSTEM"),
    ("yes", "TUNNEL_YES"),
    ("print", "TUNNEL_PRINT"),
    ("force", "TUNNEL_FORCE"),
    // Both sides.
    ("plaintext", "TUNNEL_PLAINTEXT"),
    ("grace", "TUNNEL_GRACE"),
    // The server's side.
    ("domain", "TUNNEL_DOMAIN"),
    ("control-port", "TUNNEL_CONTROL_PORT"),
    ("public-port", "TUNNEL_PUBLIC_PORT"),
    ("https-port", "TUNNEL_HTTPS_PORT"),
    ("cert", "TUNNEL_CERT"),
    ("key", "TUNNEL_KEY"),
    ("redirect-https", "TUNNEL_REDIRECT_HTTPS"),
    ("bind", "TUNNEL_BIND"),
    ("tcp-ports", "TUNNEL_TCP_PORTS"),
    ("udp-ports", "TUNNEL_UDP_PORTS"),
    ("udp-idle", "TUNNEL_UDP_IDLE"),
    ("udp-answer-ratio", "TUNNEL_UDP_ANSWER_RATIO"),
    ("data-dir", "TUNNEL_DATA_DIR"),
    ("hold", "TUNNEL_HOLD"),
    ("lease", "TUNNEL_LEASE"),
    ("log-format", "TUNNEL_LOG_FORMAT"),
    ("access-log", "TUNNEL_ACCESS_LOG"),
    ("access-log-format", "TUNNEL_ACCESS_LOG_FORMAT"),
    ("auth", "TUNNEL_AUTH"),
    ("control-cert", "TUNNEL_CONTROL_CERT"),
    ("control-key", "TUNNEL_CONTROL_KEY"),
    ("public-url-port", "TUNNEL_PUBLIC_URL_PORT"),
    ("https-url-port", "TUNNEL_HTTPS_URL_PORT"),
    ("trusted-proxy", "TUNNEL_TRUSTED_PROXY"),
    ("accept-proxy-protocol", "TUNNEL_ACCEPT_PROXY_PROTOCOL"),
    ("max-visitors", "TUNNEL_MAX_VISITORS"),
    ("max-connections-per-address", "TUNNEL_MAX_CONNECTIONS_PER_ADDRESS"),
    ("connection-rate-per-address", "TUNNEL_CONNECTION_RATE_PER_ADDRESS"),
    ("max-requests-per-address", "TUNNEL_MAX_REQUESTS_PER_ADDRESS"),
    ("request-rate-per-address", "TUNNEL_REQUEST_RATE_PER_ADDRESS"),
    ("max-waiting-per-address", "TUNNEL_MAX_WAITING_PER_ADDRESS"),
    ("memory-budget", "TUNNEL_MEMORY_BUDGET"),
    ("interstitial", "TUNNEL_INTERSTITIAL"),
    ("abuse-contact", "TUNNEL_ABUSE_CONTACT"),
    ("admin-port", "TUNNEL_ADMIN_PORT"),
    ("admin-bind", "TUNNEL_ADMIN_BIND"),
    ("admin-password-file", "TUNNEL_ADMIN_PASSWORD_FILE"),
    ("admin-token-file", "TUNNEL_ADMIN_TOKEN_FILE"),
    ("admin-host", "TUNNEL_ADMIN_HOST"),
    #[cfg(feature = "otel")]
    ("otlp-endpoint", "TUNNEL_OTLP_ENDPOINT"),
    #[cfg(feature = "otel")]
    ("otlp-sample", "TUNNEL_OTLP_SAMPLE"),
    #[cfg(feature = "otel")]
    ("otlp-service", "TUNNEL_OTLP_SERVICE"),
    // Commands that ask a running server.
    ("reason", "TUNNEL_REASON"),
    // The demo.
    ("dir", "TUNNEL_DIR"),
];

/// The variables by which programs of a system are told their proxy; lower case counts first, as for curl.
const SYSTEM_PROXY: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// The proxy that programs of this system use, if they are told one.
#[derive(Clone, Debug, Default)]
pub struct SystemProxy {
    /// What `HTTPS_PROXY` holds.
    pub proxy: Option<SecretText>,
    /// What `NO_PROXY` holds: for whom it isn't used.
    pub not_for: String,
}

impl SystemProxy {
    pub(crate) fn read(environment: Environment<'_>) -> Self {
        let text = |name: &&str| environment(name)?.into_string().ok().filter(|text| !text.trim().is_empty());
        Self {
            proxy: SYSTEM_PROXY.iter().find_map(text).map(SecretText::from),
            not_for: NO_PROXY.iter().find_map(text).unwrap_or_default(),
        }
    }
}

/// Gives every flag of `command` and its subcommands its variable.
pub(crate) fn attach(command: Command, environment: Environment<'_>) -> Command {
    attach_to(command, environment, false)
}

fn attach_to(command: Command, environment: Environment<'_>, is_about_tokens: bool) -> Command {
    let is_about_tokens = is_about_tokens || ABOUT_TOKENS.contains(&command.get_name());
    let command = command.mut_args(|arg| {
        let flag = arg.get_long().filter(|flag| !is_about_tokens || OF_ALL.contains(flag));
        let variable = VARIABLES.iter().find(|(name, _)| flag == Some(name));
        match variable {
            Some((_, name)) if environment(name).is_none_or(|value| !value.is_empty()) => {
                // The help names the variable and keeps what it holds, which may be a token, to itself.
                arg.env(name).hide_env_values(true)
            }
            _ => arg,
        }
    });
    command.mut_subcommands(|command| {
        if is_about_files(&command) { command } else { attach_to(command, environment, is_about_tokens) }
    })
}

/// Whether a command's flags are about files of settings: `--server` means another thing there than its variable does.
fn is_about_files(command: &Command) -> bool {
    command.get_name() == "config"
}

/// The commands about tokens. What they give or take has no variables: the server's `TUNNEL_DOMAIN` would be a grant by
/// accident.
const ABOUT_TOKENS: [&str; 2] = ["token", "reserve"];

/// The flags of theirs that have variables nevertheless.
const OF_ALL: [&str; 3] = ["log", "config", "data-dir"];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Arg, CommandFactory};

    use super::*;
    use crate::args::Invocation;

    fn flags(command: &Command, found: &mut BTreeSet<String>) {
        if ABOUT_TOKENS.contains(&command.get_name()) {
            return;
        }
        let longs = command.get_arguments().filter_map(Arg::get_long);
        found.extend(longs.filter(|long| !["help", "version"].contains(long)).map(str::to_owned));
        let commands = command.get_subcommands().filter(|command| !is_about_files(command));
        commands.for_each(|command| flags(command, found));
    }

    #[test]
    fn every_flag_is_listed_and_every_entry_is_a_flag() {
        let mut found = BTreeSet::new();
        flags(&Invocation::command(), &mut found);
        let listed: BTreeSet<_> = VARIABLES.iter().map(|(flag, _)| (*flag).to_owned()).collect();
        assert_eq!(found, listed);
        for (flag, name) in VARIABLES {
            assert_eq!(*name, format!("TUNNEL_{}", flag.to_uppercase().replace('-', "_")));
        }
    }

    #[test]
    fn an_empty_variable_is_not_attached() {
        let has_env = |environment: Environment<'_>| {
            let command = attach(Invocation::command(), environment);
            let server = command.find_subcommand("server").unwrap();
            let mut arguments = server.get_arguments();
            arguments.find(|arg| arg.get_long() == Some("hold")).unwrap().get_env().is_some()
        };
        assert!(has_env(&|_| None));
        assert!(has_env(&|_| Some("5s".into())));
        assert!(!has_env(&|_| Some(OsString::new())));
    }

    #[test]
    fn a_tokens_rights_have_no_variables() {
        let command = attach(Invocation::command(), &|_| None);
        let token = command.find_subcommand("token").unwrap();
        for name in ["create", "edit"] {
            let mut arguments = token.find_subcommand(name).unwrap().get_arguments();
            let has_none = |arg: &Arg| arg.get_env().is_none_or(|name| name == "TUNNEL_LOG");
            assert!(arguments.all(has_none), "{name}");
        }
        assert!(token.get_arguments().any(|arg| arg.get_env().is_some_and(|name| name == "TUNNEL_DATA_DIR")));
    }
}
