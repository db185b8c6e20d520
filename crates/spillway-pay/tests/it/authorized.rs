//! Batches that are paid with the token's own signatures, on a real chain.

use std::time::Duration;

use alloy::{primitives::U256, sol, sol_types::SolCall};
use spillway_pay::{
    Call, Chain, CommitChoice, Plan, RpcChain, Wallet,
    authorize::{
        AuthorizeError, TokenDomain, TypedData, commit_many_with_authorization,
        commit_with_authorization, commit_with_permit, permit_nonce,
    },
};
use spillway_types::{Atto, Domain, EvmAddress};

use crate::support::{Control, ETHER, LEAF_COST, Stage, batch_mode, raw_creation, rpc, wallet};

const TIP: u128 = 2;
/// A batch of two leaves with the tips of its three draws.
const COST: u128 = 2 * LEAF_COST + 3 * TIP;

sol! {
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external;
}

async fn stage() -> (Stage, RpcChain) {
    let stage = Stage::anvil().await.in_batches(CommitChoice::Together);
    let Control::Anvil(anvil) = &stage.control else { panic!("no Anvil") };
    let chain = rpc(anvil.rpc_url());
    (stage, chain)
}

async fn batch(stage: &Stage, name: u8) -> Plan {
    let plan = stage.plan(name, 2).await;
    Plan { mode: batch_mode(&plan.leaves, TIP, 3), ..plan }
}

async fn recorded(stage: &Stage, plan: &Plan) -> bool {
    let at = spillway_pay::At::Depth(0);
    stage.chain.record(stage.deployed.vault, plan.id(), at).await.unwrap().recorded.is_some()
}

