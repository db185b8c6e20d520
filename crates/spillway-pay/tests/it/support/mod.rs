//! The stage that tests play on: a chain of either kind with token, vault and a payer with money.

mod control;
mod journal;
mod raw;
mod turbo_clock;
mod watched_chain;

use std::{sync::Arc, time::Duration};

use spillway_disk::{Clock, Disk, MemoryDisk, SystemClock};
use spillway_pay::{
    Anvil, AnvilOptions, At, Caps, Chain, CommitChoice, DeployOptions, Deployed, Deployer,
    FindOptions, MemoryChain, MemoryChainOptions, PayRequest, PayTiming, Payments, PaymentsOptions,
    Plan, PlanMode, RpcChain, RpcOptions, SignedTx, SumTree, Wallet, Windows,
};
use spillway_types::{
    Atto, ChunkAddress, Domain, Leaf, NetworkId, RewardAddress, Share, TxHash, UnixTime, Wei,
};

pub(crate) use control::Control;
pub(crate) use journal::TestJournal;
pub(crate) use raw::raw_creation;
pub(crate) use turbo_clock::TurboClock;
pub(crate) use watched_chain::{SendFault, WatchedChain};

pub(crate) const ETHER: Wei = Wei(1_000_000_000_000_000_000);
pub(crate) const TOKENS: Atto = Atto(1_000_000);
pub(crate) const WINDOWS: Windows = Windows {
    min: Duration::from_mins(15),
    max: Duration::from_hours(14 * 24),
    draw_delay: Duration::from_mins(15),
    claim: Duration::from_hours(30 * 24),
};

/// How long there is between two seeds.
pub(crate) const EPOCH: Duration = Duration::from_hours(24);
/// Blocks that the finalized one is behind, on both chains.
pub(crate) const FINALITY: u64 = 4;

pub(crate) struct Stage {
    pub(crate) chain: Arc<WatchedChain>,
    pub(crate) control: Control,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) deployer: Wallet,
    pub(crate) payer: Wallet,
    pub(crate) deployed: Deployed,
    pub(crate) domain: Domain,
    pub(crate) locks: Arc<dyn Disk>,
    pub(crate) timing: PayTiming,
    /// Plans are batches, and paid like this; `None`: direct payments.
    pub(crate) batches: Option<CommitChoice>,
}

pub(crate) fn wallet(seed: u8) -> Wallet {
    Wallet::from_bytes(&[seed; 32]).unwrap()
}

pub(crate) async fn start_anvil() -> Anvil {
    let found = Anvil::find(&FindOptions {
        start_dir: Some(env!("CARGO_MANIFEST_DIR").into()),
        ..FindOptions::default()
    });
    let program = found.expect("no Anvil in tools/node_modules: run `cargo xtask setup`");
    let options =
        AnvilOptions { slots_in_an_epoch: Some(FINALITY / 2), ..AnvilOptions::new(program) };
    Anvil::start(options).await.unwrap()
}

pub(crate) fn rpc(url: &str) -> RpcChain {
    RpcChain::new(RpcOptions::new(url)).unwrap()
}

impl Stage {
    pub(crate) async fn memory() -> Self {
        let clock = TurboClock::new(UnixTime(1_800_000_000));
        let chain = MemoryChain::new(MemoryChainOptions {
            finality: FINALITY,
            ..MemoryChainOptions::new(Arc::new(clock.clone()))
        });
        let control = Control::Memory { chain: chain.clone(), clock: clock.clone() };
        Self::build(Arc::new(chain), control, Arc::new(clock)).await
    }

    pub(crate) async fn anvil() -> Self {
        let anvil = start_anvil().await;
        let chain = rpc(anvil.rpc_url());
        Self::build(Arc::new(chain), Control::Anvil(anvil), Arc::new(SystemClock)).await
    }

    async fn build(chain: Arc<dyn Chain>, control: Control, clock: Arc<dyn Clock>) -> Self {
        let (deployer, payer) = (wallet(1), wallet(2));
        control.set_coins(deployer.address(), ETHER).await;
        control.set_coins(payer.address(), ETHER).await;
        let hands =
            Deployer { chain: Arc::clone(&chain), clock: Arc::clone(&clock), wallet: &deployer };
        let options = DeployOptions { windows: WINDOWS, epoch: EPOCH, supply: Atto(1 << 100) };
        let deployed = hands.deploy(options).await.unwrap();
        hands.send_tokens(deployed.token, payer.address(), TOKENS).await.unwrap();
        let domain = Domain {
            network: NetworkId::named("test"),
            chain_id: AnvilOptions::CHAIN_ID,
            vault: deployed.vault,
        };
        Self {
            chain: Arc::new(WatchedChain::new(chain)),
            control,
            clock,
            deployer,
            payer,
            deployed,
            domain,
            locks: Arc::new(MemoryDisk::new()),
            timing: PayTiming {
                longest_poll: Duration::from_millis(50),
                resend_after: Duration::from_millis(100),
                bump_after: Duration::from_hours(1),
                patience: Duration::from_secs(40),
                outage: Duration::from_secs(2),
                ..PayTiming::default()
            },
            batches: None,
        }
    }

