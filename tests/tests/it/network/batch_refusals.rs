//! A client that wants to store with a batch that does not pay for it, over real sockets: every
//! quoted node refuses it in exact words, and nothing is written.

use std::time::Duration;

use bytes::Bytes;
use spillway_pay::{CommitChoice, PayRequest, Plan, PlanMode};
use spillway_testnet::TestClient;
use spillway_tests::{Deal, Network, Notes, send};
use spillway_types::{
    Atto, BatchProof, BatchTerms, EvmAddress, PaymentProof, PutRequest, QuoteTerms, Refusal,
    limits::CLOSE_GROUP,
};

/// Bytes of a chunk.
const LEN: usize = 1_000;

async fn pay(network: &Network, client: &TestClient, plans: &[Plan]) {
    let request = PayRequest {
        plans,
        wallet: network.testnet.wallet(),
        earlier: &[],
        caps: spillway_pay::Caps::default(),
        confirmations: 0,
        commit: CommitChoice::Together,
    };
    client.payments().pay(request, &mut Notes::new()).await.unwrap();
}

/// All five quoted nodes refuse it, each as its own quote says.
async fn assert_refused(
    network: &Network,
    client: &TestClient,
    (put, chunk): (&PutRequest, &Bytes),
    expected: impl Fn(u8, &QuoteTerms) -> Refusal,
) {
    let files = network.chunk_files();
    let answers = send(network, client, put, chunk).await;
    assert_eq!(answers.len(), CLOSE_GROUP);
    for (node, answer) in answers {
        let peer = network.testnet.node(node).unwrap().peer();
        let (index, own) = (0..).zip(&put.quotes).find(|(_, quote)| quote.peer == peer).unwrap();
        assert_eq!(answer, Err(expected(index, &own.terms)), "node {node}");
    }
    assert_eq!(network.chunk_files(), files, "nothing was written");
}

async fn assert_stored(
    network: &Network,
    client: &TestClient,
    deal: &Deal,
    plan: &Plan,
    index: usize,
) {
    let answers = deal.store(network, client, plan, index).await;
    assert_eq!(answers.len(), CLOSE_GROUP);
    for (node, answer) in answers {
        let receipts = answer.unwrap();
        assert_eq!(receipts.len(), 1, "node {node}");
        assert_eq!(receipts[0].body.payment, plan.id());
        receipts[0].verify_signature().unwrap();
    }
    assert_eq!(network.chunk_files()[&deal.leaves[index].address], CLOSE_GROUP);
}

/// The put with another proof.
fn with_proof(put: &PutRequest, change: impl FnOnce(&mut BatchProof)) -> PutRequest {
    let mut put = put.clone();
    match &mut put.proof {
        PaymentProof::Batch(proof) => change(proof),
        proof => panic!("{proof:?}"),
    }
    put
}

