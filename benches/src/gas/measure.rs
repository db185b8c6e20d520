use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use spillway_pay::{
    CommitChoice, DeployOptions, DrandOptions, Plan, PlanMode, PlanProofs, SeedWanted, SettleTerms,
    TxPurpose,
    authorize::{
        TokenDomain, TypedData, commit_many_with_authorization, commit_with_authorization,
        commit_with_permit, permit_nonce,
    },
    plan_direct,
};
use spillway_types::{Atto, RewardAddress, Seed, UnixTime, Win, limits};

use super::stage::{EPOCH, Journal, SUPPLY, Stage, Used, WINDOWS, payments};
use super::{GasRow, peer};

/// Batches that `commit-many` and `authorization-many` pay for.
const MANY: usize = 8;
/// Leaves of batches whose size does not matter.
const FEW: usize = 16;
/// Draws of the batch that is refunded.
const REFUNDED_DRAWS: u8 = 16;
/// Pause between blocks while a seed is waited for.
const BLOCK_TIME: Duration = Duration::from_millis(20);

/// Pays in every way and collects what it used.
pub(super) struct Measure<'a> {
    stage: &'a Stage,
    rows: Vec<GasRow>,
}

impl<'a> Measure<'a> {
    pub(super) fn new(stage: &'a Stage) -> Self {
        Self { stage, rows: Vec::new() }
    }

    /// Everything, in the order of the report.
    pub(super) async fn all(mut self, sizes: &[usize]) -> Result<Vec<GasRow>> {
        let mut committed = Vec::new();
        for &chunks in sizes {
            self.direct(chunks).await.with_context(|| format!("direct, {chunks} chunks"))?;
            let (plan, used) =
                self.batch(chunks).await.with_context(|| format!("batch, {chunks} chunks"))?;
            committed.push((chunks, plan, used));
        }
        self.commit_many().await.context("commit-many")?;
        self.signed().await.context("signatures")?;
        let unclaimed = self.unclaimed().await.context("a batch to refund")?;
        let new = self.new_payees().await.context("a batch for new payees")?;
        let sized = committed.iter().map(|(_, plan, _)| plan.upload_by).max();
        let last = sized.context("at least one size")?.max(new.upload_by);
        // The seeds of all batches are known from the end of the next epoch on.
        self.stage.pass(WINDOWS.draw_time(last).saturating_add(EPOCH)).await?;
        let mut seeds = Journal::default();
        for (chunks, plan, used) in &committed {
            let seed = self.seed(plan, &mut seeds).await.context("the seed")?;
            self.settle(*chunks, plan, *used, seed)
                .await
                .with_context(|| format!("settling {chunks} chunks"))?;
        }
        let seed = self.seed(&new, &mut seeds).await.context("the seed")?;
        self.settle_new(&new, seed).await.context("settling for new payees")?;
        self.seed_row(&seeds).await?;
        self.drand().await.context("drand")?;
        self.withdrawals().await.context("withdrawals")?;
        self.refund(&unclaimed).await.context("the refund")?;
        Ok(self.rows)
    }

    fn size(&mut self, chunks: usize, mode: &str, payer: Used, others: Used) {
        self.rows.push(GasRow {
            chunks: Some(chunks),
            mode: mode.to_owned(),
            gas_payer: payer.gas,
            gas_total: payer.gas + others.gas,
            transactions: payer.transactions + others.transactions,
            calldata_bytes: payer.calldata_bytes + others.calldata_bytes,
            peer_single_gas: peer::single(chunks),
            peer_merkle_gas: peer::merkle(chunks),
        });
    }

    /// A call of its own, by the payer or by anybody else.
    fn call(&mut self, mode: &str, payer: Used, others: Used) {
        self.rows.push(GasRow {
            chunks: None,
            mode: mode.to_owned(),
            gas_payer: payer.gas,
            gas_total: payer.gas + others.gas,
            transactions: payer.transactions + others.transactions,
            calldata_bytes: payer.calldata_bytes + others.calldata_bytes,
            peer_single_gas: None,
            peer_merkle_gas: None,
        });
    }

