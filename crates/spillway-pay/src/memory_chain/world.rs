//! Accounts and contracts, what calls do to them, and how contracts come into being.

use std::{collections::BTreeMap, time::Duration};

use alloy::{
    primitives::{U256, aliases::U40},
    sol_types::{SolError, SolInterface},
};
use spillway_types::{EvmAddress, UnixTime};

use super::{beacon::Beacon, gas, token::Token, vault::Vault};
use crate::{
    VaultEvent, Windows,
    artifacts::{BEACON_CODE, TOKEN_CODE, VAULT_CODE},
    contracts::{
        IBeacon::{self, IBeaconCalls},
        IToken::ITokenCalls,
        IVault::{self, IVaultCalls},
        address,
    },
};

/// Everything that a block leaves behind.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) nonces: BTreeMap<EvmAddress, u64>,
    pub(super) coins: BTreeMap<EvmAddress, u128>,
    pub(super) tokens: BTreeMap<EvmAddress, Token>,
    pub(super) vaults: BTreeMap<EvmAddress, Vault>,
    pub(super) beacons: BTreeMap<EvmAddress, Beacon>,
    /// What vaults did with draws in the transaction that runs; empty between transactions.
    pub(super) events: Vec<(EvmAddress, VaultEvent)>,
}

/// Where and when a call runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    pub(super) chain_id: u64,
    pub(super) sender: EvmAddress,
    pub(super) time: UnixTime,
    /// The block's number.
    pub(super) number: u64,
}

/// The data of a revert; empty when there is none.
pub(super) type Revert = Vec<u8>;

pub(super) fn revert<E: SolError>(error: &E) -> Revert {
    error.abi_encode()
}

impl World {
    /// Runs a call; gas apart from the transaction's own. When it reverts, the world is spoilt: run
    /// it on a copy.
    pub(super) fn call(
        &mut self,
        context: Context,
        to: EvmAddress,
        data: &[u8],
    ) -> Result<u64, Revert> {
        if self.tokens.contains_key(&to) {
            let call = ITokenCalls::abi_decode(data).map_err(|_| Revert::new())?;
            return self.call_token(context, to, call);
        }
        if self.vaults.contains_key(&to) {
            let call = IVaultCalls::abi_decode(data).map_err(|_| Revert::new())?;
            return self.call_vault(context, to, call);
        }
        if self.beacons.contains_key(&to) {
            let call = IBeaconCalls::abi_decode(data).map_err(|_| Revert::new())?;
            return self.call_beacon(context, to, call);
        }
        Ok(0)
    }

    /// Whether there is a contract.
    pub(super) fn has_code(&self, at: EvmAddress) -> bool {
        self.tokens.contains_key(&at)
            || self.vaults.contains_key(&at)
            || self.beacons.contains_key(&at)
    }

    /// Creates the contract that this code is the creation of; anything else reverts.
    pub(super) fn create(
        &mut self,
        context: Context,
        at: EvmAddress,
        code: &[u8],
    ) -> Result<u64, Revert> {
        if let Some(words) = code.strip_prefix(TOKEN_CODE.as_slice()) {
            let [supply] = numbers(words)?;
            let balances = BTreeMap::from([(context.sender, supply)]);
            self.tokens.insert(at, Token { balances, allowances: BTreeMap::new() });
            return Ok(gas::CREATE_TOKEN);
        }
        if let Some(words) = code.strip_prefix(BEACON_CODE.as_slice()) {
            let [epoch] = numbers(words)?;
            if epoch.is_zero() {
                return Err(revert(&IBeacon::ZeroEpoch {}));
            }
            let epoch = Duration::from_secs(epoch.saturating_to());
            self.beacons.insert(at, Beacon::new(epoch, context.time));
            return Ok(gas::CREATE_BEACON);
        }
        let words = code.strip_prefix(VAULT_CODE.as_slice()).ok_or_else(Revert::new)?;
        self.create_vault(at, words)?;
        Ok(gas::CREATE_VAULT)
    }

    fn create_vault(&mut self, at: EvmAddress, words: &[u8]) -> Result<(), Revert> {
        let [token, beacon, min, max, draw_delay, claim] = numbers(words)?;
        let (token, beacon) = (account(token), account(beacon));
        if !self.has_code(token) {
            return Err(revert(&IVault::NotAToken { token: address(token) }));
        }
        if !self.has_code(beacon) {
            return Err(revert(&IVault::NotABeacon { beacon: address(beacon) }));
        }
        let epoch = self.beacons.get(&beacon).ok_or_else(Revert::new)?.epoch;
        let claim_is_short = claim <= U256::from(epoch.as_secs());
        if max.is_zero() || min > max || draw_delay.is_zero() || claim_is_short {
            return Err(revert(&IVault::BadWindows {
                minWindow: U40::saturating_from(min),
                maxWindow: U40::saturating_from(max),
                drawDelay: U40::saturating_from(draw_delay),
                claimWindow: U40::saturating_from(claim),
            }));
        }
        let seconds = |word: U256| Duration::from_secs(word.saturating_to());
        let windows = Windows {
            min: seconds(min),
            max: seconds(max),
            draw_delay: seconds(draw_delay),
            claim: seconds(claim),
        };
        self.put_vault(at, token, beacon, windows);
        Ok(())
    }

    pub(super) fn put_vault(
        &mut self,
        at: EvmAddress,
        token: EvmAddress,
        beacon: EvmAddress,
        windows: Windows,
    ) {
        let vault = Vault {
            token,
            beacon,
            windows,
            records: BTreeMap::new(),
            settled: BTreeMap::new(),
            credits: BTreeMap::new(),
        };
        self.vaults.insert(at, vault);
    }
}

fn account(word: U256) -> EvmAddress {
    let mut account = [0; 20];
    account.copy_from_slice(&word.to_be_bytes::<32>()[12..]);
    EvmAddress(account)
}

/// The arguments of a constructor: exactly so many words.
fn numbers<const N: usize>(words: &[u8]) -> Result<[U256; N], Revert> {
    let found: Vec<U256> = words.chunks_exact(32).map(U256::from_be_slice).collect();
    found.try_into().map_err(|_| Revert::new())
}
