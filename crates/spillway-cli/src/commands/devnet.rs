use std::{
    env, fs,
    io::{self, Read},
    mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use spillway_client::{Disk, DiskError, FileLock, Mode as FileMode};
use spillway_testnet::{Anvil, FindOptions, Manifest, Testnet, TestnetOptions, Windows};
use spillway_types::limits::MIN_UPLOAD_WINDOW;
use zeroize::Zeroizing;

use super::Context;
use crate::{
    args::{Devnet, DevnetTimes},
    exit::{Code, Failure},
    local::Output,
    render::{Report, Text},
};

/// Bytes of a file that may be an old manifest, at most. A node takes about 200.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Printed when the network is ready.
#[derive(Debug, Serialize)]
struct Ready {
    nodes: usize,
    manifest: String,
    rpc_url: String,
    chain_id: u64,
    vault: String,
    epoch_seconds: u64,
    min_window_seconds: u64,
    max_window_seconds: u64,
    draw_delay_seconds: u64,
    claim_window_seconds: u64,
}

/// `devnet`: until a signal, or until the chain ends by itself. Then it removes what it made: the manifest, what is below the
/// data directory, and that itself if it made it.
pub(super) async fn run(context: &Context, args: &Devnet) -> Result<(), Failure> {
    check(&args.times)?;
    let anvil = find_anvil(context, args)?;
    let manifest = Output::check(&args.manifest, true)?;
    let _claim = Claim::take(&manifest)?;
    remove_left_over(&args.manifest)?;
    let data_dir = DataDir::make(&args.data_dir)?;
    let result = run_in(context, args, anvil, &manifest).await;
    // What went wrong first is what is said.
    result.and(data_dir.remove())
}

async fn run_in(
    context: &Context,
    args: &Devnet,
    anvil: PathBuf,
    manifest: &Output,
) -> Result<(), Failure> {
    let nodes = usize::from(args.nodes);
    context.console.note(format_args!("Starting a chain and {nodes} nodes …"));
    let times = &args.times;
    let options = TestnetOptions {
        nodes,
        windows: Windows {
            min: times.min_window,
            max: times.max_window,
            draw_delay: times.draw_delay,
            claim: times.claim_window,
        },
        epoch: times.epoch,
        token_rate: Some(times.token_rate.unwrap_or(TestnetOptions::TOKEN_RATE)),
        ..TestnetOptions::new(args.data_dir.clone(), anvil)
    };
    let testnet = context.until_stopped(Box::pin(Testnet::start(options))).await?;
    let result = serve(context, &testnet, manifest, times).await;
    let ended = testnet.shutdown().await.map_err(Failure::from);
    result.and(ended)
}

/// What no vault takes, or no client.
fn check(times: &DevnetTimes) -> Result<(), Failure> {
    if times.claim_window <= times.epoch {
        let (claim, epoch) = (times.claim_window.as_secs(), times.epoch.as_secs());
        let message =
            format!("a claim window of {claim} s can miss seeds that come every {epoch} s");
        return Err(
            Failure::usage(message).hint("say a longer --claim-window or a shorter --epoch")
        );
    }
    if times.max_window < 2 * times.min_window {
        let (max, min) = (times.max_window.as_secs(), times.min_window.as_secs());
        let message =
            format!("a longest window of {max} s is less than twice the shortest of {min} s");
        return Err(
            Failure::usage(message).hint("say a longer --max-window or a shorter --min-window")
        );
    }
    Ok(())
}

/// Says how to reach the network, waits, and takes it back.
async fn serve(
    context: &Context,
    testnet: &Testnet,
    file: &Output,
    times: &DevnetTimes,
) -> Result<(), Failure> {
    let manifest = testnet.manifest();
    let mut json = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| Failure::new(Code::Failure, format!("cannot encode: {error}")))?;
    json.push(b'\n');
    // Readable by its owner only: it holds a key.
    file.write(&json, FileMode::Private)?;
    let written = Written { path: &file.path, json: Zeroizing::new(json), is_there: true };
    let ready = ready(testnet, &manifest, file, times);
    let said = context.console.summary(&ready, &text(&manifest, file, times));
    let ended = match said {
        Ok(()) => wait(context, testnet).await,
        Err(failure) => Err(failure),
    };
    ended.and(written.remove())
}

