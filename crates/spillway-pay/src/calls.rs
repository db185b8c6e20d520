//! The calls that transactions make.

use alloy::{
    primitives::{B256, Bytes, U256, aliases::U40},
    sol_types::SolCall,
};
use spillway_types::{
    Atto, BatchTerms, DirectProof, EvmAddress, RewardAddress, Sibling, UnixTime, Win,
};

use crate::{
    Call, Plan,
    contracts::{IBeacon, IToken, IVault, address, batch, payee_address},
};

/// Lets the vault take `amount`.
pub(crate) fn approve(
    token: EvmAddress,
    from: EvmAddress,
    vault: EvmAddress,
    amount: Atto,
) -> Call {
    let call = IToken::approveCall { spender: address(vault), value: U256::from(amount.0) };
    Call { from, to: token, data: call.abi_encode() }
}

/// Pays a plan. The same plan always gives the same bytes.
pub(crate) fn pay(plan: &Plan) -> Call {
    let valid_until = seconds(plan.valid_until);
    let data = if let Some(terms) = plan.batch_terms() {
        IVault::commitCall { batch: batch(&terms), validUntil: valid_until }.abi_encode()
    } else {
        let direct = DirectProof::for_leaves(plan.payer, plan.upload_by, &plan.leaves);
        IVault::payDirectCall {
            payer: address(plan.payer),
            entries: direct.words().map(B256::new).collect(),
            uploadBy: seconds(plan.upload_by),
            validUntil: valid_until,
        }
        .abi_encode()
    };
    Call { from: plan.payer, to: plan.domain.vault, data }
}

/// Pays plans of one payer and one deadline: one of either mode, or several batches. The same plans
/// always give the same bytes.
pub(crate) fn pay_all(plans: &[&Plan]) -> Call {
    let [first, _, ..] = plans else {
        return pay(plans.first().expect("invariant: something is paid for"));
    };
    let call = IVault::commitManyCall {
        batches: plans.iter().filter_map(|plan| plan.batch_terms()).map(|t| batch(&t)).collect(),
        validUntil: seconds(first.valid_until),
    };
    Call { from: first.payer, to: first.domain.vault, data: call.abi_encode() }
}

/// Settles draws, at least one and all of one batch; a proof that is not empty makes the seed known
/// first.
pub(crate) fn settle(vault: EvmAddress, from: EvmAddress, wins: &[&Win], proof: &[u8]) -> Call {
    let terms = wins.first().expect("invariant: something is settled").terms;
    let call = IVault::settleCall {
        batch: batch(&terms),
        wins: wins.iter().map(|won| win(won)).collect(),
        seedProof: Bytes::copy_from_slice(proof),
    };
    Call { from, to: vault, data: call.abi_encode() }
}

fn win(win: &Win) -> IVault::Win {
    IVault::Win {
        draw: win.draw,
        chunk: B256::new(win.leaf.address.0),
        shares: win.leaf.shares.iter().map(|share| B256::new(share.word())).collect(),
        siblings: win.siblings.iter().flat_map(Sibling::words).map(B256::new).collect(),
    }
}

/// Sends what nobody claimed back to the payer.
pub(crate) fn refund(vault: EvmAddress, from: EvmAddress, terms: &BatchTerms) -> Call {
    let call = IVault::refundCall { batch: batch(terms) };
    Call { from, to: vault, data: call.abi_encode() }
}

/// Makes the seed after this time known.
pub(crate) fn post_seed(
    beacon: EvmAddress,
    from: EvmAddress,
    after: UnixTime,
    proof: &[u8],
) -> Call {
    let call = IBeacon::postCall { t: U256::from(after.0), proof: Bytes::copy_from_slice(proof) };
    Call { from, to: beacon, data: call.abi_encode() }
}

/// Sends a payee its credit.
pub(crate) fn withdraw(vault: EvmAddress, from: EvmAddress, payee: RewardAddress) -> Call {
    let call = IVault::withdrawCall { payee: payee_address(payee) };
    Call { from, to: vault, data: call.abi_encode() }
}

/// Sends tokens.
pub(crate) fn transfer(token: EvmAddress, from: EvmAddress, to: EvmAddress, amount: Atto) -> Call {
    let call = IToken::transferCall { to: address(to), value: U256::from(amount.0) };
    Call { from, to: token, data: call.abi_encode() }
}

/// A time in the vault's 40 bits; the end of its time for anything later.
pub(crate) fn seconds(time: UnixTime) -> U40 {
    U40::saturating_from(time.0)
}

#[cfg(test)]
mod tests;
