//! The whole life of batches on a real chain, to the last unit: paid, stored, drawn, settled, and
//! what nobody claims comes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use spillway_client::{
    DownloadOptions, ModeChoice, PaymentMode, Remote, SettleOptions, Target, UploadOptions,
    Uploaded, refund, refundable, settle,
};
use spillway_disk::{Disk, MemoryDisk, Overwrite, RealDisk};
use spillway_pay::{
    CommitChoice, OpenClaim, PayRequest, Plan, Refunded, SettleTerms, Settled, SkipReason, Skipped,
};
use spillway_testnet::{TestClient, TestNode};
use spillway_tests::{
    Cluster, Deal, Draws, Network, Notes, noise, send,
    vault_calls::{self, refusal},
};
use spillway_types::{
    Atto, PaymentId, Refusal, RewardAddress, Seed, TokenRate, UnixTime, Wei, Win,
    limits::{CLOSE_GROUP, LEAVES_PER_DRAW, STORE_QUORUM},
};

/// Plaintext bytes of a segment.
const SEGMENT: usize = 1_000;

/// One coin.
const COIN: Wei = Wei(1_000_000_000_000_000_000);

fn in_batches() -> UploadOptions {
    UploadOptions {
        segment_bytes: SEGMENT,
        mode: ModeChoice::Batch,
        token_rate: Some(TokenRate(COIN)),
        ..UploadOptions::default()
    }
}

/// Uploads as a batch, and returns what was paid for, as the nodes were shown it.
async fn upload(network: &Network, client: &TestClient, source: &[u8]) -> (Uploaded, Draws) {
    let before = network.balances().await;
    network.book.keep_puts();
    let file = Cluster::file(source);
    let wallet = network.testnet.wallet();
    let uploaded = client.client().upload(file, wallet, in_batches()).await.unwrap();
    let puts = network.book.take_puts();
    let id = |terms: &spillway_types::BatchTerms| terms.id(network.testnet.domain());
    let [batch] = <[Draws; 1]>::try_from(Draws::of_puts(&puts, id)).unwrap();

    let chunks = source.len().div_ceil(SEGMENT);
    assert_eq!((uploaded.chunks_total, uploaded.chunks_stored), (chunks as u64, chunks as u64));
    assert_eq!(uploaded.payment_mode, Some(PaymentMode::Batch));
    assert_eq!(batch.leaves(), chunks);
    assert_eq!(usize::from(batch.terms.draws), chunks.div_ceil(LEAVES_PER_DRAW));
    let quoted: Atto = puts
        .iter()
        .map(|put| (put.leaf.address, put.quotes.map(|quote| quote.terms.price)))
        .collect::<BTreeMap<_, _>>()
        .into_values()
        .flatten()
        .sum();
    let tip = puts.iter().flat_map(|put| &put.quotes).map(|quote| quote.terms.min_tip).max();
    assert_eq!((batch.terms.total, Some(batch.terms.tip)), (quoted, tip));
    assert!(batch.terms.tip > Atto::ZERO);
    let escrow = batch.terms.escrow();
    assert_eq!(uploaded.spend.storage_cost, escrow);
    assert_eq!(uploaded.spend.tx_hashes.len(), 2, "an approval and a payment");
    assert_eq!(network.balances().await, before.after_batches(escrow, 2));
    (uploaded, batch)
}

async fn assert_comes_back(client: &TestClient, uploaded: &Uploaded, source: &[u8]) {
    let disk = MemoryDisk::new();
    let target = Target::Path {
        disk: Arc::new(disk.clone()),
        path: "back".into(),
        overwrite: Overwrite::Never,
    };
    let map = Remote::DataMap(uploaded.data_map.clone().unwrap());
    client.client().download(map, target, DownloadOptions::default()).await.unwrap();
    assert!(disk.read(Path::new("back"), u64::MAX).unwrap() == source, "it came back otherwise");
}

/// A batch that is paid by hand, of six chunks that cost the same, with a draw for each: whatever
/// the seed is, every chunk is drawn once. The last three are never stored.
struct Withheld {
    deal: Deal,
    plan: Plan,
    draws: Draws,
}

const STORED: usize = 3;

async fn withhold(network: &Network, client: &TestClient) -> Withheld {
    let mut deal = Deal::ask(network, client, 700..706, SEGMENT).await;
    // Nodes that are fuller ask more. Each chunk is a prize: it must be worth four tips.
    let dearest = deal.terms().map(|terms| terms.price).max().unwrap().saturating_mul(8);
    for share in deal.leaves.iter_mut().flat_map(|leaf| &mut leaf.shares) {
        share.amount = dearest;
    }
    let plan = deal.batch(network, 6);
    let before = network.balances().await;
    let request = PayRequest {
        plans: std::slice::from_ref(&plan),
        wallet: network.testnet.wallet(),
        earlier: &[],
        caps: spillway_pay::Caps::default(),
        confirmations: 0,
        commit: CommitChoice::Together,
    };
    client.payments().pay(request, &mut Notes::new()).await.unwrap();
    assert_eq!(network.balances().await, before.after_batches(plan.total(), 2));
    for index in 0..STORED {
        for (node, answer) in deal.store(network, client, &plan, index).await {
            assert_eq!(answer.unwrap().len(), 1, "node {node}");
        }
    }
    let draws = Draws::of_leaves(plan.batch_terms().unwrap(), plan.id(), &plan.leaves);
    Withheld { deal, plan, draws }
}

