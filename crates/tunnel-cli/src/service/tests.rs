//! Units come and go below a directory in the machine's place, and a `systemctl` that writes down what it is told.

#![cfg(unix)]

use std::{fs, path::Path};

use super::{
    ServiceError,
    systemd::{Change, Host, Unit},
    unit::{self, Scope},
};

/// A machine that systemd runs, and its `systemctl`, which fails if it is told to.
fn host(home: &Path, systemctl_says: &str) -> Host {
    use std::os::unix::fs::PermissionsExt;
    let root = home.join("root");
    fs::create_dir_all(root.join("run/systemd/system")).unwrap();
    let systemctl = home.join("systemctl");
    let log = home.join("calls");
    fs::write(&systemctl, format!("#!/bin/sh\necho \"$@\" >> '{}'\n{systemctl_says}\n", log.display()))
        .unwrap();
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    Host { root, user_units: home.join("user"), systemctl, analyze: home.join("no-analyze") }
}

fn calls(home: &Path) -> String {
    fs::read_to_string(home.join("calls")).unwrap_or_default()
}

fn server_unit() -> Unit {
    let paths = ["/usr/bin/tunnel", "/etc/tunnel/server.toml", "/var/lib/tunnel"].map(Path::new);
    Unit {
        name: "tunnel.service",
        scope: Scope::System,
        text: unit::server(paths[0], paths[1], paths[2], unit::USER),
    }
}

#[test]
fn a_unit_comes_once_and_goes() {
    let home = tempfile::tempdir().unwrap();
    let host = host(home.path(), "exit 0");
    let mut unit = server_unit();
    let path = host.root.join("etc/systemd/system/tunnel.service");
    assert_eq!(host.put(&unit, false).unwrap(), Change::Written);
    assert_eq!(fs::read_to_string(&path).unwrap(), unit.text);
    assert_eq!(host.put(&unit, false).unwrap(), Change::Nothing);
    unit.text.push_str("# newer\n");
    assert_eq!(host.put(&unit, false).unwrap(), Change::Replaced);
    host.enable(unit.name, unit.scope).unwrap();
    assert!(host.remove(unit.name, unit.scope).unwrap());
    assert!(!path.exists());
    assert!(!host.remove(unit.name, unit.scope).unwrap());
    let told = "daemon-reload\nenable --now tunnel.service\ndisable --now tunnel.service\ndaemon-reload\n";
    assert_eq!(calls(home.path()), told);
}

#[test]
fn somebody_elses_unit_stays() {
    let home = tempfile::tempdir().unwrap();
    let host = host(home.path(), "exit 0");
    let unit = server_unit();
    let path = host.place(unit.name, unit.scope);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "[Service]\nExecStart=/bin/true\n").unwrap();
    assert!(matches!(host.put(&unit, false), Err(ServiceError::Foreign(_))));
    assert!(matches!(host.remove(unit.name, unit.scope), Err(ServiceError::Foreign(_))));
    assert!(fs::read_to_string(&path).unwrap().contains("/bin/true"));
    assert_eq!(host.put(&unit, true).unwrap(), Change::Replaced);
}

#[test]
fn a_persons_own_units_are_asked_of_their_own_manager() {
    let home = tempfile::tempdir().unwrap();
    let host = host(home.path(), "[ \"$2\" = is-active ] && echo active; exit 0");
    let text =
        unit::client(Path::new("/usr/bin/tunnel"), Path::new("/home/me/client.toml"), Scope::User, None);
    let unit = Unit { name: "tunnel-client.service", scope: Scope::User, text };
    assert_eq!(host.put(&unit, false).unwrap(), Change::Written);
    assert!(home.path().join("user/tunnel-client.service").exists());
    host.enable(unit.name, unit.scope).unwrap();
    assert_eq!(host.ask("is-active", unit.name, unit.scope), "active");
    assert_eq!(host.ask("is-enabled", unit.name, unit.scope), "unknown");
    assert!(
        calls(home.path()).starts_with("--user daemon-reload\n--user enable --now tunnel-client.service\n")
    );
}

#[test]
fn a_service_that_ends_at_once_is_seen() {
    let home = tempfile::tempdir().unwrap();
    for state in ["failed", "active"] {
        let host = host(home.path(), &format!("echo {state}"));
        assert_eq!(host.settle("tunnel-client.service", Scope::System), state);
    }
}

#[test]
fn what_systemd_says_is_passed_on() {
    let home = tempfile::tempdir().unwrap();
    let host = host(home.path(), "echo Access denied >&2; exit 4");
    let error = host.enable("tunnel.service", Scope::System).unwrap_err().to_string();
    assert!(error.contains("`systemctl daemon-reload` failed: Access denied"), "{error}");
    let missing = Host { systemctl: home.path().join("nowhere"), ..host };
    let error = missing.enable("tunnel.service", Scope::System).unwrap_err();
    assert!(matches!(error, ServiceError::NoSystemctl { .. }), "{error}");
}

#[test]
fn units_of_clients() {
    let paths = (Path::new("/usr/bin/tunnel"), Path::new("/etc/tunnel/client.toml"));
    let system = unit::client(paths.0, paths.1, Scope::System, Some(252));
    let user = unit::client(paths.0, paths.1, Scope::User, Some(254));
    for text in [&system, &user] {
        assert!(text.starts_with(unit::MARK));
        assert!(text.contains("ExecStart=/usr/bin/tunnel start --all --config /etc/tunnel/client.toml\n"));
    }
    assert!(
        system.contains("\nEnvironmentFile=-/etc/tunnel/client.env\n") && !user.contains("EnvironmentFile")
    );
    assert!(system.contains("DynamicUser=yes") && system.contains("WantedBy=multi-user.target"));
    assert!(user.contains("WantedBy=default.target") && !user.contains("ProtectSystem"));
    // One that is refused is tried again, and not each second.
    assert!(system.contains("\nRestartSec=30\n") && !system.contains("RestartSteps"));
    assert!(user.contains("\nRestartSec=1\nRestartSteps=6\nRestartMaxDelaySec=60\n"));
}
