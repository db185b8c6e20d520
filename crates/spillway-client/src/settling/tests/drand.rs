//! A seed of drand from the round as people have it to the prize: on Anvil, with a recorded, genuine
//! round.

use spillway_disk::SystemClock;
use spillway_pay::{
    Anvil, AnvilOptions, Chain, DeployOptions, Deployer, DrandOptions, DrandSignature, FindOptions,
    RpcChain, RpcOptions,
};

use super::*;

const ROUND: u64 = 1_000;
const PERIOD: u64 = 3;
const DAY: u64 = 86_400;
const WINDOWS: Windows = Windows {
    min: Duration::from_mins(15),
    max: Duration::from_hours(24 * 14),
    draw_delay: Duration::from_mins(15),
    claim: Duration::from_hours(24 * 30),
};

/// A field of the recorded round, and the network's key.
fn recorded(key: &str) -> String {
    let vectors = include_str!("../../../../../contracts/vectors/drand.json");
    let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
    let rounds = vectors["rounds"].as_array().unwrap();
    let round = rounds.iter().find(|round| round["round"] == ROUND).unwrap();
    let found = vectors.get(key).unwrap_or(&round[key]);
    found.as_str().unwrap().strip_prefix("0x").unwrap().to_owned()
}

fn anvil() -> AnvilOptions {
    let found = Anvil::find(&FindOptions {
        start_dir: Some(env!("CARGO_MANIFEST_DIR").into()),
        ..FindOptions::default()
    });
    AnvilOptions::new(found.expect("no Anvil in tools/node_modules: run `cargo xtask setup`"))
}

/// A chain whose vault is drawn by drand, and a wallet with money.
struct Drawn {
    anvil: Anvil,
    payments: Payments,
    wallet: Wallet,
    upload_by: UnixTime,
}

impl Drawn {
    /// The genesis is such that the boundary after the draw's time has the recorded round.
    async fn start() -> Self {
        let anvil = Anvil::start(anvil()).await.unwrap();
        let chain: Arc<dyn Chain> =
            Arc::new(RpcChain::new(RpcOptions::new(anvil.rpc_url())).unwrap());
        let wallet = Wallet::random().unwrap();
        anvil.set_coins(wallet.address(), Wei(10_u128.pow(18))).await.unwrap();
        let now = chain.block(At::Depth(0)).await.unwrap().time;
        let upload_by = now.saturating_add(Duration::from_hours(30));
        let due = (WINDOWS.draw_time(upload_by).0 / DAY + 1) * DAY;
        let clock = Arc::new(SystemClock);
        let hands = Deployer { chain: chain.clone(), clock: clock.clone(), wallet: &wallet };
        let epoch = Duration::from_secs(DAY);
        let options = DeployOptions { windows: WINDOWS, epoch, supply: Atto(1 << 80) };
        let drand = DrandOptions {
            genesis: UnixTime(due - (ROUND - 1) * PERIOD),
            period: Duration::from_secs(PERIOD),
            negated_key: hex::decode(recorded("negatedKey")).unwrap(),
        };
        let deployed = hands.deploy_with_drand(options, &drand).await.unwrap();
        let payments = Payments::new(PaymentsOptions {
            chain,
            domain: Domain {
                network: NetworkId([1; 32]),
                chain_id: AnvilOptions::CHAIN_ID,
                vault: deployed.vault,
            },
            token: Some(deployed.token),
            clock,
            wallet_locks: Arc::new(MemoryDisk::new()),
            timing: PayTiming::default(),
        });
        Self { anvil, payments, wallet, upload_by }
    }

    /// Pays a batch of one chunk, which wins whatever the seed is.
    async fn pay(&self, number: u8) -> Win {
        let share = Share { payee: RewardAddress([number; 20]), amount: Atto(100) };
        let leaf = Leaf { address: ChunkAddress([number; 32]), shares: [share; 5] };
        let leaves = vec![leaf.clone()];
        let root = SumTree::new(&leaves).unwrap().root().hash;
        let now = self.payments.chain().block(At::Depth(0)).await.unwrap().time;
        let plan = Plan {
            domain: *self.payments.domain(),
            mode: PlanMode::Batch { root, tip: Atto(7), draws: 1 },
            payer: self.wallet.address(),
            leaves,
            upload_by: self.upload_by,
            valid_until: now.saturating_add(Duration::from_mins(10)),
        };
        let request = PayRequest {
            plans: std::slice::from_ref(&plan),
            wallet: &self.wallet,
            earlier: &[],
            caps: Caps::default(),
            confirmations: 0,
            commit: CommitChoice::default(),
        };
        self.payments.pay(request, &mut Forgets).await.unwrap();
        Win { terms: plan.batch_terms().unwrap(), draw: 0, leaf, siblings: Vec::new() }
    }

