//! A local chain for test networks: the program `anvil` as a child process.
//!
//! Owns the process and one thread that reads its output. It ends when the [`Anvil`] is dropped or
//! shut down; only a SIGKILL of this process leaves it behind. Everything that it does not do by
//! itself goes through its own JSON-RPC methods.

mod find;

use std::{
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    thread::JoinHandle,
    time::Duration,
};

use alloy::{
    primitives::{B256, U64, U256},
    rpc::json_rpc::RpcSend,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use spillway_types::{EvmAddress, Retry, TxHash, Wei};
use tokio::sync::{oneshot, watch};

use crate::{Chain, ChainError, RpcChain, RpcOptions, contracts::address};

pub use find::FindOptions;

/// How long Anvil may take until it answers. It needs 0.1 s on an idle machine.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// How long it may take to end after SIGINT before it is killed.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// How long one of its answers may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// What it prints when it listens, before the address.
const LISTENING: &str = "Listening on ";

/// How it runs.
#[derive(Clone, Debug)]
pub struct AnvilOptions {
    /// The program itself, as [`Anvil::find`] finds it: never a wrapper, which would leave it
    /// behind.
    pub program: PathBuf,
    /// The chain's id.
    pub chain_id: u64,
    /// The port on 127.0.0.1; `None`: any free one.
    pub port: Option<u16>,
    /// A block at this pace; `None`: at once for every transaction.
    pub block_time: Option<Duration>,
    /// Slots of an epoch: the finalized block is two epochs behind the newest. `None`: Anvil's own
    /// 32, so 64 blocks.
    pub slots_in_an_epoch: Option<u64>,
    /// Where it may put old states when there are many; `None`: its own cache directory.
    pub cache_dir: Option<PathBuf>,
}

impl AnvilOptions {
    /// The chain id that Anvil has by itself.
    pub const CHAIN_ID: u64 = 31_337;

    /// This program, any port, a block for every transaction.
    pub fn new(program: PathBuf) -> Self {
        Self {
            program,
            chain_id: Self::CHAIN_ID,
            port: None,
            block_time: None,
            slots_in_an_epoch: None,
            cache_dir: None,
        }
    }
}

/// Why there is no Anvil.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnvilError {
    /// It is nowhere.
    #[error("anvil was not found")]
    NotFound {
        /// Where was looked.
        looked: Vec<PathBuf>,
    },
    /// There is something, but no program.
    #[error("{} is not the program anvil", path.display())]
    NotAProgram {
        /// Where.
        path: PathBuf,
    },
    /// It cannot be started.
    #[error("{} cannot be started", program.display())]
    Start {
        /// What.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended before it was ready; what it said last.
    #[error("anvil ended before it was ready: {said}")]
    Ended {
        /// Its last line.
        said: String,
    },
    /// It was not ready in time.
    #[error("anvil was not ready within {} s", after.as_secs())]
    NotReady {
        /// How long was waited.
        after: Duration,
    },
    /// It does not answer.
    #[error("anvil does not answer")]
    Rpc(#[from] ChainError),
}

impl AnvilError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotReady { .. } => Retry::Backoff,
            Self::Rpc(error) => error.retry(),
            _ => Retry::Never,
        }
    }
}

/// A running Anvil. It ends when this is dropped; [`Anvil::shutdown`] ends it gently.
#[must_use = "it ends when it is dropped"]
#[derive(Debug)]
pub struct Anvil {
    process: Process,
    rpc_url: String,
    rpc: RpcChain,
}

impl Anvil {
    /// Finds the program: the explicit path, or in `PATH`, or in `tools/node_modules`.
    ///
    /// # Errors
    /// [`AnvilError::NotFound`] with all places; [`AnvilError::NotAProgram`].
    pub fn find(options: &FindOptions) -> Result<PathBuf, AnvilError> {
        find::find(options)
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    ///
    /// # Cancel safety
    /// Dropping it ends the process.
    pub async fn start(options: AnvilOptions) -> Result<Self, AnvilError> {
        let (process, listening) = Process::start(&options)?;
        let late = AnvilError::NotReady { after: START_DEADLINE };
        let address = match tokio::time::timeout(START_DEADLINE, listening).await {
            Ok(Ok(Ok(address))) => address,
            Ok(Ok(Err(said))) => return Err(AnvilError::Ended { said }),
            Ok(Err(_)) => return Err(AnvilError::Ended { said: String::new() }),
            Err(_) => return Err(late),
        };
        let rpc_url = format!("http://{address}");
        let rpc = RpcChain::new(RpcOptions { url: rpc_url.clone(), timeout: ANSWER_DEADLINE })?;
        let found = rpc.chain_id().await?;
        if found != options.chain_id {
            let said = format!("chain {found} answers");
            return Err(AnvilError::Ended { said });
        }
        Ok(Self { process, rpc_url, rpc })
    }

    /// Where it answers.
    pub fn rpc_url(&self) -> &str {
        &self.rpc_url
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.process.id
    }

    /// Waits until it has ended by itself.
    ///
    /// # Cancel safety
    /// It may be dropped.
    pub async fn ended(&self) {
        let mut output = self.process.output.clone();
        while output.changed().await.is_ok() {}
    }

    /// Sets an account's coins.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn set_coins(&self, account: EvmAddress, coins: Wei) -> Result<(), ChainError> {
        self.control("anvil_setBalance", (address(account), U256::from(coins.0))).await
    }

