//! What the vault does: payments chunk by chunk, and what they share with batches.

use std::collections::{BTreeMap, BTreeSet};

use alloy::{
    primitives::{Address, B256, U256, aliases::U40},
    sol_types::{Revert as Text, SolError},
};
use spillway_types::{
    Atto, DirectEntry, DirectProof, Domain, DrawSet, EvmAddress, LeafHash, NetworkId, PaymentId,
    RewardAddress, Share, UnixTime, limits::MAX_DIRECT_ENTRIES,
};

use super::{
    gas,
    world::{Context, Revert, World, revert},
};
use crate::{
    Windows,
    contracts::{
        IVault::{self, IVaultCalls},
        address,
    },
};

#[derive(Clone, Debug)]
pub(super) struct Vault {
    pub(super) token: EvmAddress,
    pub(super) beacon: EvmAddress,
    pub(super) windows: Windows,
    pub(super) records: BTreeMap<PaymentId, UnixTime>,
    pub(super) settled: BTreeMap<PaymentId, DrawSet>,
    pub(super) credits: BTreeMap<RewardAddress, U256>,
}

/// The sender is the payer.
pub(super) fn check_sender(context: Context, payer: Address) -> Result<(), Revert> {
    let sender = address(context.sender);
    if payer == sender { Ok(()) } else { Err(revert(&IVault::NotPayer { payer, sender })) }
}

/// The deadline has not passed.
pub(super) fn check_deadline(context: Context, valid_until: U40) -> Result<(), Revert> {
    let time = U256::from(context.time.0);
    if time > U256::from(valid_until) {
        return Err(revert(&IVault::Expired { validUntil: valid_until, time }));
    }
    Ok(())
}

/// What ids are made for. The network's name is no part of them.
pub(super) fn domain(context: Context, vault: EvmAddress) -> Domain {
    Domain { network: NetworkId([0; 32]), chain_id: context.chain_id, vault }
}

impl World {
    pub(super) fn call_vault(
        &mut self,
        context: Context,
        at: EvmAddress,
        call: IVaultCalls,
    ) -> Result<u64, Revert> {
        match call {
            IVaultCalls::payDirect(call) => self.pay_direct(context, at, &call),
            IVaultCalls::commit(call) => self.commit(context, at, &call),
            IVaultCalls::commitMany(call) => self.commit_many(context, at, &call),
            IVaultCalls::settle(call) => self.settle(context, at, &call),
            IVaultCalls::refund(call) => self.refund(context, at, &call),
            IVaultCalls::withdraw(call) => {
                self.withdraw(at, RewardAddress(call.payee.into_array()))?;
                Ok(gas::WITHDRAW)
            }
            IVaultCalls::commitWithPermit(_)
            | IVaultCalls::commitWithAuthorization(_)
            | IVaultCalls::commitManyWithAuthorization(_) => {
                let text = "the chain in memory knows no signatures of tokens";
                Err(Text::from(text).abi_encode())
            }
            _ => Ok(gas::VIEW),
        }
    }

    fn pay_direct(
        &mut self,
        context: Context,
        at: EvmAddress,
        call: &IVault::payDirectCall,
    ) -> Result<u64, Revert> {
        check_sender(context, call.payer)?;
        check_deadline(context, call.validUntil)?;
        let words = call.entries.len();
        if words == 0 || !words.is_multiple_of(2) || words > 2 * MAX_DIRECT_ENTRIES {
            return Err(revert(&IVault::BadEntryCount { words: U256::from(words) }));
        }
        let proof = DirectProof {
            payer: context.sender,
            upload_by: UnixTime(call.uploadBy.to()),
            entries: call.entries.chunks(2).map(|pair| entry(pair[0], pair[1])).collect(),
        };
        let id = proof.id(&domain(context, at));
        let vault = self.vaults.get_mut(&at).ok_or_else(Revert::new)?;
        vault.record(context, id, call.uploadBy)?;
        let used = vault.credit_all(&proof.entries)?;
        let total = U256::from(proof.total().0);
        let token = vault.token;
        self.pull_tokens(token, context.sender, at, total)?;
        Ok(used)
    }

    fn withdraw(&mut self, at: EvmAddress, payee: RewardAddress) -> Result<(), Revert> {
        let vault = self.vaults.get_mut(&at).ok_or_else(Revert::new)?;
        let Some(owed) = vault.credits.get_mut(&payee) else { return Ok(()) };
        if *owed <= U256::ONE {
            return Ok(());
        }
        let amount = *owed - U256::ONE;
        *owed = U256::ONE;
        let token = vault.token;
        self.move_tokens(token, at, EvmAddress(payee.0), amount)
    }
}

impl Vault {
    /// Records `id` as paid now.
    pub(super) fn record(
        &mut self,
        context: Context,
        id: PaymentId,
        upload_by: U40,
    ) -> Result<(), Revert> {
        if self.records.contains_key(&id) {
            return Err(revert(&IVault::Exists { id: B256::new(id.0) }));
        }
        let earliest = U256::from(context.time.saturating_add(self.windows.min).0);
        let latest = U256::from(context.time.saturating_add(self.windows.max).0);
        let asked = U256::from(upload_by);
        if asked < earliest || asked > latest {
            return Err(revert(&IVault::BadUploadBy { uploadBy: upload_by, earliest, latest }));
        }
        self.records.insert(id, context.time);
        Ok(())
    }

    /// Credits every entry; the gas of the whole payment.
    fn credit_all(&mut self, entries: &[DirectEntry]) -> Result<u64, Revert> {
        let mut used = gas::PAY;
        let mut touched = BTreeSet::new();
        let mut total = Atto::ZERO;
        for (index, entry) in entries.iter().enumerate() {
            let Share { payee, amount } = entry.share;
            if payee == RewardAddress::ZERO {
                return Err(revert(&IVault::ZeroPayee { index: U256::from(index) }));
            }
            used += self.add_credit(payee, U256::from(amount.0), &mut touched);
            total = total.saturating_add(amount);
        }
        if total == Atto::ZERO {
            return Err(revert(&IVault::ZeroTotal {}));
        }
        Ok(used)
    }

    /// Credits one payee; its gas. `touched` are those whom this call has credited before.
    pub(super) fn add_credit(
        &mut self,
        payee: RewardAddress,
        amount: U256,
        touched: &mut BTreeSet<RewardAddress>,
    ) -> u64 {
        let credit = self.credits.entry(payee).or_default();
        let used = match (touched.insert(payee), credit.is_zero()) {
            (true, true) => gas::FRESH_PAYEE,
            (true, false) => gas::KNOWN_PAYEE,
            (false, _) => gas::REPEATED_PAYEE,
        };
        *credit += amount;
        used
    }
}

/// A share of a word of the call.
pub(super) fn share(word: B256) -> Share {
    let mut payee = [0; 20];
    payee.copy_from_slice(&word[..20]);
    let mut amount = [0; 16];
    amount[4..].copy_from_slice(&word[20..]);
    Share { payee: RewardAddress(payee), amount: Atto(u128::from_be_bytes(amount)) }
}

fn entry(word: B256, leaf: B256) -> DirectEntry {
    DirectEntry { share: share(word), leaf: LeafHash(leaf.0) }
}
