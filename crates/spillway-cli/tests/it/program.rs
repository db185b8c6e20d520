//! Runs the program with an empty environment in a directory of its own.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// The user that nobody is: it may do nothing that permissions forbid.
const NOBODY: u32 = 65534;

/// A directory to run in.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Tests that run as another user must get in.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file and returns its name.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    }

    /// Runs `spillway` with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    /// And with these variables.
    pub(crate) fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        self.finish(&mut command)
    }

    /// As a user who may not do everything. The program is copied to where that user finds it.
    pub(crate) fn run_unprivileged(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        if rustix::process::geteuid().is_root() {
            let program = self.path().join("spillway-program");
            if !program.exists() {
                fs::copy(env!("CARGO_BIN_EXE_spillway"), &program).unwrap();
            }
            let mut copied = Command::new(program);
            self.isolate(&mut copied, arguments);
            copied.uid(NOBODY).gid(NOBODY);
            command = copied;
        }
        self.finish(&mut command)
    }

    /// `spillway` with these arguments, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spillway"));
        self.isolate(&mut command, arguments);
        command
    }

    fn isolate(&self, command: &mut Command, arguments: &[&str]) {
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.path().join("user"))
            .current_dir(self.path())
            .stdin(Stdio::null());
    }

    fn finish(&self, command: &mut Command) -> Ran {
        let output = command.output().unwrap();
        // A path of this run differs from run to run.
        let here = self.path().to_str().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(here, "[HERE]");
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// All of it, as a snapshot shows it.
impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.map_or("none".to_owned(), |code| code.to_string());
        write!(f, "exit code: {code}")?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                write!(f, "\n----- {name} -----\n{text}")?;
            }
        }
        Ok(())
    }
}