/// Until somebody asks to stop.
async fn wait(context: &Context, testnet: &Testnet) -> Result<(), Failure> {
    tokio::select! {
        biased;
        () = context.stop.cancelled() => Ok(()),
        () = testnet.anvil().ended() => {
            Err(Failure::new(Code::Failure, "anvil has ended").hint("start the network anew"))
        }
    }
}

/// The manifest in its place. It goes when this is dropped, if nobody has replaced it.
#[derive(Debug)]
struct Written<'a> {
    path: &'a Path,
    json: Zeroizing<Vec<u8>>,
    is_there: bool,
}

impl Written<'_> {
    fn remove(mut self) -> Result<(), Failure> {
        self.try_remove().map_err(|error| {
            let message = format!("cannot remove {}: {error}", self.path.display());
            Failure::new(Code::Failure, message)
        })
    }

    /// Another network's manifest stays; each has a key of its own, so no two are equal.
    fn try_remove(&mut self) -> io::Result<()> {
        if !mem::take(&mut self.is_there) {
            return Ok(());
        }
        let mut found = Zeroizing::new(Vec::new());
        let limit = self.json.len() as u64 + 1;
        let read = fs::File::open(self.path)
            .and_then(|file| file.take(limit).read_to_end(&mut found))
            .and_then(|_| if *found == *self.json { fs::remove_file(self.path) } else { Ok(()) });
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        // Dropped only when there is no time: nobody is there to be told.
        let _ = self.try_remove();
    }
}

fn ready(testnet: &Testnet, manifest: &Manifest, file: &Output, times: &DevnetTimes) -> Ready {
    Ready {
        nodes: testnet.nodes(),
        manifest: file.path.display().to_string(),
        rpc_url: manifest.rpc_url.clone(),
        chain_id: manifest.chain_id,
        vault: manifest.vault.clone(),
        epoch_seconds: times.epoch.as_secs(),
        min_window_seconds: times.min_window.as_secs(),
        max_window_seconds: times.max_window.as_secs(),
        draw_delay_seconds: times.draw_delay.as_secs(),
        claim_window_seconds: times.claim_window.as_secs(),
    }
}

fn text(manifest: &Manifest, file: &Output, times: &DevnetTimes) -> Text {
    let mut report = Report::default();
    report.line(format_args!("Ready: the chain answers at {}.", manifest.rpc_url));
    report.line(format_args!(
        "Use it with --devnet {}; Ctrl-C ends it and removes what it made.",
        file.path.display()
    ));
    let longest = longest_wait(times);
    let secs = longest.as_secs();
    if longest <= SOON {
        report.line(format_args!(
            "Batches can be settled {secs} s after they were paid at the latest."
        ));
    } else {
        let url = &manifest.rpc_url;
        report.line(format_args!(
            "To see a batch settled soon, let the chain's time jump after the upload:\n  cast rpc \
             --rpc-url {url} evm_increaseTime {secs}; cast rpc --rpc-url {url} evm_mine\nor start \
             with short times, for uploads of up to 100 MB:\n  {SHORT_TIMES}"
        ));
    }
    Text { report: report.text(), result: String::new() }
}

/// How long somebody waits for a settlement without being told how to have it sooner.
const SOON: Duration = Duration::from_mins(15);
/// Times with which a batch is settled while one watches. Clients use nine tenths of the longest window
/// and reckon with a MiB a second for five copies: 540 s × 1 MiB / 5 are 113 MB.
const SHORT_TIMES: &str =
    "--min-window 1s --max-window 10m --draw-delay 1s --epoch 10s --claim-window 5m";

/// From the payment to the seed, at most: an upload takes 24 hours or the longest window, and the
/// seed comes with the first epoch after the delay.
fn longest_wait(times: &DevnetTimes) -> Duration {
    times.max_window.min(MIN_UPLOAD_WINDOW) + times.draw_delay + times.epoch
}

