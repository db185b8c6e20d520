use alloy::consensus::TxEip1559;
use spillway_types::{ChunkAddress, Leaf, NetworkId, NodeHash, Share};

use super::*;
use crate::{Call, PlanMode, Wallet};

fn wallet() -> Wallet {
    Wallet::from_bytes(&[2; 32]).unwrap()
}

fn domain() -> Domain {
    Domain { network: NetworkId([1; 32]), chain_id: 31_337, vault: EvmAddress([0xc4; 20]) }
}

fn plan(name: u8, mode: PlanMode) -> Plan {
    let share = |number| Share { payee: RewardAddress([number; 20]), amount: Atto(1_000) };
    Plan {
        domain: domain(),
        mode,
        payer: wallet().address(),
        leaves: vec![Leaf {
            address: ChunkAddress([name; 32]),
            shares: [1, 2, 3, 4, 5].map(share),
        }],
        upload_by: UnixTime(1_800_086_400),
        valid_until: UnixTime(1_800_003_300),
    }
}

fn batch(root: u8) -> PlanMode {
    PlanMode::Batch { root: NodeHash([root; 32]), tip: Atto(300), draws: 1 }
}

/// What this wallet signs for this call.
fn signed(purpose: TxPurpose, call: Call, chain_id: u64, nonce: u64) -> SignedTx {
    let (hash, raw) = wallet().sign(TxEip1559 {
        chain_id,
        nonce,
        gas_limit: 300_000,
        max_fee_per_gas: 3_000,
        max_priority_fee_per_gas: 1_000,
        to: TxKind::Call(address(call.to)),
        input: call.data.into(),
        ..TxEip1559::default()
    });
    SignedTx {
        purpose,
        from: wallet().address(),
        nonce,
        hash,
        gas_limit: 300_000,
        max_fee: Wei(3_000),
        priority_fee: Wei(1_000),
        raw,
    }
}

fn check(tx: &SignedTx, plans: &[Plan]) -> Result<(), TxMismatch> {
    tx.check(&domain(), |payment| plans.iter().find(|plan| plan.id() == payment))
}

#[test]
fn what_this_crate_signs_is_what_is_written_beside_it() {
    let plans = [plan(1, PlanMode::Direct), plan(2, batch(2)), plan(3, batch(3))];
    for plan in &plans {
        let tx = signed(TxPurpose::Pay { payment: plan.id() }, calls::pay(plan), 31_337, 3);
        assert_eq!(check(&tx, &plans), Ok(()));
        assert_eq!(check(&tx, &[]), Err(TxMismatch::Call), "nobody knows what it pays");
    }
    let both = vec![plans[1].id(), plans[2].id()];
    let call = calls::pay_all(&[&plans[1], &plans[2]]);
    let tx = signed(TxPurpose::PayMany { payments: both.clone() }, call.clone(), 31_337, 3);
    assert_eq!(check(&tx, &[]), Ok(()), "its terms are in it");
    let fewer = signed(TxPurpose::PayMany { payments: both[..1].to_vec() }, call, 31_337, 3);
    assert_eq!(check(&fewer, &plans), Err(TxMismatch::Call));
    let (token, from, vault) = (EvmAddress([9; 20]), wallet().address(), domain().vault);
    let approval = |vault| calls::approve(token, from, vault, Atto(7));
    let tx = signed(TxPurpose::Approve { amount: Atto(7) }, approval(vault), 31_337, 3);
    assert_eq!(check(&tx, &[]), Ok(()));
    for (amount, spender) in [(8, vault), (7, EvmAddress([1; 20]))] {
        let purpose = TxPurpose::Approve { amount: Atto(amount) };
        let tx = signed(purpose, approval(spender), 31_337, 3);
        assert_eq!(check(&tx, &[]), Err(TxMismatch::Call));
    }
}

#[test]
fn what_is_written_beside_other_bytes_is_seen() {
    let plans = [plan(1, PlanMode::Direct), plan(2, PlanMode::Direct)];
    let purpose = TxPurpose::Pay { payment: plans[0].id() };
    let good = signed(purpose.clone(), calls::pay(&plans[0]), 31_337, 3);
    let fields = |change: fn(&mut SignedTx)| {
        let mut tx = good.clone();
        change(&mut tx);
        check(&tx, &plans)
    };
    assert_eq!(fields(|tx| tx.nonce = u64::MAX), Err(TxMismatch::Fields));
    assert_eq!(fields(|tx| tx.nonce += 1), Err(TxMismatch::Fields));
    assert_eq!(fields(|tx| tx.hash = TxHash([1; 32])), Err(TxMismatch::Fields));
    assert_eq!(fields(|tx| tx.gas_limit -= 1), Err(TxMismatch::Fields));
    assert_eq!(fields(|tx| tx.max_fee = Wei(1)), Err(TxMismatch::Fields));
    assert_eq!(fields(|tx| tx.priority_fee = Wei(1)), Err(TxMismatch::Fields));
    assert_eq!(fields(|tx| tx.from = EvmAddress([1; 20])), Err(TxMismatch::Signer));
    assert_eq!(fields(|tx| tx.raw.push(0)), Err(TxMismatch::NotOne));
    assert_eq!(fields(|tx| tx.raw.clear()), Err(TxMismatch::NotOne));
    let last = signed(purpose.clone(), calls::pay(&plans[0]), 31_337, u64::MAX);
    assert_eq!(check(&last, &plans), Err(TxMismatch::Fields), "there is no nonce after it");
    let elsewhere = signed(purpose.clone(), calls::pay(&plans[0]), 1, 3);
    assert_eq!(check(&elsewhere, &plans), Err(TxMismatch::Signer));
    let other = signed(purpose, calls::pay(&plans[1]), 31_337, 3);
    assert_eq!(check(&other, &plans), Err(TxMismatch::Call));
    let payee = RewardAddress([1; 20]);
    let call = calls::withdraw(domain().vault, wallet().address(), payee);
    let withdrawal = signed(TxPurpose::Withdraw { payee }, call, 31_337, 3);
    assert_eq!(check(&withdrawal, &plans), Err(TxMismatch::Call), "no session signs one");
}
