//! Batches one by one: each is priced, paid and stored before the next one is asked for, and
//! whatever ends a later round leaves what the earlier ones have done.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use spillway_client::{
    Approve, ChunkFailure, CommitChoice, ModeChoice, ModeReason, Offer, PaymentMode, Remote, Spend,
    UploadError, UploadOptions, Uploaded,
};
use spillway_disk::{Disk, MemoryDisk, Survival};
use spillway_net::RequestKind;
use spillway_pay::{ChainError, ChainFault, ChainOp, PayFailure};
use spillway_tests::{Charged, Cluster, ClusterOptions, SEGMENT, Tricks, noise};
use spillway_types::{
    Atto, PeerSecret, QuoteAnswer, QuoteTerms, Wei,
    limits::{CLOSE_GROUP, QUOTE_LIFETIME},
};

fn five() -> Cluster {
    Cluster::with(ClusterOptions::batches(5))
}

/// What so many chunks in so many batches of one draw cost.
fn cost(chunks: u128, batches: u128) -> Atto {
    Atto(chunks * Cluster::CHUNK_COST + batches * Cluster::TIP.0)
}

fn rounds(max_leaves: usize) -> UploadOptions {
    Cluster::batch_options(max_leaves, CommitChoice::OneByOne)
}

async fn upload(
    cluster: &Cluster,
    data: &MemoryDisk,
    source: &[u8],
    options: UploadOptions,
) -> Result<Uploaded, UploadError> {
    cluster.client(data).upload(Cluster::file(source), &cluster.payer, options).await
}