    /// All plans are batches from now on.
    pub(crate) fn in_batches(self, commit: CommitChoice) -> Self {
        Self { batches: Some(commit), ..self }
    }

    pub(crate) fn options(&self) -> PaymentsOptions {
        PaymentsOptions {
            chain: Arc::clone(&self.chain) as Arc<dyn Chain>,
            domain: self.domain,
            token: Some(self.deployed.token),
            clock: Arc::clone(&self.clock),
            wallet_locks: Arc::clone(&self.locks),
            timing: self.timing,
        }
    }

    pub(crate) fn payments(&self) -> Payments {
        Payments::new(self.options())
    }

    pub(crate) fn hands<'a>(&self, wallet: &'a Wallet) -> Deployer<'a> {
        Deployer {
            chain: Arc::clone(&self.chain) as Arc<dyn Chain>,
            clock: Arc::clone(&self.clock),
            wallet,
        }
    }

    pub(crate) fn request<'a>(
        &'a self,
        plans: &'a [Plan],
        earlier: &'a [SignedTx],
    ) -> PayRequest<'a> {
        PayRequest {
            plans,
            wallet: &self.payer,
            earlier,
            caps: Caps::default(),
            confirmations: 0,
            commit: self.batches.unwrap_or_default(),
        }
    }

    pub(crate) async fn time(&self) -> UnixTime {
        self.chain.block(At::Depth(0)).await.unwrap().time
    }

    /// A plan of so many leaves at 15 each: shares 1 to 5 to payees 1 to 5. A batch has one draw
    /// and no tip, so that it costs as much.
    pub(crate) async fn plan(&self, name: u8, leaves: u8) -> Plan {
        let now = self.time().await;
        let leaves: Vec<Leaf> = (0..leaves).map(|index| leaf([name, index])).collect();
        let mode = match self.batches {
            None => PlanMode::Direct,
            Some(_) => batch_mode(&leaves, 0, 1),
        };
        Plan {
            domain: self.domain,
            mode,
            payer: self.payer.address(),
            leaves,
            upload_by: now.saturating_add(Duration::from_hours(24)),
            valid_until: now.saturating_add(Duration::from_mins(55)),
        }
    }

    pub(crate) async fn tokens_of_payer(&self) -> Atto {
        self.chain.tokens(self.deployed.token, self.payer.address()).await.unwrap()
    }

    pub(crate) async fn tokens_of_vault(&self) -> Atto {
        self.chain.tokens(self.deployed.token, self.deployed.vault).await.unwrap()
    }

    pub(crate) async fn coins_of_payer(&self) -> Wei {
        self.chain.coins(self.payer.address()).await.unwrap()
    }

    pub(crate) async fn nonce(&self) -> u64 {
        self.chain.pending_nonce(self.payer.address()).await.unwrap()
    }

    pub(crate) async fn allowance(&self) -> Atto {
        let (token, vault) = (self.deployed.token, self.deployed.vault);
        self.chain.allowance(token, self.payer.address(), vault).await.unwrap()
    }

    pub(crate) async fn credit(&self, payee: RewardAddress) -> Atto {
        self.chain.credit(self.deployed.vault, payee).await.unwrap()
    }

    pub(crate) async fn wait_until_mined(&self, hash: TxHash) {
        while self.chain.receipt(hash).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
    }

    /// Asserts that exactly this much was charged, by the payer's and the vault's books.
    pub(crate) async fn assert_charged(&self, amount: Atto) {
        assert_eq!(self.tokens_of_payer().await, TOKENS.saturating_sub(amount), "payer");
        assert_eq!(self.tokens_of_vault().await, amount, "vault");
    }
}

/// A batch over these leaves.
pub(crate) fn batch_mode(leaves: &[Leaf], tip: u128, draws: u8) -> PlanMode {
    PlanMode::Batch { root: SumTree::new(leaves).unwrap().root().hash, tip: Atto(tip), draws }
}

/// What a leaf of [`leaf`] costs.
pub(crate) const LEAF_COST: u128 = 15;

pub(crate) fn payee(number: u8) -> RewardAddress {
    RewardAddress([0xa0 + number; 20])
}

pub(crate) fn leaf(name: [u8; 2]) -> Leaf {
    let share = |number: u8| Share { payee: payee(number), amount: Atto(number.into()) };
    Leaf { address: ChunkAddress::of(&name), shares: [1, 2, 3, 4, 5].map(share) }
}
