//! Exit statuses, and errors on one line.

use crate::support::{User, text};

#[test]
fn help_and_version_are_no_errors() {
    let user = User::new();
    for words in ["--help", "--version", "server --help", "help token"] {
        let output = user.output(words);
        assert_eq!(output.status.code(), Some(0), "{words}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{words}");
    }
}

#[test]
fn bad_usage_is_2_and_says_what_is_wrong() {
    let user = User::new();
    for (words, complaint) in [
        ("http", "`http` needs UPSTREAM such as 3000; see: tunnel http --help"),
        (
            "http localhost --server vps",
            "UPSTREAM: `localhost` has no port, and there is no such directory; write `localhost:3000`",
        ),
        ("http 3000", "tunnel login HOST:4444"),
        ("http 3000 --server vps --token hunter2", "it should begin with `tnl_`"),
        ("server --auth none --data-dir d", "--bind 127.0.0.1"),
        ("server --auth none --data-dir d --bind 192.0.2.1", "loopback only"),
        ("token create -- -x --data-dir d", "behind `--` it is no flag"),
        ("token create a/b --data-dir d", "a token's name has"),
        ("demo --log a=b=c", "--log a=b=c"),
        #[cfg(not(feature = "otel"))]
        ("server --otlp-endpoint http://h", "there is no flag --otlp-endpoint"),
    ] {
        let output = user.output(words);
        assert_eq!(output.status.code(), Some(2), "{words}: {}", text(&output.stderr));
        let error = text(&output.stderr);
        assert!(error.contains(complaint) && error.lines().count() == 1, "{words}: {error}");
        assert!(output.stdout.is_empty(), "{words}");
    }
}

#[test]
fn failures_are_1_and_one_line() {
    let user = User::new();
    std::fs::write(user.home().join("file"), "").unwrap();
    for (words, complaint) in [
        ("http 3000 --server vps --token-file none", "cannot read none"),
        ("token revoke nobody --data-dir d", "there are none"),
        ("token create x --data-dir file", "Not a directory"),
        ("server --data-dir d --control-cert none --control-key none", "cannot read none"),
        ("demo --dir none", "cannot show none"),
    ] {
        let output = user.output(words);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {error}");
        assert!(error.contains(complaint) && error.lines().count() == 1, "{words}: {error}");
    }
}