async fn refusal(stage: &Stage, call: &Call) -> String {
    match stage.chain.estimate_gas(call).await {
        Err(spillway_pay::ChainError::Reverted { reason: Some(reason) }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Signs as `wallet` what `plan`'s payer should sign.
fn forged(
    token: &TokenDomain,
    plan: &Plan,
    wallet: &Wallet,
) -> spillway_pay::authorize::TokenSignature {
    let own = Plan { payer: wallet.address(), ..plan.clone() };
    TypedData::receive(token, &own).unwrap().sign(wallet).unwrap()
}

#[tokio::test]
async fn the_token_is_asked_for_its_domain() {
    let (stage, chain) = stage().await;
    let token = stage.deployed.token;
    let read = TokenDomain::read(&chain, token).await.unwrap();
    let known = TokenDomain::new("Spillway Test Token", "1", 31_337, token).unwrap();
    assert_eq!(read, known);
    assert_eq!(permit_nonce(&chain, token, stage.payer.address()).await.unwrap(), 0);
    // No token at all.
    let nobody = TokenDomain::read(&chain, EvmAddress([9; 20])).await.unwrap_err();
    assert!(matches!(nobody, AuthorizeError::Chain(_)), "{nobody:?}");
    let long = TokenDomain::new(&"x".repeat(257), "1", 31_337, token);
    assert_eq!(long, Err(AuthorizeError::UnknownDomain));
}

/// Code of a contract that has a name, "A", and this separator, and nothing else.
fn token_with(separator: [u8; 32]) -> Vec<u8> {
    // The selector; `name`, `DOMAIN_SEPARATOR`, or a revert.
    let start = "60003560e01c806306fdde0314601e57633644e5151460365760006000fd";
    let name = "5b602060005260016020526041_60f81b60405260606000f3".replace('_', "");
    let end = "60005260206000f3";
    let runtime = format!("{start}{name}5b7f{}{end}", alloy::hex::encode(separator));
    // Copies what follows into memory and returns it.
    alloy::hex::decode(format!("606080600b6000396000f3{runtime}")).unwrap()
}

#[tokio::test]
async fn a_token_whose_separator_is_another_ones_is_not_signed_for() {
    let (stage, chain) = stage().await;
    let from = stage.deployer.address();
    let mut found = Vec::new();
    for separator in [[7; 32], [0; 32]] {
        let nonce = stage.chain.pending_nonce(from).await.unwrap();
        let token = EvmAddress(alloy::primitives::Address::from(from.0).create(nonce).into());
        // What a token of this name and the usual version would say.
        let own = alloy::sol_types::eip712_domain! {
            name: "A", version: "1", chain_id: 31_337, verifying_contract: token.0.into(),
        };
        let separator = if separator == [0; 32] { own.separator().0 } else { separator };
        let raw = raw_creation(&stage, &stage.deployer, token_with(separator)).await;
        assert!(stage.send_bytes(&raw).await.success);
        found.push((token, TokenDomain::read(&chain, token).await));
    }
    let [(other, wrong), (token, right)] = <[_; 2]>::try_from(found).unwrap();
    assert_eq!(wrong, Err(AuthorizeError::OtherSeparator { token: other }));
    assert_eq!(right, TokenDomain::new("A", "1", 31_337, token));
}

#[tokio::test]
async fn a_permit_pays_once_also_when_somebody_was_faster_with_it() {
    let (stage, chain) = stage().await;
    let token = stage.deployed.token;
    let domain = TokenDomain::read(&chain, token).await.unwrap();
    let payer = stage.payer.address();
    for (name, run_ahead) in [(1, false), (2, true)] {
        let plan = batch(&stage, name).await;
        let nonce = permit_nonce(&chain, token, payer).await.unwrap();
        assert_eq!(nonce, u64::from(name) - 1);
        let data = TypedData::permit(&domain, &plan, nonce).unwrap();
        assert_eq!(data.payer(), payer);
        let signature = data.sign(&stage.payer).unwrap();
        let call = commit_with_permit(&plan, signature).unwrap();
        assert_eq!((call.from, call.to), (payer, stage.deployed.vault));
        // Only the payer.
        let other = Call { from: stage.deployer.address(), ..call.clone() };
        assert!(refusal(&stage, &other).await.starts_with("NotPayer("));
        if run_ahead {
            let permit = permitCall {
                owner: payer.0.into(),
                spender: stage.deployed.vault.0.into(),
                value: U256::from(plan.total().0),
                deadline: U256::from(plan.valid_until.0),
                v: signature.v,
                r: signature.r.into(),
                s: signature.s.into(),
            };
            let from = stage.deployer.address();
            let permit = Call { from, to: token, data: permit.abi_encode() };
            assert!(stage.send_call(&stage.deployer, &permit).await.success);
            assert_eq!(stage.allowance().await, plan.total());
        }
        assert!(stage.send_call(&stage.payer, &call).await.success);
        let charged = Atto(u128::from(name) * COST);
        stage.assert_charged(charged).await;
        assert_eq!(stage.allowance().await, Atto::ZERO);
        // The same again.
        assert_eq!(refusal(&stage, &call).await, format!("Exists({})", plan.id()));
        assert!(!stage.send_call(&stage.payer, &call).await.success);
        stage.assert_charged(charged).await;
    }
    // The signature of another plan is no allowance for this one.
    let (plan, other) = (batch(&stage, 3).await, batch(&stage, 4).await);
    let dear = Plan { mode: batch_mode(&other.leaves, TIP + 1, 3), ..other };
    let signature = TypedData::permit(&domain, &dear, 2).unwrap().sign(&stage.payer).unwrap();
    let call = commit_with_permit(&plan, signature).unwrap();
    assert!(refusal(&stage, &call).await.starts_with("ERC20InsufficientAllowance("));
    assert!(!stage.send_call(&stage.payer, &call).await.success);
    assert!(!recorded(&stage, &plan).await);
    stage.assert_charged(Atto(2 * COST)).await;
}

#[tokio::test]
async fn a_signed_transfer_pays_once_whoever_sends_it() {
    let (stage, chain) = stage().await;
    let domain = TokenDomain::read(&chain, stage.deployed.token).await.unwrap();
    let plan = batch(&stage, 1).await;
    let sender = stage.deployer.address();
    let coins = stage.coins_of_payer().await;

    // Another wallet's signature.
    let stranger = wallet(7);
    let wrong = forged(&domain, &plan, &stranger);
    let call = commit_with_authorization(&plan, sender, wrong).unwrap();
    assert!(!stage.send_call(&stage.deployer, &call).await.success);
    let unsigned = TypedData::receive(&domain, &plan).unwrap();
    assert_eq!(
        unsigned.sign(&stranger),
        Err(AuthorizeError::WrongWallet {
            payer: stage.payer.address(),
            wallet: stranger.address(),
        })
    );
    stage.assert_charged(Atto::ZERO).await;

    let signature = unsigned.sign(&stage.payer).unwrap();
    // For exactly this batch, until exactly then.
    let later = Plan {
        valid_until: plan.valid_until.saturating_add(Duration::from_secs(1)),
        ..plan.clone()
    };
    for other in [batch(&stage, 2).await, later] {
        let call = commit_with_authorization(&other, sender, signature).unwrap();
        assert!(!stage.send_call(&stage.deployer, &call).await.success);
    }
    stage.assert_charged(Atto::ZERO).await;
    let call = commit_with_authorization(&plan, sender, signature).unwrap();
    assert!(stage.send_call(&stage.deployer, &call).await.success);
    assert!(recorded(&stage, &plan).await);
    stage.assert_charged(Atto(COST)).await;
    assert_eq!(stage.coins_of_payer().await, coins, "the sender pays the gas");
    // The same again.
    assert_eq!(refusal(&stage, &call).await, format!("Exists({})", plan.id()));
    assert!(!stage.send_call(&stage.deployer, &call).await.success);
    stage.assert_charged(Atto(COST)).await;
}

#[tokio::test]
async fn a_signed_transfer_that_is_late_charges_nothing() {
    let (stage, chain) = stage().await;
    let domain = TokenDomain::read(&chain, stage.deployed.token).await.unwrap();
    let plan = batch(&stage, 1).await;
    let signature = TypedData::receive(&domain, &plan).unwrap().sign(&stage.payer).unwrap();
    let call = commit_with_authorization(&plan, stage.deployer.address(), signature).unwrap();
    stage.control.advance(Duration::from_hours(1)).await;
    assert!(!stage.send_call(&stage.deployer, &call).await.success);
    assert!(refusal(&stage, &call).await.starts_with("Expired("));
    stage.assert_charged(Atto::ZERO).await;
}

#[tokio::test]
async fn one_signature_pays_for_several_batches_once() {
    let (stage, chain) = stage().await;
    let domain = TokenDomain::read(&chain, stage.deployed.token).await.unwrap();
    let first = batch(&stage, 1).await;
    let mut plans = vec![first.clone()];
    for name in 2..5 {
        let (upload_by, valid_until) = (first.upload_by, first.valid_until);
        plans.push(Plan { upload_by, valid_until, ..batch(&stage, name).await });
    }
    let refs: Vec<&Plan> = plans.iter().collect();
    let sender = stage.deployer.address();
    let signature = TypedData::receive_many(&domain, &refs).unwrap().sign(&stage.payer).unwrap();
    // Fewer, in another order, or one with the same signature: no.
    let swapped = [refs[1], refs[0], refs[2], refs[3]];
    for other in [&refs[..3], &swapped, &refs[..1]] {
        let call = commit_many_with_authorization(other, sender, signature).unwrap();
        assert!(!stage.send_call(&stage.deployer, &call).await.success);
    }
    let alone = commit_with_authorization(refs[0], sender, signature).unwrap();
    assert!(!stage.send_call(&stage.deployer, &alone).await.success);
    stage.assert_charged(Atto::ZERO).await;
    let call = commit_many_with_authorization(&refs, sender, signature).unwrap();
    assert!(stage.send_call(&stage.deployer, &call).await.success);
    for plan in &plans {
        assert!(recorded(&stage, plan).await);
    }
    stage.assert_charged(Atto(4 * COST)).await;
    assert!(!stage.send_call(&stage.deployer, &call).await.success);
    stage.assert_charged(Atto(4 * COST)).await;
}

#[tokio::test]
async fn what_cannot_be_signed_is_named() {
    let stage = Stage::memory().await.in_batches(CommitChoice::Together);
    let token = TokenDomain::new("T", "1", 31_337, stage.deployed.token).unwrap();
    let plan = batch(&stage, 1).await;
    let payment = plan.id();
    let direct = Plan { mode: spillway_pay::PlanMode::Direct, ..plan.clone() };
    assert_eq!(
        TypedData::receive(&token, &direct),
        Err(AuthorizeError::NotABatch { payment: direct.id() })
    );
    assert_eq!(TypedData::receive_many(&token, &[]), Err(AuthorizeError::PlanCount { found: 0 }));
    let late = Plan { valid_until: plan.upload_by, ..plan.clone() };
    assert_eq!(
        TypedData::receive_many(&token, &[&plan, &late]),
        Err(AuthorizeError::Mixed { payment: late.id() })
    );
    let there = Plan { domain: Domain { chain_id: 1, ..plan.domain }, ..plan.clone() };
    assert_eq!(
        TypedData::permit(&token, &there, 0),
        Err(AuthorizeError::ForeignPlan { payment: there.id(), expected: 31_337, found: 1 })
    );
    let broken = Plan { leaves: plan.leaves[..1].to_vec(), ..plan.clone() };
    assert!(matches!(TypedData::receive(&token, &broken), Err(AuthorizeError::BadPlan { .. })));

    let json = TypedData::receive(&token, &plan).unwrap().json();
    assert_eq!(json["primaryType"], "ReceiveWithAuthorization");
    assert_eq!(json["domain"]["chainId"], "31337");
    assert_eq!(json["domain"]["name"], "T");
    assert_eq!(json["message"]["nonce"], payment.to_string());
    assert_eq!(json["message"]["value"], COST.to_string());
    assert_eq!(json["message"]["validBefore"], (plan.valid_until.0 + 1).to_string());
    assert_eq!(json["types"]["ReceiveWithAuthorization"].as_array().unwrap().len(), 6);
    let json = TypedData::permit(&token, &plan, 3).unwrap().json();
    assert_eq!((&json["primaryType"], &json["message"]["nonce"]), (&"Permit".into(), &"3".into()));
    assert_eq!(json["message"]["deadline"], plan.valid_until.0.to_string());
}

#[tokio::test]
async fn a_stranger_without_tokens_cannot_be_made_to_pay() {
    let (stage, chain) = stage().await;
    let domain = TokenDomain::read(&chain, stage.deployed.token).await.unwrap();
    let poor = wallet(8);
    stage.control.set_coins(poor.address(), ETHER).await;
    let plan = Plan { payer: poor.address(), ..batch(&stage, 1).await };
    let signature = TypedData::receive(&domain, &plan).unwrap().sign(&poor).unwrap();
    let call = commit_with_authorization(&plan, stage.payer.address(), signature).unwrap();
    assert!(refusal(&stage, &call).await.starts_with("ERC20InsufficientBalance("));
    assert!(!stage.send_call(&stage.payer, &call).await.success);
    assert!(!recorded(&stage, &plan).await);
    stage.assert_charged(Atto::ZERO).await;
}
