//! How much memory this process may use, and uses: by its control group where that sets a limit, else by the machine.
//!
//! Elsewhere than on Linux nothing is found, and nothing is limited.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tunnel_server::MemoryGauge;

/// What bounds the process's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Bytes that there are for it.
    memory: u64,
    /// The control group (version 2) that says so, if one does.
    group: Option<PathBuf>,
    /// `/`, unless in tests.
    root: PathBuf,
}

impl Machine {
    /// This one.
    pub(crate) fn find() -> Option<Self> {
        Self::find_in(Path::new("/"))
    }

    fn find_in(root: &Path) -> Option<Self> {
        let there = field(&read(root.join("proc/meminfo"))?, "MemTotal:")?.saturating_mul(1024);
        let groups = read(root.join("proc/self/cgroup")).unwrap_or_default();
        let mut machine = Self { memory: there, group: None, root: root.to_owned() };
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            match controllers {
                "" => machine.look_up("sys/fs/cgroup", path, "memory.max", true),
                "memory" => machine.look_up("sys/fs/cgroup/memory", path, "memory.limit_in_bytes", false),
                _ => {}
            }
        }
        Some(machine)
    }

    /// Looks at a group and all above it: each of them may set a limit. In a container the outermost is at the mount.
    fn look_up(&mut self, mount: &str, path: &str, file: &str, can_tell_use: bool) {
        let mount = self.root.join(mount);
        let group = mount.join(path.trim_start_matches('/'));
        for folder in group.ancestors().take_while(|folder| folder.starts_with(&mount)) {
            let limit = read(folder.join(file)).and_then(|text| text.trim().parse().ok());
            if let Some(limit) = limit.filter(|limit| *limit < self.memory) {
                self.memory = limit;
                self.group = can_tell_use.then(|| folder.to_owned());
            }
        }
    }

    /// What a server does well to keep to, in bytes: a quarter is left to the system's own buffers, the sockets' among
    /// them, and to what memory grows by between two looks.
    pub(crate) fn sensible_budget(&self) -> u64 {
        self.memory / 4 * 3
    }
}

impl MemoryGauge for Machine {
    fn at_most(&self) -> Option<u64> {
        match &self.group {
            Some(group) => {
                let all = read(group.join("memory.current"))?.trim().parse::<u64>().ok()?;
                let stat = read(group.join("memory.stat"))?;
                // What the kernel gives up when somebody needs it.
                let spare = ["active_file ", "inactive_file ", "slab_reclaimable "];
                let spare: u64 = spare.iter().filter_map(|name| field(&stat, name)).sum();
                Some(all.saturating_sub(spare))
            }
            // Pages of files that are mapped, the program's own, are left out: they can be read again.
            None => Some(field(&read(self.root.join("proc/self/status"))?, "RssAnon:")?.saturating_mul(1024)),
        }
    }

    fn in_use(&self) -> Option<u64> {
        Some(self.at_most()?.saturating_sub(free_in_heap()))
    }
}

/// What glibc keeps of what was freed, in bytes: it gives back no more than the top of each heap, so that memory that
/// a crowd of visitors used looks as if it still did.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn free_in_heap() -> u64 {
    use malloc_info::info::TotalType;
    let Ok(info) = malloc_info::malloc_info() else { return 0 };
    let free = info.total.iter().filter(|total| matches!(total.r#type, TotalType::Fast | TotalType::Rest));
    free.map(|total| total.size as u64).sum()
}

/// Other allocators give back what they don't need.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn free_in_heap() -> u64 {
    0
}

fn read(path: PathBuf) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The number behind a name at a line's beginning.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let root = tempfile::tempdir().unwrap();
        let meminfo = ("proc/meminfo", "MemTotal:        1000 kB\nMemFree: 1 kB\n");
        let status = ("proc/self/status", "VmRSS:\t 900 kB\nRssAnon:\t 300 kB\n");
        for (path, text) in [meminfo, status].iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let machine = Machine::find_in(root.path()).unwrap();
        (root, machine)
    }

    #[test]
    fn without_a_limit_it_is_the_machine_and_the_process() {
        for files in [
            &[][..],
            &[("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/memory.max", "max\n")],
            &[
                ("proc/self/cgroup", "4:memory:/a\n1:cpu:/\n0::/\n"),
                ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
        ] {
            let (_root, machine) = machine(files);
            assert_eq!((machine.memory, machine.sensible_budget()), (1000 << 10, 750 << 10), "{files:?}");
            assert_eq!(machine.at_most(), Some(300 << 10));
        }
    }

    #[test]
    fn the_tightest_group_counts_and_tells_what_it_uses() {
        let (_root, machine) = machine(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "600000\n"),
            ("sys/fs/cgroup/a/memory.max", "400000\n"),
            ("sys/fs/cgroup/a/memory.current", "300000\n"),
            (
                "sys/fs/cgroup/a/memory.stat",
                "anon 5\nactive_file 1000\ninactive_file 2000\nslab_reclaimable 4000\n",
            ),
            ("sys/fs/cgroup/memory.max", "max\n"),
        ]);
        assert_eq!((machine.memory, machine.at_most()), (400_000, Some(293_000)));
    }

    #[test]
    fn groups_of_version_1_have_limits_too() {
        let (_root, machine) = machine(&[
            ("proc/self/cgroup", "4:memory:/a\n0::/\n"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "400000\n"),
        ]);
        assert_eq!((machine.memory, machine.at_most()), (400_000, Some(300 << 10)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_tells_something() {
        let machine = Machine::find().unwrap();
        let used = machine.at_most().unwrap();
        assert!(used > 0 && used < machine.memory, "{used} of {machine:?}");
        let kept: Vec<Vec<u8>> = (0..20_000).map(|_| vec![1; 1000]).collect();
        let full = machine.in_use().unwrap();
        let every_second: Vec<_> = kept.into_iter().step_by(2).collect();
        let half = machine.in_use().unwrap();
        assert!(half + 5_000_000 < full, "{half} after {full}: what is free is no longer in use");
        drop(every_second);
    }
}
