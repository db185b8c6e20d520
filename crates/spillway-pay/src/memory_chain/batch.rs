//! What the vault does with batches, check by check in the contract's order. Nothing of the strict
//! verifier is used: the twin is to show where that one differs.

use std::collections::BTreeSet;

use alloy::{
    primitives::{B256, Bytes, U256, keccak256},
    sol_types::SolValue,
};
use spillway_types::{
    Atto, BatchTerms, EvmAddress, NodeHash, PaymentId, Seed, UnixTime,
    limits::{MAX_DRAWS, MAX_PROOF_DEPTH},
};

use super::{
    gas,
    vault::{Vault, check_deadline, check_sender, domain, share},
    world::{Context, Revert, World, revert},
};
use crate::{
    VaultEvent, Windows,
    contracts::{IVault, atto},
};

fn terms(batch: &IVault::Batch) -> BatchTerms {
    BatchTerms {
        payer: EvmAddress(batch.payer.into_array()),
        root: NodeHash(batch.root.0),
        total: Atto(batch.total.to()),
        tip: Atto(batch.tip.to()),
        upload_by: UnixTime(batch.uploadBy.to()),
        draws: batch.draws,
    }
}

fn seconds(time: UnixTime) -> U256 {
    U256::from(time.0)
}

impl World {
    pub(super) fn commit(
        &mut self,
        context: Context,
        at: EvmAddress,
        call: &IVault::commitCall,
    ) -> Result<u64, Revert> {
        check_sender(context, call.batch.payer)?;
        check_deadline(context, call.validUntil)?;
        let escrow = self.vault(at)?.open(context, at, &call.batch)?;
        let token = self.vault(at)?.token;
        self.pull_tokens(token, context.sender, at, escrow)?;
        Ok(gas::COMMIT)
    }

    pub(super) fn commit_many(
        &mut self,
        context: Context,
        at: EvmAddress,
        call: &IVault::commitManyCall,
    ) -> Result<u64, Revert> {
        check_deadline(context, call.validUntil)?;
        if call.batches.is_empty() {
            return Err(revert(&IVault::NoBatches {}));
        }
        let mut escrow = U256::ZERO;
        let mut used = gas::COMMIT - gas::FURTHER_BATCH;
        for batch in &call.batches {
            check_sender(context, batch.payer)?;
            escrow += self.vault(at)?.open(context, at, batch)?;
            used += gas::FURTHER_BATCH;
        }
        let token = self.vault(at)?.token;
        self.pull_tokens(token, context.sender, at, escrow)?;
        Ok(used)
    }

    pub(super) fn settle(
        &mut self,
        context: Context,
        at: EvmAddress,
        call: &IVault::settleCall,
    ) -> Result<u64, Revert> {
        let terms = terms(&call.batch);
        let id = terms.id(&domain(context, at));
        let Windows { draw_delay, claim, .. } = self.vault(at)?.known(id)?.windows;
        let draw_time = terms.upload_by.saturating_add(draw_delay);
        let end = draw_time.saturating_add(claim);
        if context.time > end {
            let (claim_end, time) = (seconds(end), seconds(context.time));
            return Err(revert(&IVault::ClaimOver { claimEnd: claim_end, time }));
        }
        let (seed, mut used) = self.seed_or_post(context, at, draw_time, &call.seedProof)?;
        let vault = self.vault(at)?;
        let mut done = vault.settled.get(&id).copied().unwrap_or_default();
        let mut touched = BTreeSet::new();
        let mut settled = 0_u64;
        let mut events = Vec::new();
        for (index, win) in (0_u64..).zip(&call.wins) {
            let index = U256::from(index);
            if win.draw >= terms.draws {
                return Err(revert(&IVault::BadDraw { index, draw: win.draw }));
            }
            if !done.insert(win.draw) {
                used += gas::DONE;
                continue;
            }
            settled += 1;
            let point = U256::from(terms.draw_point(seed, id, win.draw).0);
            let sum = check_win(&terms, win, index, point)?;
            used += gas::WIN + gas::LEVEL * (win.siblings.len() as u64 / 2);
            let event =
                VaultEvent::Settled { payment: id, draw: win.draw, prize: terms.prize(win.draw) };
            events.push((at, event));
            let prize = U256::from(terms.prize(win.draw).0);
            let mut left = prize;
            for (place, &word) in win.shares.iter().enumerate() {
                let share = share(word);
                let is_last = place + 1 == win.shares.len();
                let part = if is_last { left } else { prize * U256::from(share.amount.0) / sum };
                left -= part;
                used += vault.add_credit(share.payee, part, &mut touched);
            }
        }
        if settled == 0 {
            return Ok(used);
        }
        vault.settled.insert(id, done);
        used += gas::SETTLED;
        let token = vault.token;
        self.events.append(&mut events);
        if terms.tip != Atto::ZERO {
            let tips = U256::from(terms.tip.0) * U256::from(settled);
            self.move_tokens(token, at, context.sender, tips)?;
            used += gas::TIPS;
        }
        Ok(used)
    }

