//! Refunds that do not come to their end, and sessions that cannot be read.

use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use spillway_disk::{DiskExt, ManualClock, MemoryDisk, Overwrite};
use spillway_pay::{
    Caps, ChainError, ChainFault, ChainOp, CommitChoice, MemoryChain, MemoryChainOptions,
    PayRequest, PayTiming, PaymentsOptions, Plan, PlanMode, SumTree, Windows,
};
use spillway_types::{
    ChunkAddress, Domain, EvmAddress, Leaf, NetworkId, PeerSecret, QuoteTerms, RewardAddress,
    Share, Wei,
};

use super::*;
use crate::{
    session::{ChunkInfo, ChunkIx, KeyLock, Manifest, PlanFile, Session, SessionKey, SourceNote},
    testing::Hasty,
};

const START: UnixTime = UnixTime(1_800_000_000);
const TOKEN: EvmAddress = EvmAddress([2; 20]);
const REWARD: RewardAddress = RewardAddress([10; 20]);
const DOMAIN: Domain =
    Domain { network: NetworkId([1; 32]), chain_id: 31_337, vault: EvmAddress([3; 20]) };
/// Five shares and a tip.
const ESCROW: Atto = Atto(507);

fn windows() -> Windows {
    Windows {
        min: Duration::from_mins(15),
        max: Duration::from_hours(24),
        draw_delay: Duration::from_mins(15),
        claim: Duration::from_hours(24 * 30),
    }
}

fn leaf(number: u8) -> Leaf {
    let shares = [Share { payee: REWARD, amount: Atto(100) }; 5];
    Leaf { address: ChunkAddress([number; 32]), shares }
}

/// A batch of one chunk.
fn plan(payer: EvmAddress, number: u8) -> PlanFile {
    let terms = QuoteTerms {
        domain: DOMAIN,
        address: ChunkAddress([number; 32]),
        size: 34,
        price: Atto(100),
        reward: REWARD,
        issued: START,
        expires: START.saturating_add(Duration::from_hours(1)),
        min_tip: Atto(1),
        max_prize: Atto(1_000),
        max_window_secs: 86_400,
        confirmations: 0,
    };
    let leaves = vec![leaf(number)];
    let root = SumTree::new(&leaves).unwrap().root().hash;
    PlanFile {
        plan: Plan {
            domain: DOMAIN,
            mode: PlanMode::Batch { root, tip: Atto(7), draws: 1 },
            payer,
            leaves,
            upload_by: START.saturating_add(Duration::from_hours(1)),
            valid_until: START.saturating_add(Duration::from_mins(10)),
        },
        chunks: vec![Some(ChunkIx(number.into()))],
        quotes: vec![[terms.sign(&PeerSecret::from_seed(&[11; 32])); 5]],
    }
}

/// One session with two batches that nobody claims.
struct World {
    clock: Arc<Hasty>,
    chain: MemoryChain,
    payments: Payments,
    wallet: Wallet,
    data: Arc<dyn Disk>,
    session: String,
}

impl World {
    /// Their claim windows are over.
    async fn new() -> Self {
        let world = Self::paid().await;
        world.clock.0.advance(Duration::from_hours(24 * 32));
        world.chain.mine(1);
        world
    }

    /// They were just paid.
    async fn paid() -> Self {
        let clock = Arc::new(Hasty(ManualClock::new(START)));
        let chain = MemoryChain::new(MemoryChainOptions::new(clock.clone()));
        let wallet = Wallet::from_bytes(&[5; 32]).unwrap();
        let payer = wallet.address();
        chain.put_token(TOKEN, payer, Atto(1_000_000));
        chain.put_vault(DOMAIN.vault, TOKEN, windows());
        chain.set_coins(payer, Wei(10_u128.pow(18)));
        let payments = Payments::new(PaymentsOptions {
            chain: Arc::new(chain.clone()),
            domain: DOMAIN,
            token: None,
            clock: clock.clone(),
            wallet_locks: Arc::new(MemoryDisk::new()),
            timing: PayTiming::default(),
        });
        let files = [plan(payer, 0), plan(payer, 1)];
        let plans = files.clone().map(|file| file.plan);
        let request = PayRequest {
            plans: &plans,
            wallet: &wallet,
            earlier: &[],
            caps: Caps::default(),
            confirmations: 0,
            commit: CommitChoice::default(),
        };
        payments.pay(request, &mut Forgets).await.unwrap();
        let data: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let session = journal(&data, payer, files).await;
        Self { clock, chain, payments, wallet, data, session }
    }

    /// The newest block is of this time.
    fn mine_at(&self, time: UnixTime) {
        self.clock.0.set(time);
        self.chain.mine(1);
    }

