//! Putting a unit in its place and telling systemd, which is told by its own program: there is no other way that all
//! of its versions know.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};

use super::{
    ServiceError,
    unit::{MARK, Scope},
};
use crate::output::printable;

/// How often, and how long apart, it is looked whether a service stays: a second in all.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(200);

/// The machine, or a directory in its place.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// What absolute paths are below: `/`.
    pub(crate) root: PathBuf,
    /// Where a person's units are: `$XDG_CONFIG_HOME/systemd/user`.
    pub(crate) user_units: PathBuf,
    /// How to call `systemctl`: by name, unless it is another one.
    pub(crate) systemctl: PathBuf,
    /// How to call `systemd-analyze`.
    pub(crate) analyze: PathBuf,
}

/// A unit in its place.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    pub(crate) scope: Scope,
    pub(crate) text: String,
}

/// What putting it there did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Written,
    Replaced,
    Nothing,
}

impl Host {
    /// This machine.
    pub(crate) fn this(user_units: PathBuf) -> Self {
        let (systemctl, analyze) = ("systemctl".into(), "systemd-analyze".into());
        Self { root: "/".into(), user_units, systemctl, analyze }
    }

    /// Whether systemd runs this machine.
    pub(crate) fn has_systemd(&self) -> bool {
        self.root.join("run/systemd/system").is_dir()
    }

    /// Where a unit is, or would be.
    pub(crate) fn place(&self, name: &str, scope: Scope) -> PathBuf {
        match scope {
            Scope::System => self.root.join("etc/systemd/system").join(name),
            Scope::User => self.user_units.join(name),
        }
    }

    /// Writes a unit. One that somebody else wrote stays, unless `force`.
    pub(crate) fn put(&self, unit: &Unit, force: bool) -> Result<Change, ServiceError> {
        let path = self.place(unit.name, unit.scope);
        let change = match fs::read_to_string(&path) {
            Ok(text) if text == unit.text => return Ok(Change::Nothing),
            Ok(text) if !text.starts_with(MARK) && !force => return Err(ServiceError::Foreign(path)),
            Ok(_) => Change::Replaced,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Change::Written,
            Err(source) => return Err(ServiceError::File { path, source }),
        };
        let written = fs::create_dir_all(path.parent().unwrap_or(&self.root))
            .and_then(|()| fs::write(&path, &unit.text));
        written.map_err(|source| ServiceError::File { path, source })?;
        Ok(change)
    }

    /// Has systemd read its units again, and run this one now and at every start of the machine.
    pub(crate) fn enable(&self, name: &str, scope: Scope) -> Result<(), ServiceError> {
        self.systemctl(scope, &["daemon-reload"])?;
        self.systemctl(scope, &["enable", "--now", name]).map(drop)
    }

    /// Stops it, and removes its unit. Whether there was one.
    pub(crate) fn remove(&self, name: &str, scope: Scope) -> Result<bool, ServiceError> {
        let path = self.place(name, scope);
        match fs::read_to_string(&path) {
            Ok(text) if !text.starts_with(MARK) => return Err(ServiceError::Foreign(path)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(ServiceError::File { path, source }),
        }
        self.systemctl(scope, &["disable", "--now", name])?;
        fs::remove_file(&path).map_err(|source| ServiceError::File { path, source })?;
        self.systemctl(scope, &["daemon-reload"])?;
        Ok(true)
    }

    /// What systemd calls its state: `active`, `failed`, `enabled`, …; or `unknown`.
    pub(crate) fn ask(&self, question: &str, name: &str, scope: Scope) -> String {
        let answer = self.command(scope, &[question, name]).output();
        let word = answer.ok().and_then(|output| String::from_utf8(output.stdout).ok());
        let word = word.and_then(|text| text.lines().next().map(str::trim).map(str::to_owned));
        word.filter(|word| !word.is_empty()).unwrap_or_else(|| "unknown".into())
    }

    /// What systemd calls its state once it had a moment to end: one that can't start does so at once.
    pub(crate) fn settle(&self, name: &str, scope: Scope) -> String {
        let looks = (0..LOOKS).map(|_| {
            sleep(LOOK);
            self.ask("is-active", name, scope)
        });
        let mut last = String::new();
        for state in looks {
            last = state;
            if last != "active" {
                break;
            }
        }
        last
    }

    /// Its version; `None` where nobody can say.
    pub(crate) fn version(&self) -> Option<u32> {
        let answer = Command::new(&self.systemctl).arg("--version").output().ok()?;
        version(&String::from_utf8_lossy(&answer.stdout))
    }

    /// What systemd thinks of a unit: its faults, or else how exposed it is. `None` where nobody can say.
    pub(crate) fn judge(&self, unit: &Path) -> Option<String> {
        let run = |arguments: &[&str]| Command::new(&self.analyze).args(arguments).arg(unit).output().ok();
        let verified = run(&["verify", "--man=no"])?;
        let name = unit.file_name()?.to_string_lossy().into_owned();
        let complaints = String::from_utf8_lossy(&verified.stderr).into_owned();
        if let Some(complaint) = complaints.lines().find(|line| line.contains(&name)) {
            return Some(format!("systemd-analyze verify: {}", printable(complaint)));
        }
        let judged = run(&["security", "--offline=true", "--no-pager"])?;
        exposure(&String::from_utf8_lossy(&judged.stdout))
    }

    fn systemctl(&self, scope: Scope, arguments: &[&str]) -> Result<String, ServiceError> {
        let command = || {
            let user = if scope == Scope::User { " --user" } else { "" };
            format!("systemctl{user} {}", arguments.join(" "))
        };
        let output = self
            .command(scope, arguments)
            .output()
            .map_err(|source| ServiceError::NoSystemctl { command: command(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().lines().next_back().unwrap_or("it says nothing").to_owned();
        Err(ServiceError::Systemctl { command: command(), said })
    }

    fn command(&self, scope: Scope, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.systemctl);
        if scope == Scope::User {
            command.arg("--user");
        }
        command.args(arguments);
        command
    }
}

/// From `systemd 252 (252.38-1~deb12u1)`; of a build between versions, `systemd 256~rc3`.
fn version(said: &str) -> Option<u32> {
    let number = said.lines().next()?.strip_prefix("systemd ")?;
    let end = number.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().ok()
}

/// From `→ Overall exposure level for tunnel.service: 1.1 OK 🙂`.
fn exposure(said: &str) -> Option<String> {
    let line = said.lines().rev().find(|line| line.contains("exposure level"))?;
    let level: Vec<_> = line.rsplit(": ").next()?.split_whitespace().take(2).collect();
    Some(format!("systemd-analyze security: exposure {} of 10", level.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_systemd_says() {
        for (said, expected) in [
            ("systemd 252 (252.38-1~deb12u1)\n+PAM +AUDIT\n", Some(252)),
            ("systemd 256~rc3 (256~rc3-1)\n", Some(256)),
            ("systemd 257\n", Some(257)),
            ("elogind 252\n", None),
            ("", None),
        ] {
            assert_eq!(version(said), expected, "{said}");
        }
    }

    #[test]
    fn the_exposure_is_found_in_what_systemd_says() {
        let said =
            "  NAME DESCRIPTION\n\n\u{2192} Overall exposure level for tunnel.service: 1.3 OK \u{1f642}\n";
        assert_eq!(exposure(said).unwrap(), "systemd-analyze security: exposure 1.3 OK of 10");
        assert_eq!(exposure("no such verb"), None);
    }
}
