use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use spillway_client::{
    Address, Approve, ChainOptions, ConnectOptions, Connected, Disk, DiskError, Payments,
    ProgressSender, RealDisk, Source, StreamSource, UploadError, connect_chain,
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    args::Globals,
    config::{Environment, Layer, Settings},
    exit::{Failure, Of, is_declined},
    local,
    render::{Console, Nobody, ProgressView, Prompt},
    running::{Announcement, Board},
    signals::{Signals, Stop},
};

/// Bytes of a secret, at most: it is a pass phrase or a key, not a document.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// What every command has.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) console: Console,
    pub(crate) environment: Environment,
    /// Cancelled at the first signal.
    pub(crate) stop: CancellationToken,
    now: CancellationToken,
    config: Option<PathBuf>,
    /// The word of the command.
    command: &'static str,
    /// What is shown to those who ask this process.
    board: Board,
    announcement: OnceLock<Announcement>,
    _signals: Signals,
}

impl Context {
    /// Waits for signals from here on. Called inside the runtime.
    pub(crate) fn new(
        globals: Globals,
        command: &'static str,
        environment: Environment,
        console: Console,
    ) -> Result<Self, Failure> {
        let stop = Stop::default();
        let signals = Signals::watch(stop.clone(), console.clone())?;
        let (stop, now) = (stop.soon, stop.now);
        Ok(Self {
            console,
            environment,
            stop,
            now,
            config: globals.config,
            command,
            board: Board::default(),
            announcement: OnceLock::new(),
            _signals: signals,
        })
    }

    /// Runs a whole command; the second signal drops it.
    pub(crate) async fn unless_ended(
        &self,
        command: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = self.now.cancelled() => Err(Failure::interrupted()),
            result = command => result,
        }
    }

    /// All levels of settings, with these flags.
    pub(crate) fn settings(&self, flags: Layer) -> Result<Settings, Failure> {
        Settings::load(flags, &self.environment, self.config.as_deref())
    }

    /// Joins the network.
    pub(crate) async fn connect(&self, settings: &Settings) -> Result<Connected, Failure> {
        self.connect_to(settings, settings.bootstrap()?).await
    }

    /// Joins the network by way of these peers.
    pub(crate) async fn connect_to(
        &self,
        settings: &Settings,
        bootstrap: Vec<Address>,
    ) -> Result<Connected, Failure> {
        let data_dir = settings.data_dir()?;
        let options = ConnectOptions {
            data_dir: data_dir.clone(),
            state_dir: settings.state_dir()?,
            network: settings.network(),
            bootstrap,
            rpc_url: settings.rpc_url()?,
            chain_id: settings.chain_id(),
            vault: settings.vault()?,
            stop: self.stop.clone(),
        };
        let connected = self.until_stopped(Box::pin(Connected::connect(options))).await?;
        self.announce(&data_dir);
        Ok(connected)
    }

    /// From here on, until the program ends, this process says what it does to whoever asks.
    fn announce(&self, data_dir: &Path) {
        if self.announcement.get().is_some() {
            return;
        }
        match Announcement::start(data_dir, self.command, self.board.clone()) {
            Ok(announcement) => drop(self.announcement.set(announcement)),
            Err(error) => tracing::warn!(%error, "`spillway status` cannot say what is under way"),
        }
    }

    /// Shows the progress of what begins now: here, and to those who ask this process.
    pub(crate) fn progress(&self) -> (ProgressView, ProgressSender) {
        let (view, progress) = ProgressView::start(&self.console);
        self.board.show(progress.clone());
        (view, progress)
    }

    /// The vault and its chain, without the network.
    pub(crate) async fn chain(&self, settings: &Settings) -> Result<Arc<Payments>, Failure> {
        let options = ChainOptions {
            state_dir: settings.state_dir()?,
            network: settings.network(),
            rpc_url: settings.rpc_url()?,
            chain_id: settings.chain_id(),
            vault: settings.vault()?,
        };
        self.until_stopped(Box::pin(connect_chain(options))).await
    }

    /// Where uploads are remembered. `None` when nothing was ever uploaded from here: looking does
    /// not make the directory.
    pub(crate) fn data(settings: &Settings) -> Result<Option<Arc<dyn Disk>>, Failure> {
        match RealDisk::open(&settings.data_dir()?) {
            Ok(disk) => Ok(Some(Arc::new(disk))),
            Err(DiskError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for something that is of no use any more when the program is asked to stop.
    pub(crate) async fn until_stopped<T, E: Into<Failure>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Failure::interrupted()),
            result = work => result.map_err(Into::into),
        }
    }

    /// Who approves the price: nobody with `--yes`, else the person at the terminal.
    ///
    /// # Errors
    /// When there is neither: nothing is paid that nobody said yes to.
    pub(crate) fn approval(
        &self,
        yes: bool,
        reads_stdin: bool,
    ) -> Result<Option<Arc<dyn Approve>>, Failure> {
        if yes {
            return Ok(None);
        }
        if reads_stdin || !self.console.can_ask() {
            return Err(Failure::nobody_to_ask());
        }
        Ok(Some(self.prompt(None)))
    }

    /// The same for an upload that is gone on with, which `of` names. What is paid needs no answer, so
    /// where nobody can be asked it goes on, and the answer is no.
    pub(crate) fn approval_of(&self, yes: bool, of: String) -> Option<Arc<dyn Approve>> {
        match (yes, self.console.can_ask()) {
            (true, _) => None,
            (false, true) => Some(self.prompt(Some(of))),
            (false, false) => Some(Arc::new(Nobody)),
        }
    }

    fn prompt(&self, of: Option<String>) -> Arc<dyn Approve> {
        Arc::new(Prompt { console: self.console.clone(), stop: self.stop.clone(), of })
    }

    /// Why an upload failed.
    pub(crate) fn upload_failure(&self, error: &UploadError, of: Of<'_>) -> Failure {
        let is_unasked = is_declined(error) && !self.console.can_ask();
        let failure = Failure::of_upload(error, of);
        if is_unasked { failure.unasked() } else { failure }
    }

    /// What is uploaded.
    pub(crate) fn source(path: &Path) -> Result<Source, Failure> {
        if local::is_stream(path) {
            let stdin: Box<dyn Read + Send> = Box::new(std::io::stdin());
            return Ok(Source::Stream(StreamSource(stdin)));
        }
        let (disk, path) = local::readable(path)?;
        Ok(Source::Path { disk, path })
    }

    /// The bytes of a secret.
    pub(crate) fn secret(path: Option<&Path>) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let Some(path) = path else { return Ok(None) };
        let secret = Zeroizing::new(local::read(path, MAX_SECRET_BYTES)?);
        if secret.is_empty() {
            return Err(Failure::usage(format!("the secret in {} is empty", path.display()))
                .hint("leave --secret-file out for no secret"));
        }
        Ok(Some(secret))
    }
}
