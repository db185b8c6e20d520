//! Making the seed known that draws the winners of batches.

use spillway_types::{Seed, UnixTime, Wei};

use super::{Caps, Payments, goal::Goal, lock, run::Run};
use crate::{At, BeaconState, ChainError, PayError, PayFailure, Spend, TxJournal, Wallet, calls};

/// How the contract says it.
const LATER: [&str; 2] = ["NotMinedYet(", "TooEarly("];

/// A seed that is to be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedWanted {
    /// It draws the batches whose upload window ends here.
    pub upload_by: UnixTime,
    /// What the beacon asks for: empty for block hashes,
    /// [`DrandSignature::proof`](crate::DrandSignature::proof) for drand.
    pub proof: Vec<u8>,
}

/// What became of making a seed known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeedPosted {
    /// The seed; `None`: it cannot be known yet.
    pub seed: Option<Seed>,
    /// What that cost in gas.
    pub spend: Spend,
}

/// What has to be posted for a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeedNeeded {
    /// From this time on it can be posted: the first end of an epoch after the draw's time.
    pub due: UnixTime,
    /// The round of drand whose signature is asked for; `None`: the beacon is none of drand.
    pub drand_round: Option<u64>,
}

impl Payments {
    /// What has to be posted for the seed that draws the batches of this `upload_by`.
    ///
    /// # Errors
    /// When the chain cannot be asked.
    pub async fn seed_needed(&self, upload_by: UnixTime) -> Result<SeedNeeded, PayError> {
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        let after = chain.windows(vault).await?.draw_time(upload_by);
        Ok(SeedNeeded {
            due: boundary(&chain.beacon(vault).await?, after),
            drand_round: chain.drand_round(vault, upload_by).await?,
        })
    }

    /// Makes the seed known that draws the batches of this `upload_by`, and returns it. With a
    /// proof (drand) one transaction does it. Without one (block hashes) the first arms a block
    /// that is to come and a later one takes its hash: in between blocks are waited for, by the
    /// clock and for as long as [`PayTiming::patience`](crate::PayTiming::patience). Others may
    /// post at the same time.
    ///
    /// No seed: it cannot be known yet. Either the draw's time has not come, and nothing was sent,
    /// or too few blocks were mined in that time; calling again goes on.
    ///
    /// # Errors
    /// When the chain cannot be asked, the beacon refuses the proof, another process uses the
    /// wallet, there are too few coins, or all posts of the call would cost more than `gas_cap`.
    ///
    /// # Cancel safety
    /// A seed is posted once, whatever is sent how often.
    ///
    /// # Cost
    /// Gas: 194,000 with a proof of drand, 101,000 in two transactions without, approximately;
    /// nothing when the seed is known.
    pub async fn post_seed(
        &self,
        wallet: &Wallet,
        wanted: &SeedWanted,
        gas_cap: Option<Wei>,
        journal: &mut dyn TxJournal,
    ) -> Result<SeedPosted, PayError> {
        let SeedWanted { upload_by, ref proof } = *wanted;
        let terms = self.check_domain().await?;
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        if let Some(seed) = chain.seed(vault, upload_by).await? {
            return Ok(SeedPosted { seed: Some(seed), spend: Spend::default() });
        }
        let state = chain.beacon(vault).await?;
        let after = terms.windows.draw_time(upload_by);
        if self.now().await? < boundary(&state, after) {
            return Ok(SeedPosted::default());
        }
        let _lock = lock(self, wallet.address()).await?;
        let mut run = self.run(wallet, terms.token, journal);
        run.caps = Caps { gas_cost: gas_cap, ..Caps::default() };
        let post = Post { beacon: state.beacon, upload_by, after, proof };
        match Box::pin(run.post_seed(post)).await {
            Ok(seed) => Ok(SeedPosted { seed, spend: run.spend() }),
            Err(failure) => Err(PayError { failure: Box::new(failure), spend: run.spend() }),
        }
    }
}

/// The first end of an epoch after this time: its seed is the one that draws.
pub(super) fn boundary(beacon: &BeaconState, after: UnixTime) -> UnixTime {
    let epoch = beacon.epoch.as_secs().max(1);
    UnixTime((after.0 / epoch).saturating_add(1).saturating_mul(epoch))
}

/// Whether the contract says that more blocks or more time must pass.
fn is_later(error: &ChainError) -> bool {
    matches!(error, ChainError::Reverted { reason: Some(reason) }
        if LATER.iter().any(|later| reason.starts_with(later)))
}

/// What is posted.
#[derive(Clone, Copy)]
struct Post<'p> {
    beacon: spillway_types::EvmAddress,
    upload_by: UnixTime,
    after: UnixTime,
    proof: &'p [u8],
}

impl Run<'_> {
    /// Posts until the seed is known.
    async fn post_seed(&mut self, post: Post<'_>) -> Result<Option<Seed>, PayFailure> {
        let timing = self.options.timing;
        let (chain, vault) = (&self.options.chain, self.options.domain.vault);
        let sender = self.wallet.address();
        let started = self.options.clock.monotonic();
        let mut pause = timing.first_poll;
        loop {
            // A server that does not know the block of our last post may not know the seed either.
            let is_behind = chain.block(At::Depth(0)).await?.number < self.newest_receipt();
            if let Some(seed) = chain.seed(vault, post.upload_by).await? {
                return Ok(Some(seed));
            }
            let waited = self.options.clock.monotonic().saturating_sub(started);
            if waited >= timing.patience {
                return Ok(None);
            }
            let call = calls::post_seed(post.beacon, sender, post.after, post.proof);
            let may = match chain.estimate_gas(&call).await {
                Ok(_) => !is_behind,
                Err(error) if is_later(&error) => false,
                Err(error) => return Err(error.into()),
            };
            if may {
                let Post { beacon, upload_by, after, proof } = post;
                let goal = Goal::SeedPosted { vault, beacon, sender, upload_by, after, proof };
                match self.drive(goal).await {
                    Ok(_) => {}
                    // Others post too: what came second was told to wait, or the seed is known.
                    Err(PayFailure::Failed { reason, .. }) => {
                        tracing::debug!(?reason, "a post of a seed was not needed");
                    }
                    Err(PayFailure::Chain(error)) if is_later(&error) => {}
                    Err(failure) => return Err(failure),
                }
                pause = timing.first_poll;
            } else {
                self.options.clock.sleep(pause).await;
                pause = (pause * 2).min(timing.longest_poll);
            }
        }
    }
}
