//! `tunnel completions` and `tunnel man`: both are read off the commands themselves, so they can't be out of date.

use std::{
    fs,
    io::{self, Write},
};

use clap::CommandFactory;
use clap_mangen::Man;

use super::Failure;
use crate::{
    args::{CompletionsArgs, Invocation, ManArgs},
    env,
};

/// Prints a shell's completions.
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Invocation::command(), NAME, &mut script);
    print(&script)
}

/// Prints the page of `tunnel`, or writes one for each command.
pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    // With their variables' names, and nothing of this process's environment.
    let command = env::attach(Invocation::command(), &|_| None);
    match &args.dir {
        None => {
            let mut page = Vec::new();
            let rendered = Man::new(command.disable_help_subcommand(true)).render(&mut page);
            rendered.map_err(|source| Failure::Write { what: "standard output".into(), source })?;
            print(&page)
        }
        Some(directory) => fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(command, directory))
            .map_err(|source| Failure::Write { what: directory.display().to_string(), source }),
    }
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(text).and_then(|()| out.flush());
    match printed {
        // `tunnel completions bash | head` has what it wants.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|source| Failure::Write { what: "standard output".into(), source }),
    }
}

const NAME: &str = "tunnel";

#[cfg(test)]
mod tests {
    use std::{
        process::{Command as Process, Stdio},
        thread,
    };

    use clap::ValueEnum;
    use clap_complete::Shell;

    use super::*;

    fn script(shell: Shell) -> Vec<u8> {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Invocation::command(), NAME, &mut script);
        script
    }

    #[test]
    fn every_shell_completes_every_command() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for command in Invocation::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: no {}", command.get_name());
            }
            assert!(script.contains("--udp-answer-ratio") || script.contains("udp-answer-ratio"), "{shell}");
        }
    }

    /// What a program says of what it reads; `None` where it isn't installed.
    fn check(program: &str, arguments: &[&str], input: &[u8]) -> Option<String> {
        let mut command = Process::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().ok()?;
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writing = thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program}: {said}");
        Some(said)
    }

    #[test]
    fn shells_can_read_their_scripts() {
        for (program, shell) in [("bash", Shell::Bash), ("zsh", Shell::Zsh)] {
            let said = check(program, &["-n"], &script(shell));
            assert_eq!(said.unwrap_or_default(), "", "{program}");
        }
        check("fish", &["--no-execute"], &script(Shell::Fish));
    }

    #[test]
    fn every_command_has_a_page_and_the_references_between_them_hold() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("man1");
        man(&ManArgs { dir: Some(directory.clone()) }).unwrap();
        let pages: Vec<_> = fs::read_dir(&directory).unwrap().map(|page| page.unwrap().path()).collect();
        for name in ["tunnel.1", "tunnel-server.1", "tunnel-http.1", "tunnel-upgrade.1"] {
            assert!(directory.join(name).is_file(), "{name}");
        }
        for page in pages {
            let text = fs::read_to_string(&page).unwrap();
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{}", page.display());
            for reference in text.lines().filter_map(|line| line.strip_prefix("tunnel\\-")) {
                let name = format!("tunnel-{}", reference.replace('\\', ""));
                let file = name.split('(').next().unwrap_or_default().to_owned() + ".1";
                let is_there = directory.join(&file).is_file() || file.contains("help");
                assert!(!reference.contains("(1)") || is_there, "{}: {file}", page.display());
            }
            check("mandoc", &["-T", "lint", "-W", "error"], text.as_bytes());
            check("groff", &["-man", "-ww", "-z"], text.as_bytes());
        }
    }
}
