//! The calls that transactions make.

use alloy::{
    primitives::{B256, U256, aliases::U40},
    sol_types::SolCall,
};
use spillway_types::{Atto, DirectProof, EvmAddress, RewardAddress, UnixTime};

use crate::{
    Call, Plan,
    contracts::{IToken, IVault, address, batch, payee_address},
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
fn seconds(time: UnixTime) -> U40 {
    U40::saturating_from(time.0)
}

#[cfg(test)]
mod tests;
