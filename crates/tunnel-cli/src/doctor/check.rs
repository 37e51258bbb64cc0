//! What was looked at and what was found: one line each, with a cure where one is needed.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What, in one word.
    pub(crate) name: &'static str,
    /// How it is.
    pub(crate) status: Status,
    /// What was found, in one line.
    pub(crate) finding: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cure: Option<String>,
}

/// How a thing that was looked at is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// It works, or may: something is to be known about it.
    Warning,
    /// Not as it should be.
    Failed,
    /// Not looked at.
    Skipped,
}

/// Why a check failed, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) cure: String,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { what: what.into(), cure: cure.into() }
    }

    /// Of a line as the libraries write them, "what happened; what to do", with `cure` where nothing is said of that.
    pub(crate) fn of_line(line: &str, cure: &str) -> Self {
        match line.split_once("; ") {
            Some((what, cure)) => Self::new(what, cure),
            None => Self::new(line, cure),
        }
    }
}

impl Check {
    pub(crate) fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, finding: finding.into(), cure: None }
    }

    pub(crate) fn warning(name: &'static str, fault: Fault) -> Self {
        Self { name, status: Status::Warning, finding: fault.what, cure: Some(fault.cure) }
    }

    pub(crate) fn failed(name: &'static str, fault: Fault) -> Self {
        Self { name, status: Status::Failed, finding: fault.what, cure: Some(fault.cure) }
    }

    pub(crate) fn skipped(name: &'static str, reason: impl Into<String>) -> Self {
        Self { name, status: Status::Skipped, finding: reason.into(), cure: None }
    }

    /// A check by what came of it.
    pub(crate) fn of(name: &'static str, found: Result<String, Fault>) -> Self {
        match found {
            Ok(finding) => Self::ok(name, finding),
            Err(fault) => Self::failed(name, fault),
        }
    }
}

/// All that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// `client` or `server`.
    pub(crate) side: &'static str,
    /// Whose health this is about.
    pub(crate) subject: String,
    pub(crate) checks: Vec<Check>,
}

impl Report {
    /// The names of what failed.
    pub(crate) fn failed(&self) -> Vec<&'static str> {
        self.checks.iter().filter(|check| check.status == Status::Failed).map(|check| check.name).collect()
    }

    /// For people: a line for each check, and one more for a cure.
    pub(crate) fn text(&self) -> Vec<String> {
        let mut lines = vec![format!("{} of {}", self.side, self.subject)];
        lines.extend(self.checks.iter().flat_map(lines_of));
        lines
    }

    /// For scripts: one object on one line.
    pub(crate) fn json(&self) -> String {
        json!({
            "side": self.side,
            "subject": self.subject,
            "ok": self.failed().is_empty(),
            "checks": self.checks,
        })
        .to_string()
    }
}

/// As they are printed.
pub(crate) fn lines_of(check: &Check) -> Vec<String> {
    let word = match check.status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Failed => "FAILED",
        Status::Skipped => "skipped",
    };
    let mut lines = vec![format!("{word:<9} {:<10} {}", check.name, check.finding)];
    lines.extend(check.cure.iter().map(|cure| format!("{:20} -> {cure}", "")));
    lines
}

/// `3 ms`, `0.4 ms`, `1.2 s`.
pub(crate) fn took(time: Duration) -> String {
    match time.as_millis() {
        0 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        millis @ 1..1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let fault = Fault::of_line("the machine refused the connection; check the port", "?");
        let checks = vec![
            Check::ok("dns", "192.0.2.1 (2 ms)"),
            Check::failed("tcp", fault),
            Check::skipped("tls", "`tcp` failed"),
            Check::warning("clock", Fault::new("4 s behind", "set it")),
        ];
        Report { side: "client", subject: "vps:4444".into(), checks }
    }

    #[test]
    fn a_line_for_each_check_and_one_for_a_cure() {
        let expected = "\
client of vps:4444
ok        dns        192.0.2.1 (2 ms)
FAILED    tcp        the machine refused the connection
                     -> check the port
skipped   tls        `tcp` failed
warning   clock      4 s behind
                     -> set it";
        assert_eq!(report().text().join("\n"), expected);
        assert_eq!(report().failed(), ["tcp"]);
    }

    #[test]
    fn the_same_as_json() {
        let json: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(json["ok"], false);
        let failed = json!({ "name": "tcp", "status": "failed",
            "finding": "the machine refused the connection", "cure": "check the port" });
        assert_eq!(json["checks"][1], failed);
        assert_eq!(json["checks"][0].get("cure"), None);
    }

    #[test]
    fn every_fault_has_a_cure() {
        assert_eq!(Fault::of_line("a; b; c", "x"), Fault::new("a", "b; c"));
        assert_eq!(Fault::of_line("a", "x"), Fault::new("a", "x"));
    }

    #[test]
    fn times() {
        for (micros, text) in [(400, "0.4 ms"), (3_200, "3 ms"), (1_240_000, "1.2 s")] {
            assert_eq!(took(Duration::from_micros(micros)), text);
        }
    }
}