impl Withheld {
    /// The draws that fall on chunks that are stored, and those on others.
    fn claims(&self, seed: Seed) -> (BTreeSet<u8>, BTreeSet<u8>) {
        let stored: BTreeSet<_> =
            self.plan.leaves[..STORED].iter().map(|leaf| leaf.address).collect();
        let claimable = |draw: &u8| stored.contains(&self.draws.winner(seed, *draw).address);
        (0..self.draws.terms.draws).partition(claimable)
    }
}

fn all(draws: &Draws) -> std::ops::Range<u8> {
    0..draws.terms.draws
}

/// What every node, asked over its socket, says that it has won; each win is in the hands of all
/// that keep its chunk, and of no other.
async fn assert_served(
    network: &Network,
    client: &TestClient,
    expected: &[(PaymentId, u8)],
) -> Vec<Win> {
    let domain = network.testnet.domain();
    let mut holders: BTreeMap<(PaymentId, u8), usize> = BTreeMap::new();
    let mut wins: BTreeMap<(PaymentId, u8), Win> = BTreeMap::new();
    for node in network.testnet.running() {
        for win in network.wins(client, node).await {
            assert!(node.has_file(win.leaf.address), "node {} keeps it", node.index());
            let key = (win.terms.id(domain), win.draw);
            *holders.entry(key).or_default() += 1;
            wins.insert(key, win);
        }
    }
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(holders.keys().copied().collect::<Vec<_>>(), expected);
    for (key, count) in &holders {
        let address = wins[key].leaf.address;
        assert_eq!(*count, network.chunk_files()[&address], "all that keep {address} know");
        assert!((STORE_QUORUM..=CLOSE_GROUP).contains(count));
    }
    wins.into_values().collect()
}

async fn seed_of(network: &Network, upload_by: UnixTime) -> Option<Seed> {
    network.testnet.chain().seed(network.testnet.domain().vault, upload_by).await.unwrap()
}

/// Credits with what these draws pay.
fn paid_to(
    mut credits: BTreeMap<RewardAddress, Atto>,
    pay: impl IntoIterator<Item = (RewardAddress, Atto)>,
) -> BTreeMap<RewardAddress, Atto> {
    for (payee, amount) in pay {
        let credit = credits.entry(payee).or_default();
        *credit = credit.saturating_add(amount);
    }
    credits
}

/// The errors of what comes before its time.
async fn nothing_goes_too_early(network: &Network, client: &TestClient, withheld: &Withheld) {
    let before = network.balances().await;
    let terms = withheld.draws.terms;
    let (wallet, mut notes) = (network.testnet.wallet(), Notes::new());
    // Of some leaf: without a seed nobody can know which.
    let win = Win {
        terms,
        draw: 0,
        leaf: withheld.plan.leaves[0].clone(),
        siblings: withheld.deal.siblings(0),
    };
    let payments = client.payments();
    let settled =
        payments.settle(wallet, &[win], SettleTerms::default(), &mut notes).await.unwrap();
    let after = network.windows().await.draw_time(terms.upload_by);
    let reason = SkipReason::NoSeed { after };
    let payment = withheld.plan.id();
    assert_eq!(settled.skipped, [Skipped { payment, draw: 0, reason }]);
    assert_eq!(settled, Settled { skipped: settled.skipped.clone(), ..Settled::default() });
    let refunded = payments.refund(wallet, &[terms], &mut notes).await.unwrap();
    let claim_end = network.windows().await.claim_end(terms.upload_by);
    let open = OpenClaim { payment, refundable: terms.escrow(), claim_end };
    assert_eq!(refunded, Refunded { not_yet: vec![open], ..Refunded::default() });
    // And if somebody asks the vault itself.
    let (from, vault) = (wallet.address(), network.testnet.domain().vault);
    let chain = network.testnet.chain().as_ref();
    let said = refusal(chain, &vault_calls::settle_nothing(from, vault, &terms)).await;
    assert_eq!(said, format!("NoSeed({after})"));
    let said = refusal(chain, &vault_calls::refund(from, vault, &terms)).await;
    assert!(said.starts_with(&format!("ClaimOpen({claim_end}, ")), "{said}");
    assert_eq!((notes.signed(), network.balances().await), (Vec::new(), before));
}

