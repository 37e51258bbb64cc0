//! A server's place, whole and broken in each way that the checks are about.

use std::{ffi::OsString, fs, path::Path};

use super::*;
use crate::{
    args::{Command, parse_with},
    doctor::check::Status,
    state::identity,
};

fn plan(data: &Path, flags: &str) -> ServerPlan {
    let line = format!("tunnel server --bind 127.0.0.1 --control-port 0 --public-port 0 {flags}");
    let words = line.split_whitespace().map(OsString::from);
    let words = words.chain(["--data-dir".into(), data.as_os_str().to_owned()]);
    match parse_with(words, &|_| Some(OsString::new()), &|_| None).unwrap().command {
        Command::Server(args) => args.resolve().unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn report(data: &Path, flags: &str) -> Report {
    examine(&Premises { plan: plan(data, flags), config: None }).await
}

fn check<'a>(report: &'a Report, name: &str) -> &'a Check {
    report.checks.iter().find(|check| check.name == name).unwrap()
}

#[tokio::test]
async fn a_place_that_is_well() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    identity::load_or_make(&data, &[]).unwrap();
    let report = report(&data, "").await;
    assert_eq!(report.failed(), Vec::<&str>::new(), "{report:#?}");
    for name in ["data", "key", "ports", "dns", "disk"] {
        assert_eq!(check(&report, name).status, Status::Ok, "{name}");
    }
    assert_eq!(check(&report, "public").status, Status::Skipped, "no port is known before the start");
}

#[tokio::test]
async fn a_place_where_nothing_is() {
    let home = tempfile::tempdir().unwrap();
    let report = report(&home.path().join("nowhere"), "").await;
    assert_eq!(report.failed(), ["data", "key"]);
}

#[cfg(unix)]
#[tokio::test]
async fn secrets_that_others_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    identity::load_or_make(&data, &[]).unwrap();
    fs::set_permissions(data.join("control.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let found = report(&data, "").await;
    assert_eq!(found.failed(), ["data", "key"]);
    assert!(check(&found, "key").cure.as_deref().unwrap().contains("chmod 600"), "{found:#?}");
    fs::remove_file(data.join("control.key")).unwrap();
    // Whoever may write there may name files as it likes, and lay links to others' files.
    let (elsewhere, name) = (home.path().join("elsewhere"), "$(reboot)\u{1b}[2J");
    fs::write(&elsewhere, "").unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(&elsewhere, data.join("link")).unwrap();
    assert!(!report(&data, "").await.failed().contains(&"data"), "a link holds nothing");
    fs::rename(&elsewhere, data.join(name)).unwrap();
    let found = report(&data, "").await;
    let data_check = check(&found, "data");
    assert_eq!(data_check.cure.as_deref(), Some(&*format!("chmod --recursive go= {}", data.display())));
    assert!(!data_check.finding.contains('\u{1b}'), "{data_check:?}");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(check(&report(&data, "").await, "data").cure.as_deref().unwrap().contains("chmod 700"));
}

#[tokio::test]
async fn certificates_that_cannot_be_used() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("bad.pem");
    fs::write(&file, "nonsense").unwrap();
    let flags = format!("--https-port 0 --cert {0} --key {0}", file.display());
    let report = report(&home.path().join("data"), &flags).await;
    assert!(report.failed().contains(&"certs"), "{report:#?}");
}

#[tokio::test]
async fn a_running_server_has_its_ports() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let identity = identity::load_or_make(&data, &[]).unwrap();
    let any = || tunnel_transport::Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (control, web) = (any(), any());
    let ports = [&control, &web].map(|listener| listener.local_addr().unwrap().port());
    let tls = tunnel_transport::ControlTls::Tls(tunnel_transport::acceptor(&identity).unwrap());
    let server = tunnel_server::Server::builder(tunnel_server::Config::new("localhost".parse().unwrap()))
        .control(control, tls)
        .web(web)
        .authenticator(tunnel_server::AllowAll)
        .build()
        .unwrap();
    let flags = format!("--control-port {} --public-port {}", ports[0], ports[1]);
    let line = format!("tunnel server --bind 127.0.0.1 {flags}");
    let words = line.split_whitespace().map(OsString::from);
    let words = words.chain(["--data-dir".into(), data.as_os_str().to_owned()]);
    let Command::Server(args) = parse_with(words, &|_| Some(OsString::new()), &|_| None).unwrap().command
    else {
        panic!("another command");
    };
    let premises = Premises { plan: args.resolve().unwrap(), config: None };
    let report = tokio::select! {
        () = server.run(std::future::pending()) => panic!("the server ended"),
        report = examine(&premises) => report,
    };
    assert!(report.failed().is_empty(), "{report:#?}");
    for name in ["ports", "public"] {
        assert_eq!(check(&report, name).status, Status::Ok, "{report:#?}");
    }
}
