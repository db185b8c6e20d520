//! A batch is charged once, whatever is sent how often, when, and by whom: on a real chain that
//! mines when it is told to.

use std::time::Duration;

use spillway_client::{PayFailure, Wallet};
use spillway_pay::{
    At, Caps, CommitChoice, PayRequest, PayTiming, Payments, Plan, PlanStatus, SignedTx, TxPurpose,
};
use spillway_tests::{
    Deal, Network, Notes,
    vault_calls::{commit, refusal},
};
use spillway_types::{Atto, Wei};

/// Bytes of a chunk.
const LEN: usize = 1_000;

/// Signs again with a higher fee after so little waiting.
const HASTY: PayTiming = PayTiming {
    first_poll: Duration::from_millis(10),
    longest_poll: Duration::from_millis(50),
    resend_after: Duration::from_millis(100),
    bump_after: Duration::from_millis(300),
    patience: Duration::from_mins(5),
    outage: Duration::from_secs(30),
};

/// Never signs again by itself.
const PATIENT: PayTiming = PayTiming { bump_after: Duration::from_hours(1), ..HASTY };

fn request<'a>(
    wallet: &'a Wallet,
    plans: &'a [Plan],
    earlier: &'a [SignedTx],
    commit: CommitChoice,
) -> PayRequest<'a> {
    PayRequest { plans, wallet, earlier, caps: Caps::default(), confirmations: 0, commit }
}

async fn pay(
    network: &Network,
    payments: &Payments,
    plans: &[Plan],
    notes: &Notes,
) -> Result<spillway_pay::Paid, spillway_pay::PayError> {
    let wallet = network.testnet.wallet();
    let request = request(wallet, plans, &[], CommitChoice::Together);
    payments.pay(request, &mut notes.clone()).await
}

fn is_commit(tx: &SignedTx) -> bool {
    matches!(tx.purpose, TxPurpose::Pay { .. } | TxPurpose::PayMany { .. })
}

/// Mines until one of these is in a block, and returns whether it succeeded.
async fn mine_until(network: &Network, any: impl Fn() -> Vec<SignedTx>) -> (SignedTx, bool) {
    loop {
        for tx in any() {
            if let Some(receipt) = network.testnet.chain().receipt(tx.hash).await.unwrap() {
                return (tx, receipt.success);
            }
        }
        network.testnet.anvil().mine(1).await.unwrap();
    }
}

/// Mines the approval, and returns the commit of this number when it waits for a block.
async fn commit_that_waits(network: &Network, notes: &Notes, number: usize) -> SignedTx {
    if number == 0 {
        // Nothing is mined after it, so that the commit finds no block.
        let (_, success) = mine_until(network, || notes.signed()).await;
        assert!(success, "the approval");
    }
    notes.waiting(number, is_commit, network.testnet.chain().as_ref()).await
}

