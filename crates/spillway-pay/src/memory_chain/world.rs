//! Accounts and contracts, and what calls do to them: the rules of vault and token.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use alloy::{
    primitives::{B256, U256},
    sol_types::{SolError, SolInterface},
};
use spillway_types::{
    Atto, DirectEntry, DirectProof, Domain, DrawSet, EvmAddress, LeafHash, NetworkId, PaymentId,
    RewardAddress, Seed, Share, UnixTime, limits::MAX_DIRECT_ENTRIES,
};

use super::gas;
use crate::{
    Windows,
    artifacts::{TOKEN_CODE, VAULT_CODE},
    contracts::{
        IToken::{self, ITokenCalls},
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
}

/// Seeds by the boundary of time after which each became public.
#[derive(Clone, Debug)]
pub(super) struct Beacon {
    pub(super) epoch: Duration,
    pub(super) latest: UnixTime,
    pub(super) seeds: BTreeMap<UnixTime, Seed>,
}

impl Beacon {
    /// The first boundary of epochs after this time.
    pub(super) fn boundary(&self, time: UnixTime) -> UnixTime {
        let epoch = self.epoch.as_secs().max(1);
        UnixTime((time.0 / epoch + 1) * epoch)
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Token {
    pub(super) balances: BTreeMap<EvmAddress, U256>,
    /// By owner and spender.
    pub(super) allowances: BTreeMap<(EvmAddress, EvmAddress), U256>,
}

#[derive(Clone, Debug)]
pub(super) struct Vault {
    pub(super) token: EvmAddress,
    pub(super) beacon: EvmAddress,
    pub(super) windows: Windows,
    pub(super) records: BTreeMap<PaymentId, UnixTime>,
    pub(super) settled: BTreeMap<PaymentId, DrawSet>,
    pub(super) credits: BTreeMap<RewardAddress, U256>,
}

/// Where and when a call runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    pub(super) chain_id: u64,
    pub(super) sender: EvmAddress,
    pub(super) time: UnixTime,
}

/// The data of a revert; empty when there is none.
pub(super) type Revert = Vec<u8>;

fn revert<E: SolError>(error: &E) -> Revert {
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
        Ok(0)
    }

    fn call_token(
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

    fn call_vault(
        &mut self,
        context: Context,
        at: EvmAddress,
        call: IVaultCalls,
    ) -> Result<u64, Revert> {
        match call {
            IVaultCalls::payDirect(call) => self.pay_direct(context, at, &call),
            IVaultCalls::withdraw(call) => {
                self.withdraw(at, RewardAddress(call.payee.into_array()))?;
                Ok(gas::WITHDRAW)
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
        let sender = address(context.sender);
        let time = U256::from(context.time.0);
        if call.payer != sender {
            return Err(revert(&IVault::NotPayer { payer: call.payer, sender }));
        }
        if time > U256::from(call.validUntil) {
            return Err(revert(&IVault::Expired { validUntil: call.validUntil, time }));
        }
        let words = call.entries.len();
        if words == 0 || !words.is_multiple_of(2) || words > 2 * MAX_DIRECT_ENTRIES {
            return Err(revert(&IVault::BadEntryCount { words: U256::from(words) }));
        }
        let proof = DirectProof {
            payer: context.sender,
            upload_by: UnixTime(call.uploadBy.to()),
            entries: call.entries.chunks(2).map(|pair| entry(pair[0], pair[1])).collect(),
        };
        let domain = Domain { network: NetworkId([0; 32]), chain_id: context.chain_id, vault: at };
        let id = proof.id(&domain);
        let vault = self.vaults.get_mut(&at).ok_or_else(Revert::new)?;
        if vault.records.contains_key(&id) {
            return Err(revert(&IVault::Exists { id: B256::new(id.0) }));
        }
        let earliest = context.time.saturating_add(vault.windows.min);
        let latest = context.time.saturating_add(vault.windows.max);
        if proof.upload_by < earliest || proof.upload_by > latest {
            return Err(revert(&IVault::BadUploadBy {
                uploadBy: call.uploadBy,
                earliest: U256::from(earliest.0),
                latest: U256::from(latest.0),
            }));
        }
        vault.records.insert(id, context.time);
        let used = vault.credit_all(&proof.entries)?;
        let total = U256::from(proof.total().0);
        let token = vault.token;
        self.spend_allowance(token, context.sender, at, total)?;
        self.move_tokens(token, context.sender, at, total)?;
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

    /// Creates the contract that this code is the creation of; anything else reverts.
    pub(super) fn create(
        &mut self,
        context: Context,
        at: EvmAddress,
        code: &[u8],
    ) -> Result<u64, Revert> {
        if let Some(words) = code.strip_prefix(TOKEN_CODE.as_slice()) {
            let supply = word(words, 0).ok_or_else(Revert::new)?;
            let balances = BTreeMap::from([(context.sender, supply)]);
            self.tokens.insert(at, Token { balances, allowances: BTreeMap::new() });
            return Ok(gas::CREATE);
        }
        let words = code.strip_prefix(VAULT_CODE.as_slice()).ok_or_else(Revert::new)?;
        let numbers: Vec<U256> = (0..6).filter_map(|index| word(words, index)).collect();
        let [token, beacon, min, max, draw_delay, claim] = numbers[..] else {
            return Err(Revert::new());
        };
        let (token, beacon) = (account(token), account(beacon));
        if !self.tokens.contains_key(&token) {
            return Err(revert(&IVault::NotAToken { token: address(token) }));
        }
        let seconds = |word: U256| Duration::from_secs(word.saturating_to());
        let windows = Windows {
            min: seconds(min),
            max: seconds(max),
            draw_delay: seconds(draw_delay),
            claim: seconds(claim),
        };
        self.put_vault(at, token, beacon, windows);
        Ok(gas::CREATE)
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

impl Vault {
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
            let credit = self.credits.entry(payee).or_default();
            used += match (touched.insert(payee), credit.is_zero()) {
                (true, true) => gas::FRESH_PAYEE,
                (true, false) => gas::KNOWN_PAYEE,
                (false, _) => gas::REPEATED_PAYEE,
            };
            *credit += U256::from(amount.0);
            total = total.saturating_add(amount);
        }
        if total == Atto::ZERO {
            return Err(revert(&IVault::ZeroTotal {}));
        }
        Ok(used)
    }
}

fn entry(share: B256, leaf: B256) -> DirectEntry {
    let mut payee = [0; 20];
    payee.copy_from_slice(&share[..20]);
    let mut amount = [0; 16];
    amount[4..].copy_from_slice(&share[20..]);
    DirectEntry {
        share: Share { payee: RewardAddress(payee), amount: Atto(u128::from_be_bytes(amount)) },
        leaf: LeafHash(leaf.0),
    }
}

fn word(bytes: &[u8], index: usize) -> Option<U256> {
    bytes.get(32 * index..32 * (index + 1)).map(U256::from_be_slice)
}
