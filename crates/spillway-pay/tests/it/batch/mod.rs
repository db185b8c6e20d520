//! Batches on both chains: every step of their life and every refusal of the vault, in the words of
//! somebody who has only the contract's interface.

mod beacon;
mod commits;
mod gas;
mod life;
mod mirror;
mod refusals;
mod vectors;

use std::time::Duration;

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{
        Address, B256, Bytes, TxKind, U256,
        aliases::{U40, U96},
    },
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::SolCall,
};
use spillway_pay::{At, Call, Chain, ChainError, RecordAt, SumTree, TxReceipt, Wallet};
use spillway_types::{
    Atto, BatchTerms, EvmAddress, Leaf, PaymentId, RewardAddress, Seed, Sibling, UnixTime,
};

use crate::support::{EPOCH, Stage, WINDOWS, leaf, payee};

sol! {
    struct Batch { address payer; bytes32 root; uint96 total; uint96 tip; uint40 uploadBy; uint8 draws; }
    struct Win { uint8 draw; bytes32 chunk; bytes32[] shares; bytes32[] siblings; }
    function commit(Batch calldata batch, uint40 validUntil) external returns (bytes32 id);
    function commitMany(Batch[] calldata batches, uint40 validUntil) external;
    function commitWithPermit(Batch calldata batch, uint40 validUntil, uint8 v, bytes32 r, bytes32 s)
        external returns (bytes32 id);
    function commitWithAuthorization(Batch calldata batch, uint40 validUntil, uint8 v, bytes32 r, bytes32 s)
        external returns (bytes32 id);
    function commitManyWithAuthorization(Batch[] calldata batches, uint40 validUntil, uint8 v, bytes32 r, bytes32 s)
        external;
    function settle(Batch calldata batch, Win[] calldata wins, bytes calldata seedProof)
        external returns (uint256 settled);
    function refund(Batch calldata batch) external returns (uint256 amount);
    function post(uint256 t, bytes calldata proof) external returns (bytes32 seed);
    function approve(address spender, uint256 value) external returns (bool);
}

/// More than any call of these tests uses.
const GAS_LIMIT: u64 = 8_000_000;

pub(crate) const HOUR: Duration = Duration::from_hours(1);

/// A tree with the terms of a batch over it.
pub(crate) struct Sold {
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) tree: SumTree,
    pub(crate) terms: BatchTerms,
}

/// Leaves of unequal price: 2, 5, 8 … above 15, to payees that repeat.
pub(crate) fn leaves(name: u8, count: u8) -> Vec<Leaf> {
    let priced = |index: u8| {
        let mut leaf = leaf([name, index]);
        leaf.shares[0].amount = Atto(u128::from(index) * 3 + 3);
        leaf.shares[4].payee = payee(6 + index % 3);
        leaf
    };
    (0..count).map(priced).collect()
}

impl Sold {
    /// A batch of the stage's payer whose upload window is an hour.
    pub(crate) async fn new(stage: &Stage, leaves: Vec<Leaf>, tip: u128, draws: u8) -> Self {
        let tree = SumTree::new(&leaves).unwrap();
        let terms = BatchTerms {
            payer: stage.payer.address(),
            root: tree.root().hash,
            total: tree.root().sum,
            tip: Atto(tip),
            upload_by: stage.time().await.saturating_add(HOUR),
            draws,
        };
        Self { leaves, tree, terms }
    }

    pub(crate) fn id(&self, stage: &Stage) -> PaymentId {
        self.terms.id(&stage.domain)
    }

    /// The leaf that wins a draw, by counting from the first.
    pub(crate) fn winner(&self, stage: &Stage, seed: Seed, draw: u8) -> usize {
        let mut point = self.terms.draw_point(seed, self.id(stage), draw).0;
        for (index, leaf) in self.leaves.iter().enumerate() {
            match point.checked_sub(leaf.total().0) {
                Some(rest) => point = rest,
                None => return index,
            }
        }
        panic!("the point is outside the tree");
    }

    pub(crate) fn win(&self, leaf: usize, draw: u8) -> Win {
        win(&self.leaves[leaf], &self.tree.siblings(leaf), draw)
    }

    /// A draw with the leaf that wins it.
    pub(crate) fn right(&self, stage: &Stage, seed: Seed, draw: u8) -> Win {
        self.win(self.winner(stage, seed, draw), draw)
    }
}

pub(crate) fn win(leaf: &Leaf, siblings: &[Sibling], draw: u8) -> Win {
    Win {
        draw,
        chunk: B256::new(leaf.address.0),
        shares: leaf.shares.iter().map(|share| B256::new(share.word())).collect(),
        siblings: siblings.iter().flat_map(Sibling::words).map(B256::new).collect(),
    }
}

pub(crate) fn words(terms: &BatchTerms) -> Batch {
    Batch {
        payer: Address::new(terms.payer.0),
        root: B256::new(terms.root.0),
        total: U96::from(terms.total.0),
        tip: U96::from(terms.tip.0),
        uploadBy: U40::from(terms.upload_by.0),
        draws: terms.draws,
    }
}

