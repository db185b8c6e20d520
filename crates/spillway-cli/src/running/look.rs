use std::{fs, io, path::Path, time::Duration};

use tokio::{io::AsyncReadExt, net::UnixStream, task::JoinSet, time};

use super::{
    Said,
    place::{Place, Short, name_of, process_of},
};

/// The longest line that is read, in bytes; one has less than 2,000.
const MAX_LINE_BYTES: u64 = 16 * 1024;

/// How long one process is waited for.
const READ_DEADLINE: Duration = Duration::from_secs(2);

/// Processes that are asked, at most: all at once they take 64 files.
const MAX_PROCESSES: usize = 64;

/// A process that works with this data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) pid: u32,
    /// What it said; nothing when it did not answer in time or in a form that this version knows.
    pub(crate) said: Option<Said>,
}

/// All that run, by their numbers. Sockets of processes that are gone are removed.
///
/// # Errors
/// When the directory cannot be read.
pub(crate) async fn look(data_dir: &Path) -> io::Result<Vec<Seen>> {
    let place = Place::of(data_dir);
    let mut processes: Vec<u32> =
        place.names()?.iter().filter_map(|name| process_of(name)).collect();
    processes.sort_unstable();
    processes.truncate(MAX_PROCESSES);
    let mut asked = JoinSet::new();
    for pid in processes {
        let name = name_of(pid);
        let (short, path) = (place.short(&name)?, place.path(&name));
        asked.spawn(async move {
            let said = time::timeout(READ_DEADLINE, ask(&short)).await;
            match said {
                Ok(Err(error)) if is_nobody(&error) => {
                    remove(&path);
                    None
                }
                Ok(Ok(said)) => Some(Seen { pid, said }),
                _ => Some(Seen { pid, said: None }),
            }
        });
    }
    let mut seen: Vec<Seen> = asked.join_all().await.into_iter().flatten().collect();
    seen.sort_unstable_by_key(|seen| seen.pid);
    Ok(seen)
}

async fn ask(socket: &Short) -> io::Result<Option<Said>> {
    let stream = UnixStream::connect(&socket.path).await?;
    let mut line = Vec::new();
    stream.take(MAX_LINE_BYTES).read_to_end(&mut line).await?;
    Ok(serde_json::from_slice(&line).ok())
}

/// Whether nobody listens there any more.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(%error, path = %path.display(), "a socket of nobody stays");
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, path::PathBuf};

    use spillway_client::ProgressSender;

    use super::{
        super::{Announcement, Board},
        *,
    };

    fn sockets(dir: &Path) -> Vec<PathBuf> {
        fs::read_dir(dir.join("run")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[tokio::test]
    async fn a_process_is_heard_and_is_gone_with_its_announcement() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path()).await.unwrap(), []);
        let board = Board::default();
        let announcement = Announcement::start(dir.path(), "upload", board.clone()).unwrap();
        let [seen] = look(dir.path()).await.unwrap().try_into().unwrap();
        let said = seen.said.unwrap();
        assert_eq!((seen.pid, said.command.as_str()), (std::process::id(), "upload"));
        assert_eq!((said.stage, said.upload_id), (None, None));
        let gauges = &said.gauges;
        let budgets =
            [gauges.begun, gauges.uploads, gauges.resumes, gauges.streams, gauges.downloads];
        assert!(budgets.iter().all(|gauge| gauge.budget > 0), "{gauges:?}");
        assert!(gauges.stores.budget > 0 && gauges.memory.budget_bytes > 1 << 20);
        board.show(ProgressSender::default());
        let [seen] = look(dir.path()).await.unwrap().try_into().unwrap();
        assert_eq!(seen.said.unwrap().stage.as_deref(), Some("hash"));
        drop(announcement);
        assert_eq!(look(dir.path()).await.unwrap(), []);
        assert_eq!(sockets(dir.path()), Vec::<PathBuf>::new());
    }

    #[tokio::test]
    async fn only_its_user_may_enter() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let _announcement = Announcement::start(dir.path(), "upload", Board::default()).unwrap();
        let mode = fs::metadata(dir.path().join("run")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_long_path_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(200));
        fs::create_dir(&deep).unwrap();
        let _announcement = Announcement::start(&deep, "download", Board::default()).unwrap();
        let [seen] = look(&deep).await.unwrap().try_into().unwrap();
        assert_eq!(seen.said.unwrap().command, "download");
    }

    #[tokio::test]
    async fn what_the_dead_have_left_goes_and_the_silent_stay() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        let bind = |name: &str| UnixListener::bind(dir.path().join("run").join(name)).unwrap();
        drop(bind("1.sock"));
        let _silent = bind("2.sock");
        let _unknown = bind("x.sock");
        let seen = look(dir.path()).await.unwrap();
        assert_eq!(seen, [Seen { pid: 2, said: None }]);
        assert!(!dir.path().join("run/1.sock").exists());
        assert_eq!(sockets(dir.path()).len(), 2);
    }
}
