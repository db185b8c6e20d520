//! A local chain for test networks: the program `anvil` as a child process.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use spillway_types::{EvmAddress, TxHash, Wei};

use crate::ChainError;

/// Where to look for the program.
#[derive(Clone, Debug, Default)]
pub struct FindOptions {
    /// Exactly here, and nowhere else.
    pub explicit: Option<PathBuf>,
    /// The value of `PATH`.
    pub path_var: Option<OsString>,
    /// From this directory upward, in `tools/node_modules`.
    pub start_dir: Option<PathBuf>,
}

/// How it runs.
#[derive(Clone, Debug)]
pub struct AnvilOptions {
    /// The program itself, as [`Anvil::find`] finds it: never a wrapper, which would leave it behind.
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
    /// It ended before it was ready.
    #[error("anvil ended before it was ready")]
    Ended,
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

/// A running Anvil. It ends when this is dropped; [`Anvil::shutdown`] ends it gently.
#[must_use = "it ends when it is dropped"]
#[derive(Debug)]
pub struct Anvil {
    rpc_url: String,
}

impl Anvil {
    /// Finds the program: the explicit path, or in `PATH`, or in `tools/node_modules`.
    ///
    /// # Errors
    /// [`AnvilError::NotFound`] with all places; [`AnvilError::NotAProgram`].
    pub fn find(options: &FindOptions) -> Result<PathBuf, AnvilError> {
        unimplemented!("{options:?}")
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start(options: AnvilOptions) -> Result<Self, AnvilError> {
        unimplemented!("{options:?}")
    }

    /// Where it answers.
    pub fn rpc_url(&self) -> &str {
        &self.rpc_url
    }

    /// Sets an account's coins.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn set_coins(&self, account: EvmAddress, coins: Wei) -> Result<(), ChainError> {
        unimplemented!("{account}{coins}")
    }

    /// Mines this many blocks.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn mine(&self, blocks: u64) -> Result<(), ChainError> {
        unimplemented!("{blocks}")
    }

    /// Lets the chain's time jump forward; the next block has it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn advance(&self, by: Duration) -> Result<(), ChainError> {
        unimplemented!("{by:?}")
    }

    /// Whether transactions are mined at once.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn set_automine(&self, on: bool) -> Result<(), ChainError> {
        unimplemented!("{on}")
    }

    /// Takes the newest blocks back; their transactions are gone.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn reorg(&self, depth: u64) -> Result<(), ChainError> {
        unimplemented!("{depth}")
    }

    /// Forgets a waiting transaction.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn drop_transaction(&self, hash: TxHash) -> Result<(), ChainError> {
        unimplemented!("{hash}")
    }

    /// Ends it and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub async fn shutdown(self) -> io::Result<()> {
        unimplemented!("{}", Path::new("").display())
    }
}
