//! What the beacon of block hashes does, with numbers of its own for the hashes.

use std::{collections::BTreeMap, time::Duration};

use alloy::primitives::{U256, keccak256};
use spillway_types::{EvmAddress, Seed, UnixTime};

use super::{
    gas,
    world::{Context, Revert, World, revert},
};
use crate::contracts::IBeacon::{self, IBeaconCalls};

/// How many blocks ahead a block is armed.
const LEAD: u64 = 2;

/// For how many blocks back the machine knows hashes.
const HASHES: u64 = 256;

/// Seeds by the boundary of time after which each became public.
#[derive(Clone, Debug)]
pub(super) struct Beacon {
    pub(super) epoch: Duration,
    pub(super) latest: UnixTime,
    seeds: BTreeMap<UnixTime, Seed>,
    /// The block whose hash will be the seed, by boundary.
    armed: BTreeMap<UnixTime, u64>,
}

impl Beacon {
    /// Without seeds; `epoch` is at least a second.
    pub(super) fn new(epoch: Duration, now: UnixTime) -> Self {
        Self { epoch, latest: now, seeds: BTreeMap::new(), armed: BTreeMap::new() }
    }

    /// The first boundary of epochs after this time.
    fn boundary(&self, time: UnixTime) -> UnixTime {
        let epoch = self.epoch.as_secs().max(1);
        UnixTime((time.0 / epoch).saturating_add(1).saturating_mul(epoch))
    }

    pub(super) fn seed_after(&self, time: UnixTime) -> Option<Seed> {
        self.seeds.get(&self.boundary(time)).copied()
    }

    /// Makes a seed known, unless another is.
    pub(super) fn put(&mut self, time: UnixTime, seed: Seed) {
        let due = self.boundary(time);
        self.seeds.entry(due).or_insert(seed);
        self.latest = self.latest.max(due);
    }

    /// As the contract's: arms a block, or takes its hash.
    pub(super) fn post(
        &mut self,
        context: Context,
        time: UnixTime,
    ) -> Result<Option<Seed>, Revert> {
        let due = self.boundary(time);
        if let Some(&seed) = self.seeds.get(&due) {
            return Ok(Some(seed));
        }
        if context.time < due {
            let (boundary, time) = (U256::from(due.0), U256::from(context.time.0));
            return Err(revert(&IBeacon::TooEarly { boundary, time }));
        }
        match self.armed.get(&due) {
            Some(&target) if context.number <= target => {
                let (target, current) = (U256::from(target), U256::from(context.number));
                Err(revert(&IBeacon::NotMinedYet { target, current }))
            }
            Some(&target) if context.number <= target + HASHES => {
                let seed = block_hash(due, target);
                self.put(time, seed);
                Ok(Some(seed))
            }
            _ => {
                self.armed.insert(due, context.number + LEAD);
                Ok(None)
            }
        }
    }
}

/// The twin's blocks have no hashes: a number that depends on the block and on nothing else that
/// changes, so that runs can be repeated.
fn block_hash(due: UnixTime, target: u64) -> Seed {
    let words = [due.0.to_be_bytes(), target.to_be_bytes()].concat();
    Seed(keccak256(words).0)
}

impl World {
    pub(super) fn call_beacon(
        &mut self,
        context: Context,
        at: EvmAddress,
        call: IBeaconCalls,
    ) -> Result<u64, Revert> {
        let IBeaconCalls::post(call) = call else { return Ok(gas::VIEW) };
        let beacon = self.beacons.get_mut(&at).ok_or_else(Revert::new)?;
        let posted = beacon.post(context, UnixTime(call.t.saturating_to()))?;
        Ok(if posted.is_some() { gas::CAPTURE } else { gas::ARM })
    }
}