#[tokio::test(flavor = "multi_thread")]
async fn draws_pay_the_drawn_close_groups_and_the_rest_comes_back() {
    let mut network = Network::batches(8).await;
    // Seeds come when this test says so.
    network.testnet.silence_beacon().await;
    let client = network.testnet.client(&network.place().join("client")).await.unwrap();
    let source = noise(710, 300 * SEGMENT);
    let (uploaded, first) = upload(&network, &client, &source).await;
    assert_comes_back(&client, &uploaded, &source).await;
    let withheld = withhold(&network, &client).await;
    // What nodes know of batches is on their disks.
    for index in 0..network.testnet.nodes() {
        network.testnet.stop_node(index).await;
    }
    for index in 0..network.testnet.nodes() {
        network.testnet.restart_node(index).await.unwrap();
    }
    client.shutdown().await;
    let client = network.testnet.client(&network.place().join("client")).await.unwrap();
    let network = &network;

    windows_end(network, &client, &withheld).await;
    let unclaimed = settle_all(network, &client, &first, &withheld).await;
    assert_comes_back(&client, &uploaded, &source).await;
    // Days later another one, which nobody ever settles.
    let (_, forgotten) = upload(network, &client, &noise(711, 40 * SEGMENT)).await;
    network.testnet.advance(Duration::from_hours(3 * 24)).await.unwrap();
    network.testnet.post_seeds().await.unwrap();
    assert!(seed_of(network, forgotten.terms.upload_by).await.is_some());
    assert_served(network, &client, &[(forgotten.id, 0)]).await;
    refund_the_rest(network, &client, (&first, &forgotten), (&withheld, unclaimed)).await;
    client.shutdown().await;
}

/// The upload windows are over, and nobody knows the seed: what was withheld is too late, though it
/// was paid, and what comes later is too early.
async fn windows_end(network: &Network, client: &TestClient, withheld: &Withheld) {
    let last = withheld.plan.upload_by;
    network.go_to(last.saturating_add(Duration::from_secs(1))).await;
    let put = withheld.deal.put(&withheld.plan, STORED);
    for (node, answer) in send(network, client, &put, &withheld.deal.chunks[STORED]).await {
        assert_eq!(answer, Err(Refusal::TooLate { upload_by: last }), "node {node}");
    }
    network.go_to(network.windows().await.draw_time(last)).await;
    assert_eq!(seed_of(network, last).await, None);
    nothing_goes_too_early(network, client, withheld).await;
    network.testnet.refresh().await.unwrap();
    assert_served(network, client, &[]).await;
}

/// The seed is there, each node tells its wins, and somebody without tokens settles them for the
/// tips. Returns the draws that nobody can claim.
async fn settle_all(
    network: &Network,
    client: &TestClient,
    first: &Draws,
    withheld: &Withheld,
) -> BTreeSet<u8> {
    network.testnet.advance(Duration::from_hours(25)).await.unwrap();
    network.testnet.post_seeds().await.unwrap();
    let seed = seed_of(network, first.terms.upload_by).await.unwrap();
    let withheld_seed = seed_of(network, withheld.plan.upload_by).await.unwrap();
    let (claimable, unclaimed) = withheld.claims(withheld_seed);
    assert_eq!((claimable.len(), unclaimed.len()), (STORED, 6 - STORED));
    let of_first = all(first).map(|draw| (first.id, draw));
    let of_withheld = claimable.iter().map(|&draw| (withheld.draws.id, draw));
    let expected: Vec<_> = of_first.chain(of_withheld).collect();
    let wins = assert_served(network, client, &expected).await.len();

    let settler = network.testnet.fund(Atto::ZERO, COIN).await.unwrap();
    let before = network.balances().await;
    let mut expected = network.credits().await;
    let (mut tips, mut prizes) = (Atto::ZERO, Atto::ZERO);
    let paid: [(_, _, BTreeSet<u8>); 2] =
        [(first, seed, all(first).collect()), (&withheld.draws, withheld_seed, claimable)];
    for (batch, seed, draws) in &paid {
        expected = paid_to(expected, batch.pay(*seed, draws.iter().copied()));
        let prize: Atto = draws.iter().map(|&draw| batch.terms.prize(draw)).sum();
        prizes = prizes.saturating_add(prize);
        tips = tips.saturating_add(batch.terms.tip.saturating_mul(draws.len() as u128));
    }
    let from: Vec<_> = network.testnet.running().map(TestNode::peer).collect();
    let options = SettleOptions { from, ..SettleOptions::default() };
    let peers = client.net().peers();
    let gather = || settle(&*peers, client.payments(), &settler, options.clone());
    let report = gather().await.unwrap();
    assert_eq!((report.wins, &*report.silent), (wins as u64, &[][..]));
    let settled = report.settled;
    assert_eq!((settled.tips, settled.prizes, &*settled.skipped), (tips, prizes, &[][..]));
    assert_eq!((settled.draws as usize, settled.transactions), (wins, 2), "one a batch");
    assert_eq!(network.credits().await, expected, "every payee has its part of every prize");
    assert_eq!(network.tokens(settler.address()).await, tips);
    let after = network.balances().await;
    assert_eq!(after.vault, before.vault.saturating_sub(tips));
    assert_eq!(after.credits, before.credits.saturating_add(prizes));
    assert_eq!(
        after.vault,
        after.credits.saturating_add(withheld.draws.escrow_of(unclaimed.clone()))
    );

    // Whoever comes second gets nothing and changes nothing.
    let again = gather().await.unwrap().settled;
    assert_eq!((again.transactions, again.skipped.len()), (0, wins));
    for skipped in &again.skipped {
        assert_eq!(skipped.reason, SkipReason::AlreadySettled);
    }
    assert_eq!((network.balances().await, network.tokens(settler.address()).await), (after, tips));
    // The nodes do not tell of what is settled for good: Anvil is 64 blocks behind with that.
    network.testnet.anvil().mine(65).await.unwrap();
    network.testnet.refresh().await.unwrap();
    assert_served(network, client, &[]).await;
    unclaimed
}

