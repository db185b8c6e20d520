use std::sync::Arc;

use spillway_client::{
    AccountError, Address, ChainError, Client, PayFailure, Payments, SeedWanted, SettleOptions,
    SettleReport, SettleStopped, SettleTerms, Wallet, missing_seeds, newest_seed, settle_known,
};
use spillway_types::{PeerKey, Seed, UnixTime};

use self::report::{Missing, summary, text};
use super::{Context, summary::only_report, wins::noted};
use crate::{
    args::{SeedProof, Settle},
    config::{Layer, Settings, peer_address},
    exit::{Code, Failure},
    render::count,
};

mod report;

/// Seeds that only nodes wait for and that one run makes known, at most: 194,000 gas each with a public
/// beacon. A node's word cannot make anybody spend more.
const MAX_NAMED_POSTS: usize = 4;

/// `settle`: the wins of these nodes, or of those that the settings begin with.
pub(super) async fn run(context: &Context, args: &Settle) -> Result<(), Failure> {
    let settings = context.settings(Layer {
        token_rate: args.rate.token_rate,
        max_gas_cost: args.max_gas_cost,
        ..Layer::from(&args.client)
    })?;
    let wallet = wallet(&settings, args.dry_run)?;
    let proof = args.seed_proof.as_ref().map(SeedProof::read).transpose()?;
    let mut wins = Vec::new();
    for dir in &args.from_dir {
        wins.extend(noted(dir.clone()).await?);
    }
    let work = Work { context, args, proof, settings: &settings, wallet: &wallet };
    // With a directory no node needs to be asked.
    let (outcome, nodes) = if args.nodes.is_empty() && !args.from_dir.is_empty() {
        let payments = context.chain(&settings).await?;
        let options = SettleOptions { wins, ..work.options() };
        (work.settle(&payments, None, options).await?, 0)
    } else {
        let addresses = addresses(&settings, args)?;
        let from = peers(&addresses)?;
        let nodes = from.len();
        let connected = context.connect_to(&settings, addresses).await?;
        let (payments, client) = (connected.payments(), Some(connected.client()));
        let options = SettleOptions { from, wins, ..work.options() };
        let outcome = work.settle(payments, client, options).await;
        connected.shutdown().await;
        (outcome?, nodes)
    };
    let Outcome { report, seeds, failure } = outcome;
    let summary = summary(&report, &seeds, nodes, args.dry_run);
    // Before the failure: what was settled is known by this alone.
    context.console.summary(&summary, &only_report(text(&report, &seeds, args.dry_run)))?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    left_open(&report, nodes)
}

/// What was to be settled or heard and was not.
fn left_open(report: &SettleReport, nodes: usize) -> Result<(), Failure> {
    let refused = report.refused();
    if refused > 0 {
        let message = format!("the vault refused {}", count(refused, "draw"));
        return Err(Failure::new(Code::Failure, message).hint("the summary says which, and why"));
    }
    if report.silent.is_empty() {
        return Ok(());
    }
    let (silent, nodes) = (report.silent.len(), count(nodes as u64, "node"));
    let message = format!("{silent} of {nodes} told no wins or not all of them");
    Err(Failure::new(Code::TryAgain, message).hint("name nodes that run, or try again later"))
}

/// To look, no key is needed. With one, gas is reckoned for its account.
fn wallet(settings: &Settings, dry_run: bool) -> Result<Wallet, Failure> {
    if !dry_run {
        return settings.wallet();
    }
    if let Some(wallet) = settings.wallet_if_any()? {
        return Ok(wallet);
    }
    Wallet::random()
        .map_err(|error| Failure::new(Code::Failure, format!("cannot make an account: {error}")))
}

fn addresses(settings: &Settings, args: &Settle) -> Result<Vec<Address>, Failure> {
    if args.nodes.is_empty() {
        return settings.bootstrap();
    }
    args.nodes.iter().map(|text| peer_address("NODE", text)).collect()
}