    async fn settle(&self, wins: Vec<Win>, seeds: Vec<SeedWanted>) -> SettleReport {
        let from = vec![peer(1)];
        let shown = vec![(peer(1), vec![page(wins, false)])];
        let options = SettleOptions { from, seeds, ..SettleOptions::default() };
        settle(&Pages::of(shown), &self.payments, &self.wallet, options).await.unwrap()
    }
}

#[tokio::test]
async fn a_round_as_published_draws_and_pays() {
    let drawn = Drawn::start().await;
    let (first, second) = (drawn.pay(1).await, drawn.pay(2).await);
    let needed = drawn.payments.seed_needed(drawn.upload_by).await.unwrap();
    assert_eq!(needed.drand_round, Some(ROUND));
    let now = drawn.payments.chain().block(At::Depth(0)).await.unwrap().time;
    drawn.anvil.advance(needed.due.since(now)).await.unwrap();
    drawn.anvil.mine(1).await.unwrap();

    // Nobody has made it known, and nodes have no wins without it.
    let missing = drawn.settle(vec![first.clone()], Vec::new()).await;
    assert_eq!((missing.settled.draws, missing.settled.skipped.len()), (0, 1));
    let line = format!(r#"{{"round":{ROUND},"signature":"{}"}}"#, recorded("compressed"));
    let proof = line.parse::<DrandSignature>().unwrap().proof();
    let wanted = SeedWanted { upload_by: drawn.upload_by, proof };
    let seed: Seed = recorded("seed").parse().unwrap();

    // Wins that are known take it along.
    let options = SettleOptions {
        wins: vec![first.clone()],
        seeds: vec![wanted.clone()],
        ..SettleOptions::default()
    };
    let report = settle_known(&drawn.payments, &drawn.wallet, options).await.unwrap();
    assert_eq!(report.seeds, [(drawn.upload_by, Some(seed))]);
    assert_eq!((report.settled.draws, report.settled.prizes), (1, Atto(500)));
    assert_eq!((report.settled.transactions, report.seed_spend), (1, Spend::default()));
    let payee = RewardAddress([1; 20]);
    let credit = drawn.payments.chain().credit(drawn.payments.domain().vault, payee).await;
    assert_eq!(credit, Ok(Atto(500)));
    // And those of nodes follow.
    let rest = drawn.settle(vec![first, second], vec![wanted]).await;
    assert_eq!((rest.settled.draws, rest.spend().tx_hashes.len()), (1, 1));
}

/// Without wins that could take it along it has a transaction of its own, whose gas is said.
#[tokio::test]
async fn a_seed_that_only_nodes_wait_for_is_posted_by_itself() {
    let drawn = Drawn::start().await;
    let won = drawn.pay(1).await;
    let needed = drawn.payments.seed_needed(drawn.upload_by).await.unwrap();
    let now = drawn.payments.chain().block(At::Depth(0)).await.unwrap().time;
    drawn.anvil.advance(needed.due.since(now)).await.unwrap();
    drawn.anvil.mine(1).await.unwrap();
    let proof = recorded("compressed").parse::<DrandSignature>().unwrap().proof();
    let wanted = SeedWanted { upload_by: drawn.upload_by, proof };
    let report = drawn.settle(vec![won], vec![wanted]).await;
    assert_eq!(report.seeds, [(drawn.upload_by, Some(recorded("seed").parse().unwrap()))]);
    assert_eq!((report.settled.draws, report.seed_spend.tx_hashes.len()), (1, 1));
    assert!(report.seed_spend.gas_used > 150_000);
    assert_eq!(report.spend().tx_hashes.len(), 2);
}