/// The latest deadline that there is.
pub(crate) const ALWAYS: U40 = U40::MAX;

pub(crate) fn commit_of(terms: &BatchTerms) -> commitCall {
    commitCall { batch: words(terms), validUntil: ALWAYS }
}

pub(crate) fn settle_of(terms: &BatchTerms, wins: Vec<Win>) -> settleCall {
    settleCall { batch: words(terms), wins, seedProof: Bytes::new() }
}

pub(crate) fn refund_of(terms: &BatchTerms) -> refundCall {
    refundCall { batch: words(terms) }
}

impl Stage {
    /// Signs and sends a call, and waits until it is mined; it may have failed.
    pub(crate) async fn send(
        &self,
        from: &Wallet,
        to: EvmAddress,
        call: impl SolCall,
    ) -> TxReceipt {
        let signer: PrivateKeySigner = from.expose_hex().parse().unwrap();
        let tx = TxEip1559 {
            chain_id: self.domain.chain_id,
            nonce: self.chain.pending_nonce(from.address()).await.unwrap(),
            gas_limit: GAS_LIMIT,
            max_fee_per_gas: 5_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            to: TxKind::Call(Address::new(to.0)),
            input: call.abi_encode().into(),
            ..TxEip1559::default()
        };
        let signature = signer.sign_hash_sync(&tx.signature_hash()).unwrap();
        let raw = TxEnvelope::from(tx.into_signed(signature)).encoded_2718();
        let hash = self.chain.send_raw(&raw).await.unwrap();
        self.wait_until_mined(hash).await;
        self.chain.receipt(hash).await.unwrap().unwrap()
    }

    /// Sends a call to the vault that must succeed.
    pub(crate) async fn act(&self, from: &Wallet, call: impl SolCall) -> TxReceipt {
        let receipt = self.send(from, self.deployed.vault, call).await;
        assert!(receipt.success);
        receipt
    }

    /// What the vault says to a call now; `None`: it would take it.
    pub(crate) async fn refusal(&self, from: &Wallet, call: &impl SolCall) -> Option<String> {
        self.refusal_of(self.deployed.vault, from, call).await
    }

    pub(crate) async fn refusal_of(
        &self,
        to: EvmAddress,
        from: &Wallet,
        call: &impl SolCall,
    ) -> Option<String> {
        let call = Call { from: from.address(), to, data: call.abi_encode() };
        match self.chain.estimate_gas(&call).await {
            Ok(_) => None,
            Err(ChainError::Reverted { reason: Some(reason) }) => Some(reason),
            Err(error) => panic!("{error:?}"),
        }
    }

    pub(crate) async fn allow(&self, amount: u128) {
        let spender = Address::new(self.deployed.vault.0);
        let call = approveCall { spender, value: U256::from(amount) };
        assert!(self.send(&self.payer, self.deployed.token, call).await.success);
    }

    /// A batch that is committed.
    pub(crate) async fn committed(&self, leaves: Vec<Leaf>, tip: u128, draws: u8) -> Sold {
        let sold = Sold::new(self, leaves, tip, draws).await;
        self.allow(sold.terms.escrow().0).await;
        self.act(&self.payer, commit_of(&sold.terms)).await;
        sold
    }

    pub(crate) async fn record(&self, id: PaymentId) -> RecordAt {
        self.chain.record(self.deployed.vault, id, At::Depth(0)).await.unwrap()
    }

    /// Goes to this time at least: the newest block has it.
    pub(crate) async fn go_to(&self, time: UnixTime) {
        self.control.advance(time.since(self.time().await)).await;
        self.control.mine(1).await;
        assert!(self.time().await >= time);
    }

    /// Posts to the beacon; it may fail.
    pub(crate) async fn post(&self, from: &Wallet, after: UnixTime) -> TxReceipt {
        let call = postCall { t: U256::from(after.0), proof: Bytes::new() };
        self.send(from, self.deployed.beacon, call).await
    }

    /// Goes past the draw of a batch and makes its seed known.
    pub(crate) async fn draw(&self, terms: &BatchTerms) -> Seed {
        let time = WINDOWS.draw_time(terms.upload_by);
        self.go_to(time.saturating_add(EPOCH)).await;
        assert!(self.post(&self.deployer, time).await.success);
        self.control.mine(2).await;
        assert!(self.post(&self.deployer, time).await.success);
        self.chain.seed(self.deployed.vault, terms.upload_by).await.unwrap().unwrap()
    }

    pub(crate) async fn tokens_of(&self, account: EvmAddress) -> Atto {
        self.chain.tokens(self.deployed.token, account).await.unwrap()
    }

    /// The credits of all payees of these tests.
    pub(crate) async fn credits(&self) -> Vec<(RewardAddress, u128)> {
        let mut credits = Vec::new();
        for number in 1..10 {
            credits.push((payee(number), self.credit(payee(number)).await.0));
        }
        credits
    }

    pub(crate) async fn sum_of_credits(&self) -> Atto {
        Atto(self.credits().await.iter().map(|(_, credit)| credit).sum())
    }
}
