use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use fastrand::Rng;
use spillway_disk::{Clock, MemoryDisk, SystemClock};
use spillway_pay::{
    ASSUMED_UPLOAD_RATE, Anvil, AnvilOptions, At, BatchInput, Caps, Chain, CommitChoice,
    DeployOptions, Deployed, Deployer, JournalError, PayRequest, PayTiming, Payments,
    PaymentsOptions, Plan, PlanInput, RpcChain, RpcOptions, SignedTx, TxJournal, TxPurpose, Wallet,
    Windows, plan_batches,
};
use spillway_types::{
    Atto, ChunkAddress, Domain, Leaf, NetworkId, RewardAddress, Share, TokenRate, UnixTime, Wei,
    limits,
};
use tokio::sync::Mutex;

/// The times of a vault in production.
pub(super) const WINDOWS: Windows = Windows {
    min: Duration::from_mins(15),
    max: Duration::from_hours(14 * 24),
    draw_delay: Duration::from_mins(15),
    claim: Duration::from_hours(30 * 24),
};
pub(super) const EPOCH: Duration = Duration::from_hours(24);

/// All tokens there are, and what the payer gets of them.
pub(super) const SUPPLY: Atto = Atto(1 << 100);
const PAYER_TOKENS: Atto = Atto(1 << 99);
const COINS: Wei = Wei(1_000_000_000_000_000_000_000);

/// What a draw's settling pays; prices are 2 to 4 times as much a share.
const TIP: Atto = Atto(500_000_000_000_000);

/// Payees that have been paid before.
const HOLDERS: usize = 1_000;

/// A chain with token, beacon and vault, and money in the right hands.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) anvil: Anvil,
    pub(super) chain: Arc<RpcChain>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) deployer: Wallet,
    pub(super) payer: Wallet,
    pub(super) settler: Wallet,
    pub(super) deployed: Deployed,
    pub(super) payments: Payments,
    holders: Vec<RewardAddress>,
    rng: Mutex<Rng>,
}

/// Everything that was signed.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) signed: Vec<SignedTx>,
}

#[async_trait]
impl TxJournal for Journal {
    async fn signed(&mut self, tx: &SignedTx) -> Result<(), JournalError> {
        self.signed.push(tx.clone());
        Ok(())
    }
}

/// Transactions together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) gas: u64,
    pub(super) transactions: usize,
    pub(super) calldata_bytes: usize,
}

