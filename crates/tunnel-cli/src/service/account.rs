//! The user that a server runs as.

use std::{fs, path::Path, process::Command};

use super::{ServiceError, systemd::Host, unit::USER};

/// The numbers of the server's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// How to make the user by hand.
pub(crate) fn by_hand(data: &Path) -> String {
    format!("useradd {}", arguments(data).join(" "))
}

impl Host {
    /// The server's user, if there is one.
    pub(crate) fn account(&self) -> Option<Account> {
        find(&fs::read_to_string(self.root.join("etc/passwd")).ok()?)
    }

    /// What this process's user is called.
    pub(crate) fn user_name(&self) -> String {
        #[cfg(unix)]
        let uid = rustix::process::geteuid().as_raw().to_string();
        #[cfg(not(unix))]
        let uid = String::new();
        let passwd = fs::read_to_string(self.root.join("etc/passwd")).unwrap_or_default();
        let mut lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let own = lines.find(|fields| fields.get(2) == Some(&uid.as_str()));
        own.map_or(uid.clone(), |fields| fields[0].to_owned())
    }

    /// The server's user; made if there is none. Whether it was.
    pub(crate) fn make_account(&self, data: &Path) -> Result<(Account, bool), ServiceError> {
        if let Some(account) = self.account() {
            return Ok((account, false));
        }
        let failed = |said: String| ServiceError::NoUser { command: by_hand(data), said };
        let output = Command::new("useradd").args(arguments(data)).output();
        let output = output.map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let account = self.account().ok_or_else(|| failed("it is not in /etc/passwd".into()))?;
        Ok((account, true))
    }
}

fn arguments(data: &Path) -> [String; 7] {
    let home = data.display().to_string();
    ["--system", "--user-group", "--home-dir", &home, "--shell", "/usr/sbin/nologin", USER].map(str::to_owned)
}

fn find(passwd: &str) -> Option<Account> {
    let mut fields = passwd.lines().find(|line| line.split(':').next() == Some(USER))?.split(':').skip(2);
    Some(Account { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_found_by_its_whole_name() {
        let passwd = "daemon:x:1:1::/usr/sbin:/bin/sh\ntunnels:x:7:8::/:/bin/sh\ntunnel:x:998:997::/var/lib/tunnel:/x\n";
        assert_eq!(find(passwd), Some(Account { uid: 998, gid: 997 }));
        assert_eq!(find("tunnel:x\n"), None);
        assert_eq!(find(""), None);
    }
}
