use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

/// The built `spillway`.
///
/// It is looked for where Cargo puts it, beside this test's own directory: a run of the whole
/// workspace has built it. When it is not there, it is built first, as this test was.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

/// How a run of the program ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it said beside.
    pub stderr: String,
}

impl Program {
    /// Finds it, or builds it.
    pub fn find() -> Self {
        static FOUND: OnceLock<PathBuf> = OnceLock::new();
        Self(FOUND.get_or_init(locate).clone())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A run in this directory with nothing of the caller's environment.
    pub fn command<I, S>(&self, here: &Path, arguments: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(&self.0);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", here.join("home"))
            .current_dir(here)
            .stdin(Stdio::null());
        command
    }
}

impl Ran {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        Self::new(command.output().unwrap())
    }

    pub(crate) fn new(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The last line of JSON that it printed.
    pub fn summary(&self) -> Value {
        let text = std::str::from_utf8(&self.stdout).unwrap();
        let last = text.lines().last().unwrap_or_else(|| panic!("no summary: {self:?}"));
        let summary: Value = serde_json::from_str(last).unwrap();
        assert_eq!(summary["message_type"], "summary", "{self:?}");
        summary
    }
}

fn locate() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // <target>/<profile>/deps/<test>
    let profile_dir = test.ancestors().nth(2).unwrap().to_owned();
    let program = profile_dir.join("spillway");
    let profile = match profile_dir.file_name().and_then(OsStr::to_str) {
        Some("debug") => "dev",
        Some(other) => other,
        None => panic!("{} is not in a target directory", test.display()),
    };
    if program.is_file() && within_nextest() {
        return program;
    }
    let target_dir = profile_dir.parent().unwrap();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "spillway-cli", "--bin", "spillway"])
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(target_dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "`cargo build -p spillway-cli --bin spillway` failed");
    program
}

/// Whether this is a part of a run of the whole workspace, which has built the program before its
/// first test. Otherwise Cargo itself knows best whether what is there is up to date.
#[expect(clippy::disallowed_methods, reason = "no program, but a test that asks how it is run")]
fn within_nextest() -> bool {
    std::env::var_os("NEXTEST").is_some()
}
