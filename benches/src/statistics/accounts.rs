use super::network::{Conduct, Network};
use super::upload::{Client, Listed, Upload};
use spillway_types::{Atto, limits::CLOSE_GROUP};

/// Everything that money is counted for: each node, and groups of shares that a biased draw would
/// favour. A number in `0..Accounts::count()`.
#[derive(Debug)]
pub(super) struct Accounts {
    nodes: usize,
    conduct: Vec<Conduct>,
    /// 0: the cheapest quarter of the nodes; 1: the dearest; 2: neither.
    price: Vec<usize>,
}

const PLACES: usize = CLOSE_GROUP;
const LEAVES: [&str; 3] = ["first leaf", "last leaf", "leaves that moved up without a sibling"];
const PRICES: [&str; 2] = ["cheapest quarter of the nodes", "dearest quarter of the nodes"];

/// What a leaf's place in its batch says about its accounts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) leaves: usize,
    /// The first leaf that moved up without a sibling.
    pub(super) promoted_from: usize,
}

impl Accounts {
    pub(super) fn new(network: &Network) -> Self {
        let mut prices: Vec<Atto> = network.nodes.iter().map(|node| node.price).collect();
        prices.sort_unstable();
        let (low, high) = (prices[prices.len() / 4], prices[prices.len() * 3 / 4]);
        let price = network.nodes.iter().map(|node| match node.price {
            price if price < low => 0,
            price if price >= high => 1,
            _ => 2,
        });
        Self {
            nodes: network.nodes.len(),
            conduct: network.nodes.iter().map(|node| node.conduct).collect(),
            price: price.collect(),
        }
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    pub(super) fn count(&self) -> usize {
        self.client(Client::Honest) + Client::ALL.len()
    }

    /// The groups, with their names: neither nodes nor clients.
    pub(super) fn groups(&self) -> Vec<(usize, String)> {
        let places = (1..=PLACES).map(|place| format!("share {place} of 5"));
        let leaves = LEAVES.iter().map(|&name| name.to_owned());
        let prices = PRICES.iter().map(|&name| name.to_owned());
        let conduct = Conduct::ALL.iter().map(|conduct| format!("nodes: {}", conduct.name()));
        let names = places.chain(leaves).chain(prices).chain(conduct);
        names.enumerate().map(|(index, name)| (self.nodes + index, name)).collect()
    }

    /// What this kind of client paid to others.
    pub(super) fn client(&self, client: Client) -> usize {
        let groups = PLACES + LEAVES.len() + PRICES.len() + Conduct::ALL.len();
        self.nodes + groups + client as usize
    }

    /// What a draw brings each account that pays the shares of this leaf so much: nothing if nobody
    /// settles it.
    pub(super) fn credit(
        &self,
        upload: &Upload,
        place: Place,
        parts: &[u128; CLOSE_GROUP],
        mut add: impl FnMut(usize, u128),
    ) {
        let listed = &upload.leaves[place.index];
        if listed.claimed() {
            self.spread(upload.client, listed, place, parts, &mut add);
        }
    }

    /// What each account is to get for this leaf.
    pub(super) fn expect(&self, upload: &Upload, place: Place, mut add: impl FnMut(usize, u128)) {
        let listed = &upload.leaves[place.index];
        if listed.claimed() {
            let parts = listed.leaf.shares.map(|share| share.amount.0);
            self.spread(upload.client, listed, place, &parts, &mut add);
        }
    }

    fn spread(
        &self,
        client: Client,
        listed: &Listed,
        place: Place,
        parts: &[u128; CLOSE_GROUP],
        add: &mut impl FnMut(usize, u128),
    ) {
        let mut all = 0;
        let leaves = self.nodes + PLACES;
        let prices = leaves + LEAVES.len();
        let conduct = prices + PRICES.len();
        for (share, (&node, &part)) in listed.nodes.iter().zip(parts).enumerate() {
            let Some(node) = node else { continue };
            all += part;
            add(node, part);
            add(self.nodes + share, part);
            if self.price[node] < PRICES.len() {
                add(prices + self.price[node], part);
            }
            add(conduct + self.conduct[node] as usize, part);
        }
        if all == 0 {
            return;
        }
        if place.index == 0 {
            add(leaves, all);
        }
        if place.index + 1 == place.leaves {
            add(leaves + 1, all);
        }
        if place.index >= place.promoted_from {
            add(leaves + 2, all);
        }
        add(self.client(client), all);
    }
}
