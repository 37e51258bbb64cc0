//! Standard error, which a thread of its own writes: nobody's log may stop a worker, or the end of the process.

use std::{
    io::{self, Write},
    sync::OnceLock,
    time::SystemTime,
};

use humantime::format_rfc3339_micros;

use super::lines::Lines;

static STANDARD_ERROR: OnceLock<StandardError> = OnceLock::new();

/// Takes lines of the log, one with each write, and never waits.
#[derive(Clone, Debug)]
pub struct StandardError(Lines);

/// Sees to it that at the end what waits is written, if anybody reads it.
#[derive(Debug)]
pub struct StandardErrorGuard(StandardError);

impl StandardError {
    /// Starts the thread. From here on all remarks go through it, too. What it says itself is JSON if the log is.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(json: bool) -> io::Result<(Self, StandardErrorGuard)> {
        let this = Self(Lines::start("stderr", io::stderr(), move |lost| of_lost(lost, json))?);
        let this = STANDARD_ERROR.get_or_init(|| this).clone();
        Ok((this.clone(), StandardErrorGuard(this)))
    }
}

/// Each write is one line.
impl Write for StandardError {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put_or_lose(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for StandardErrorGuard {
    fn drop(&mut self) {
        self.0.0.flush();
    }
}

/// Writes a line for people, and waits until it is there: for half a second if nobody reads, for some if somebody is slow.
pub fn remark(text: &str) {
    let Some(StandardError(lines)) = STANDARD_ERROR.get() else {
        // Before the log is started, which may fail.
        let _ = writeln!(io::stderr().lock(), "{text}");
        return;
    };
    if let Err(line) = lines.put(format!("{text}\n").into_bytes()) {
        lines.flush();
        let _ = lines.put(line);
    }
    lines.flush();
}

fn of_lost(lines: u64, json: bool) -> String {
    const WORDS: &str = "lines of the log are lost: they came faster than they were read";
    let now = format_rfc3339_micros(SystemTime::now());
    if json {
        format!("{{\"timestamp\":\"{now}\",\"level\":\"WARN\",\"message\":\"{WORDS}\",\"lines\":{lines}}}\n")
    } else {
        format!("{now}  WARN {WORDS} lines={lines}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told_in_the_form_of_the_log() {
        let told: serde_json::Value = serde_json::from_str(&of_lost(7, true)).unwrap();
        assert_eq!((&told["level"], &told["lines"]), (&"WARN".into(), &7.into()));
        assert!(of_lost(7, false).ends_with("lines=7\n"));
    }
}