/// After the claim window, what nobody claimed goes back to the payer, once.
async fn refund_the_rest(
    network: &Network,
    client: &TestClient,
    (first, forgotten): (&Draws, &Draws),
    (withheld, unclaimed): (&Withheld, BTreeSet<u8>),
) {
    let before = network.balances().await;
    let lost = withheld.draws.escrow_of(unclaimed);
    let forgotten_escrow = forgotten.terms.escrow();
    // Conserved: what the vault has is owed to nodes, or waits for its claim.
    let waiting = lost.saturating_add(forgotten_escrow);
    assert_eq!(before.vault, before.credits.saturating_add(waiting));

    let end = network.windows().await.claim_end(forgotten.terms.upload_by);
    network
        .testnet
        .advance(end.since(network.time().await).saturating_sub(Duration::from_hours(1)))
        .await
        .unwrap();
    let (payments, wallet) = (client.payments(), network.testnet.wallet());
    let data: Arc<dyn Disk> = Arc::new(RealDisk::open(&network.place().join("client")).unwrap());
    let open = refundable(payments, &data).await.unwrap();
    assert_eq!(open.len(), 1, "the other session's draws are settled: {open:?}");
    assert_eq!(
        (open[0].payment, open[0].amount, open[0].due),
        (forgotten.id, forgotten_escrow, false)
    );
    let report = refund(payments, wallet, &data, None).await.unwrap();
    assert_eq!((report.amount(), report.waiting.len()), (Atto::ZERO, 1));
    assert_eq!(network.balances().await, before);

    network.go_to(end.saturating_add(Duration::from_secs(1))).await;
    let report = refund(payments, wallet, &data, None).await.unwrap();
    assert_eq!(report.refunded.len(), 1);
    assert_eq!((report.refunded[0].payment, report.amount()), (forgotten.id, forgotten_escrow));
    let mut notes = Notes::new();
    // Anybody may ask for it: it goes to the payer.
    let anybody = network.testnet.fund(Atto::ZERO, COIN).await.unwrap();
    let terms = [withheld.draws.terms];
    let refunded = payments.refund(&anybody, &terms, &mut notes).await.unwrap();
    assert_eq!((refunded.batches, refunded.amount), (vec![(withheld.plan.id(), lost)], lost));
    let after = network.balances().await;
    assert_eq!(after.payer, before.payer.saturating_add(waiting));
    assert_eq!(
        (after.vault, after.credits),
        (before.credits, before.credits),
        "nothing is left over"
    );
    assert_eq!(network.tokens(anybody.address()).await, Atto::ZERO);

    // Once.
    let (from, vault) = (anybody.address(), network.testnet.domain().vault);
    let chain = network.testnet.chain().as_ref();
    for batch in [first, forgotten, &withheld.draws] {
        let again = payments.refund(&anybody, &[batch.terms], &mut notes).await.unwrap();
        assert_eq!(again, Refunded::default());
        let said = refusal(chain, &vault_calls::refund(from, vault, &batch.terms)).await;
        assert_eq!(said, format!("NothingToRefund({})", batch.id));
        let end = network.windows().await.claim_end(batch.terms.upload_by);
        let said = refusal(chain, &vault_calls::settle_nothing(from, vault, &batch.terms)).await;
        assert!(said.starts_with(&format!("ClaimOver({end}, ")), "{said}");
    }
    assert!(refund(payments, wallet, &data, None).await.unwrap().refunded.is_empty());
    assert_eq!(network.balances().await.vault, before.credits);
}
