//! The machine under the server: open files, clock, disk.

use std::{path::Path, process::Command};

use crate::doctor::check::{Check, Fault};

/// With fewer open files than this, some hundred visitors are all there can be.
const FILES_FEW: u64 = 4_096;
/// With less room than this, in bytes, the next renewal or log line may not fit.
const ROOM_LITTLE: u64 = 100 << 20;

/// How many open files this process may have; the server's may have others, by its unit.
pub(super) fn open_files() -> Check {
    #[cfg(unix)]
    {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        match limit {
            None => Check::ok("files", "any number may be open"),
            Some(limit) if limit >= FILES_FEW => Check::ok("files", format!("{limit} may be open")),
            Some(limit) => Check::warning(
                "files",
                Fault::new(
                    format!("only {limit} may be open, and each visitor is one or two"),
                    "raise it: LimitNOFILE= in the unit, or ulimit -n before the start",
                ),
            ),
        }
    }
    #[cfg(not(unix))]
    Check::skipped("files", "not known on this system")
}

/// Whether something keeps the clock right.
pub(crate) fn clock() -> Check {
    // Written by systemd-timesyncd, and by others for it.
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Check::ok("clock", "kept right by systemd-timesyncd");
    }
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    let answer = asked.ok().filter(|output| output.status.success());
    match answer.as_ref().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).as_deref() {
        Some("yes") => Check::ok("clock", "kept right by NTP"),
        Some("no") => Check::warning(
            "clock",
            Fault::new("nothing keeps this machine's clock right", "timedatectl set-ntp true"),
        ),
        _ => Check::skipped("clock", "nobody here knows whether it is kept right (no systemd)"),
    }
}

/// Whether there is room where the server writes.
pub(super) fn disk(data: &Path) -> Check {
    #[cfg(unix)]
    {
        // Of a directory that isn't there yet, that of what it will be in.
        let Some(room) = data.ancestors().find_map(|place| rustix::fs::statvfs(place).ok()) else {
            return Check::skipped("disk", "not known");
        };
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        let finding = format!("{} MiB free for {}", free >> 20, data.display());
        if free < ROOM_LITTLE {
            Check::failed(
                "disk",
                Fault::new(finding, "make room: the state of tokens can't be written without"),
            )
        } else {
            Check::ok("disk", finding)
        }
    }
    #[cfg(not(unix))]
    {
        let _ = data;
        Check::skipped("disk", "not known on this system")
    }
}
