//! What the token does.

use std::collections::BTreeMap;

use alloy::primitives::U256;
use spillway_types::EvmAddress;

use super::{
    gas,
    world::{Context, Revert, World, revert},
};
use crate::contracts::{
    IToken::{self, ITokenCalls},
    address,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Token {
    pub(super) balances: BTreeMap<EvmAddress, U256>,
    /// By owner and spender.
    pub(super) allowances: BTreeMap<(EvmAddress, EvmAddress), U256>,
}

impl World {
    pub(super) fn call_token(
        &mut self,
        context: Context,
        at: EvmAddress,
        call: ITokenCalls,
    ) -> Result<u64, Revert> {
        match call {
            ITokenCalls::approve(call) => {
                let token = self.tokens.entry(at).or_default();
                let spender = EvmAddress(call.spender.into_array());
                token.allowances.insert((context.sender, spender), call.value);
                Ok(gas::APPROVE)
            }
            ITokenCalls::transfer(call) => {
                let to = EvmAddress(call.to.into_array());
                self.move_tokens(at, context.sender, to, call.value)?;
                Ok(gas::TRANSFER)
            }
            _ => Ok(gas::VIEW),
        }
    }

    /// `transferFrom` by `spender` to itself.
    pub(super) fn pull_tokens(
        &mut self,
        token: EvmAddress,
        from: EvmAddress,
        spender: EvmAddress,
        amount: U256,
    ) -> Result<(), Revert> {
        self.spend_allowance(token, from, spender, amount)?;
        self.move_tokens(token, from, spender, amount)
    }

    fn spend_allowance(
        &mut self,
        at: EvmAddress,
        owner: EvmAddress,
        spender: EvmAddress,
        needed: U256,
    ) -> Result<(), Revert> {
        let token = self.tokens.get_mut(&at).ok_or_else(Revert::new)?;
        let allowance = token.allowances.entry((owner, spender)).or_default();
        if *allowance < needed {
            return Err(revert(&IToken::ERC20InsufficientAllowance {
                spender: address(spender),
                allowance: *allowance,
                needed,
            }));
        }
        // An allowance of the largest number is not used up.
        if *allowance != U256::MAX {
            *allowance -= needed;
        }
        Ok(())
    }

    pub(super) fn move_tokens(
        &mut self,
        at: EvmAddress,
        from: EvmAddress,
        to: EvmAddress,
        needed: U256,
    ) -> Result<(), Revert> {
        let token = self.tokens.get_mut(&at).ok_or_else(Revert::new)?;
        let balance = token.balances.entry(from).or_default();
        if *balance < needed {
            return Err(revert(&IToken::ERC20InsufficientBalance {
                sender: address(from),
                balance: *balance,
                needed,
            }));
        }
        *balance -= needed;
        *token.balances.entry(to).or_default() += needed;
        Ok(())
    }
}
