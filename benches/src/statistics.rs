//! Whether draws pay what they promise: a seeded simulation of many uploads and nodes with the
//! product's own tree, check, terms and draws.
//!
//! Three ways, from the strictest on: small batches point by point (`enumeration`); every batch of
//! the simulation over all seeds at once, which gives each account's exact mean and variance
//! (`sweep`); and draws with random seeds, compared with these. The same options always give the
//! same page, so a test holds the committed page against the code, and whoever changes how draws
//! fall sees it change. Deliberately absent: chain, network and time; what the vault does with the
//! same words is tested beside the vault.

mod accounts;
mod checks;
mod enumeration;
mod network;
mod page;
mod sweep;
mod tally;
mod unevenness;
mod upload;

use fastrand::Rng;

pub use self::checks::Check;
use self::{
    accounts::Accounts,
    enumeration::Enumerated,
    network::{Conduct, Network},
    sweep::float,
    tally::Tally,
    unevenness::Unevenness,
    upload::{Client, Upload},
};

/// How much is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatisticsOptions {
    /// Of all randomness.
    pub seed: u64,
    /// Storage nodes, at least 12.
    pub nodes: usize,
    /// Batches.
    pub uploads: usize,
    /// How often each batch is drawn, each time with another seed.
    pub rounds: usize,
    /// Chunks in the table of unevenness.
    pub samples: usize,
}

impl Default for StatisticsOptions {
    /// What the page in `docs/` was made with.
    fn default() -> Self {
        Self { seed: 20_261_121, nodes: 128, uploads: 240, rounds: 32, samples: 1 << 18 }
    }
}

/// What one account was to get and got. In units of the token, over all rounds but where said.
#[derive(Clone, Copy, Debug, Default)]
struct Pay {
    /// What its shares in claimed leaves add up to, once a round.
    owed: u128,
    /// What draws paid it.
    paid: u128,
    /// What the first round alone paid it, as it would really be.
    paid_once: u128,
    /// The exact variance of `paid`.
    variance: f64,
}

impl Pay {
    /// By how many standard deviations it got too much; `None` where every seed pays the same.
    fn z(&self) -> Option<f64> {
        let off = float(self.paid) - float(self.owed);
        (self.variance > 0.0).then(|| off / self.variance.sqrt())
    }

    /// Half the width of its confidence interval, at the level of all tests together.
    fn half_width(&self) -> f64 {
        checks::MOST_Z * self.variance.sqrt()
    }
}

/// One node.
#[derive(Clone, Copy, Debug)]
struct NodeResult {
    conduct: Conduct,
    pay: Pay,
    /// What its shares add up to in the chunks that it has kept itself, once.
    kept: u128,
}

/// One group of shares.
#[derive(Clone, Debug)]
struct GroupResult {
    name: String,
    pay: Pay,
}

/// One kind of client: what others got of it, and for what. Over all rounds.
#[derive(Clone, Copy, Debug)]
struct ClientResult {
    client: Client,
    batches: usize,
    pay: Pay,
    /// The listed price of the chunks that nodes have kept for it.
    stored: u128,
    /// Tips of draws that others settled.
    tips: u128,
    draws: usize,
    /// Draws that nobody could settle: prize and tip go back to the client.
    refunded: usize,
    /// Draws that paid the client itself.
    own: usize,
}

impl ClientResult {
    fn new(client: Client) -> Self {
        let pay = Pay::default();
        Self { client, batches: 0, pay, stored: 0, tips: 0, draws: 0, refunded: 0, own: 0 }
    }

    /// What it has stored for less than its price, before tips and gas; negative: it paid more.
    fn gain(&self) -> f64 {
        float(self.stored) - float(self.pay.paid)
    }
}

/// All results.
#[derive(Clone, Debug)]
pub struct Statistics {
    options: StatisticsOptions,
    leaves: usize,
    wins: usize,
    nodes: Vec<NodeResult>,
    groups: Vec<GroupResult>,
    clients: Vec<ClientResult>,
    enumerated: Vec<Enumerated>,
    unevenness: Vec<Unevenness>,
    /// The most that any account's exact mean is off, in units of the token a draw.
    most_off: f64,
    chi_square: f64,
}

impl Statistics {
    /// Runs the simulation.
    pub fn run(options: StatisticsOptions) -> Self {
        let mut rng = Rng::with_seed(options.seed);
        let network = Network::new(options.nodes, &mut rng);
        let accounts = Accounts::new(&network);
        let mut tally = Tally::new(&accounts);
        for number in 0..options.uploads {
            let upload = Upload::new(number, Client::pick(&mut rng), &network, &mut rng);
            tally.add(&upload, &accounts, options.rounds, &mut rng);
        }
        Self {
            options,
            leaves: tally.leaves,
            wins: tally.wins,
            nodes: tally.nodes(&network),
            groups: tally.groups(&accounts),
            clients: tally.clients(&accounts),
            enumerated: enumeration::enumerate(&mut rng),
            unevenness: unevenness::unevenness(&network, options.samples, &mut rng),
            most_off: tally.most_off,
            chi_square: tally.chi_square(),
        }
    }

    /// What must hold, and whether it does.
    pub fn checks(&self) -> Vec<Check> {
        checks::checks(self)
    }

    /// The page for `docs/`.
    pub fn page(&self) -> String {
        page::page(self)
    }
}

#[cfg(test)]
mod tests;