    async fn direct(&mut self, chunks: usize) -> Result<()> {
        let stage = self.stage;
        let plans = plan_direct(stage.input(stage.leaves(chunks).await).await?)?;
        let journal = stage.pay(&plans, CommitChoice::Together).await?;
        let used = stage.used(&journal, is_payment).await?;
        self.size(chunks, "direct", used, Used::default());
        Ok(())
    }

    async fn batch(&mut self, chunks: usize) -> Result<(Plan, Used)> {
        let stage = self.stage;
        let plans = stage.batches(stage.leaves(chunks).await, limits::MAX_BATCH_LEAVES).await?;
        let journal = stage.pay(&plans, CommitChoice::Together).await?;
        let used = stage.used(&journal, is_payment).await?;
        self.size(chunks, "batch", used, Used::default());
        let plan = plans.into_iter().next().context("one batch holds all")?;
        Ok((plan, used))
    }

    /// Several batches at once, and the approval, which all payments have had.
    async fn commit_many(&mut self) -> Result<()> {
        let stage = self.stage;
        let plans = stage.batches(stage.leaves(MANY * FEW).await, FEW).await?;
        anyhow::ensure!(plans.len() == MANY, "{} batches", plans.len());
        let journal = stage.pay(&plans, CommitChoice::Together).await?;
        let approval =
            stage.used(&journal, |purpose| matches!(purpose, TxPurpose::Approve { .. })).await?;
        self.call("approval", approval, Used::default());
        let commits = stage.used(&journal, is_payment).await?;
        self.call("commit-many, 8 batches", commits, Used::default());
        Ok(())
    }

    /// Payments with a signature in place of an approval.
    async fn signed(&mut self) -> Result<()> {
        let stage = self.stage;
        let token = TokenDomain::read(&stage.chain, stage.deployed.token).await?;
        let payer = &stage.payer;
        let plans = stage.batches(stage.leaves((MANY + 2) * FEW).await, FEW).await?;
        let [permitted, one, many @ ..] = plans.as_slice() else {
            anyhow::bail!("{} batches", plans.len())
        };
        let nonce = permit_nonce(&stage.chain, stage.deployed.token, payer.address()).await?;
        let signature = TypedData::permit(&token, permitted, nonce)?.sign(payer)?;
        let call = commit_with_permit(permitted, signature)?;
        self.sent("permit and commit", payer, call).await?;
        // Somebody else sends these and pays the gas.
        let sender = &stage.settler;
        let signature = TypedData::receive(&token, one)?.sign(payer)?;
        let call = commit_with_authorization(one, sender.address(), signature)?;
        self.sent("3009 authorization and commit", sender, call).await?;
        let many: Vec<&Plan> = many.iter().collect();
        let signature = TypedData::receive_many(&token, &many)?.sign(payer)?;
        let call = commit_many_with_authorization(&many, sender.address(), signature)?;
        self.sent("3009 authorization and commit-many, 8 batches", sender, call).await
    }

    async fn sent(
        &mut self,
        name: &'static str,
        sender: &spillway_pay::Wallet,
        call: spillway_pay::Call,
    ) -> Result<()> {
        let calldata_bytes = call.data.len();
        let receipt = self.stage.hands(sender).send_call(call).await.context(name)?;
        let used = Used { gas: receipt.gas_used, transactions: 1, calldata_bytes };
        if sender.address() == self.stage.payer.address() {
            self.call(name, used, Used::default());
        } else {
            self.call(name, Used::default(), used);
        }
        Ok(())
    }

    /// A batch that nobody settles.
    async fn unclaimed(&self) -> Result<Plan> {
        let stage = self.stage;
        let mut plans = stage.batches(stage.leaves(FEW).await, FEW).await?;
        let mut plan = plans.pop().context("a batch")?;
        if let PlanMode::Batch { draws, .. } = &mut plan.mode {
            *draws = REFUNDED_DRAWS;
        }
        stage.pay(std::slice::from_ref(&plan), CommitChoice::Together).await?;
        Ok(plan)
    }

