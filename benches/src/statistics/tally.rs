use fastrand::Rng;
use spillway_types::{Seed, limits::CLOSE_GROUP};

use super::accounts::{Accounts, Place};
use super::network::{Network, random_bytes};
use super::sweep::{float, sweep};
use super::upload::{Client, Upload};
use super::{ClientResult, GroupResult, NodeResult, Pay};

/// Bins of the test that the first draw falls everywhere alike.
const BINS: u128 = 64;

/// What is added up while batches are drawn.
#[derive(Debug)]
pub(super) struct Tally {
    pay: Vec<Pay>,
    kept: Vec<u128>,
    clients: Vec<ClientResult>,
    bins: Vec<u64>,
    pub(super) most_off: f64,
    pub(super) leaves: usize,
    pub(super) wins: usize,
}

impl Tally {
    pub(super) fn new(accounts: &Accounts) -> Self {
        Self {
            pay: vec![Pay::default(); accounts.count()],
            kept: vec![0; accounts.nodes()],
            clients: Client::ALL.map(ClientResult::new).to_vec(),
            bins: (0..BINS).map(|_| 0).collect(),
            most_off: 0.0,
            leaves: 0,
            wins: 0,
        }
    }

    /// Adds a batch: what everybody is to get, and what `rounds` random seeds give.
    pub(super) fn add(
        &mut self,
        upload: &Upload,
        accounts: &Accounts,
        rounds: usize,
        rng: &mut Rng,
    ) {
        let places = places(upload);
        for (pay, moments) in self.pay.iter_mut().zip(sweep(upload, &places, accounts)) {
            pay.owed += moments.expected * rounds as u128;
            pay.variance += moments.variance * float(rounds as u128);
            let off = moments.off.abs() / f64::from(upload.terms.draws);
            self.most_off = self.most_off.max(off);
        }
        self.leaves += upload.leaves.len();
        self.add_stored(upload, rounds);
        for round in 0..rounds {
            let seed = Seed(random_bytes(rng));
            self.draw(upload, accounts, &places, seed, round == 0);
        }
    }

    /// What nodes have kept, and what that is worth to the client.
    fn add_stored(&mut self, upload: &Upload, rounds: usize) {
        let client = &mut self.clients[upload.client as usize];
        client.batches += 1;
        for listed in upload.leaves.iter().filter(|listed| !listed.again) {
            for share in 0..CLOSE_GROUP {
                let Some(node) = listed.nodes[share] else { continue };
                let amount = listed.leaf.shares[share].amount.0;
                if listed.claimed() {
                    client.stored += amount * rounds as u128;
                }
                if listed.kept[share] {
                    self.kept[node] += amount;
                }
            }
        }
    }

    fn draw(
        &mut self,
        upload: &Upload,
        accounts: &Accounts,
        places: &[Place],
        seed: Seed,
        first_round: bool,
    ) {
        let start = upload.terms.draw_point(seed, upload.id, 0).0;
        let bin = start * BINS / upload.terms.total.0;
        self.bins[usize::try_from(bin).expect("invariant: below the number of bins")] += 1;
        for draw in 0..upload.terms.draws {
            let (winner, parts) = upload.drawn(seed, draw);
            let listed = &upload.leaves[winner];
            let client = &mut self.clients[upload.client as usize];
            client.draws += 1;
            self.wins += 1;
            if !listed.claimed() {
                client.refunded += 1;
            } else if listed.is_own() {
                // It settles itself, so the tip is its own, too.
                client.own += 1;
            } else {
                client.tips += upload.terms.tip.0;
            }
            accounts.credit(upload, places[winner], &parts, |account, amount| {
                self.pay[account].paid += amount;
                if first_round {
                    self.pay[account].paid_once += amount;
                }
            });
        }
    }

    pub(super) fn nodes(&self, network: &Network) -> Vec<NodeResult> {
        let results = network.nodes.iter().zip(&self.pay).zip(&self.kept);
        results
            .map(|((node, &pay), &kept)| NodeResult { conduct: node.conduct, pay, kept })
            .collect()
    }

    pub(super) fn groups(&self, accounts: &Accounts) -> Vec<GroupResult> {
        let groups = accounts.groups().into_iter();
        groups.map(|(account, name)| GroupResult { name, pay: self.pay[account] }).collect()
    }

    pub(super) fn clients(&self, accounts: &Accounts) -> Vec<ClientResult> {
        let pay = |client: Client| self.pay[accounts.client(client)];
        self.clients
            .iter()
            .map(|&result| ClientResult { pay: pay(result.client), ..result })
            .collect()
    }

    /// How far the bins are from equally many starts each.
    pub(super) fn chi_square(&self) -> f64 {
        let starts = float(self.bins.iter().map(|&bin| u128::from(bin)).sum());
        let each = starts / float(BINS);
        self.bins
            .iter()
            .map(|&bin| (float(bin.into()) - each) * (float(bin.into()) - each) / each)
            .sum()
    }
}

/// Where each leaf of a batch stands.
pub(super) fn places(upload: &Upload) -> Vec<Place> {
    let leaves = upload.leaves.len();
    let promoted_from = upload.promoted_from();
    (0..leaves).map(|index| Place { index, leaves, promoted_from }).collect()
}
