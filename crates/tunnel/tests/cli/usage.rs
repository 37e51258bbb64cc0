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
        ("http 3000", "tunnel login HOST:PORT"),
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

/// What is printed once must not be lost in silence.
#[cfg(target_os = "linux")]
#[test]
fn output_that_cant_be_written_is_a_failure() {
    let user = User::new();
    for (words, complaint) in [
        (
            "token create full --data-dir d",
            "the secret of `full` couldn't be written and is lost; make it another one: tunnel token rotate full",
        ),
        ("token list --json --data-dir d", "cannot write to standard output"),
        ("config show server", "cannot write to standard output"),
        ("--help", "cannot write to standard output"),
        ("--version", "cannot write to standard output"),
        ("completions bash", "cannot write to standard output"),
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = user.command(words).stdout(full).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {error}");
        assert!(error.contains(complaint) && error.lines().count() == 1, "{words}: {error}");
    }
    let rotated = user.output("token rotate full --data-dir d");
    assert!(text(&rotated.stdout).starts_with("tnl_"));
}

#[test]
fn a_new_token_comes_with_the_way_to_log_in() {
    let user = User::new();
    let output = user.output("token create early --data-dir data");
    assert!(text(&output.stderr).contains("tunnel login HOST:PORT"), "{}", text(&output.stderr));
    let (server, listening) = user.server("--domain vps.test");
    let port = listening["control"].as_str().unwrap().rsplit_once(':').unwrap().1;
    let output = user.output("token create laptop --data-dir data");
    let advice = text(&output.stderr).trim_end();
    assert!(advice.ends_with(&format!("tunnel login vps.test:{port}")), "{advice}");
    drop(server);
}

#[test]
fn failures_are_1_and_one_line() {
    let user = User::new();
    std::fs::write(user.home().join("file"), "").unwrap();
    for (words, complaint) in [
        ("http 3000 --server vps --token-file none", "cannot read none (--token-file): "),
        ("token revoke nobody --data-dir d", "there are none"),
        ("token create x --data-dir file", "Not a directory"),
        ("server --data-dir d --control-cert none --control-key none", "cannot read none (--control-cert): "),
        ("demo --dir none", "cannot show none"),
        (
            "server init --dir new --domain localhost --control-port 1",
            "nothing was written, since nobody answered the question; add --yes, or run this on a terminal",
        ),
    ] {
        let output = user.output(words);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}: {error}");
        assert!(error.contains(complaint) && error.lines().count() == 1, "{words}: {error}");
    }
}
