//! What every `Chain` must do, done by the twin and by the real thing.

use std::{sync::Arc, time::Duration};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{Address, B256, TxKind, U256, aliases::U40},
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::SolCall,
};
use spillway_pay::{At, Call, Chain, ChainError, Plan, Wallet};
use spillway_types::{Atto, EvmAddress, TxHash, UnixTime, Wei};

use crate::{
    on_both_chains,
    support::{ETHER, FINALITY, Stage, TestJournal, WINDOWS, payee, wallet},
};

sol! {
    function payDirect(address payer, bytes32[] calldata entries, uint40 uploadBy, uint40 validUntil)
        external returns (bytes32 id);
    function approve(address spender, uint256 value) external returns (bool);
}

/// The call that pays a plan, as somebody without this crate would write it.
fn call_of(plan: &Plan) -> Call {
    let direct = plan.direct().unwrap();
    let data = payDirectCall {
        payer: Address::new(plan.payer.0),
        entries: direct.words().map(B256::new).collect(),
        uploadBy: U40::from(plan.upload_by.0),
        validUntil: U40::from(plan.valid_until.0),
    };
    Call { from: plan.payer, to: plan.domain.vault, data: data.abi_encode() }
}

/// Signed coins to somebody, with this nonce and fee.
fn transfer(from: &Wallet, nonce: u64, gwei: u128) -> Vec<u8> {
    let signer: PrivateKeySigner = from.expose_hex().parse().unwrap();
    let tx = TxEip1559 {
        chain_id: 31_337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: gwei * 1_000_000_000,
        max_priority_fee_per_gas: gwei * 100_000_000,
        to: TxKind::Call(Address::repeat_byte(0xee)),
        value: U256::from(5),
        ..TxEip1559::default()
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash()).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
}

async fn blocks_follow_each_other(stage: Stage) {
    let chain = &stage.chain;
    let before = chain.block(At::Depth(0)).await.unwrap();
    stage.control.advance(Duration::from_secs(100)).await;
    stage.control.mine(3).await;
    let after = chain.block(At::Depth(0)).await.unwrap();
    assert_eq!(after.number, before.number + 3);
    assert!(after.time >= before.time.saturating_add(Duration::from_secs(100)));
    assert_eq!(chain.block(At::Depth(3)).await.unwrap(), before);
    let finalized = chain.block(At::Finalized).await.unwrap();
    assert_eq!(finalized.number, after.number - FINALITY);
    // Deeper than there are blocks: the first.
    assert_eq!(chain.block(At::Depth(u16::MAX)).await.unwrap().number, 0);
}

async fn contracts_and_their_terms(stage: Stage) {
    let chain = &stage.chain;
    let (token, vault) = (stage.deployed.token, stage.deployed.vault);
    let nobody = EvmAddress([0x77; 20]);
    assert_eq!(chain.chain_id().await, Ok(31_337));
    assert_eq!(chain.has_code(vault).await, Ok(true));
    assert_eq!(chain.has_code(token).await, Ok(true));
    assert_eq!(chain.has_code(nobody).await, Ok(false));
    assert_eq!(chain.token(vault).await, Ok(token));
    assert_eq!(chain.windows(vault).await, Ok(WINDOWS));
    assert_eq!(chain.tokens(token, nobody).await, Ok(Atto::ZERO));
    assert_eq!(chain.credit(vault, payee(1)).await, Ok(Atto::ZERO));
    assert_eq!(chain.coins(nobody).await, Ok(Wei::ZERO));
    assert_eq!(chain.pending_nonce(nobody).await, Ok(0));
    assert_eq!(chain.receipt(TxHash([1; 32])).await, Ok(None));
    // Questions to something else than a vault are no answers.
    for error in [
        chain.token(nobody).await.map(drop),
        chain.windows(nobody).await.map(drop),
        chain.credit(nobody, payee(1)).await.map(drop),
        chain.tokens(nobody, nobody).await.map(drop),
        chain.record(nobody, stage.plan(1, 1).await.id(), At::Depth(0)).await.map(drop),
    ] {
        assert!(matches!(error, Err(ChainError::Unexpected { .. })), "{error:?}");
    }
}