    async fn new_payees(&self) -> Result<Plan> {
        let stage = self.stage;
        let payees = [0xa0, 0xa1, 0xa2, 0xa3, 0xa4].map(|byte| RewardAddress([byte; 20]));
        let mut plans = stage.batches(stage.leaves_of(&payees).await, FEW).await?;
        let plan = plans.pop().context("a batch")?;
        stage.pay(std::slice::from_ref(&plan), CommitChoice::Together).await?;
        Ok(plan)
    }

    /// The seed of a batch, posted by the settler while blocks go on.
    async fn seed(&self, plan: &Plan, journal: &mut Journal) -> Result<Seed> {
        let stage = self.stage;
        let wanted = SeedWanted { upload_by: plan.upload_by, proof: Vec::new() };
        let post = stage.payments.post_seed(&stage.settler, &wanted, None, journal);
        let blocks = async {
            loop {
                stage.clock.sleep(BLOCK_TIME).await;
                if let Err(error) = stage.anvil.mine(1).await {
                    break error;
                }
            }
        };
        let seed = tokio::select! {
            seed = post => seed?,
            error = blocks => return Err(error.into()),
        };
        seed.seed.context("the seed is due")
    }

    /// On the terms of somebody who wants his gas back: the tips pay for it, at the gas price of the
    /// moment, or nothing is settled.
    async fn settle(&mut self, chunks: usize, plan: &Plan, payer: Used, seed: Seed) -> Result<()> {
        let terms = SettleTerms { rate: Some(self.stage.rate().await?), ..SettleTerms::default() };
        let used = self.settled(plan, seed, terms).await?;
        self.size(chunks, "batch-settled", payer, used);
        Ok(())
    }

    /// The only draw of a batch whose payees the vault has never credited.
    async fn settle_new(&mut self, plan: &Plan, seed: Seed) -> Result<()> {
        let terms = SettleTerms { at_a_loss: true, ..SettleTerms::default() };
        let used = self.settled(plan, seed, terms).await?;
        self.call("settle, 1 draw, payees new to the vault", Used::default(), used);
        Ok(())
    }

    async fn settled(&self, plan: &Plan, seed: Seed, terms: SettleTerms) -> Result<Used> {
        let stage = self.stage;
        let wins = wins(plan, seed)?;
        let mut journal = Journal::default();
        let settled = stage.payments.settle(&stage.settler, &wins, terms, &mut journal).await?;
        anyhow::ensure!(settled.skipped.is_empty(), "skipped {:?}", settled.skipped);
        anyhow::ensure!(settled.prizes == plan.storage_cost(), "prizes {}", settled.prizes);
        stage.used(&journal, |purpose| matches!(purpose, TxPurpose::Settle { .. })).await
    }

    async fn seed_row(&mut self, journal: &Journal) -> Result<()> {
        let posts = |purpose: &TxPurpose| matches!(purpose, TxPurpose::PostSeed { .. });
        let used = self.stage.used(journal, posts).await?;
        anyhow::ensure!(used.transactions >= 2, "{} posts", used.transactions);
        // Batches on both sides of midnight have two seeds.
        let seeds = used.transactions / 2;
        self.call(
            "seed of block hashes: arm and take",
            Used::default(),
            Used {
                gas: used.gas / seeds as u64,
                transactions: 2,
                calldata_bytes: used.calldata_bytes / seeds,
            },
        );
        Ok(())
    }

