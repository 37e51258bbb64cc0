//! The text of systemd units: what the service runs, and how little it may do besides.

use std::path::Path;

/// Says that the file may be replaced and removed: it was written here.
pub(crate) const MARK: &str = "# Written by `tunnel service`";
/// The user that a server runs as.
pub(crate) const USER: &str = "tunnel";
/// The first version of systemd that waits longer each time it starts a service again.
const KNOWS_STEPS: u32 = 254;
/// Where systemd keeps the state of services, each in a directory of its own.
const STATE: &str = "/var/lib";

/// For whom a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The whole machine.
    System,
    /// One person's services: they run while that person is logged in, or "lingers".
    User,
}

/// The unit of a server that runs as `user`, reads `config` and keeps its state in `data`.
pub(crate) fn server(program: &Path, config: &Path, data: &Path, user: &str) -> String {
    let start = format!("{} server --config {}", word(program), word(config));
    let state = state_lines(data);
    format!(
        "\
{MARK}; `tunnel service uninstall server` removes it.
[Unit]
Description=Tunnel server
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
User={user}
Group={user}
{state}
ExecStart={start}
# Reads its configuration and certificates again.
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=1
# Bad usage doesn't get better by trying again.
RestartPreventExitStatus=2
# The server says that it lives; one that is stuck is started again.
WatchdogSec=60
# Longer than --grace (30 s), so that draining isn't cut short.
TimeoutStopSec=45
LimitNOFILE=524288

# Nothing but its own state, the network, and ports below 1024.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
{HARDENING}
[Install]
WantedBy=multi-user.target
"
    )
}

/// The unit of a client that publishes all tunnels of `config`, for this version of systemd.
pub(crate) fn client(program: &Path, config: &Path, scope: Scope, systemd: Option<u32>) -> String {
    let start = format!("{} start --all --config {}", word(program), word(config));
    let (network, identity, hardening, target) = match scope {
        Scope::System => (
            "After=network-online.target\nWants=network-online.target\n",
            "DynamicUser=yes\nStateDirectory=tunnel-client\nStateDirectoryMode=0700\n\
             Environment=TUNNEL_STATE_DIR=%S/tunnel-client\n\
             # TUNNEL_SERVER and TUNNEL_TOKEN, readable by root alone.\n\
             EnvironmentFile=-/etc/tunnel/client.env\n",
            format!("\n# Nothing but its own state and the network.\nCapabilityBoundingSet=\n{HARDENING}"),
            "multi-user.target",
        ),
        // A user's manager may not confine services further than this.
        Scope::User => ("", "", "NoNewPrivileges=yes\nUMask=0077\n".to_owned(), "default.target"),
    };
    let flag = if scope == Scope::System { " --system" } else { "" };
    // A token that is refused may be taken again tomorrow, and the tunnel may be the only way to this machine.
    let patience = match systemd {
        Some(KNOWS_STEPS..) => "RestartSec=1\nRestartSteps=6\nRestartMaxDelaySec=60",
        _ => "RestartSec=30",
    };
    format!(
        "\
{MARK}; `tunnel service uninstall client{flag}` removes it.
[Unit]
Description=Tunnel client
{network}StartLimitIntervalSec=0

[Service]
Type=exec
{identity}ExecStart={start}
# Reads its configuration again.
ExecReload=/bin/kill -HUP $MAINPID
# It reconnects by itself, and ends only if the server refuses it: mostly its token, which may be taken again later.
Restart=always
{patience}
# Bad usage doesn't get better by trying again.
RestartPreventExitStatus=2
# Longer than --grace (30 s), so that draining isn't cut short.
TimeoutStopSec=45
{hardening}
[Install]
WantedBy={target}
"
    )
}

/// What a service that talks to the network has no use for.
const HARDENING: &str = "\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
UMask=0077
";

/// systemd makes directories below its own place; any other must be there, and be let through.
fn state_lines(data: &Path) -> String {
    match data.strip_prefix(STATE) {
        Ok(name) if name.components().count() == 1 => {
            format!("StateDirectory={}\nStateDirectoryMode=0700", name.display())
        }
        _ => format!("ReadWritePaths={}", word(data)),
    }
}

/// A path as one word of a command line: `%` begins a specifier, `$` a variable, and blanks end a word.
fn word(path: &Path) -> String {
    let text = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    let text = text.replace('%', "%%").replace('$', "$$");
    if text.contains(char::is_whitespace) || text.contains('\'') { format!("\"{text}\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word() {
        for (path, expected) in [
            ("/usr/local/bin/tunnel", "/usr/local/bin/tunnel"),
            ("/opt/my tunnel/100%", "\"/opt/my tunnel/100%%\""),
            ("/a$b", "/a$$b"),
        ] {
            assert_eq!(word(Path::new(path)), expected);
        }
    }

    #[test]
    fn state_is_systemds_where_it_can_be() {
        assert!(state_lines(Path::new("/var/lib/tunnel")).starts_with("StateDirectory=tunnel\n"));
        assert_eq!(state_lines(Path::new("/srv/tunnel")), "ReadWritePaths=/srv/tunnel");
        assert_eq!(state_lines(Path::new("/var/lib/a/b")), "ReadWritePaths=/var/lib/a/b");
    }

    #[test]
    fn the_deployment_guide_shows_the_unit_that_is_written() {
        let paths = ["/usr/local/bin/tunnel", "/etc/tunnel/server.toml", "/var/lib/tunnel"].map(Path::new);
        let unit = server(paths[0], paths[1], paths[2], USER);
        let guide = include_str!("../../../../docs/DEPLOYMENT.md");
        assert!(guide.contains(&format!("```ini\n{unit}```\n")), "docs/DEPLOYMENT.md should show:\n{unit}");
    }
}
