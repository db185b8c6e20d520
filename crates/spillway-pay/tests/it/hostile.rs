//! Vaults of tokens that misbehave, on a real chain: no record, and nothing charged.

use alloy::{
    primitives::{Address, U256},
    sol,
    sol_types::{SolCall, SolValue},
};
use serde_json::Value;
use spillway_pay::{
    At, Call, Chain, ChainError, CommitChoice, Deployer, PayFailure, Payments, PaymentsOptions,
    Plan,
    authorize::{
        TokenDomain, TypedData, commit_many_with_authorization, commit_with_authorization,
        commit_with_permit,
    },
};
use spillway_types::{Atto, Domain, EvmAddress};

use crate::support::{Control, Stage, TOKENS, TestJournal, batch_mode, raw_creation, rpc};

sol! {
    function set(uint8 mode) external;
}

/// What the token does with a transfer; its `Mode` by number.
const HONEST: u8 = 0;
const FEE: u8 = 1;
const SILENT: u8 = 4;
const RETURN_FALSE: u8 = 5;
const REVERT: u8 = 8;

fn code_of(artifact: &str) -> Vec<u8> {
    let artifact: Value = serde_json::from_str(artifact).unwrap();
    alloy::primitives::hex::decode(artifact["bytecode"].as_str().unwrap()).unwrap()
}

fn creation(artifact: &str, supply: u128) -> Vec<u8> {
    let mut code = code_of(artifact);
    code.extend(U256::from(supply).abi_encode());
    code
}

async fn create(stage: &Stage, code: Vec<u8>) -> EvmAddress {
    let from = stage.deployer.address();
    let nonce = stage.chain.pending_nonce(from).await.unwrap();
    let raw = raw_creation(stage, &stage.deployer, code).await;
    assert!(stage.send_bytes(&raw).await.success);
    EvmAddress(Address::new(from.0).create(nonce).into_array())
}

/// The stage with this token and a vault for it; the payer has [`TOKENS`].
async fn stage_with(artifact: &str) -> Stage {
    let mut stage = Stage::anvil().await.in_batches(CommitChoice::Together);
    let token = create(&stage, creation(artifact, 1 << 100)).await;
    let mut code = code_of(include_str!("../../../../contracts/artifacts/ChunkVault.json"));
    let windows = crate::support::WINDOWS;
    let words = (
        Address::new(token.0),
        Address::new(stage.deployed.beacon.0),
        U256::from(windows.min.as_secs()),
        U256::from(windows.max.as_secs()),
        U256::from(windows.draw_delay.as_secs()),
        U256::from(windows.claim.as_secs()),
    );
    code.extend(words.abi_encode());
    let vault = create(&stage, code).await;
    stage.deployed.token = token;
    stage.deployed.vault = vault;
    stage.domain = Domain { vault, ..stage.domain };
    let hands: Deployer<'_> = stage.hands(&stage.deployer);
    hands.send_tokens(token, stage.payer.address(), TOKENS).await.unwrap();
    stage
}

async fn hostile() -> Stage {
    stage_with(include_str!("../../../../contracts/artifacts/test/HostileToken.json")).await
}

async fn set(stage: &Stage, mode: u8) {
    let call = setCall { mode };
    let (from, to) = (stage.deployer.address(), stage.deployed.token);
    let call = Call { from, to, data: call.abi_encode() };
    assert!(stage.send_call(&stage.deployer, &call).await.success);
}

async fn plans(stage: &Stage) -> [Plan; 2] {
    plans_of(stage, 1).await
}

/// Of other chunks for each name.
async fn plans_of(stage: &Stage, name: u8) -> [Plan; 2] {
    let one = stage.plan(name, 2).await;
    let two = Plan {
        upload_by: one.upload_by,
        valid_until: one.valid_until,
        ..stage.plan(name + 1, 2).await
    };
    [one, two].map(|plan| Plan { mode: batch_mode(&plan.leaves, 2, 3), ..plan })
}

/// Every call that pays: those of the payer, and those that anybody sends.
async fn calls(stage: &Stage, plans: &[Plan; 2]) -> Vec<(bool, Call)> {
    let Control::Anvil(anvil) = &stage.control else { panic!("no Anvil") };
    let chain = rpc(anvil.rpc_url());
    let token = TokenDomain::read(&chain, stage.deployed.token).await.unwrap();
    let [one, two] = plans;
    let sender = stage.deployer.address();
    let permit = TypedData::permit(&token, one, 0).unwrap().sign(&stage.payer).unwrap();
    let receive = TypedData::receive(&token, one).unwrap().sign(&stage.payer).unwrap();
    let both = [one, two];
    let many = TypedData::receive_many(&token, &both).unwrap().sign(&stage.payer).unwrap();
    vec![
        (true, commit_with_permit(one, permit).unwrap()),
        (false, commit_with_authorization(one, sender, receive).unwrap()),
        (false, commit_many_with_authorization(&both, sender, many).unwrap()),
    ]
}

async fn assert_nothing_happened(stage: &Stage, plans: &[Plan; 2], what: &str) {
    for plan in plans {
        let record = stage.chain.record(stage.deployed.vault, plan.id(), At::Depth(0)).await;
        assert_eq!(record.unwrap().recorded, None, "{what}");
    }
    assert_eq!(stage.tokens_of_payer().await, TOKENS, "{what}");
    assert_eq!(stage.tokens_of_vault().await, Atto::ZERO, "{what}");
}