async fn escrow(network: &Network, seed: u64) -> (Plan, Atto) {
    let client = network.testnet.client(&network.place().join(format!("client-{seed}"))).await;
    let client = client.unwrap();
    let deal = Deal::ask(network, &client, seed..seed + 6, LEN).await;
    client.shutdown().await;
    let plan = deal.batch(network, 2);
    let escrow = plan.batch_terms().unwrap().escrow();
    assert!(escrow == plan.total() && escrow > plan.storage_cost());
    (plan, escrow)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_charged_once() {
    let network = Network::batches(5).await;
    // Its keeper would mine blocks when midnight passes.
    network.testnet.silence_beacon().await;
    let network = &network;
    replaced_with_a_higher_fee(network).await;
    // Before two machines may have left more of an allowance than was needed.
    another_account(network).await;
    two_machines_at_once(network).await;
    the_second_of_two_is_lost(network).await;
    too_late(network).await;
}

/// The same plan signed again with a higher fee takes the first one's place; all that was ever
/// signed, sent again, changes nothing.
async fn replaced_with_a_higher_fee(network: &Network) {
    let (plan, escrow) = escrow(network, 600).await;
    let before = network.balances().await;
    let chain = network.testnet.chain();
    network.testnet.anvil().set_automine(false).await.unwrap();
    let (payments, notes) = (network.payments(HASTY), Notes::new());
    let plans = [plan];
    let paying = pay(network, &payments, &plans, &notes);
    let meddling = async {
        let first = commit_that_waits(network, &notes, 0).await;
        let second = commit_that_waits(network, &notes, 1).await;
        assert_eq!((first.nonce, first.gas_limit), (second.nonce, second.gas_limit));
        assert!(second.max_fee > first.max_fee && second.hash != first.hash);
        let commits = || notes.signed().into_iter().filter(is_commit).collect();
        let (mined, success) = mine_until(network, commits).await;
        assert!(success);
        assert_ne!(mined.hash, first.hash, "the first one was replaced");
    };
    let (paid, ()) = tokio::join!(paying, meddling);
    network.testnet.anvil().set_automine(true).await.unwrap();
    let after = before.after_batches(escrow, 2);
    assert_eq!(paid.unwrap().spend.paid, escrow);
    assert_eq!(network.balances().await, after);

    for tx in notes.signed() {
        // Whatever the chain says to it: the nonce is used.
        let _ = chain.send_raw(&tx.raw).await;
    }
    network.testnet.anvil().mine(1).await.unwrap();
    assert_eq!(network.balances().await, after);
    let again = Notes::new();
    let paid = pay(network, &payments, &plans, &again).await.unwrap();
    assert_eq!((paid.spend.tx_hashes.len(), again.signed().len()), (0, 0));
    assert_eq!(network.balances().await, after);
}

/// The plan is handed to another machine, and both pay it at the same moment: one transaction of
/// two succeeds, and both know that it is paid.
async fn two_machines_at_once(network: &Network) {
    let (plan, escrow) = escrow(network, 610).await;
    let before = network.balances().await;
    network.testnet.anvil().set_automine(false).await.unwrap();
    let (one, two) = (network.payments(PATIENT), network.payments(PATIENT));
    let (notes_one, notes_two) = (Notes::new(), Notes::new());
    let plans = [plan];
    let paying = async {
        tokio::join!(pay(network, &one, &plans, &notes_one), pay(network, &two, &plans, &notes_two))
    };
    let mining = async {
        loop {
            network.testnet.anvil().mine(1).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (paid_one, paid_two) = tokio::select! {
        paid = paying => paid,
        () = mining => unreachable!(),
    };
    network.testnet.anvil().set_automine(true).await.unwrap();
    for paid in [paid_one, paid_two] {
        assert_eq!(paid.unwrap().plans[0].payment, plans[0].id());
    }
    assert_eq!((notes_one.paid(), notes_two.paid()), (vec![plans[0].id()], vec![plans[0].id()]));
    let after = network.balances().await;
    assert_eq!(before.after_batches(escrow, after.transactions - before.transactions), after);
}

/// Somebody else with tokens sends it: it is refused before it is signed, and by the vault.
async fn another_account(network: &Network) {
    let (plan, _) = escrow(network, 620).await;
    let coins = Wei(1_000_000_000_000_000_000);
    let other = network.testnet.fund(Atto(plan.total().0 * 2), coins).await.unwrap();
    let before = (network.balances().await, network.tokens(other.address()).await);
    let (payments, mut notes) = (network.payments(PATIENT), Notes::new());
    let plans = [plan.clone()];
    let request = request(&other, &plans, &[], CommitChoice::Together);
    let error = payments.pay(request, &mut notes).await.unwrap_err();
    assert!(matches!(*error.failure, PayFailure::WrongWallet { .. }), "{error:?}");
    assert_eq!(notes.signed(), []);

    let (vault, terms) = (network.testnet.domain().vault, plan.batch_terms().unwrap());
    let call = |from| commit(from, vault, &terms, plan.valid_until);
    let chain = network.testnet.chain().as_ref();
    let said = refusal(chain, &call(other.address())).await;
    assert_eq!(said, format!("NotPayer({}, {})", terms.payer, other.address()));
    // The same call of the payer itself gets as far as the allowance.
    let said = refusal(chain, &call(terms.payer)).await;
    assert!(said.starts_with("ERC20InsufficientAllowance"), "{said}");
    let after = (network.balances().await, network.tokens(other.address()).await);
    assert_eq!(after, before);
}

/// Two batches, each in a transaction of its own, and the second one is lost on its way: the same
/// bytes go out again.
async fn the_second_of_two_is_lost(network: &Network) {
    let ((one, first), (two, second)) = (escrow(network, 630).await, escrow(network, 640).await);
    let before = network.balances().await;
    let (chain, anvil) = (network.testnet.chain(), network.testnet.anvil());
    anvil.set_automine(false).await.unwrap();
    let (payments, notes) = (network.payments(PATIENT), Notes::new());
    let plans = [one, two];
    let mut journal = notes.clone();
    let wallet = network.testnet.wallet();
    let paying = payments.pay(request(wallet, &plans, &[], CommitChoice::OneByOne), &mut journal);
    let meddling = async {
        let earlier = commit_that_waits(network, &notes, 0).await;
        let (_, success) = mine_until(network, || vec![earlier.clone()]).await;
        assert!(success);
        let lost = notes.waiting(1, is_commit, chain.as_ref()).await;
        assert_eq!(lost.nonce, earlier.nonce + 1);
        anvil.drop_transaction(lost.hash).await.unwrap();
        // It waits there again.
        let again = notes.waiting(1, is_commit, chain.as_ref()).await;
        let (_, success) = mine_until(network, || vec![again.clone()]).await;
        assert!(success);
    };
    let (paid, ()) = tokio::join!(paying, meddling);
    anvil.set_automine(true).await.unwrap();
    assert_eq!(paid.unwrap().plans.len(), 2);
    assert_eq!(notes.paid(), [plans[0].id(), plans[1].id()]);
    assert_eq!(notes.signed().len(), 3, "an approval and two payments, none signed twice");
    let both = first.saturating_add(second);
    assert_eq!(network.balances().await, before.after_batches(both, 3));
}

/// A transaction that finds its block after the plan's deadline.
async fn too_late(network: &Network) {
    let (plan, _) = escrow(network, 650).await;
    let before = network.balances().await;
    let (chain, anvil) = (network.testnet.chain(), network.testnet.anvil());
    anvil.set_automine(false).await.unwrap();
    let (payments, notes) = (network.payments(PATIENT), Notes::new());
    let plans = [plan];
    let late = tokio::select! {
        biased;
        late = commit_that_waits(network, &notes, 0) => late,
        paid = pay(network, &payments, &plans, &notes) => panic!("{paid:?}"),
    };
    network.go_to(plans[0].valid_until.saturating_add(Duration::from_secs(1))).await;
    let (_, success) = mine_until(network, || vec![late.clone()]).await;
    assert!(!success, "it is in a block, and the vault refused it");
    anvil.set_automine(true).await.unwrap();
    assert_eq!(network.balances().await, before.after_batches(Atto::ZERO, 2));

    // Nothing is sent for it any more, and once that is final it can be given up.
    let wallet = network.testnet.wallet();
    let earlier = notes.signed();
    let again = request(wallet, &plans, &earlier, CommitChoice::Together);
    let error = payments.pay(again, &mut Notes::new()).await.unwrap_err();
    assert!(matches!(*error.failure, PayFailure::Expired { .. }), "{error:?}");
    assert_eq!(payments.status(&plans[0]).await.unwrap(), PlanStatus::Open);
    let newest = chain.block(At::Depth(0)).await.unwrap().number;
    while chain.block(At::Finalized).await.unwrap().number < newest {
        anvil.mine(16).await.unwrap();
    }
    assert_eq!(payments.status(&plans[0]).await.unwrap(), PlanStatus::Dropped);
    assert_eq!(network.balances().await, before.after_batches(Atto::ZERO, 2));
}
