//! The paying account by itself: its chain without a network of peers.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use spillway_disk::{Disk, RealDisk, SystemClock};
use spillway_pay::{
    Chain, JournalError, PayError, PayTiming, Payments, PaymentsOptions, RpcChain, RpcOptions,
    SignedTx, TxJournal, Wallet, Withdrawn,
};
use spillway_types::{Domain, EvmAddress, NetworkId, RewardAddress};

use crate::ConnectError;

/// Which chain and vault.
#[derive(Clone, Debug)]
pub struct ChainOptions {
    /// Locks of wallets: the same for every data directory of this user.
    pub state_dir: PathBuf,
    /// Which network of peers is paid for.
    pub network: NetworkId,
    /// The chain's JSON-RPC.
    pub rpc_url: String,
    /// The chain that is expected; `None` takes the one that the RPC names.
    pub chain_id: Option<u64>,
    /// The vault.
    pub vault: EvmAddress,
}

/// Connects to the chain, and checks that it is the one that is meant and has the vault.
///
/// # Errors
/// The first thing that is not as it should be. Nothing was spent.
///
/// # Cancel safety
/// Dropping it leaves an empty directory at most.
pub async fn connect_chain(options: ChainOptions) -> Result<Arc<Payments>, ConnectError> {
    let wallet_locks: Arc<dyn Disk> = Arc::new(RealDisk::create(&options.state_dir)?);
    let chain: Arc<dyn Chain> = Arc::new(RpcChain::new(RpcOptions::new(options.rpc_url))?);
    let chain_id = match options.chain_id {
        Some(chain_id) => chain_id,
        None => chain.chain_id().await?,
    };
    let payments = Arc::new(Payments::new(PaymentsOptions {
        chain,
        domain: Domain { network: options.network, chain_id, vault: options.vault },
        token: None,
        clock: Arc::new(SystemClock),
        wallet_locks,
        timing: PayTiming::default(),
    }));
    payments.check_domain().await?;
    Ok(payments)
}

/// Takes out what the vault owes a payee; the wallet pays the gas.
///
/// # Errors
/// When the chain refuses or cannot be asked.
///
/// # Cancel safety
/// Dropping it may leave a withdrawal that was sent: it comes about, or it does not, and either
/// way nothing is lost.
///
/// # Cost
/// Gas.
pub async fn withdraw(
    payments: &Payments,
    wallet: &Wallet,
    payee: RewardAddress,
) -> Result<Withdrawn, PayError> {
    payments.withdraw(wallet, payee, &mut Forgets).await
}

/// Withdrawals, settlements and refunds need no journal: what was taken out is not there to be taken
/// out again, and the vault sends it to whom it belongs, whoever asks.
pub(crate) struct Forgets;

#[async_trait]
impl TxJournal for Forgets {
    async fn signed(&mut self, _tx: &SignedTx) -> Result<(), JournalError> {
        Ok(())
    }
}
