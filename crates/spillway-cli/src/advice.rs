//! Commands that hints and reports name, as a user can type them.
//!
//! The only place that renders them: each comes with the flags that say where uploads are and on which
//! network, as they were given to this command. What the environment or the settings file says holds for
//! the next command as well, and is not repeated.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// What this command was given. Set once, before anything is said.
static GIVEN: OnceLock<Given> = OnceLock::new();

/// The flags that say where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// `--data-dir`, of uploads.
    pub(crate) data_dir: Option<PathBuf>,
    /// `--devnet`.
    pub(crate) devnet: Option<PathBuf>,
}

/// Which of them a command takes.
#[derive(Clone, Copy, Debug)]
enum Takes {
    Both,
    DataDir,
    Devnet,
}

impl Given {
    /// From now on each command that is named has them.
    pub(crate) fn remember(self) {
        GIVEN.set(self).expect("invariant: there is one command a process");
    }

    fn command(&self, takes: Takes, words: &str) -> String {
        let (data_dir, devnet) = match takes {
            Takes::Both => (self.data_dir.as_deref(), self.devnet.as_deref()),
            Takes::DataDir => (self.data_dir.as_deref(), None),
            Takes::Devnet => (None, self.devnet.as_deref()),
        };
        let flag = |name: &str, path: Option<&Path>| match path {
            Some(path) => format!(" {name} {}", quoted(path)),
            None => String::new(),
        };
        format!("spillway {words}{}{}", flag("--data-dir", data_dir), flag("--devnet", devnet))
    }
}

/// One word of a POSIX shell.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:=@%".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        return path.into_owned();
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

fn command(takes: Takes, words: &str) -> String {
    match GIVEN.get() {
        Some(given) => given.command(takes, words),
        None => Given::default().command(takes, words),
    }
}

/// Goes on with an upload. The data map of a stream has no name of its own.
pub(crate) fn resume(session: &str, is_stream: bool) -> String {
    if is_stream { resume_to(session) } else { command(Takes::Both, &format!("resume {session}")) }
}

/// The same, with the data map in another place.
pub(crate) fn resume_to(session: &str) -> String {
    command(Takes::Both, &format!("resume {session} -o FILE"))
}

/// Uploads what the user names behind it.
pub(crate) fn upload() -> String {
    command(Takes::Both, "upload")
}

/// The same, and looks for it then.
pub(crate) fn upload_verified() -> String {
    command(Takes::Both, "upload --wait-verified")
}

/// Asks the network for each chunk.
pub(crate) fn verify() -> String {
    command(Takes::Both, "verify")
}

/// Lists the uploads.
pub(crate) fn status() -> String {
    command(Takes::Both, "status")
}

/// Takes back what nobody has claimed: of all uploads, or of one.
pub(crate) fn refund(session: Option<&str>) -> String {
    let words = session.map_or("refund".to_owned(), |session| format!("refund {session}"));
    command(Takes::Both, &words)
}

/// Removes a session.
pub(crate) fn forget(session: &str) -> String {
    command(Takes::DataDir, &format!("forget {session}"))
}

/// Removes all that are over.
pub(crate) fn forget_finished() -> String {
    command(Takes::DataDir, "forget --finished")
}

/// Hands a session over.
pub(crate) fn export(session: &str) -> String {
    command(Takes::DataDir, &format!("session export {session} -o FILE"))
}

/// Takes one over.
pub(crate) fn import() -> String {
    command(Takes::DataDir, "session import FILE")
}

/// Writes a data map again.
pub(crate) fn data_map(session: &str) -> String {
    command(Takes::DataDir, &format!("session data-map {session} -o FILE"))
}

/// Where to send money.
pub(crate) fn wallet_address() -> String {
    command(Takes::Devnet, "wallet address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_the_flags_that_it_takes() {
        let given = Given { data_dir: Some("other".into()), devnet: Some("net.json".into()) };
        assert_eq!(
            given.command(Takes::Both, "resume a -o FILE"),
            "spillway resume a -o FILE --data-dir other --devnet net.json"
        );
        assert_eq!(given.command(Takes::DataDir, "forget a"), "spillway forget a --data-dir other");
        assert_eq!(
            given.command(Takes::Devnet, "wallet address"),
            "spillway wallet address --devnet net.json"
        );
        assert_eq!(Given::default().command(Takes::Both, "status"), "spillway status");
    }

    #[test]
    fn a_shell_takes_a_path_as_one_word() {
        assert_eq!(quoted(Path::new("/a/b-c_1.d")), "/a/b-c_1.d");
        for (path, word) in [
            ("my data", "'my data'"),
            ("it's", r"'it'\''s'"),
            ("$HOME;rm", "'$HOME;rm'"),
            ("~/data", "'~/data'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }
}