#[tokio::test]
async fn a_token_that_misbehaves_makes_no_record_and_charges_nothing() {
    let stage = hostile().await;
    let plans = plans(&stage).await;
    let payments = stage.payments();
    for mode in [FEE, SILENT, RETURN_FALSE, REVERT] {
        set(&stage, mode).await;
        // `commit` and `commitMany`, with checks, by the journal.
        for asked in [&plans[..1], &plans] {
            let mut journal = TestJournal::new(&stage.chain);
            let error = payments.pay(stage.request(asked, &[]), &mut journal).await.unwrap_err();
            match *error.failure {
                PayFailure::Chain(ChainError::Reverted { reason }) => {
                    let reason = reason.unwrap_or_default();
                    let expected = reason_of(mode, asked, true);
                    assert!(reason.starts_with(&expected), "{mode}: {reason}, not {expected}");
                }
                failure => panic!("{failure:?}"),
            }
            assert_eq!((error.spend.paid, journal.paid.len()), (Atto::ZERO, 0));
            assert_nothing_happened(&stage, &plans, &format!("mode {mode}")).await;
        }
        // With signatures; the last pays both.
        for (index, (by_payer, call)) in calls(&stage, &plans).await.into_iter().enumerate() {
            let from = if by_payer { &stage.payer } else { &stage.deployer };
            let asked = if index == 2 { &plans[..] } else { &plans[..1] };
            let expected = reason_of(mode, asked, by_payer);
            match stage.chain.estimate_gas(&call).await {
                Err(ChainError::Reverted { reason }) => {
                    let reason = reason.unwrap_or_default();
                    assert!(reason.starts_with(&expected), "{mode}: {reason}, not {expected}");
                }
                other => panic!("{mode}: {other:?}"),
            }
            assert!(!stage.send_call(from, &call).await.success, "mode {mode}");
            assert_nothing_happened(&stage, &plans, &format!("mode {mode}")).await;
        }
    }
    // The same token, honest: it was the token's behaviour that was refused.
    set(&stage, HONEST).await;
    let mut journal = TestJournal::new(&stage.chain);
    payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let mut charged: u128 = plans.iter().map(|plan| plan.total().0).sum();
    stage.assert_charged(Atto(charged)).await;
    for (index, name) in [10, 20, 30].into_iter().enumerate() {
        let plans = plans_of(&stage, name).await;
        let (by_payer, call) = calls(&stage, &plans).await.swap_remove(index);
        let from = if by_payer { &stage.payer } else { &stage.deployer };
        assert!(stage.send_call(from, &call).await.success, "call {index} with an honest token");
        let paid = if index == 2 { 2 } else { 1 };
        charged += plans[..paid].iter().map(|plan| plan.total().0).sum::<u128>();
        stage.assert_charged(Atto(charged)).await;
    }
}

/// What the vault says of a payment of these plans. The calls with an authorization have no answer that
/// could be false: what counts is the balance.
fn reason_of(mode: u8, plans: &[Plan], has_answer: bool) -> String {
    let total: u128 = plans.iter().map(|plan| plan.total().0).sum();
    match mode {
        FEE => format!("WrongAmount({total}, {})", total - 1),
        RETURN_FALSE if has_answer => "TransferFailed()".into(),
        SILENT | RETURN_FALSE => format!("WrongAmount({total}, 0)"),
        _ => "unknown error".into(),
    }
}

#[tokio::test]
async fn a_token_that_swallows_calls_makes_no_record() {
    let artifact = include_str!("../../../../contracts/artifacts/test/SwallowingToken.json");
    let stage = stage_with(artifact).await;
    let plans = plans(&stage).await;
    for (by_payer, call) in calls(&stage, &plans).await {
        let from = if by_payer { &stage.payer } else { &stage.deployer };
        assert!(!stage.send_call(from, &call).await.success);
        assert_nothing_happened(&stage, &plans, "swallowed").await;
    }
    // With an allowance it is a token like others.
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    stage.assert_charged(Atto(plans.iter().map(|plan| plan.total().0).sum())).await;
}

/// What is asked for must be what is there: both are named.
#[tokio::test]
async fn a_vault_of_another_token_is_refused_with_both() {
    let stage = hostile().await;
    let plans = plans(&stage).await;
    let expected = EvmAddress([0x55; 20]);
    let options = PaymentsOptions { token: Some(expected), ..stage.options() };
    let mut journal = TestJournal::new(&stage.chain);
    let request = stage.request(&plans, &[]);
    let error = Payments::new(options).pay(request, &mut journal).await.unwrap_err();
    let text = error.to_string();
    match *error.failure {
        PayFailure::WrongToken { expected: named, found } => {
            assert_eq!((named, found), (expected, stage.deployed.token));
        }
        failure => panic!("{failure:?}"),
    }
    assert!(text.contains(&expected.to_string()), "{text}");
    assert!(text.contains(&stage.deployed.token.to_string()), "{text}");
    assert_nothing_happened(&stage, &plans, "another token").await;
}