    /// A beacon whose first boundary is at a recorded round.
    async fn drand(&mut self) -> Result<()> {
        let stage = self.stage;
        let recorded: Recorded =
            serde_json::from_str(include_str!("../../../contracts/vectors/drand.json"))?;
        let round = recorded.rounds.iter().find(|round| round.number == 1_000).context("round")?;
        let epoch = Duration::from_secs(round.time);
        let claim = epoch + Duration::from_secs(1);
        let options = DeployOptions {
            windows: spillway_pay::Windows { claim, ..WINDOWS },
            epoch,
            supply: SUPPLY,
        };
        let drand = DrandOptions {
            genesis: UnixTime(recorded.genesis),
            period: Duration::from_secs(recorded.period),
            negated_key: bytes(&recorded.negated_key)?,
        };
        let deployed = stage.hands(&stage.deployer).deploy_with_drand(options, &drand).await?;
        let payments = payments(&stage.chain, &stage.clock, deployed);
        let mut journal = Journal::default();
        let wanted = SeedWanted { upload_by: UnixTime(0), proof: bytes(&round.proof)? };
        let seed = payments.post_seed(&stage.settler, &wanted, None, &mut journal).await?.seed;
        anyhow::ensure!(seed == Some(round.seed.parse()?), "seed {seed:?}");
        let posts = |purpose: &TxPurpose| matches!(purpose, TxPurpose::PostSeed { .. });
        let used = stage.used(&journal, posts).await?;
        self.call("seed of drand", Used::default(), used);
        Ok(())
    }

    /// A payee's first withdrawal, and one when it has tokens.
    async fn withdrawals(&mut self) -> Result<()> {
        let stage = self.stage;
        let payee = RewardAddress([0x5a; 20]);
        for name in ["withdraw, payee without tokens", "withdraw, payee with tokens"] {
            let leaves = stage.leaves_of(&[payee; limits::CLOSE_GROUP]).await;
            let plans = plan_direct(stage.input(leaves).await?)?;
            stage.pay(&plans, CommitChoice::Together).await?;
            let mut journal = Journal::default();
            let withdrawn = stage.payments.withdraw(&stage.settler, payee, &mut journal).await?;
            anyhow::ensure!(withdrawn.amount > Atto::ZERO, "nothing was owed");
            let used = stage.used(&journal, |_| true).await?;
            self.call(name, Used::default(), used);
        }
        Ok(())
    }

    async fn refund(&mut self, plan: &Plan) -> Result<()> {
        let stage = self.stage;
        let terms = plan.batch_terms().context("a batch")?;
        stage.pass(WINDOWS.claim_end(plan.upload_by)).await?;
        let mut journal = Journal::default();
        let refunded = stage.payments.refund(&stage.settler, &[terms], &mut journal).await?;
        anyhow::ensure!(refunded.amount == terms.escrow(), "refunded {}", refunded.amount);
        let used = stage.used(&journal, |_| true).await?;
        self.call("refund, 16 draws", Used::default(), used);
        Ok(())
    }
}

fn is_payment(purpose: &TxPurpose) -> bool {
    matches!(purpose, TxPurpose::Pay { .. } | TxPurpose::PayMany { .. })
}

/// The leaf of every draw, with its proof.
fn wins(plan: &Plan, seed: Seed) -> Result<Vec<Win>> {
    let PlanProofs::Batch { terms, tree } = plan.proofs()? else { anyhow::bail!("not a batch") };
    let id = plan.id();
    let mut ends = Vec::with_capacity(plan.leaves.len());
    for leaf in &plan.leaves {
        let before: Atto = ends.last().copied().unwrap_or_default();
        ends.push(before.saturating_add(leaf.total()));
    }
    let win = |draw| {
        let point = terms.draw_point(seed, id, draw);
        let index = ends.partition_point(|&end| end <= point);
        Win { terms, draw, leaf: plan.leaves[index].clone(), siblings: tree.siblings(index) }
    };
    Ok((0..terms.draws).map(win).collect())
}

/// The recorded rounds of drand's quicknet.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recorded {
    genesis: u64,
    period: u64,
    negated_key: String,
    rounds: Vec<Round>,
}

#[derive(Deserialize)]
struct Round {
    #[serde(rename = "round")]
    number: u64,
    time: u64,
    proof: String,
    seed: String,
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    Ok(hex::decode(text.trim_start_matches("0x"))?)
}
