//! The calls that transactions make.

use alloy::{
    primitives::{B256, U256, aliases::U40},
    sol_types::SolCall,
};
use spillway_types::{Atto, EvmAddress, PaymentProof, RewardAddress, UnixTime};

use crate::{
    Call, Plan,
    contracts::{IToken, IVault, address, payee_address},
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
    let PaymentProof::Direct(direct) = plan.proof() else {
        unreachable!("invariant: plans of this version pay directly")
    };
    let call = IVault::payDirectCall {
        payer: address(plan.payer),
        entries: direct.words().map(B256::new).collect(),
        uploadBy: seconds(plan.upload_by),
        validUntil: seconds(plan.valid_until),
    };
    Call { from: plan.payer, to: plan.domain.vault, data: call.abi_encode() }
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