    pub(super) fn refund(
        &mut self,
        context: Context,
        at: EvmAddress,
        call: &IVault::refundCall,
    ) -> Result<u64, Revert> {
        let terms = terms(&call.batch);
        let id = terms.id(&domain(context, at));
        let vault = self.vault(at)?.known(id)?;
        let end = vault.windows.claim_end(terms.upload_by);
        if context.time <= end {
            let (claim_end, time) = (seconds(end), seconds(context.time));
            return Err(revert(&IVault::ClaimOpen { claimEnd: claim_end, time }));
        }
        let done = vault.settled.entry(id).or_default();
        let mut amount = U256::ZERO;
        for draw in (0..terms.draws).filter(|&draw| done.insert(draw)) {
            amount += U256::from(terms.prize(draw).0) + U256::from(terms.tip.0);
        }
        if amount.is_zero() {
            return Err(revert(&IVault::NothingToRefund { id: B256::new(id.0) }));
        }
        let token = vault.token;
        let event = VaultEvent::Refunded { payment: id, amount: atto(amount) };
        self.events.push((at, event));
        self.move_tokens(token, at, terms.payer, amount)?;
        Ok(gas::REFUND + gas::REFUND_DRAW * u64::from(terms.draws))
    }

    fn vault(&mut self, at: EvmAddress) -> Result<&mut Vault, Revert> {
        self.vaults.get_mut(&at).ok_or_else(Revert::new)
    }

    /// The seed, posted first if it is not known and there is a proof; with the gas of all that.
    fn seed_or_post(
        &mut self,
        context: Context,
        at: EvmAddress,
        draw_time: UnixTime,
        proof: &Bytes,
    ) -> Result<(Seed, u64), Revert> {
        let beacon = self.vault(at)?.beacon;
        let beacon = self.beacons.get_mut(&beacon).ok_or_else(Revert::new)?;
        if let Some(seed) = beacon.seed_after(draw_time) {
            return Ok((seed, gas::SETTLE));
        }
        let posted = if proof.is_empty() { None } else { beacon.post(context, draw_time)? };
        let seed =
            posted.ok_or_else(|| revert(&IVault::NoSeed { drawTime: seconds(draw_time) }))?;
        Ok((seed, gas::SETTLE + gas::CAPTURE))
    }
}

impl Vault {
    /// Records a batch; what is to be taken for it.
    fn open(
        &mut self,
        context: Context,
        at: EvmAddress,
        batch: &IVault::Batch,
    ) -> Result<U256, Revert> {
        let terms = terms(batch);
        self.record(context, terms.id(&domain(context, at)), batch.uploadBy)?;
        if terms.total == Atto::ZERO {
            return Err(revert(&IVault::ZeroTotal {}));
        }
        let most = terms.total.0.min(MAX_DRAWS as u128);
        if terms.draws == 0 || u128::from(terms.draws) > most {
            let (draws, most) = (terms.draws, U256::from(most));
            return Err(revert(&IVault::BadDraws { draws, most }));
        }
        Ok(U256::from(terms.escrow().0))
    }

    /// This vault, if it has the record of a payment.
    fn known(&mut self, id: PaymentId) -> Result<&mut Self, Revert> {
        if self.records.contains_key(&id) {
            return Ok(self);
        }
        Err(revert(&IVault::Unknown { id: B256::new(id.0) }))
    }
}

/// The win's leaf is in the tree and contains `point`; the leaf's sum.
fn check_win(
    terms: &BatchTerms,
    win: &IVault::Win,
    index: U256,
    point: U256,
) -> Result<U256, Revert> {
    let bad = || revert(&IVault::BadProof { index });
    let words = win.siblings.len();
    if !words.is_multiple_of(2) || words > 2 * MAX_PROOF_DEPTH {
        return Err(bad());
    }
    let amounts = win.shares.iter().map(|&word| U256::from(share(word).amount.0));
    let sum: U256 = amounts.sum();
    if sum.is_zero() {
        return Err(bad());
    }
    let from = locate(terms, win, sum).ok_or_else(bad)?;
    let to = from + sum;
    if point < from || point >= to {
        return Err(revert(&IVault::NotWinner { index, point, from, to }));
    }
    Ok(sum)
}

/// Where the leaf's segment begins; `None` if the path does not end at the batch's root.
fn locate(terms: &BatchTerms, win: &IVault::Win, mut sum: U256) -> Option<U256> {
    let total = U256::from(terms.total.0);
    let shares: Vec<u8> = win.shares.iter().flat_map(|word| word.0).collect();
    let name = B256::right_padding_from(b"leaf");
    let mut hash = keccak256((name, win.chunk, keccak256(shares)).abi_encode());
    let mut from = U256::ZERO;
    if sum > total {
        return None;
    }
    for level in win.siblings.chunks(2) {
        let word = U256::from_be_bytes(level[1].0);
        let is_left = word.bit(255);
        let (other, beside) = (level[0], word & (U256::MAX >> 1_u8));
        if beside > total - sum {
            return None;
        }
        hash = if is_left {
            from += beside;
            keccak256((other, beside, hash, sum).abi_encode())
        } else {
            keccak256((hash, sum, other, beside).abi_encode())
        };
        sum += beside;
    }
    (hash.0 == terms.root.0 && sum == total).then_some(from)
}