impl Stage {
    pub(super) async fn start(program: PathBuf) -> Result<Self> {
        let anvil = Anvil::start(AnvilOptions::new(program)).await?;
        let chain = Arc::new(RpcChain::new(RpcOptions::new(anvil.rpc_url()))?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let wallet = |key: u8| Wallet::from_bytes(&[key; 32]);
        let (deployer, payer, settler) = (wallet(1)?, wallet(2)?, wallet(3)?);
        for wallet in [&deployer, &payer, &settler] {
            anvil.set_coins(wallet.address(), COINS).await?;
        }
        let hands = Deployer {
            chain: Arc::<RpcChain>::clone(&chain),
            clock: Arc::clone(&clock),
            wallet: &deployer,
        };
        let options = DeployOptions { windows: WINDOWS, epoch: EPOCH, supply: SUPPLY };
        let deployed = hands.deploy(options).await?;
        hands.send_tokens(deployed.token, payer.address(), PAYER_TOKENS).await?;
        // Whoever settles for tips has tokens already.
        hands.send_tokens(deployed.token, settler.address(), Atto(1)).await?;
        let mut rng = Rng::with_seed(1);
        let holders = (0..HOLDERS).map(|_| RewardAddress(random(&mut rng))).collect();
        let payments = payments(&chain, &clock, deployed);
        let rng = Mutex::new(rng);
        let stage = Self {
            anvil,
            chain,
            clock,
            deployer,
            payer,
            settler,
            deployed,
            payments,
            holders,
            rng,
        };
        stage.pay_all_holders().await?;
        Ok(stage)
    }

    pub(super) async fn shutdown(self) -> Result<()> {
        self.anvil.shutdown().await.context("anvil does not end")
    }

    /// So that every one of them has been paid before.
    async fn pay_all_holders(&self) -> Result<()> {
        let leaves = self.leaves_of(&self.holders).await;
        let plans = spillway_pay::plan_direct(self.input(leaves).await?)?;
        self.pay(&plans, CommitChoice::Together).await.map(drop)
    }

    /// Leaves with payees at random.
    pub(super) async fn leaves(&self, count: usize) -> Vec<Leaf> {
        let payees: Vec<RewardAddress> = {
            let mut rng = self.rng.lock().await;
            (0..count * limits::CLOSE_GROUP).map(|_| self.holders[rng.usize(..HOLDERS)]).collect()
        };
        self.leaves_of(&payees).await
    }

    /// Leaves that pay these, five each.
    pub(super) async fn leaves_of(&self, payees: &[RewardAddress]) -> Vec<Leaf> {
        let mut rng = self.rng.lock().await;
        payees
            .as_chunks::<{ limits::CLOSE_GROUP }>()
            .0
            .iter()
            .map(|payees| Leaf {
                address: ChunkAddress(random(&mut rng)),
                shares: payees
                    .map(|payee| Share { payee, amount: Atto(rng.u128(2 * TIP.0..4 * TIP.0)) }),
            })
            .collect()
    }

    pub(super) async fn input(&self, leaves: Vec<Leaf>) -> Result<PlanInput> {
        let now = self.now().await?;
        Ok(PlanInput {
            domain: *self.payments.domain(),
            payer: self.payer.address(),
            leaves,
            now,
            first_expiry: now.saturating_add(limits::QUOTE_LIFETIME),
            upload_bytes: 0,
            upload_rate: ASSUMED_UPLOAD_RATE,
            min_window: WINDOWS.min,
            max_window: WINDOWS.max,
        })
    }

    /// Batches as the planner makes them.
    pub(super) async fn batches(&self, leaves: Vec<Leaf>, max_leaves: usize) -> Result<Vec<Plan>> {
        let batch = BatchInput {
            max_leaves,
            min_tip: TIP,
            max_prize: Atto::MAX_SHARE,
            beacon: self.chain.beacon(self.deployed.vault).await?,
        };
        Ok(plan_batches(self.input(leaves).await?, batch)?)
    }

    /// Pays plans of the payer.
    pub(super) async fn pay(&self, plans: &[Plan], commit: CommitChoice) -> Result<Journal> {
        let mut journal = Journal::default();
        let request = PayRequest {
            plans,
            wallet: &self.payer,
            earlier: &[],
            caps: Caps::default(),
            confirmations: 0,
            commit,
        };
        self.payments.pay(request, &mut journal).await?;
        Ok(journal)
    }

    /// What the transactions of these purposes used.
    pub(super) async fn used(
        &self,
        journal: &Journal,
        purpose: impl Fn(&TxPurpose) -> bool,
    ) -> Result<Used> {
        let mut used = Used::default();
        for tx in journal.signed.iter().filter(|tx| purpose(&tx.purpose)) {
            let receipt = self.chain.receipt(tx.hash).await?.context("a mined transaction")?;
            anyhow::ensure!(receipt.success, "{:?} failed", tx.purpose);
            used.gas += receipt.gas_used;
            used.transactions += 1;
            used.calldata_bytes += tx.calldata().len();
        }
        Ok(used)
    }

    pub(super) fn hands<'a>(&self, wallet: &'a Wallet) -> Deployer<'a> {
        let chain = Arc::<RpcChain>::clone(&self.chain);
        Deployer { chain, clock: Arc::clone(&self.clock), wallet }
    }

    /// What a token is worth to nodes that ask for [`TIP`] a draw at the gas price of the moment.
    pub(super) async fn rate(&self) -> Result<TokenRate> {
        let fees = self.chain.fees().await?;
        let gas_price = fees.base.saturating_add(fees.priority);
        let worth = gas_price.saturating_mul(limits::TIP_GAS.into());
        Ok(TokenRate(Wei(worth.0.saturating_mul(10_u128.pow(18)).div_ceil(TIP.0))))
    }

    /// The chain's time or ours, the later.
    pub(super) async fn now(&self) -> Result<UnixTime> {
        Ok(self.chain.block(At::Depth(0)).await?.time.max(self.clock.now()))
    }

    /// Lets the chain's time pass beyond this.
    pub(super) async fn pass(&self, time: UnixTime) -> Result<()> {
        let now = self.chain.block(At::Depth(0)).await?.time;
        self.anvil.advance(time.since(now) + Duration::from_secs(1)).await?;
        Ok(self.anvil.mine(1).await?)
    }
}

/// Payments into a vault.
pub(super) fn payments(
    chain: &Arc<RpcChain>,
    clock: &Arc<dyn Clock>,
    deployed: Deployed,
) -> Payments {
    Payments::new(PaymentsOptions {
        chain: Arc::<RpcChain>::clone(chain),
        domain: Domain {
            network: NetworkId::named("gas"),
            chain_id: AnvilOptions::CHAIN_ID,
            vault: deployed.vault,
        },
        token: Some(deployed.token),
        clock: Arc::clone(clock),
        wallet_locks: Arc::new(MemoryDisk::new()),
        timing: PayTiming { longest_poll: Duration::from_millis(50), ..PayTiming::default() },
    })
}

pub(super) fn random<const N: usize>(rng: &mut Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill(&mut bytes);
    bytes
}