    /// Mines this many blocks, a second apart.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn mine(&self, blocks: u64) -> Result<(), ChainError> {
        self.control("anvil_mine", (U64::from(blocks), U64::from(1))).await
    }

    /// Lets the chain's time jump forward; the next block has it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn advance(&self, by: Duration) -> Result<(), ChainError> {
        self.control("evm_increaseTime", (by.as_secs(),)).await
    }

    /// Whether transactions are mined at once.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn set_automine(&self, on: bool) -> Result<(), ChainError> {
        self.control("evm_setAutomine", (on,)).await
    }

    /// Takes the newest blocks back and puts empty ones in their place; their transactions are
    /// gone.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn reorg(&self, depth: u64) -> Result<(), ChainError> {
        self.control("anvil_reorg", (depth, json!([]))).await
    }

    /// Forgets a waiting transaction.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn drop_transaction(&self, hash: TxHash) -> Result<(), ChainError> {
        self.control("anvil_dropTransaction", (B256::new(hash.0),)).await
    }

    /// Ends it and waits until it is gone.
    ///
    /// # Errors
    /// When the system does not say that it is gone.
    ///
    /// # Cancel safety
    /// Dropping it leaves the process to a thread that waits for its end.
    pub async fn shutdown(self) -> io::Result<()> {
        self.process.shutdown().await
    }

    async fn control(&self, method: &'static str, params: impl RpcSend) -> Result<(), ChainError> {
        self.rpc.read::<_, Option<Value>>(method, params).await.map(drop)
    }
}

/// The child process. Dropping it kills and reaps it.
#[derive(Debug)]
struct Process {
    id: u32,
    child: Option<Child>,
    reader: Option<JoinHandle<()>>,
    /// Closed when its output ends, which only its own end does.
    output: watch::Receiver<()>,
}

/// The address that it listens on, or its last line when it ended.
type Listening = oneshot::Receiver<Result<String, String>>;

impl Process {
    fn start(options: &AnvilOptions) -> Result<(Self, Listening), AnvilError> {
        let mut command = Command::new(&options.program);
        command
            .args(["--host", "127.0.0.1", "--color", "never"])
            .args(["--chain-id", &options.chain_id.to_string()])
            .args(["--port", &options.port.unwrap_or(0).to_string()])
            // An accidental Ctrl-C in the terminal must not take the chain away from under a
            // network that is shutting down.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(pace) = options.block_time {
            command.args(["--block-time", &pace.as_secs_f64().to_string()]);
        }
        if let Some(slots) = options.slots_in_an_epoch {
            command.args(["--slots-in-an-epoch", &slots.to_string()]);
        }
        if let Some(dir) = &options.cache_dir {
            command.arg("--cache-path").arg(dir);
        }
        let failed = |source| AnvilError::Start { program: options.program.clone(), source };
        let mut child = command.spawn().map_err(failed)?;
        let stdout = child.stdout.take();
        let (open, output) = watch::channel(());
        let mut process = Self { id: child.id(), child: Some(child), reader: None, output };
        let stdout = stdout.ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        let (sender, listening) = oneshot::channel();
        let reader = std::thread::Builder::new()
            .name("anvil-output".into())
            .spawn(move || {
                read_output(stdout, sender);
                drop(open);
            })
            .map_err(failed)?;
        process.reader = Some(reader);
        Ok((process, listening))
    }

    async fn shutdown(mut self) -> io::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        signal(&child, Signal::INT);
        let pid = Pid::from_child(&child);
        let mut gone = tokio::task::spawn_blocking(move || child.wait());
        let ended = if let Ok(ended) = tokio::time::timeout(END_DEADLINE, &mut gone).await {
            ended
        } else {
            // Not reaped yet, so the number is still its own. If it is gone, all the better.
            let _ = kill_process(pid, Signal::KILL);
            gone.await
        };
        ended.map_err(io::Error::other)?.map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; then there is only its number to give back.
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(reader) = self.reader.take() {
            // Its output has ended, so the thread has; it cannot panic.
            let _ = reader.join();
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    // An error says that it has ended: that is what is wanted.
    let _ = kill_process(Pid::from_child(child), signal);
}

/// Reads the child's output to its end, so that it never waits for us; tells where it listens.
fn read_output(output: ChildStdout, sender: oneshot::Sender<Result<String, String>>) {
    let mut sender = Some(sender);
    let mut last = String::new();
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        if let Some(address) = line.trim().strip_prefix(LISTENING) {
            if let Some(sender) = sender.take() {
                // Nobody waits when the start was given up.
                let _ = sender.send(Ok(address.trim().to_owned()));
            }
        } else if sender.is_some() && !line.trim().is_empty() {
            last = line.chars().take(200).collect();
        }
    }
    if let Some(sender) = sender {
        let _ = sender.send(Err(last));
    }
}