fn find_anvil(context: &Context, args: &Devnet) -> Result<PathBuf, Failure> {
    let explicit = args.anvil.clone().or_else(|| context.environment.anvil.clone());
    let options = FindOptions {
        explicit,
        path_var: context.environment.path.clone(),
        start_dir: env::current_dir().ok(),
    };
    Ok(Anvil::find(&options)?)
}

/// The sole right to a manifest's path while a network runs: a lock on `FILE.lock` beside it. What a
/// network that was killed has left locks nobody out.
#[derive(Debug)]
struct Claim {
    disk: Arc<dyn Disk>,
    name: PathBuf,
    _lock: Box<dyn FileLock>,
}

impl Claim {
    fn take(manifest: &Output) -> Result<Self, Failure> {
        let mut name = manifest.name.clone().into_os_string();
        name.push(".lock");
        let (disk, name) = (manifest.disk.clone(), PathBuf::from(name));
        match disk.lock(&name) {
            Ok(lock) => Ok(Self { disk, name, _lock: lock }),
            Err(DiskError::Locked { .. }) => {
                let path = manifest.path.display();
                let message = format!("{path} is the manifest of a test network that runs");
                let hint = "choose another --manifest, or end that network first";
                Err(Failure::new(Code::Locked, message).hint(hint))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Still held, so it is nobody else's. Something with contents was not made here.
        if self.disk.stat(&self.name).is_ok_and(|file| file.len == 0) {
            let _ = self.disk.remove_file(&self.name);
        }
    }
}

/// Removes an old manifest, which a network that was killed has left, now: who waits for the new one
/// must not find it.
fn remove_left_over(path: &Path) -> Result<(), Failure> {
    let is_left_over = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => false,
        Ok(file) if file.len() == 0 => file.is_file(),
        Ok(file) => {
            file.len() <= MAX_MANIFEST_BYTES
                && fs::read(path)
                    .is_ok_and(|bytes| serde_json::from_slice::<Manifest>(&bytes).is_ok())
        }
    };
    if !is_left_over {
        let message = format!("{} exists and is no manifest", path.display());
        return Err(Failure::new(Code::Failure, message).hint("choose another --manifest"));
    }
    fs::remove_file(path).map_err(|error| {
        let message = format!("cannot replace the manifest {}: {error}", path.display());
        Failure::new(Code::Failure, message).hint("choose another --manifest")
    })
}

/// The directory for the network's files.
#[derive(Debug)]
struct DataDir<'a> {
    path: &'a Path,
    made: bool,
}

impl<'a> DataDir<'a> {
    fn make(path: &'a Path) -> Result<Self, Failure> {
        let made = !path.exists();
        fs::create_dir_all(path).map_err(|error| {
            let message = format!("cannot make the directory {}: {error}", path.display());
            Failure::new(Code::Failure, message).hint("choose another --data-dir")
        })?;
        Ok(Self { path, made })
    }

    /// Removes the directory if it was made here and nobody else put something in it.
    fn remove(mut self) -> Result<(), Failure> {
        self.try_remove().map_err(|error| {
            let message = format!("cannot remove {}: {error}", self.path.display());
            Failure::new(Code::Failure, message)
        })
    }

    fn try_remove(&mut self) -> io::Result<()> {
        if !mem::take(&mut self.made) {
            return Ok(());
        }
        match fs::remove_dir(self.path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => other,
        }
    }
}

impl Drop for DataDir<'_> {
    fn drop(&mut self) {
        // Dropped only when there is no time: nobody is there to be told.
        let _ = self.try_remove();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use spillway_types::limits::CLOSE_GROUP;

    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn the_short_times_that_are_named_hold_what_is_said() {
        let words = "spillway devnet --data-dir network --manifest devnet.json".split(' ');
        let cli = Cli::try_parse_from(words.chain(SHORT_TIMES.split(' '))).unwrap();
        let Command::Devnet(Devnet { times, .. }) = cli.command else { panic!("{cli:?}") };
        check(&times).unwrap();
        // Nobody who follows the advice is given it again.
        assert!(longest_wait(&times) <= SOON);
        let seconds = times.max_window.as_secs() * 9 / 10;
        assert!(seconds * 1_048_576 / CLOSE_GROUP as u64 >= 100_000_000);
    }
}
