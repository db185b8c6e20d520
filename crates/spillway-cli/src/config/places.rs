use std::path::PathBuf;

use directories::ProjectDirs;

use crate::exit::Failure;

/// The user's own directories for this program.
#[derive(Debug)]
pub(crate) struct Places {
    dirs: Option<ProjectDirs>,
}

impl Places {
    pub(crate) fn of_this_user() -> Self {
        Self { dirs: ProjectDirs::from("", "", "spillway") }
    }

    /// Where the configuration file is.
    pub(crate) fn config_file(&self) -> Option<PathBuf> {
        self.dirs.as_ref().map(|dirs| dirs.config_dir().join("config.toml"))
    }

    /// Where data is kept.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Failure> {
        self.dirs.as_ref().map(|dirs| dirs.data_dir().to_owned()).ok_or_else(|| {
            Failure::usage("this user has no home directory")
                .hint("say where to keep data with --data-dir")
        })
    }

    /// Where the locks of wallets are: in one place whatever `--data-dir` says, so that two
    /// processes with one wallet meet.
    pub(crate) fn state_dir(&self) -> Result<PathBuf, Failure> {
        let dirs = self.dirs.as_ref().ok_or_else(|| {
            Failure::usage("this user has no home directory").hint("set HOME or XDG_STATE_HOME")
        })?;
        Ok(dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir()).to_owned())
    }
}