/// The peers at these addresses, each once.
fn peers(addresses: &[Address]) -> Result<Vec<PeerKey>, Failure> {
    let mut peers = Vec::new();
    for address in addresses {
        let peer = address.peer().ok_or_else(|| {
            Failure::usage(format!("the address {address} does not name its peer"))
                .hint("end it with /p2p/ and the peer's id")
        })?;
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    Ok(peers)
}

/// What a run works with.
struct Work<'a> {
    context: &'a Context,
    args: &'a Settle,
    /// What a beacon asks for; never empty.
    proof: Option<Vec<u8>>,
    settings: &'a Settings,
    wallet: &'a Wallet,
}

/// What a run has done, and what has stopped it: then or afterwards, since no seed took the proof.
struct Outcome {
    report: SettleReport,
    seeds: Vec<Missing>,
    failure: Option<Failure>,
}

impl Work<'_> {
    fn terms(&self) -> SettleTerms {
        SettleTerms {
            rate: self.settings.token_rate(),
            at_a_loss: self.args.at_a_loss,
            gas_cap: self.settings.max_gas_cost(),
        }
    }

    fn options(&self) -> SettleOptions {
        SettleOptions {
            terms: self.terms(),
            dry_run: self.args.dry_run,
            ..SettleOptions::default()
        }
    }

    /// Settles first, since only then it is known which seeds nodes wait for; what these draw can be
    /// settled a moment later.
    ///
    /// # Errors
    /// When it is asked to stop while it only looks. Everything else is in the outcome.
    async fn settle(
        &self,
        payments: &Arc<Payments>,
        client: Option<&Client>,
        options: SettleOptions,
    ) -> Result<Outcome, Failure> {
        let settling = Box::pin(async {
            match client {
                Some(client) => client.settle(self.wallet, options).await,
                None => settle_known(payments, self.wallet, options).await,
            }
        });
        let settled = if self.args.dry_run {
            self.context.until_stopped(async { Ok::<_, Failure>(settling.await) }).await?
        } else {
            // Not until stopped: what is sent is waited for.
            settling.await
        };
        let (report, failure) = match settled {
            Ok(report) => (report, None),
            Err(SettleStopped { done, error }) => (*done, Some(Failure::from(error))),
        };
        let mut outcome = Outcome { report, seeds: Vec::new(), failure };
        if outcome.failure.is_none() {
            outcome.failure = self.see_to_seeds(payments, &mut outcome).await.err();
        }
        Ok(outcome)
    }

    /// Makes missing seeds known, or says what they take.
    async fn see_to_seeds(
        &self,
        payments: &Arc<Payments>,
        outcome: &mut Outcome,
    ) -> Result<(), Failure> {
        let wanted = self.wanted(payments, &outcome.report.missing).await?;
        let missing = |upload_by| Missing { upload_by, seed: None, needed: None };
        outcome.seeds = wanted.into_iter().map(missing).collect();
        let mut failure = None;
        if !self.args.dry_run {
            let report = &mut outcome.report;
            let post = async |upload_by| self.post(payments, upload_by, &mut *report).await;
            failure = post_all(&mut outcome.seeds, self.proof.is_some(), post).await;
        }
        for missing in outcome.seeds.iter_mut().filter(|missing| missing.seed.is_none()) {
            missing.needed = Some(payments.seed_needed(missing.upload_by).await?);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Makes one seed known, with what is left of the gas cap, and notes what that has cost.
    async fn post(
        &self,
        payments: &Payments,
        upload_by: UnixTime,
        report: &mut SettleReport,
    ) -> Result<Post, Failure> {
        let mut terms = self.terms();
        let spent = report.spend().gas_cost;
        terms.gas_cap = terms.gas_cap.map(|cap| cap.saturating_sub(spent));
        let proof = self.proof.clone().unwrap_or_default();
        let seeds = vec![SeedWanted { upload_by, proof }];
        let options = SettleOptions { seeds, terms, ..SettleOptions::default() };
        let (done, error) = match settle_known(payments, self.wallet, options).await {
            Ok(done) => (done, None),
            Err(SettleStopped { done, error }) => (*done, Some(error)),
        };
        // Somebody else may have made it known meanwhile.
        let sent = !done.seed_spend.tx_hashes.is_empty();
        report.seed_spend.gas_used += done.seed_spend.gas_used;
        report.seed_spend.gas_cost =
            report.seed_spend.gas_cost.saturating_add(done.seed_spend.gas_cost);
        report.seed_spend.tx_hashes.extend(done.seed_spend.tx_hashes);
        match error {
            None => {
                let seed = done.seeds.into_iter().find_map(|(_, seed)| seed);
                Ok(seed.map_or(Post::NotYet, |seed| Post::Known { seed, sent }))
            }
            Some(AccountError::Payment(error)) if is_refused(&error.failure) => {
                tracing::info!(%error, "the beacon asks for a proof, or for another one");
                Ok(Post::Refused(Failure::from(error.as_ref())))
            }
            Some(error) => Err(error.into()),
        }
    }

    /// The seeds that are missing; see [`to_post`].
    async fn wanted(
        &self,
        payments: &Arc<Payments>,
        named: &[UnixTime],
    ) -> Result<Vec<UnixTime>, Failure> {
        let own = match Context::data(self.settings)? {
            Some(data) => missing_seeds(payments, &data).await?,
            None => Vec::new(),
        };
        let newest = match self.proof {
            Some(_) => newest_seed(payments).await?,
            None => None,
        };
        Ok(to_post(own, named, self.proof.is_some(), newest))
    }
}

/// The seeds that are to be made known: those that uploads of this machine wait for, and some of those
/// that nodes do. For a proof all of them, and the newest: with a proof they cost nothing but for the
/// one that takes it, and what others wait for says nothing of what it proves.
fn to_post(
    mut own: Vec<UnixTime>,
    named: &[UnixTime],
    with_proof: bool,
    newest: Option<UnixTime>,
) -> Vec<UnixTime> {
    let most = if with_proof { usize::MAX } else { MAX_NAMED_POSTS };
    let others = named.iter().filter(|named| !own.contains(named)).take(most);
    let others: Vec<UnixTime> = others.copied().collect();
    own.extend(others);
    own.extend(newest.filter(|newest| !own.contains(newest)));
    own
}

/// What became of making a seed known.
enum Post {
    /// By a post that was sent, or by somebody else before.
    Known {
        seed: Seed,
        sent: bool,
    },
    NotYet,
    /// The beacon asks for a proof, or for another one.
    Refused(Failure),
}

/// Makes these seeds known. A proof is that of one round, so it is tried until a seed takes it: a
/// refusal is seen before anything is sent and costs nothing. Without one, a beacon that asks for it
/// is none of our business: others have it. A failure ends it, or says that no seed took the proof.
async fn post_all(
    seeds: &mut [Missing],
    with_proof: bool,
    mut post: impl AsyncFnMut(UnixTime) -> Result<Post, Failure>,
) -> Option<Failure> {
    let mut refused = None;
    for missing in seeds {
        match post(missing.upload_by).await {
            Ok(Post::Known { seed, sent }) => {
                missing.seed = Some(seed);
                // What somebody else has made known says nothing of the proof.
                if with_proof && sent {
                    return None;
                }
            }
            Ok(Post::NotYet) => {}
            Ok(Post::Refused(failure)) => refused = Some(failure),
            Err(failure) => return Some(failure),
        }
    }
    let hint = "check --seed-proof: the beacon takes that of one round only";
    refused.filter(|_| with_proof).map(|failure| failure.hint(hint))
}

fn is_refused(failure: &PayFailure) -> bool {
    matches!(failure, PayFailure::Chain(ChainError::Reverted { .. }) | PayFailure::Failed { .. })
}

#[cfg(test)]
mod tests;
