//! One running process: what it says, what it uses, and its end. It is killed when dropped.

use std::{process::Stdio, sync::Arc, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::Instant,
};

use super::{
    Fault, Outcome, PATIENCE, Told,
    output::{Line, Output, Source},
    procfs, within,
};

/// One running process.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// That of the process that serves now: the child, or a successor of it.
    pid: u32,
    /// Those of its successors, which write to the same outputs.
    successors: Vec<u32>,
    output: Arc<Output>,
    readers: JoinSet<()>,
    /// When it was started.
    pub(crate) started: Instant,
}

impl Process {
    /// Starts it. Its outputs are read unless the command says otherwise.
    pub(crate) fn start(mut command: Command, output: Arc<Output>) -> Outcome<Self> {
        let started = Instant::now();
        command.stderr(Stdio::piped());
        let mut child = command.spawn().told(format!("starting {}", output.name()))?;
        let pid = child.id().ok_or(Fault::new("a process without an id"))?;
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            let output = output.clone();
            readers.spawn(async move { output.read(stdout, Source::Stdout).await });
        }
        if let Some(stderr) = child.stderr.take() {
            let output = output.clone();
            readers.spawn(async move { output.read(stderr, Source::Stderr).await });
        }
        Ok(Self { child, pid, successors: Vec::new(), output, readers, started })
    }

    /// A place in the output: what comes from now on.
    pub(crate) fn mark(&self) -> usize {
        self.output.len()
    }

    /// All that it has said so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.output.lines()
    }

    /// Waits for a line after `mark` that `find` makes something of.
    ///
    /// # Errors
    /// It ended first, or took too long.
    pub(crate) async fn line<T>(
        &mut self,
        mark: usize,
        what: &str,
        find: impl FnMut(&Line) -> Option<T>,
    ) -> Outcome<T> {
        let name = self.output.name().to_owned();
        let waiting = self.output.find(mark, find);
        tokio::select! {
            biased;
            found = tokio::time::timeout(PATIENCE, waiting) => {
                found.map_err(|_| Fault::new(format!("{name} didn't say {what} within {} s", PATIENCE.as_secs())))
            }
            status = ended(&mut self.child, &mut self.readers) => {
                Err(Fault::new(format!("{name} ended ({}) before it said {what}", status?)))
            }
        }
    }

    /// Waits for a line after `mark` that has `part` in it; gives the line and when it came.
    ///
    /// # Errors
    /// As [`Process::line`].
    pub(crate) async fn says(&mut self, mark: usize, part: &str) -> Outcome<(String, Instant)> {
        let find = |line: &Line| line.text.contains(part).then(|| (line.text.clone(), line.at));
        self.line(mark, &format!("`{part}`"), find).await
    }

    /// Waits for a JSON object on standard output after `mark` whose `event` is `name`.
    ///
    /// # Errors
    /// As [`Process::line`].
    pub(crate) async fn event(&mut self, mark: usize, name: &str) -> Outcome<(Value, Instant)> {
        let find = |line: &Line| {
            let value: Value = serde_json::from_str(&line.text).ok()?;
            (value.get("event")? == name).then_some((value, line.at))
        };
        self.line(mark, &format!("the event `{name}`"), find).await
    }

    /// Turns to the process that has taken this one's place and outputs, once it says, after `mark`, that it listens.
    pub(crate) async fn succeeded(&mut self, mark: usize) -> Outcome {
        let (event, _) = self.event(mark, "listening").await?;
        let pid = event["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        self.pid = pid.ok_or(Fault::new("`listening` has no `pid`"))?;
        self.successors.push(self.pid);
        Ok(())
    }

    /// The process that serves now.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        send(self.pid, signal)
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Outcome {
        self.signal(Signal::KILL)?;
        within("the end of a killed process", self.child.wait()).await??;
        Ok(())
    }

    /// Waits for its end; gives the exit status, `None` after a signal.
    pub(crate) async fn exit(&mut self) -> Outcome<Option<i32>> {
        let what = format!("the end of {}", self.output.name());
        let status = within(&what, ended(&mut self.child, &mut self.readers)).await??;
        Ok(status.code())
    }

    /// Asks it to stop and waits until it has; it must end with status 0. Gives how long that took.
    pub(crate) async fn stop(mut self) -> Outcome<Duration> {
        let asked = Instant::now();
        self.signal(Signal::TERM)?;
        let status = self.exit().await?;
        if status != Some(0) {
            let name = self.output.name();
            return Err(Fault::new(format!("{name} ended with {status:?} instead of 0 when asked to stop")));
        }
        Ok(asked.elapsed())
    }

    /// How many files and sockets it has open.
    pub(crate) fn open_files(&self) -> Outcome<usize> {
        procfs::open_files(self.pid)
    }

    /// Its resident memory, in bytes.
    pub(crate) fn memory(&self) -> Outcome<u64> {
        procfs::memory(self.pid)
    }

    /// Its command line, as everyone on the machine can read it.
    pub(crate) fn command_line(&self) -> Outcome<String> {
        procfs::command_line(self.pid)
    }
}

impl Drop for Process {
    /// The child is killed by its own drop, successors are nobody's children here.
    fn drop(&mut self) {
        for pid in &self.successors {
            // Those that have ended may have left their ids to strangers.
            if procfs::command_line(*pid).is_ok_and(|line| line.contains(" server ")) {
                let _ = send(*pid, Signal::KILL);
            }
        }
    }
}

fn send(pid: u32, signal: Signal) -> Outcome {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(Fault::new("a process id out of range"))?;
    Ok(kill_process(pid, signal)?)
}

/// The end of a process and of all it had to say.
async fn ended(child: &mut Child, readers: &mut JoinSet<()>) -> std::io::Result<std::process::ExitStatus> {
    let status = child.wait().await?;
    while readers.join_next().await.is_some() {}
    Ok(status)
}
