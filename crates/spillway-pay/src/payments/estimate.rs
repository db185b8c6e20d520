//! What gas a payment takes, before the allowance is there that would let the chain say it.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use spillway_types::{Atto, EvmAddress, RewardAddress};

use super::{CONCURRENCY, CommitChoice, groups};
use crate::{Chain, ChainError, GasEstimate, Plan, calls, intrinsic::transaction_gas};

/// `payDirect` without its entries: the record, and the token's transfer.
const PAY_GAS: u64 = 51_000;
/// `commit`: the record, the token's transfer and the event.
const COMMIT_GAS: u64 = 53_000;
/// Each further batch of a `commitMany`: its record and its event.
const FURTHER_COMMIT_GAS: u64 = 28_700;
/// The token's transfer to a vault that has none of it: a new storage slot (EIP-2200).
const EMPTY_VAULT_GAS: u64 = 17_200;
/// An entry's arithmetic, hashing and copying, and the slot that is warm already.
const ENTRY_GAS: u64 = 450;
/// Crediting a payee that has credit already.
const KNOWN_PAYEE_GAS: u64 = 5_200;
/// Crediting a payee for the first time: a new storage slot (EIP-2929, EIP-2200).
const FRESH_PAYEE_GAS: u64 = 22_300;

/// How many payees are asked for: a network of test size whole. More are taken for fresh.
const ASKED_PAYEES: usize = 64;
/// Upper estimate for plans that are not recorded.
pub(super) async fn estimate(
    chain: &dyn Chain,
    token: EvmAddress,
    open: &[&Plan],
    payer: EvmAddress,
    commit: CommitChoice,
) -> Result<GasEstimate, ChainError> {
    let Some(first) = open.first() else { return Ok(GasEstimate::default()) };
    let vault = first.domain.vault;
    let needed: Atto = open.iter().map(|plan| plan.total()).sum();
    let approval_gas = if chain.allowance(token, payer, vault).await? < needed {
        chain.estimate_gas(&calls::approve(token, payer, vault, needed)).await?
    } else {
        0
    };
    let empty = chain.tokens(token, vault).await? == Atto::ZERO;
    let mut known = known_payees(chain, vault, open).await?;
    let groups = groups(open, commit);
    let pay_gas: u64 = groups.iter().map(|group| group_gas(group, &mut known)).sum();
    let gas = approval_gas + pay_gas + if empty { EMPTY_VAULT_GAS } else { 0 };
    let fees = chain.fees().await?;
    let price = fees.base.saturating_add(fees.priority);
    let transactions = u32::try_from(groups.len()).unwrap_or(u32::MAX);
    Ok(GasEstimate {
        gas,
        approval_gas,
        cost: price.saturating_mul(gas.into()),
        transactions: transactions.saturating_add(u32::from(approval_gas > 0)),
    })
}

/// Gas of one transaction; the payees of a direct payment are known afterwards.
fn group_gas(group: &[&Plan], known: &mut BTreeSet<RewardAddress>) -> u64 {
    match group {
        [plan] if plan.batch_terms().is_none() => direct_gas(plan, known),
        batches => {
            let further = (batches.len() as u64).saturating_sub(1) * FURTHER_COMMIT_GAS;
            transaction_gas(&calls::pay_all(batches).data, false, COMMIT_GAS + further)
        }
    }
}

fn direct_gas(plan: &Plan, known: &mut BTreeSet<RewardAddress>) -> u64 {
    let mut gas = PAY_GAS;
    let mut here = BTreeSet::new();
    for share in plan.leaves.iter().flat_map(|leaf| &leaf.shares) {
        gas += ENTRY_GAS;
        if here.insert(share.payee) {
            gas += if known.contains(&share.payee) { KNOWN_PAYEE_GAS } else { FRESH_PAYEE_GAS };
        }
    }
    known.append(&mut here);
    transaction_gas(&calls::pay(plan).data, false, gas)
}

/// Those payees that surely have credit already.
async fn known_payees(
    chain: &dyn Chain,
    vault: EvmAddress,
    open: &[&Plan],
) -> Result<BTreeSet<RewardAddress>, ChainError> {
    // Those that occur most often first: a wrong guess about them costs no more than about others,
    // but they are most likely known.
    let mut counts: BTreeMap<RewardAddress, usize> = BTreeMap::new();
    let direct = open.iter().filter(|plan| plan.batch_terms().is_none());
    for share in direct.flat_map(|plan| &plan.leaves).flat_map(|leaf| &leaf.shares) {
        *counts.entry(share.payee).or_default() += 1;
    }
    let mut payees: Vec<_> = counts.into_iter().map(|(payee, count)| (count, payee)).collect();
    payees.sort_unstable_by(|a, b| b.cmp(a));
    stream::iter(payees.into_iter().take(ASKED_PAYEES))
        .map(|(_, payee)| async move { Ok((payee, chain.credit(vault, payee).await?)) })
        .buffered(CONCURRENCY)
        .try_filter_map(|(payee, credit)| async move { Ok((credit > Atto::ZERO).then_some(payee)) })
        .try_collect()
        .await
}
