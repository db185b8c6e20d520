//! Whether those whose word an archive carries have given it: peers their prices and receipts, the
//! wallet its transactions. Whether a payment is recorded is the chain's to say, when the session goes
//! on.

use std::collections::{BTreeMap, BTreeSet};

use spillway_pay::{Plan, verify};
use spillway_types::{
    Atto, Domain, Leaf, PaymentId, PeerKey, Quote, Receipt, limits::STORE_QUORUM,
};

use super::archive::bad;
use crate::{
    SessionError,
    limits::MAX_CONFIRMATIONS,
    session::{ChunkInfo, Manifest, PlanFile, PlanIx, Progressed, Record, Snapshot, Vouchers},
};

/// Checks everything that is signed, and that the journal speaks of what is there. Five signatures a
/// leaf, five a stored chunk and one a transaction: 0.5 ms a chunk. Blocks.
pub(super) fn check(snapshot: &Snapshot, records: &[Record]) -> Result<(), SessionError> {
    for file in &snapshot.plans {
        plan(&snapshot.manifest, file)?;
    }
    transactions(snapshot)?;
    amounts(snapshot)?;
    receipts(snapshot, records)
}

/// A plan is its payer's, one that the vault takes, and of prices that peers have signed.
fn plan(manifest: &Manifest, file: &PlanFile) -> Result<(), SessionError> {
    let plan = &file.plan;
    if plan.payer != manifest.payer {
        return Err(bad("a plan is another wallet's"));
    }
    verify::plan_is_sound(plan).map_err(|error| bad(&format!("a plan: {error}")))?;
    for ((chunk, leaf), quotes) in file.chunks.iter().zip(&plan.leaves).zip(&file.quotes) {
        let size = quotes[0].terms.size;
        let own = chunk.map(|chunk| &manifest.chunks[chunk.0 as usize]);
        let fits = own.is_none_or(|ChunkInfo { size: listed, .. }| *listed == size);
        let peers: BTreeSet<PeerKey> = quotes.iter().map(|quote| quote.peer).collect();
        let pairs = quotes.iter().zip(&leaf.shares);
        let mut prices = pairs.map(|(quote, share)| {
            let terms = &quote.terms;
            let same = (terms.reward, terms.price) == (share.payee, share.amount);
            same && is_quoted(quote, (&manifest.domain, leaf, size), plan)
        });
        if !fits || peers.len() != quotes.len() || !prices.all(|good| good) {
            return Err(bad("a plan is not what peers have quoted"));
        }
    }
    Ok(())
}

/// Whether a peer has signed this price, and its terms hold for the plan.
fn is_quoted(quote: &Quote, (domain, leaf, size): (&Domain, &Leaf, u32), plan: &Plan) -> bool {
    let terms = &quote.terms;
    (terms.domain, terms.address, terms.size) == (*domain, leaf.address, size)
        && plan.valid_until <= terms.expires
        && terms.confirmations <= MAX_CONFIRMATIONS
        && quote.verify_signature().is_ok()
}

/// The wallet has signed these, and for what is written beside them: they may be sent again, and a plan
/// that they pay is paid without another question.
fn transactions(snapshot: &Snapshot) -> Result<(), SessionError> {
    let manifest = &snapshot.manifest;
    let plans: BTreeMap<PaymentId, &Plan> =
        snapshot.plans.iter().map(|file| (file.plan.id(), &file.plan)).collect();
    for tx in &snapshot.txs {
        if tx.from != manifest.payer {
            return Err(bad("a transaction is another wallet's"));
        }
        tx.check(&manifest.domain, |payment| plans.get(&payment).copied())
            .map_err(|error| bad(&format!("a transaction: {error}")))?;
    }
    Ok(())
}

/// What is said to be paid and to come back is that of the plans.
fn amounts(snapshot: &Snapshot) -> Result<(), SessionError> {
    let total = |plan: &PlanIx| snapshot.plans[plan.0 as usize].plan.total();
    let Progressed { paid, refundable, refunded, .. } = &snapshot.progressed;
    // What another session has paid costs nothing here.
    let paid_as_planned =
        paid.iter().all(|(plan, paid)| paid.total == Atto::ZERO || paid.total == total(plan));
    let mut back = refundable.iter().chain(refunded);
    if paid_as_planned && back.all(|(plan, amount)| *amount <= total(plan)) {
        Ok(())
    } else {
        Err(bad("its journal speaks of other amounts than its plans"))
    }
}

/// A chunk that is said to be stored has a quorum of receipts: for a plan of the session, or, where the
/// network had it before, for anybody's.
fn receipts(snapshot: &Snapshot, records: &[Record]) -> Result<(), SessionError> {
    let vouchers = Vouchers::of(&snapshot.plans);
    let manifest = &snapshot.manifest;
    for record in records {
        let sound = match record {
            Record::Stored { chunk, receipts } => vouchers.quorum(*chunk, receipts).is_some(),
            Record::Already { chunk, receipts } => {
                let info = manifest.chunks.get(chunk.0 as usize);
                let about = |receipt: &&Receipt| {
                    let body = &receipt.body;
                    body.domain == manifest.domain
                        && info.is_some_and(|i| (i.address, i.size) == (body.address, body.size))
                        && receipt.verify_signature().is_ok()
                };
                let peers = receipts.iter().filter(about).map(|receipt| receipt.peer);
                peers.collect::<BTreeSet<PeerKey>>().len() >= STORE_QUORUM
            }
            _ => true,
        };
        if !sound {
            return Err(bad("a chunk is said to be stored without receipts for it"));
        }
    }
    Ok(())
}
