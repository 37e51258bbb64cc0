//! Run twice below a directory in the machine's place: the second time changes nothing.

#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use super::*;

fn host(home: &Path) -> Host {
    Host {
        root: home.join("root"),
        user_units: home.join("user"),
        systemctl: home.join("no-systemctl"),
        analyze: home.join("no-analyze"),
    }
}

fn args(dir: &Path, domain: Option<&str>) -> InitArgs {
    InitArgs {
        domain: domain.map(|domain| domain.parse().unwrap()),
        control_port: Some(free_port()),
        public_port: Some(free_port()),
        dir: Some(dir.to_owned()),
        yes: true,
        print: false,
        force: false,
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn tree(dir: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            all.extend(tree(&path));
            all.push((path, mode, Vec::new()));
        } else {
            let bytes = fs::read(&path).unwrap();
            all.push((path, mode, bytes));
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("server");
    run(args(&dir, Some("localhost")), &host(home.path()), Console::new()).await.unwrap();
    let first = tree(&dir);
    let mode_of = |name: &str| first.iter().find(|(path, ..)| path.ends_with(name)).unwrap().1;
    assert_eq!((mode_of("server.toml"), mode_of("data"), mode_of("data/control.key")), (0o600, 0o700, 0o600));
    // Other ports, and no domain: what is written counts, and stays.
    run(args(&dir, None), &host(home.path()), Console::new()).await.unwrap();
    assert_eq!(tree(&dir), first);
}

#[tokio::test]
async fn force_writes_files_anew_and_leaves_keys_and_tokens() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("server");
    run(args(&dir, Some("localhost")), &host(home.path()), Console::new()).await.unwrap();
    let first = tree(&dir);
    let again = InitArgs { force: true, ..args(&dir, Some("other.localhost")) };
    run(again, &host(home.path()), Console::new()).await.unwrap();
    let second = tree(&dir);
    let changed: Vec<_> =
        first.iter().zip(&second).filter(|(a, b)| a != b).map(|(a, _)| a.0.clone()).collect();
    assert_eq!(changed, [dir.join("server.toml")]);
    assert!(fs::read_to_string(dir.join("server.toml")).unwrap().contains("domain = \"other.localhost\"\n"));
}

#[tokio::test]
async fn print_writes_nothing_and_nobody_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("server");
    let print = InitArgs { print: true, ..args(&dir, Some("localhost")) };
    run(print, &host(home.path()), Console::new()).await.unwrap();
    assert!(!dir.exists());
    let error = run(args(&dir, None), &host(home.path()), Console::new()).await.unwrap_err();
    assert!(error.line().contains("--domain"), "{}", error.line());
    assert_eq!(error.status(), 2);
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_before_anything_is_written() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("server");
    let taken = std::net::TcpListener::bind("[::]:0").or_else(|_| std::net::TcpListener::bind("0.0.0.0:0"));
    let port = taken.as_ref().unwrap().local_addr().unwrap().port();
    let args = InitArgs { public_port: Some(port), ..args(&dir, Some("localhost")) };
    let error = run(args, &host(home.path()), Console::new()).await.unwrap_err();
    assert!(error.line().contains("--public-port"), "{}", error.line());
    assert!(!dir.exists());
}

#[test]
fn what_root_tried_before_belongs_to_the_server_too() {
    if !is_root() {
        // Nobody else may give files away.
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (data, other) = (home.path().join("data"), home.path().join("other"));
    fs::create_dir(&data).unwrap();
    for file in [&other, &data.join("control.key")] {
        fs::write(file, "").unwrap();
    }
    symlink(&other, data.join("link")).unwrap();
    fs::hard_link(&other, data.join("second-name")).unwrap();
    files::make_data(&data, Some(account::Account { uid: 4711, gid: 4712 })).unwrap();
    let owner = |path: &Path| fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
    assert_eq!(owner(&data.join("control.key")), (4711, 4712));
    assert_eq!(owner(&data), (4711, 4712));
    assert_eq!(owner(&other), (0, 0), "what only has a name here is left alone");
}