    async fn refund(&self) -> Result<RefundReport, RefundStopped> {
        refund(&self.payments, &self.wallet, &self.data, None).await
    }

    /// How often the chain is asked for a record from now on.
    fn count_records(&self) -> Arc<AtomicUsize> {
        let records = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&records);
        self.chain.set_faults(Some(Box::new(move |op| {
            counted.fetch_add(usize::from(op == ChainOp::Record), Ordering::Relaxed);
            None
        })));
        records
    }
}

/// Writes down what was paid, and lets go of the session.
async fn journal(data: &Arc<dyn Disk>, payer: EvmAddress, files: [PlanFile; 2]) -> String {
    let key = SessionKey([3; 32]);
    let lock = KeyLock::take(data.as_ref(), &key).unwrap();
    let chunk = |number| ChunkInfo { address: ChunkAddress([number; 32]), size: 34, segment: None };
    let manifest = Manifest {
        key,
        created: START,
        domain: DOMAIN,
        payer,
        source: SourceNote { name: "a".into(), bytes: 5, skipped: Vec::new() },
        spill: "spill".into(),
        chunks: (0..2).map(chunk).collect(),
        root: None,
        public_address: None,
    };
    let mut session = Session::start(data, manifest, None, lock).unwrap();
    for file in files {
        let plan = session.add_plan(file, &windows()).await.unwrap();
        session.record(vec![Record::Paid { plan, recorded: START, total: ESCROW }]).await.unwrap();
    }
    session.id().to_owned()
}

#[tokio::test]
async fn what_came_back_before_an_error_is_told_and_written_down() {
    let world = World::new().await;
    // From the second transaction on the chain is out of reach, for every question.
    let sent = Mutex::new(0);
    world.chain.set_faults(Some(Box::new(move |op| {
        let mut sent = sent.lock().unwrap();
        *sent += usize::from(op == ChainOp::SendRaw);
        let gone = ChainError::Unreachable { endpoint: "rpc".into() };
        (*sent > 1).then_some(ChainFault::Refuse(gone))
    })));
    let stopped = world.refund().await.unwrap_err();
    assert_eq!(stopped.retry(), Retry::Backoff);
    let RefundStopped { done, error } = stopped;
    assert!(matches!(error, AccountError::Payment(_)), "{error:?}");
    assert_eq!((done.refunded.len(), done.amount()), (1, ESCROW));
    assert_eq!(done.spend.tx_hashes.len(), 1);
    assert!(done.spend.gas_used > 0);

    let statuses = crate::sessions(&world.data, START).await.unwrap();
    assert_eq!(statuses[0].spend.refunded, ESCROW, "written down without asking the chain");
    world.chain.set_faults(None);
    let rest = world.refund().await.unwrap();
    assert_eq!((rest.refunded.len(), rest.amount()), (1, ESCROW));
    assert_ne!(rest.refunded[0].payment, done.refunded[0].payment);
}

#[tokio::test]
async fn a_session_that_cannot_be_read_is_named_and_holds_up_no_other() {
    let world = World::new().await;
    let bad = Path::new("sessions/bad");
    world.data.create_dir_all(bad).unwrap();
    world.data.write_durable(&bad.join("manifest"), b"what is this", Overwrite::Never).unwrap();
    world.data.create_dir_all(Path::new("sessions/empty")).unwrap();
    assert!(!world.data.exists(&Path::new("sessions/empty").join("manifest")).unwrap());

    let report = world.refund().await.unwrap();
    assert_eq!((report.refunded.len(), report.amount()), (2, Atto(2 * ESCROW.0)));
    assert!(report.refunded.iter().all(|batch| batch.session == world.session));
    let named: Vec<&str> = report.unreadable.iter().map(|it| &*it.session).collect();
    assert_eq!(named, ["bad", "empty"]);
    assert!(report.unreadable[0].why.contains("manifest"), "{:?}", report.unreadable);
}

