use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use spillway_client::{ProgressSender, Workers};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time,
};

use super::{
    Said, look,
    place::{Place, name_of},
};

/// How long one reader may take. What is said fits into the socket's buffer, so it need not read.
const WRITE_DEADLINE: Duration = Duration::from_secs(1);

/// How long nobody is served after the system has refused a connection, for instance because this
/// process has no file left.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// What the command shows at this moment. Clones show the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Mutex<Option<ProgressSender>>>);

impl Board {
    /// From now on this progress is shown.
    pub(crate) fn show(&self, progress: ProgressSender) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    fn said(&self, command: &str) -> Said {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let progress = shown.as_ref().map(ProgressSender::newest);
        let session = shown.as_ref().and_then(ProgressSender::session);
        Said::new(command, session, progress.as_ref(), &Workers::default().gauges())
    }
}

/// A socket that says what this process does, until it is dropped.
#[derive(Debug)]
#[must_use = "it says something while it lives"]
pub(crate) struct Announcement {
    _tasks: JoinSet<()>,
    socket: PathBuf,
}

impl Announcement {
    /// Listens below the data directory. Called inside the runtime.
    ///
    /// # Errors
    /// When there is no place for a socket.
    pub(crate) fn start(data_dir: &Path, command: &'static str, board: Board) -> io::Result<Self> {
        let place = Place::of(data_dir);
        place.make()?;
        let name = name_of(process::id());
        let unready = format!(".{name}");
        // What an earlier process of this number has left.
        match fs::remove_file(place.path(&unready)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let short = place.short(&unready)?;
        let listener = UnixListener::bind(&short.path)?;
        let socket = place.path(&name);
        fs::rename(place.path(&unready), &socket)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, command, board));
        tasks.spawn(clean(data_dir.to_owned()));
        Ok(Self { _tasks: tasks, socket })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // What stays is removed by whoever finds it.
        let _ = fs::remove_file(&self.socket);
    }
}

/// Removes what others have left: whoever looks does.
async fn clean(data_dir: PathBuf) {
    if let Err(error) = look(&data_dir).await {
        tracing::debug!(%error, "the sockets of others cannot be looked at");
    }
}

async fn serve(listener: UnixListener, command: &'static str, board: Board) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let said = board.said(command);
                if let Err(error) = time::timeout(WRITE_DEADLINE, say(stream, &said)).await {
                    tracing::debug!(%error, "a reader was too slow");
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no connection");
                time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

async fn say(mut stream: UnixStream, said: &Said) {
    let mut line = serde_json::to_vec(said).expect("invariant: text and numbers are JSON");
    line.push(b'\n');
    let written = async {
        stream.write_all(&line).await?;
        stream.shutdown().await
    };
    // Who is gone needs no answer.
    let _ = written.await;
}