fn terms_of(plan: &Plan) -> BatchTerms {
    plan.batch_terms().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_for_a_batch_that_does_not_pay_for_it() {
    let network = Network::batches(6).await;
    let client = network.testnet.client(&network.place().join("hostile")).await.unwrap();
    let (network, client) = (&network, &client);
    let deal = Deal::ask(network, client, 500..507, LEN).await;
    assert!(deal.min_tip() > Atto::ZERO, "nodes ask for tips");

    let before = network.balances().await;
    poor_terms(network, client, &deal).await;
    let plan = deal.batch(network, 2);
    let put = deal.put(&plan, 3);
    let unpaid = |payment| move |_: u8, _: &QuoteTerms| Refusal::Unpaid { payment };
    assert_refused(network, client, (&put, &deal.chunks[3]), unpaid(plan.id())).await;
    assert_eq!(network.balances().await, before);

    let other = Deal::ask(network, client, 510..517, LEN).await;
    // Only batches of one deadline go together, and its prices may be those of the next second.
    let other_plan = Plan { valid_until: plan.valid_until, ..other.batch(network, 2) };
    pay(network, client, &[plan.clone(), other_plan.clone()]).await;
    let escrow = terms_of(&plan).escrow().saturating_add(terms_of(&other_plan).escrow());
    assert_eq!(
        network.balances().await,
        before.after_batches(escrow, 2),
        "both in one transaction"
    );

    // The same terms of another payer are another payment, and nobody has paid it.
    let foreign = EvmAddress([0x11; 20]);
    let stranger = with_proof(&put, |proof| proof.terms.payer = foreign);
    let id = BatchTerms { payer: foreign, ..terms_of(&plan) }.id(network.testnet.domain());
    assert_refused(network, client, (&stranger, &deal.chunks[3]), unpaid(id)).await;

    tampered_sizes(network, client, &deal, &put).await;
    tampered_proofs(network, client, &deal, (&plan, &put), (&other, &other_plan)).await;
    underpaid(network, client).await;
    assert_eq!(network.chunk_files(), [].into());

    // And as it should be: one before the time is over, another one too late.
    assert_stored(network, client, &deal, &plan, 3).await;
    network.go_to(plan.upload_by.saturating_sub(Duration::from_mins(1))).await;
    assert_stored(network, client, &deal, &plan, 4).await;
    network.go_to(plan.upload_by.saturating_add(Duration::from_secs(1))).await;
    for index in [4, 5] {
        let put = deal.put(&plan, index);
        let late = |_: u8, _: &QuoteTerms| Refusal::TooLate { upload_by: plan.upload_by };
        assert_refused(network, client, (&put, &deal.chunks[index]), late).await;
    }
    month_later(network, client).await;
}

/// After a month without anybody, prices, payments and puts are as before.
async fn month_later(network: &Network, client: &TestClient) {
    network.testnet.advance(Duration::from_hours(31 * 24)).await.unwrap();
    network.testnet.post_seeds().await.unwrap();
    let deal = Deal::ask(network, client, 540..542, LEN).await;
    let plan = deal.batch(network, 1);
    pay(network, client, std::slice::from_ref(&plan)).await;
    assert_stored(network, client, &deal, &plan, 0).await;
}

/// Less for whoever settles, more that hangs on one draw, a longer window than was quoted: refused
/// without a look at the chain.
async fn poor_terms(network: &Network, client: &TestClient, deal: &Deal) {
    let plan = deal.batch(network, 1);
    let found = deal.terms().map(|terms| terms.min_tip).min().unwrap();
    let found = Atto(found.0 - 1);
    let mode = PlanMode::Batch { root: terms_of(&plan).root, tip: found, draws: 1 };
    let put = deal.put(&Plan { mode, ..plan.clone() }, 0);
    let low = |_: u8, own: &QuoteTerms| Refusal::TipTooLow { least: own.min_tip, found };
    assert_refused(network, client, (&put, &deal.chunks[0]), low).await;

    let mut generous = deal.clone();
    generous.leaves[0].shares[2].amount = deal.max_prize();
    let plan = generous.batch(network, 1);
    let found = terms_of(&plan).prize(0);
    assert!(found > deal.max_prize() && found == plan.storage_cost());
    let large = |_: u8, own: &QuoteTerms| Refusal::PrizeTooLarge { most: own.max_prize, found };
    assert_refused(network, client, (&generous.put(&plan, 0), &deal.chunks[0]), large).await;
    // The rest of the division is the first draw's, and counts.
    let plan = generous.batch(network, 2);
    assert!(terms_of(&plan).prize(0) < deal.max_prize());
    let put = generous.put(&plan, 0);
    let unpaid = |_: u8, _: &QuoteTerms| Refusal::Unpaid { payment: plan.id() };
    assert_refused(network, client, (&put, &deal.chunks[0]), unpaid).await;
}

async fn tampered_sizes(network: &Network, client: &TestClient, deal: &Deal, put: &PutRequest) {
    let chunk = &deal.chunks[3];
    let (quoted, found) = (put.size, put.size + 1);
    let longer = Bytes::from([chunk.as_ref(), b"!"].concat());
    let claims = PutRequest { size: found, ..put.clone() };
    let wrong = |_: u8, _: &QuoteTerms| Refusal::WrongSize { quoted, found };
    assert_refused(network, client, (&claims, &longer), wrong).await;
    // The quotes changed with it: they are not what was signed.
    let mut forged = claims.clone();
    for quote in &mut forged.quotes {
        quote.terms.size = found;
    }
    let bad = |index: u8, _: &QuoteTerms| Refusal::BadQuoteSignature { index };
    assert_refused(network, client, (&forged, &longer), bad).await;
    // Of the right size, but another body.
    let body = &deal.chunks[0];
    let other = |_: u8, _: &QuoteTerms| Refusal::WrongHash { found: deal.leaves[0].address };
    assert_refused(network, client, (put, body), other).await;
}

async fn tampered_proofs(
    network: &Network,
    client: &TestClient,
    deal: &Deal,
    (plan, put): (&Plan, &PutRequest),
    (other, other_plan): (&Deal, &Plan),
) {
    let foreign = PutRequest { proof: other.put(other_plan, 3).proof, ..put.clone() };
    let neighbour = PutRequest { proof: deal.put(plan, 2).proof, ..put.clone() };
    let mut cases = vec![foreign, neighbour];
    cases.push(with_proof(put, |proof| proof.siblings[1].hash.0[31] ^= 1));
    cases.push(with_proof(put, |proof| proof.siblings[0].sum = Atto(1)));
    cases.push(with_proof(put, |proof| proof.siblings[0].side = proof.siblings[2].side));
    cases.push(with_proof(put, |proof| proof.siblings.truncate(2)));
    cases.push(with_proof(put, |proof| proof.siblings.push(proof.siblings[0])));
    cases.push(with_proof(put, |proof| proof.terms.total = Atto(proof.terms.total.0 + 1)));
    for case in &cases {
        assert_ne!(case.proof, put.proof);
        let bad = |_: u8, _: &QuoteTerms| Refusal::BadProof;
        assert_refused(network, client, (case, &deal.chunks[3]), bad).await;
    }
    // A leaf that says more than the tree does.
    let mut leaf = put.leaf.clone();
    leaf.shares[0].amount = Atto(leaf.shares[0].amount.0 + 1);
    let more = PutRequest { leaf, ..put.clone() };
    let bad = |_: u8, _: &QuoteTerms| Refusal::BadProof;
    assert_refused(network, client, (&more, &deal.chunks[3]), bad).await;
}

/// Paid at a fifth: the vault takes it, the nodes do not.
async fn underpaid(network: &Network, client: &TestClient) {
    let mut deal = Deal::ask(network, client, 530..533, LEN).await;
    for share in &mut deal.leaves[1].shares {
        share.amount = Atto(share.amount.0 / 5);
    }
    let plan = deal.batch(network, 1);
    pay(network, client, std::slice::from_ref(&plan)).await;
    let (paid, first) = (deal.leaves[1].shares[0].amount, deal.quotes[1][0].terms.price);
    let under = |_: u8, _: &QuoteTerms| Refusal::UnderPaid { index: 0, paid, quoted: first };
    assert_refused(network, client, (&deal.put(&plan, 1), &deal.chunks[1]), under).await;
}