/// The journal says what was reported, the chain what is so.
#[tokio::test]
async fn a_refund_that_a_reorganisation_undid_is_found_again() {
    let world = World::new().await;
    let first = world.refund().await.unwrap();
    assert_eq!((first.refunded.len(), first.amount()), (2, Atto(2 * ESCROW.0)));
    let again = world.refund().await.unwrap();
    assert_eq!((again.refunded.len(), again.spend.gas_used), (0, 0));
    assert_eq!(refundable(&world.payments, &world.data).await.unwrap(), []);

    // The last of the two transactions is gone.
    world.chain.reorg(1);
    let statuses = crate::sessions(&world.data, START).await.unwrap();
    assert_eq!(statuses[0].spend.refunded, Atto(2 * ESCROW.0), "as it was reported");
    let open = refundable(&world.payments, &world.data).await.unwrap();
    assert_eq!((open.len(), open[0].amount, open[0].due), (1, ESCROW, true));
    let records = world.count_records();
    let again = world.refund().await.unwrap();
    assert_eq!((again.refunded.len(), again.amount()), (1, ESCROW));
    assert_eq!(again.refunded[0].payment, open[0].payment);
    assert_eq!(again.spend.tx_hashes.len(), 1);
    let statuses = crate::sessions(&world.data, START).await.unwrap();
    assert_eq!(statuses[0].spend.refunded, Atto(2 * ESCROW.0));
    assert_eq!(refundable(&world.payments, &world.data).await.unwrap(), []);

    // What is over costs one question for each.
    records.store(0, Ordering::Relaxed);
    world.refund().await.unwrap();
    assert_eq!(records.load(Ordering::Relaxed), 2);
}

/// Old refunds are not asked for without end; what is not refunded is.
#[tokio::test]
async fn only_the_newest_refunds_are_looked_at_again() {
    let world = World::new().await;
    let found = |disk: &dyn Disk| session::batches_paid(disk, &DOMAIN, None);
    let [paid, _] = <[BatchPaid; 2]>::try_from(found(&*world.data).unwrap().batches).unwrap();
    let refunded = |number: u8| BatchPaid {
        payment: PaymentId([number; 32]),
        terms: BatchTerms { upload_by: UnixTime(u64::from(number / 4)), ..paid.terms },
        refunded: Some(Atto(1)),
        ..paid.clone()
    };
    let mut batches: Vec<BatchPaid> = (0..10).map(refunded).collect();
    batches.insert(3, paid.clone());
    leave_out_old(&mut batches, 10);
    assert_eq!(batches.len(), 11);
    leave_out_old(&mut batches, 3);
    let left: Vec<u8> = batches.iter().map(|batch| batch.payment.0[0]).collect();
    // Of equal age, too.
    assert_eq!(left, [paid.payment.0[0], 7, 8, 9]);
    leave_out_old(&mut batches, 0);
    assert_eq!(batches.len(), 1);
}

/// As with a token that lets nobody have anything: there is not enough in the vault for either.
#[tokio::test]
async fn what_the_chain_refuses_is_named_and_stays_to_be_had() {
    let world = World::new().await;
    let short = Atto(ESCROW.0 - 1);
    world.chain.set_tokens(TOKEN, DOMAIN.vault, short);
    let report = world.refund().await.unwrap();
    assert_eq!((report.refunded.len(), report.amount()), (0, Atto::ZERO));
    let [one, two] = report.refused.as_slice() else { panic!("{report:?}") };
    assert_ne!(one.payment, two.payment);
    for refused in [one, two] {
        assert_eq!((&refused.session, refused.amount), (&world.session, ESCROW));
        assert!(refused.reason.as_ref().unwrap().contains("InsufficientBalance"), "{refused:?}");
    }
    world.chain.set_tokens(TOKEN, DOMAIN.vault, ESCROW);
    let report = world.refund().await.unwrap();
    assert_eq!((report.refunded.len(), report.refused.len()), (1, 1));
    assert_eq!(report.amount(), ESCROW);
    assert_ne!(report.refunded[0].payment, report.refused[0].payment);
}

/// A server that lags may show more than there is.
#[tokio::test]
async fn what_is_written_down_is_what_was_sent() {
    let world = World::new().await;
    let found = || session::batches_paid(&*world.data, &DOMAIN, None).unwrap().batches;
    for (number, batch) in found().iter().enumerate() {
        let sent = (number == 0).then_some(Atto(5));
        let batch = BatchPaid { refundable: Some(ESCROW), ..batch.clone() };
        note(&world.data, batch, sent, &mut RefundReport::default()).await.unwrap();
    }
    let written: Vec<_> = found().iter().map(|batch| batch.refunded).collect();
    assert_eq!(written, [Some(Atto(5)), Some(ESCROW)]);
}

/// The claim window ends with a second in which draws can still be settled.
#[tokio::test]
async fn what_comes_back_is_due_from_the_second_after_the_claim_window() {
    let world = World::paid().await;
    let end = windows().claim_end(START.saturating_add(Duration::from_hours(1)));
    let from = UnixTime(end.0 + 1);
    for (now, due) in [(end, false), (from, true)] {
        world.mine_at(now);
        let open = refundable(&world.payments, &world.data).await.unwrap();
        let found: Vec<_> =
            open.iter().map(|batch| (batch.due, batch.from, batch.amount)).collect();
        let known: Vec<_> = open.iter().map(|batch| (batch.draws, batch.settled)).collect();
        assert_eq!(found, [(due, from, ESCROW); 2]);
        assert_eq!(known, [(1, 0); 2]);
    }
}