async fn records_are_seen_from_the_block_that_is_asked(stage: Stage) {
    let chain = &stage.chain;
    let plans = [stage.plan(1, 1).await];
    let (vault, id) = (stage.deployed.vault, plans[0].id());
    let mut journal = TestJournal::new(chain);
    let paid = stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let recorded = Some(paid.plans[0].recorded);
    let newest = chain.block(At::Depth(0)).await.unwrap();
    let here = chain.record(vault, id, At::Depth(0)).await.unwrap();
    assert_eq!((here.recorded, here.block), (recorded, newest));
    let before = chain.record(vault, id, At::Depth(1)).await.unwrap();
    assert_eq!((before.recorded, before.block.number), (None, newest.number - 1));
    // Before there was a vault.
    let first = chain.record(vault, id, At::Depth(u16::MAX)).await.unwrap();
    assert_eq!((first.recorded, first.block.number), (None, 0));
    let finalized = chain.record(vault, id, At::Finalized).await.unwrap();
    assert_eq!(finalized.recorded, None);
    stage.control.mine(FINALITY).await;
    let finalized = chain.record(vault, id, At::Finalized).await.unwrap();
    assert_eq!((finalized.recorded, finalized.block), (recorded, newest));
    let other = stage.plan(2, 1).await.id();
    assert_eq!(chain.record(vault, other, At::Depth(0)).await.unwrap().recorded, None);
}

async fn transactions_wait_and_are_mined(stage: Stage) {
    let chain = &stage.chain;
    let from = wallet(5);
    stage.control.set_coins(from.address(), ETHER).await;
    stage.control.set_automine(false).await;
    let raw = transfer(&from, 0, 5);
    let hash = chain.send_raw(&raw).await.unwrap();
    assert_eq!(hash, TxHash(alloy::primitives::keccak256(&raw).0));
    assert_eq!(chain.send_raw(&raw).await, Ok(hash), "already known is success");
    assert_eq!(chain.pending_nonce(from.address()).await, Ok(1));
    assert_eq!(chain.receipt(hash).await, Ok(None));

    assert_eq!(chain.send_raw(&transfer(&from, 0, 4)).await, Err(ChainError::Underpriced));
    let replacement = chain.send_raw(&transfer(&from, 0, 6)).await.unwrap();
    // One that comes too early waits for its turn.
    let third = chain.send_raw(&transfer(&from, 2, 5)).await.unwrap();
    assert_eq!(chain.pending_nonce(from.address()).await, Ok(1));
    let second = chain.send_raw(&transfer(&from, 1, 5)).await.unwrap();
    assert_eq!(chain.pending_nonce(from.address()).await, Ok(3));

    stage.control.mine(1).await;
    assert_eq!(chain.receipt(hash).await, Ok(None), "it was replaced");
    let number = chain.block(At::Depth(0)).await.unwrap().number;
    let mut cost = Wei(15);
    for hash in [replacement, second, third] {
        let receipt = chain.receipt(hash).await.unwrap().unwrap();
        assert_eq!((receipt.success, receipt.block, receipt.gas_used), (true, number, 21_000));
        cost = cost.saturating_add(receipt.gas_cost);
    }
    assert_eq!(chain.coins(from.address()).await, Ok(ETHER.saturating_sub(cost)));
    assert_eq!(chain.coins(EvmAddress([0xee; 20])).await, Ok(Wei(15)));
    assert_eq!(chain.send_raw(&transfer(&from, 0, 9)).await, Err(ChainError::NonceTooLow));
}

async fn no_coins_no_transaction(stage: Stage) {
    let from = wallet(6);
    let raw = transfer(&from, 0, 5);
    let error = stage.chain.send_raw(&raw).await.unwrap_err();
    assert_eq!(error, ChainError::NotEnoughCoins);
    assert!(error.not_sent());
    let nonsense = stage.chain.send_raw(&[1, 2, 3]).await;
    assert!(matches!(nonsense, Err(ChainError::Unexpected { .. })), "{nonsense:?}");
}

