//! How a file is opened, and which files are left alone.

use super::*;

#[test]
fn a_new_file_is_private_and_up_to_date() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(FILE);
    let connection = open(&path).unwrap();
    assert_eq!(version(&connection).unwrap(), 1);
    connection
        .execute("INSERT INTO audit (at, actor, action, subject, detail) VALUES (1, '', '', '', '')", [])
        .unwrap();
    #[cfg(unix)]
    for file in fs::read_dir(home.path()).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    drop(connection);
    open(&path).expect("a second time, it is there");
}

#[test]
fn a_newer_file_is_left_alone_and_the_cure_is_named() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(FILE);
    open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let line = open(&path).unwrap_err().to_string();
    assert!(
        line.contains("version 99") && line.contains("upgrade this one") && !line.contains('\n'),
        "{line}"
    );
    assert_eq!(version(&connect(&path).unwrap()).unwrap(), 99);
}

#[test]
fn what_is_no_database_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(FILE);
    let text = "this is no database at all, but some other file of the operator's ".repeat(20);
    fs::write(&path, &text).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Database { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

/// Root's commands work in a directory that the server's user owns.
#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_the_file_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let (data, linked, elsewhere) =
        (home.path().join("data"), home.path().join("link"), home.path().join("x"));
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(&data, &linked).unwrap();
    drop(open(&linked.join(FILE)).expect("the directory may be behind a link"));
    fs::rename(data.join(FILE), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, data.join(FILE)).unwrap();
    assert!(matches!(open(&data.join(FILE)), Err(OpenError::File { .. })));
    assert!(connect(&data.join(FILE)).is_err(), "nor by SQLite");
}