async fn assert_reads(cluster: &Cluster, uploaded: &Uploaded, source: &[u8]) {
    let map = Remote::DataMap(uploaded.data_map.clone().unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

/// Remembers all offers; what it answers to each, counted from 0, may do something before.
struct Asked {
    offers: Mutex<Vec<Offer>>,
    answer: Box<dyn Fn(usize) -> bool + Send + Sync>,
}

impl Asked {
    fn new(answer: impl Fn(usize) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { offers: Mutex::default(), answer: Box::new(answer) })
    }

    /// Chunks to pay, of later rounds, and others, offer by offer.
    fn chunks(&self) -> Vec<(u64, u64, u64)> {
        let offers = self.offers.lock().unwrap();
        let of =
            |offer: &Offer| (offer.chunks_to_pay, offer.chunks_later, offer.chunks_already_stored);
        offers.iter().map(of).collect()
    }

    fn options(self: &Arc<Self>, options: UploadOptions) -> UploadOptions {
        let approve: Arc<dyn Approve> = Arc::<Self>::clone(self);
        UploadOptions { approve: Some(approve), ..options }
    }
}

#[async_trait]
impl Approve for Asked {
    async fn approve(&self, offer: &Offer) -> bool {
        let number = {
            let mut offers = self.offers.lock().unwrap();
            offers.push(*offer);
            offers.len() - 1
        };
        (self.answer)(number)
    }
}

/// A partial upload's stored and failed chunks, what it has spent, and why it ended.
#[derive(Debug)]
struct Partial {
    stored: usize,
    failed: Vec<ChunkFailure>,
    spend: Spend,
    cause: UploadError,
}

fn partial(error: UploadError) -> Partial {
    match error {
        UploadError::PartialUpload { stored, failed, paid_unstored, spend, cause, .. } => {
            assert_eq!(paid_unstored, []);
            Partial {
                stored: stored.len(),
                failed: failed.into_iter().map(|(_, why)| why).collect(),
                spend,
                cause: *cause.unwrap(),
            }
        }
        other => panic!("{other:?}"),
    }
}

/// From now on all nodes sign other terms than they would.
fn quote(cluster: &Cluster, change: impl Fn(QuoteTerms) -> QuoteTerms + Send + Sync + 'static) {
    let change = Arc::new(change);
    for member in &cluster.members {
        let (secret, change): (PeerSecret, _) = (member.secret.clone(), Arc::clone(&change));
        let trick = move |_: &_, mut response: spillway_types::QuoteResponse| {
            for answer in response.answers.as_mut().unwrap() {
                if let QuoteAnswer::Offered { quote, .. } = answer {
                    *quote = change(quote.terms).sign(&secret);
                }
            }
            response
        };
        member.play(Tricks { quote: Some(Box::new(trick)), ..Tricks::default() });
    }
}

#[tokio::test]
async fn a_round_is_priced_when_the_one_before_is_stored() {
    let (cluster, data) = (five(), MemoryDisk::new());
    let source = noise(400, 10 * SEGMENT);
    let asked = Asked::new(|_| true);
    let uploaded = upload(&cluster, &data, &source, asked.options(rounds(4))).await.unwrap();
    let mut kinds: Vec<RequestKind> = cluster.take_log().iter().map(|asked| asked.kind).collect();
    kinds.dedup();
    let round = [RequestKind::Quote, RequestKind::Put];
    assert_eq!(kinds, [round; 3].concat());
    // Of even sizes, and each offer says how much of the upload it is for.
    assert_eq!(asked.chunks(), [(4, 6, 0), (3, 3, 4), (3, 0, 7)]);
    let offers = asked.offers.lock().unwrap().clone();
    let offered: Atto = offers.iter().map(Offer::total).sum();
    assert_eq!((uploaded.spend.storage_cost, offered), (cost(10, 3), cost(10, 3)));
    assert_eq!(uploaded.spend.tips, Atto(3 * Cluster::TIP.0));
    assert_eq!((uploaded.chunks_stored, cluster.charged().await.paid), (10, cost(10, 3)));
    assert_eq!(cluster.client(&data).sessions().await.unwrap()[0].batches.len(), 3);
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn an_upload_that_takes_longer_than_prices_hold_is_paid() {
    let source = noise(401, 10 * SEGMENT);
    for (options, rounds) in
        [(rounds(2), 5), (Cluster::batch_options(2, CommitChoice::Together), 1)]
    {
        let cluster = five();
        let clock = cluster.clock.clone();
        // A hundred minutes, of prices that hold for an hour. After one long answer they are asked for
        // anew, and the user only if it costs more.
        let asked = Asked::new(move |_| {
            clock.advance(Duration::from_mins(100 / rounds));
            true
        });
        let options = asked.options(options);
        let uploaded = upload(&cluster, &MemoryDisk::new(), &source, options).await.unwrap();
        assert_eq!(asked.offers.lock().unwrap().len() as u64, rounds);
        assert_eq!(uploaded.spend.storage_cost, cost(10, 5));
        assert_reads(&cluster, &uploaded, &source).await;
    }
}

#[tokio::test]
async fn a_cap_counts_all_rounds_and_what_was_paid_before_it_is_stored() {
    let (cluster, data) = (five(), MemoryDisk::new());
    let source = noise(402, 12 * SEGMENT);
    let cap = cost(8, 2).saturating_sub(Atto(1));
    let capped = UploadOptions { max_cost: Some(cap), ..rounds(4) };
    for _ in 0..2 {
        let error = upload(&cluster, &data, &source, capped.clone()).await.unwrap_err();
        let Partial { stored, failed, spend, cause } = partial(error);
        match cause {
            UploadError::OverCost { cost: found, cap: said } => {
                assert_eq!((found, said), (cost(8, 2), cap));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((stored, failed), (4, vec![ChunkFailure::NotPaid; 8]));
        assert_eq!((spend.storage_cost, spend.tips), (cost(4, 1), Cluster::TIP));
        assert_eq!((cluster.charged().await.paid, cluster.transactions().await), (cost(4, 1), 2));
    }
    // The proofs are kept, and the rest alone is paid.
    let dir = Path::new("sessions").join(&cluster.client(&data).sessions().await.unwrap()[0].id);
    assert!(data.list(&dir).unwrap().iter().any(|entry| entry.name == Path::new("plan-0")));
    let raised = UploadOptions { max_cost: Some(cost(12, 3)), ..rounds(4) };
    let uploaded = upload(&cluster, &data, &source, raised).await.unwrap();
    assert_eq!((uploaded.spend.storage_cost, cluster.transactions().await), (cost(12, 3), 6));
    assert_eq!(cluster.charged().await.paid, cost(12, 3));
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn a_cap_on_gas_counts_all_rounds() {
    let source = noise(403, 8 * SEGMENT);
    let cluster = five();
    let asked = Asked::new(|_| true);
    let whole =
        upload(&cluster, &MemoryDisk::new(), &source, asked.options(rounds(4))).await.unwrap();
    let gas: Vec<Wei> = asked.offers.lock().unwrap().iter().map(|offer| offer.gas_cost).collect();
    // Either round alone would do.
    let cap = gas[0].max(gas[1]);
    assert!(whole.spend.gas_cost > cap);
    let (cluster, data) = (five(), MemoryDisk::new());
    let capped = UploadOptions { max_gas_cost: Some(cap), ..rounds(4) };
    let Partial { stored, spend, cause, .. } =
        partial(upload(&cluster, &data, &source, capped).await.unwrap_err());
    assert!(
        matches!(cause, UploadError::OverGasCost { cost, .. } if cost > cap),
        "{cause:?} {cap:?}"
    );
    assert_eq!((stored, cluster.transactions().await), (4, 2));
    assert!(spend.gas_cost > Wei::ZERO && spend.gas_cost <= cap);
}

#[tokio::test]
async fn a_no_in_the_second_round_keeps_the_first_and_a_yes_pays_only_the_rest() {
    let (cluster, data) = (five(), MemoryDisk::new());
    let source = noise(404, 12 * SEGMENT);
    let asked = Asked::new(|number| number == 0);
    let error = upload(&cluster, &data, &source, asked.options(rounds(4))).await.unwrap_err();
    let Partial { stored, failed, spend, cause } = partial(error);
    let UploadError::Declined { offer } = cause else { panic!("{cause:?}") };
    assert_eq!((offer.chunks_to_pay, offer.chunks_later, offer.chunks_already_stored), (4, 4, 4));
    assert_eq!((stored, failed), (4, vec![ChunkFailure::NotPaid; 8]));
    assert_eq!((spend.storage_cost, cluster.charged().await.paid), (cost(4, 1), cost(4, 1)));
    assert_eq!((cluster.stored().len(), cluster.transactions().await), (4, 2));
    let held = cluster.stored();
    cluster.take_log();

    let asked = Asked::new(|_| true);
    let uploaded = upload(&cluster, &data, &source, asked.options(rounds(4))).await.unwrap();
    assert_eq!(asked.chunks(), [(4, 4, 4), (4, 0, 8)]);
    assert_eq!((uploaded.chunks_stored, uploaded.spend.storage_cost), (12, cost(12, 3)));
    assert!(cluster.take_puts().keys().all(|address| !held.contains_key(address)), "stored once");
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn a_no_in_the_first_round_leaves_nothing() {
    let (cluster, data) = (five(), MemoryDisk::new());
    let asked = Asked::new(|_| false);
    let source = noise(405, 6 * SEGMENT);
    let error = upload(&cluster, &data, &source, asked.options(rounds(3))).await.unwrap_err();
    assert!(matches!(error, UploadError::Declined { .. }), "{error:?}");
    assert_eq!((cluster.charged().await, cluster.transactions().await), (Charged::nothing(), 0));
    assert_eq!(cluster.client(&data).sessions().await.unwrap().len(), 0);
}

#[tokio::test]
async fn prices_that_are_missing_in_the_second_round_keep_the_first() {
    let (cluster, data) = (five(), MemoryDisk::new());
    let source = noise(406, 6 * SEGMENT);
    let book = cluster.book().clone();
    let asked = Asked::new(move |_| {
        for index in 0..book.nodes() {
            let none = |_: &_, mut response: spillway_types::QuoteResponse| {
                response.answers.as_mut().unwrap().clear();
                response
            };
            book.play(index, Tricks { quote: Some(Box::new(none)), ..Tricks::default() });
        }
        true
    });
    let error = upload(&cluster, &data, &source, asked.options(rounds(3))).await.unwrap_err();
    let Partial { stored, failed, spend, cause } = partial(error);
    assert!(matches!(cause, UploadError::TooFewQuotes { .. }), "{cause:?}");
    assert_eq!((stored, failed.len(), spend.storage_cost), (3, 3, cost(3, 1)));
    cluster.book().behave();
    let uploaded = upload(&cluster, &data, &source, rounds(3)).await.unwrap();
    assert_eq!((uploaded.spend.storage_cost, uploaded.chunks_stored), (cost(6, 2), 6));
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn a_session_goes_on_with_its_plan_and_then_in_rounds() {
    let (cluster, data) = (five(), MemoryDisk::new());
    let source = noise(407, 12 * SEGMENT);
    // Killed when the first round was paid and two of its chunks were stored.
    cluster.book().let_through(2);
    let asked = Asked::new(|_| true);
    tokio::select! {
        result = upload(&cluster, &data, &source, asked.options(rounds(4))) => panic!("{result:?}"),
        () = cluster.wait_for_hanging(2 * CLOSE_GROUP) => {}
    }
    assert_eq!((asked.chunks(), cluster.charged().await.paid), (vec![(4, 8, 0)], cost(4, 1)));
    cluster.book().behave();
    let data = data.crash(Survival::Nothing);
    cluster.take_log();
    // With another size, and then all that is left at once.
    let asked = Asked::new(|number| number == 0);
    let error = upload(&cluster, &data, &source, asked.options(rounds(3))).await.unwrap_err();
    assert_eq!((asked.chunks()[0], partial(error).stored), ((3, 5, 4), 7));
    let mut kinds: Vec<RequestKind> = cluster.take_log().iter().map(|asked| asked.kind).collect();
    kinds.dedup();
    let (asks, puts) = (RequestKind::Quote, RequestKind::Put);
    assert_eq!(kinds, [puts, asks, puts, asks], "what is paid is stored before anything is asked");
    let together = Cluster::batch_options(4_096, CommitChoice::Together);
    let uploaded = upload(&cluster, &data, &source, together).await.unwrap();
    assert_eq!((uploaded.spend.storage_cost, cluster.transactions().await), (cost(12, 3), 6));
    assert_eq!((uploaded.chunks_stored, cluster.charged().await.paid), (12, cost(12, 3)));
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn a_round_of_which_most_is_stored_asks_for_more() {
    let (cluster, data) = (five(), MemoryDisk::new());
    let mut source = noise(408, 12 * SEGMENT);
    let together = Cluster::batch_options(4_096, CommitChoice::Together);
    upload(&cluster, &data, &source, together).await.unwrap();
    // Three chunks change, one of them in the first half.
    source[5 * SEGMENT + 7] ^= 1;
    let asked = Asked::new(|_| true);
    let edited = upload(&cluster, &data, &source, asked.options(rounds(6))).await.unwrap();
    assert_eq!(asked.chunks(), [(3, 0, 9)]);
    assert_eq!((edited.spend.storage_cost, edited.chunks_already_stored), (cost(3, 1), 9));
    assert_reads(&cluster, &edited, &source).await;
}

#[tokio::test]
async fn rounds_that_are_paid_differently_are_mixed() {
    let cluster = five();
    let source = noise(409, 120 * SEGMENT);
    // After the first round no node takes batches any more.
    let no_more = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&no_more);
    quote(&cluster, move |terms| {
        let max_prize = if seen.load(Ordering::Relaxed) { Atto::ZERO } else { terms.max_prize };
        QuoteTerms { max_prize, ..terms }
    });
    let asked = Asked::new(move |_| {
        no_more.store(true, Ordering::Relaxed);
        true
    });
    let auto = UploadOptions { mode: ModeChoice::Auto, ..rounds(60) };
    let uploaded =
        upload(&cluster, &MemoryDisk::new(), &source, asked.options(auto)).await.unwrap();
    let modes: Vec<_> = asked.offers.lock().unwrap().iter().map(|offer| offer.mode).collect();
    assert_eq!(modes, [Some(PaymentMode::Batch), Some(PaymentMode::Direct)]);
    assert_eq!(uploaded.payment_mode, Some(PaymentMode::Mixed));
    assert!(matches!(uploaded.mode_reason, Some(ModeReason::NoBatch(_))));
    assert_eq!(uploaded.spend.storage_cost, cost(120, 1));
    assert_reads(&cluster, &uploaded, &source).await;
}

#[tokio::test]
async fn the_cost_of_rounds_has_their_approvals() {
    let cluster = five();
    let (data, source) = (MemoryDisk::new(), noise(410, 12 * SEGMENT));
    let client = cluster.client(&data);
    let price = client.cost(Cluster::file(&source), &cluster.payer, rounds(3)).await.unwrap();
    let uploaded = upload(&cluster, &data, &source, rounds(3)).await.unwrap();
    let offer = price.offer;
    assert_eq!((offer.total(), offer.tips), (cost(12, 4), uploaded.spend.tips));
    assert_eq!(offer.total(), uploaded.spend.storage_cost);
    assert_eq!((offer.chunks_to_pay, offer.chunks_later), (12, 0));
    let (said, used) = (offer.gas, uploaded.spend.gas_used);
    assert!(said >= used && said < used + used / 2, "{said} for {used}");
}

/// A batch that another session has signed and that never arrived; what has changed since, so much later,
/// is less and is paid directly. Transactions of that have these faults, counted from 1, and no payment
/// ever gets deep enough. What the error says was spent, and what was.
async fn never_deep_enough(
    later: Duration,
    mut fault: impl FnMut(&dyn Fn(Duration), u32) -> Option<ChainFault> + Send + 'static,
) -> (Spend, Charged) {
    let cluster = five();
    let source = noise(411, 12 * SEGMENT);
    let data = MemoryDisk::new();
    let mut sent = 0;
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        (op == ChainOp::SendRaw && sent >= 2).then_some(ChainFault::Forget)
    })));
    let all = Cluster::batch_options(4_096, CommitChoice::Together);
    upload(&cluster, &data, &source, all.clone()).await.unwrap_err();
    cluster.clock.advance(later);
    quote(&cluster, |terms| QuoteTerms { confirmations: 5, ..terms });
    let mut edit = source.clone();
    edit[6 * SEGMENT + 5] ^= 1;
    let (mut sent, clock) = (0, cluster.clock.clone());
    cluster.chain.set_faults(Some(Box::new(move |op| {
        sent += u32::from(op == ChainOp::SendRaw);
        if op == ChainOp::SendRaw { fault(&|by| clock.advance(by), sent) } else { None }
    })));
    let direct = UploadOptions { mode: ModeChoice::Direct, ..Cluster::options() };
    let error = upload(&cluster, &data, &edit, direct).await.unwrap_err();
    let spend = match &error {
        UploadError::PartialUpload { spend, cause, .. } => {
            assert!(matches!(cause.as_deref(), Some(UploadError::Payment { .. })));
            spend.clone()
        }
        UploadError::Payment { source, spend } => {
            assert!(!matches!(*source.failure, PayFailure::Locked { .. }));
            spend.clone()
        }
        other => panic!("{other:?}"),
    };
    (spend, cluster.charged().await)
}

fn gone() -> ChainFault {
    ChainFault::Refuse(ChainError::Unreachable { endpoint: "rpc".into() })
}

#[tokio::test]
async fn tips_of_a_payment_that_is_not_deep_enough_are_those_of_the_plan_that_was_paid() {
    let mut batch_alone = 0;
    for refused in 1..=6 {
        let fault = move |_: &dyn Fn(Duration), sent| (sent >= refused).then(gone);
        let (spend, charged) = never_deep_enough(Duration::ZERO, fault).await;
        let batch = charged.paid >= cost(12, 1);
        assert_eq!(spend.storage_cost, charged.paid, "refused from {refused}");
        assert_eq!(spend.tips, if batch { Cluster::TIP } else { Atto::ZERO }, "{refused}");
        batch_alone += u32::from(batch && charged.credited() == Atto::ZERO);
    }
    assert!(batch_alone > 0);

    // The batch comes to its deadline on its way, and what is paid directly does not.
    let late = |advance: &dyn Fn(Duration), sent| {
        (sent == 1).then(|| {
            advance(Duration::from_mins(3));
            gone()
        })
    };
    let later = QUOTE_LIFETIME.saturating_sub(Duration::from_mins(2));
    let (spend, charged) = never_deep_enough(later, late).await;
    assert!(charged.paid > Atto::ZERO, "nothing was paid: {spend:?}");
    assert_eq!(charged.credited(), charged.paid, "the direct one alone was paid");
    assert_eq!((spend.storage_cost, spend.tips), (charged.paid, Atto::ZERO));
}
