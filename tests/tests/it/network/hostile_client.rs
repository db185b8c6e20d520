//! A client that wants to store without paying, over real sockets: refused in exact words, and
//! nothing is written.

use bytes::Bytes;
use spillway_pay::{
    Caps, JournalError, PayRequest, Plan, PlanInput, SignedTx, TxJournal, plan_direct,
};
use spillway_testnet::TestClient;
use spillway_tests::{Network, noise};
use spillway_types::{
    Atto, ChunkAddress, Leaf, Nonce, PaymentProof, PeerKey, PutRequest, Quote, QuoteAnswer,
    QuoteItem, QuoteRequest, Receipt, Refusal, Share,
    limits::{CLOSE_GROUP, MIN_UPLOAD_WINDOW},
};

/// Remembers nothing.
struct NoJournal;

#[async_trait::async_trait]
impl TxJournal for NoJournal {
    async fn signed(&mut self, _tx: &SignedTx) -> Result<(), JournalError> {
        Ok(())
    }
}

/// A chunk with five quotes and a plan that pays for it.
struct Deal {
    chunk: Bytes,
    plan: Plan,
    put: PutRequest,
}

async fn deal(network: &Network, client: &TestClient, seed: u64) -> Deal {
    let chunk = Bytes::from(noise(seed, 5_000));
    let address = ChunkAddress::of(&chunk);
    let mut quotes: Vec<Quote> = Vec::new();
    for node in network.testnet.running() {
        let items = vec![QuoteItem { address, size: 5_000 }];
        let request = QuoteRequest { items, nonce: Nonce([1; 16]) };
        let response = client.net().peers().quote(node.peer(), request).await.unwrap();
        let QuoteAnswer::Offered { quote, receipt: None } = response.answers.unwrap()[0] else {
            panic!("a price");
        };
        quotes.push(quote);
    }
    quotes.sort_by_key(|quote| quote.peer.distance(&address));
    let quotes: [Quote; CLOSE_GROUP] = quotes.try_into().unwrap();
    let leaf = leaf(address, &quotes, 1);
    let plan = plan(network, &leaf, &quotes);
    let put = put(&plan, leaf, &quotes);
    Deal { chunk, plan, put }
}

/// A leaf that pays each quote's price divided by `part`.
fn leaf(address: ChunkAddress, quotes: &[Quote; CLOSE_GROUP], part: u128) -> Leaf {
    let shares = quotes
        .map(|quote| Share { payee: quote.terms.reward, amount: Atto(quote.terms.price.0 / part) });
    Leaf { address, shares }
}

fn plan(network: &Network, leaf: &Leaf, quotes: &[Quote; CLOSE_GROUP]) -> Plan {
    use spillway_disk::Clock;
    let plans = plan_direct(PlanInput {
        domain: *network.testnet.domain(),
        payer: network.testnet.wallet().address(),
        leaves: vec![leaf.clone()],
        now: network.testnet.clock().now(),
        first_expiry: quotes.iter().map(|quote| quote.terms.expires).min().unwrap(),
        upload_bytes: 5_000,
        upload_rate: 1_000_000,
        min_window: std::time::Duration::from_mins(15),
        max_window: 14 * MIN_UPLOAD_WINDOW,
    });
    plans.unwrap().remove(0)
}

fn put(plan: &Plan, leaf: Leaf, quotes: &[Quote; CLOSE_GROUP]) -> PutRequest {
    let (proof, relay_to) = (PaymentProof::Direct(plan.direct().unwrap()), Vec::new());
    PutRequest { leaf, size: 5_000, proof, quotes: *quotes, relay_to, nonce: Nonce([2; 16]) }
}

async fn pay(network: &Network, client: &TestClient, plan: &Plan) {
    let request = PayRequest {
        plans: std::slice::from_ref(plan),
        wallet: network.testnet.wallet(),
        earlier: &[],
        caps: Caps::default(),
        confirmations: 0,
        commit: spillway_pay::CommitChoice::default(),
    };
    client.payments().pay(request, &mut NoJournal).await.unwrap();
}

/// Puts on every node and returns what they say.
async fn put_everywhere(
    network: &Network,
    client: &TestClient,
    put: &PutRequest,
    chunk: &Bytes,
) -> Vec<(PeerKey, Result<Vec<Receipt>, Refusal>)> {
    let mut answers = Vec::new();
    for node in network.testnet.running() {
        let response = client.net().peers().put(node.peer(), put.clone(), chunk.clone()).await;
        answers.push((node.peer(), response.unwrap().receipts));
    }
    answers
}

async fn assert_refused(
    network: &Network,
    client: &TestClient,
    (put, chunk): (&PutRequest, &Bytes),
    expected: Refusal,
) {
    let files = network.chunk_files();
    for (peer, answer) in put_everywhere(network, client, put, chunk).await {
        assert_eq!(answer, Err(expected.clone()), "{peer}");
    }
    assert_eq!(network.chunk_files(), files, "nothing was written: {expected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_that_is_not_paid_for_exactly() {
    let network = Network::start(5).await;
    let client = network.testnet.client(&network.place().join("hostile")).await.unwrap();
    let (network, client) = (&network, &client);

    // Not paid.
    let honest = deal(network, client, 1).await;
    let unpaid = Refusal::Unpaid { payment: honest.plan.id() };
    assert_refused(network, client, (&honest.put, &honest.chunk), unpaid).await;

    // Paid at a fifth: the vault takes it, the nodes do not.
    let fifth = deal(network, client, 2).await;
    let cheap = leaf(fifth.put.leaf.address, &fifth.put.quotes, 5);
    let cheap_plan = plan(network, &cheap, &fifth.put.quotes);
    pay(network, client, &cheap_plan).await;
    let first = fifth.put.quotes[0].terms.price;
    let under = Refusal::UnderPaid { index: 0, paid: Atto(first.0 / 5), quoted: first };
    let cheap_put = put(&cheap_plan, cheap, &fifth.put.quotes);
    assert_refused(network, client, (&cheap_put, &fifth.chunk), under).await;

    // Paid, and then used for another chunk, for another body, for another size.
    pay(network, client, &honest.plan).await;
    let other = deal(network, client, 3).await;
    let replayed = PutRequest { proof: honest.put.proof.clone(), ..other.put.clone() };
    assert_refused(network, client, (&replayed, &other.chunk), Refusal::BadProof).await;
    let wrong = Refusal::WrongHash { found: ChunkAddress::of(&other.chunk) };
    assert_refused(network, client, (&honest.put, &other.chunk), wrong).await;
    let longer = PutRequest { size: 5_001, ..honest.put.clone() };
    let body = Bytes::from(noise(4, 5_001));
    let size = Refusal::WrongSize { quoted: 5_000, found: 5_001 };
    assert_refused(network, client, (&longer, &body), size).await;

    // A quote that was changed after it was signed.
    let mut forged = honest.put.clone();
    forged.quotes[4].terms.price = Atto(1);
    let bad = Refusal::BadQuoteSignature { index: 4 };
    assert_refused(network, client, (&forged, &honest.chunk), bad).await;
    assert_eq!(network.chunk_files(), [].into());

    // And as it should be.
    for (peer, answer) in put_everywhere(network, client, &honest.put, &honest.chunk).await {
        let receipts = answer.unwrap();
        assert_eq!((receipts.len(), receipts[0].peer), (1, peer));
        assert_eq!(receipts[0].body.payment, honest.plan.id());
        receipts[0].verify_signature().unwrap();
    }
    assert_eq!(network.chunk_files(), [(honest.put.leaf.address, 5)].into());
}
