use std::{path::PathBuf, sync::Arc};

use spillway_disk::{Disk, DiskError, RealDisk, SystemClock};
use spillway_net::{Address, Net, NetError, NetOptions, Traffic};
use spillway_pay::{ChainError, PayError, Payments};
use spillway_types::{EvmAddress, NetworkId, PeerSecret, Retry};
use tokio_util::sync::CancellationToken;

use crate::{ChainOptions, Client, ClientParts, UnreadableSession, Workers, connect_chain};

/// The name of the network when no other is named, test networks included: those are kept apart by
/// their chain and vault.
pub const DEFAULT_NETWORK: &str = "spillway";

/// Where a client connects to, and where it keeps its state.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Sessions and spill.
    pub data_dir: PathBuf,
    /// Locks of wallets: the same for every data directory of this user.
    pub state_dir: PathBuf,
    /// Which network.
    pub network: NetworkId,
    /// Peers to begin with.
    pub bootstrap: Vec<Address>,
    /// The chain's JSON-RPC.
    pub rpc_url: String,
    /// The chain that is expected; `None` takes the one that the RPC names.
    pub chain_id: Option<u64>,
    /// The vault.
    pub vault: EvmAddress,
    /// Cancelled when the process is asked to stop.
    pub stop: CancellationToken,
}

/// Why a client could not be connected. Nothing was spent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A directory of ours cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The network cannot be reached.
    #[error(transparent)]
    Network(#[from] NetError),
    /// The chain cannot be asked.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It is another chain, or has no vault.
    #[error(transparent)]
    Payments(#[from] PayError),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

impl ConnectError {
    /// Whether the same call may work later.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Disk(error) => error.retry(),
            Self::Network(error) => error.retry(),
            Self::Chain(error) => error.retry(),
            Self::Payments(error) => error.retry(),
            Self::NoRandomness => Retry::Never,
        }
    }
}

/// A client on a real network, chain and disk.
#[derive(Debug)]
#[must_use = "shut it down, or its connections break off"]
pub struct Connected {
    client: Client,
    payments: Arc<Payments>,
    net: Net,
}

impl Connected {
    /// Opens the directories, asks the chain for its id and vault, and joins the network.
    ///
    /// # Errors
    /// The first thing that is not as it should be: directories, then chain, then network.
    ///
    /// # Cancel safety
    /// Dropping it leaves empty directories at most.
    pub async fn connect(options: ConnectOptions) -> Result<Self, ConnectError> {
        let data: Arc<dyn Disk> = Arc::new(RealDisk::create(&options.data_dir)?);
        let payments = connect_chain(ChainOptions {
            state_dir: options.state_dir,
            network: options.network,
            rpc_url: options.rpc_url,
            chain_id: options.chain_id,
            vault: options.vault,
        })
        .await?;
        let secret = PeerSecret::generate().map_err(|_| ConnectError::NoRandomness)?;
        let net = Net::start(NetOptions::client(secret, options.bootstrap)).await?;
        net.bootstrapped().await?;
        let parts = ClientParts {
            data,
            clock: Arc::new(SystemClock),
            peers: net.peers(),
            payments: Arc::clone(&payments),
            domain: *payments.domain(),
            stop: options.stop,
            workers: Workers::default(),
        };
        let client = Client::new(parts);
        match client.reap().await {
            Ok(reaped) => {
                for UnreadableSession { session, why } in reaped.unreadable {
                    tracing::warn!(%session, %why, "it is kept, and every spill with it");
                }
            }
            Err(error) => tracing::warn!(%error, "what crashes have left was not looked for"),
        }
        Ok(Self { client, payments, net })
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The vault and its chain.
    pub fn payments(&self) -> &Arc<Payments> {
        &self.payments
    }

    /// Bytes that went over the network.
    pub fn traffic(&self) -> Traffic {
        self.net.traffic()
    }

    /// Leaves the network.
    pub async fn shutdown(self) {
        self.net.shutdown().await;
    }
}