async fn a_reorganisation_takes_everything_back(stage: Stage) {
    let chain = &stage.chain;
    let plans = [stage.plan(1, 1).await];
    let before = (stage.tokens_of_payer().await, stage.nonce().await);
    let mut journal = TestJournal::new(chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let number = chain.block(At::Depth(0)).await.unwrap().number;
    stage.control.reorg(2).await;
    assert_eq!(chain.block(At::Depth(0)).await.unwrap().number, number);
    assert_eq!((stage.tokens_of_payer().await, stage.nonce().await), before);
    assert_eq!(chain.receipt(journal.signed[1].hash).await, Ok(None));
    let record = chain.record(stage.deployed.vault, plans[0].id(), At::Depth(0)).await.unwrap();
    assert_eq!(record.recorded, None);
}

/// The same refusals in the same words.
async fn the_vaults_refusals(stage: Stage) {
    let chain = Arc::clone(&stage.chain);
    let (token, vault) = (stage.deployed.token, stage.deployed.vault);
    let allow = approveCall { spender: Address::new(vault.0), value: U256::from(10_000) };
    let allow = Call { from: stage.payer.address(), to: token, data: allow.abi_encode() };
    assert!(chain.estimate_gas(&allow).await.unwrap() > 21_000);
    let good = stage.plan(1, 2).await;
    let refusal = async |call: Call| match chain.estimate_gas(&call).await {
        Err(ChainError::Reverted { reason: Some(reason) }) => reason,
        other => panic!("{other:?}"),
    };
    // No allowance yet, and the vault is as it was after the refusal.
    assert_eq!(
        refusal(call_of(&good)).await,
        format!("ERC20InsufficientAllowance({vault}, 0, 30)")
    );
    // Others may not pay it.
    let foreign = Call { from: stage.deployer.address(), ..call_of(&good) };
    let (payer, sender) = (stage.payer.address(), stage.deployer.address());
    assert_eq!(refusal(foreign).await, format!("NotPayer({payer}, {sender})"));

    let plan = |change: &dyn Fn(&mut Plan)| {
        let mut plan = good.clone();
        change(&mut plan);
        call_of(&plan)
    };
    let past = plan(&|plan| plan.valid_until = UnixTime(1_000));
    assert!(refusal(past).await.starts_with("Expired(1000, "));
    let late = plan(&|plan| plan.upload_by = UnixTime(plan.upload_by.0 + 14 * 24 * 3600));
    let soon = plan(&|plan| plan.upload_by = UnixTime(plan.upload_by.0 - 24 * 3600 + 60));
    for call in [late, soon] {
        let reason = refusal(call).await;
        assert!(reason.starts_with("BadUploadBy("), "{reason}");
    }
    let nobody = plan(&|plan| plan.leaves[1].shares[3].payee = spillway_types::RewardAddress::ZERO);
    assert_eq!(refusal(nobody).await, "ZeroPayee(8)");
    let nothing = plan(&|plan| {
        let shares = plan.leaves.iter_mut().flat_map(|leaf| &mut leaf.shares);
        shares.for_each(|share| share.amount = Atto::ZERO);
    });
    assert_eq!(refusal(nothing).await, "ZeroTotal()");
    assert_eq!(refusal(plan(&|plan| plan.leaves.clear())).await, "BadEntryCount(0)");
    let many = call_of(&stage.plan(1, 101).await);
    assert_eq!(refusal(many).await, "BadEntryCount(1010)");

    let plans = [good.clone()];
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    assert_eq!(refusal(call_of(&good)).await, format!("Exists({})", good.id()));
    // The deadline is no part of the id.
    let later = plan(&|plan| plan.valid_until = UnixTime(plan.valid_until.0 + 1));
    assert_eq!(refusal(later).await, format!("Exists({})", good.id()));
}

async fn fees_are_those_of_the_moment(stage: Stage) {
    let fees = stage.chain.fees().await.unwrap();
    assert!(fees.base > Wei::ZERO && fees.base <= Wei(1_000_000_000), "{fees:?}");
    assert!(fees.priority > Wei::ZERO, "{fees:?}");
}

on_both_chains!(
    blocks_follow_each_other,
    contracts_and_their_terms,
    records_are_seen_from_the_block_that_is_asked,
    transactions_wait_and_are_mined,
    no_coins_no_transaction,
    a_reorganisation_takes_everything_back,
    the_vaults_refusals,
    fees_are_those_of_the_moment,
);