/// Each once, from the second after the draw until the claim window is over.
#[tokio::test]
async fn seeds_are_missing_while_they_can_be_made_known_and_draws_be_settled() {
    let world = World::paid().await;
    let upload_by = START.saturating_add(Duration::from_hours(1));
    let (draw, end) = (windows().draw_time(upload_by), windows().claim_end(upload_by));
    for (now, missing) in [
        (draw, &[][..]),
        (UnixTime(draw.0 + 1), &[upload_by]),
        (end, &[upload_by]),
        (UnixTime(end.0 + 1), &[]),
    ] {
        world.mine_at(now);
        let found = crate::missing_seeds(&world.payments, &world.data).await.unwrap();
        assert_eq!(found, missing, "at {now}");
    }
}

#[tokio::test]
async fn a_seed_that_is_known_is_not_missing_nor_one_of_what_came_back() {
    for is_known in [true, false] {
        let world = World::paid().await;
        let upload_by = START.saturating_add(Duration::from_hours(1));
        world.mine_at(UnixTime(windows().draw_time(upload_by).0 + 1));
        let missing = async || crate::missing_seeds(&world.payments, &world.data).await.unwrap();
        assert_eq!(missing().await, [upload_by]);
        if is_known {
            world.chain.put_seed(DOMAIN.vault, upload_by, spillway_types::Seed([4; 32]));
        } else {
            for batch in session::batches_paid(&*world.data, &DOMAIN, None).unwrap().batches {
                note(&world.data, batch, Some(ESCROW), &mut RefundReport::default()).await.unwrap();
            }
        }
        assert_eq!(missing().await, []);
    }
}

#[tokio::test]
async fn what_another_session_has_paid_is_listed_there() {
    let world = World::new().await;
    let found = || session::batches_paid(&*world.data, &DOMAIN, None).unwrap().batches;
    let [first, second] = <[BatchPaid; 2]>::try_from(found()).unwrap();
    let elsewhere = Record::Paid { plan: first.plan, recorded: START, total: Atto::ZERO };
    session::note(&*world.data, &first, elsewhere).unwrap();
    let listed: Vec<PaymentId> = found().iter().map(|batch| batch.payment).collect();
    assert_eq!(listed, [second.payment]);
}

/// What is written down before anything is asked for, by what the chain says and what was known.
#[tokio::test]
async fn what_the_journal_does_not_know_is_written_down_first() {
    let (zero, some) = (Atto::ZERO, Atto(9));
    for (amount, known, refunded, is_due, written, listed) in [
        (zero, None, Some(some), false, (None, Some(some)), zero),
        (zero, Some(some), None, false, (Some(some), Some(some)), some),
        (zero, None, None, false, (None, Some(zero)), zero),
        (ESCROW, Some(ESCROW), None, true, (Some(ESCROW), None), zero),
        (ESCROW, Some(some), None, true, (Some(ESCROW), None), zero),
        (ESCROW, None, None, true, (Some(ESCROW), None), zero),
        (ESCROW, Some(ESCROW), Some(some), true, (Some(ESCROW), None), zero),
    ] {
        let world = World::new().await;
        let found = || session::batches_paid(&*world.data, &DOMAIN, None).unwrap().batches;
        let plan = found()[0].plan;
        let known = known.map(|refundable| Record::ClaimOver { plan, refundable });
        let records =
            known.into_iter().chain(refunded.map(|amount| Record::Refunded { plan, amount }));
        for record in records {
            session::note(&*world.data, &found()[0], record).unwrap();
        }
        let batch = found().remove(0);
        let state = Refundable {
            session: world.session.clone(),
            payment: batch.payment,
            draws: 1,
            settled: 0,
            amount,
            from: START,
            due: true,
        };
        let mut report = RefundReport::default();
        let due = prepare(&world.data, batch.clone(), state, &mut report).await.unwrap();
        let is_due_with = due.map(|batch| batch.refundable);
        assert_eq!(is_due_with, is_due.then_some(Some(amount)), "{batch:?}");
        let noted = found().remove(0);
        assert_eq!((noted.refundable, noted.refunded), written, "{batch:?}");
        let amounts: Vec<Atto> = report.refunded.iter().map(|batch| batch.amount).collect();
        let listed: Vec<Atto> = Some(listed).into_iter().filter(|amount| *amount > zero).collect();
        assert_eq!(amounts, listed, "{batch:?}");
    }
}
