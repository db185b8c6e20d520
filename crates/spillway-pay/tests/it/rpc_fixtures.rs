//! What Anvil answers to what it refuses, compared with the recorded fixture.

use std::borrow::Cow;

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{Address, Bytes, TxKind, U256, hex},
    providers::{Provider, RootProvider},
    rpc::json_rpc::RpcError,
    signers::{SignerSync, local::PrivateKeySigner},
};
use serde_json::{Value, json};
use spillway_pay::{AnvilOptions, Wallet};
use spillway_types::Wei;

use crate::support::{ETHER, start_anvil, wallet};

const RECORDED: &str = include_str!("../fixtures/rpc/anvil.json");

/// One call, refused: the recorded part of it.
async fn refused(provider: &RootProvider, method: &'static str, params: Value) -> Value {
    let answer = provider.raw_request::<_, Value>(Cow::Borrowed(method), params).await;
    let payload = match answer {
        Err(RpcError::ErrorResp(payload)) => payload,
        other => panic!("{method}: {other:?}"),
    };
    let mut refused = json!({ "method": method, "code": payload.code, "message": payload.message });
    if let Some(data) = &payload.data {
        refused["data"] = serde_json::from_str(data.get()).unwrap();
    }
    refused
}

fn transaction(from: &Wallet, change: impl FnOnce(&mut TxEip1559)) -> Value {
    let signer: PrivateKeySigner = from.expose_hex().parse().unwrap();
    let mut tx = TxEip1559 {
        chain_id: AnvilOptions::CHAIN_ID,
        gas_limit: 21_000,
        max_fee_per_gas: 5_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(Address::repeat_byte(0xee)),
        value: U256::from(1),
        ..TxEip1559::default()
    };
    change(&mut tx);
    let signature = signer.sign_hash_sync(&tx.signature_hash()).unwrap();
    json!([Bytes::from(TxEnvelope::from(tx.into_signed(signature)).encoded_2718())])
}

/// A call of creation code that refuses with this data.
fn refusal(data: &str) -> Value {
    let data = hex::decode(data).unwrap();
    let length = u8::try_from(data.len()).unwrap();
    // The data stands behind these twelve bytes: codecopy(0, 12, length), revert(0, length).
    let mut code = vec![0x60, length, 0x60, 12, 0x60, 0, 0x39, 0x60, length, 0x60, 0, 0xfd];
    code.extend(data);
    json!([{ "input": Bytes::from(code) }, "latest"])
}

#[tokio::test]
async fn anvil_answers_as_it_was_recorded() {
    const SEND: &str = "eth_sendRawTransaction";
    let anvil = start_anvil().await;
    let provider: RootProvider = RootProvider::new_http(anvil.rpc_url().parse().unwrap());
    let (rich, poor) = (wallet(5), wallet(6));
    anvil.set_coins(rich.address(), ETHER).await.unwrap();
    anvil.set_coins(poor.address(), Wei(1)).await.unwrap();
    anvil.set_automine(false).await.unwrap();
    let sent = transaction(&rich, |_| ());
    let _: Value = provider.raw_request(Cow::Borrowed(SEND), &sent).await.unwrap();

    let mut answers = vec![
        (refused(&provider, SEND, sent.clone()).await, "already known"),
        (
            refused(&provider, SEND, transaction(&rich, |tx| tx.value = U256::from(2))).await,
            "underpriced",
        ),
    ];
    anvil.set_automine(true).await.unwrap();
    anvil.mine(1).await.unwrap();
    let low = |tx: &mut TxEip1559| (tx.nonce, tx.max_fee_per_gas) = (1, 1);
    let tight = |tx: &mut TxEip1559| (tx.nonce, tx.gas_limit) = (1, 20_000);
    let wide = |tx: &mut TxEip1559| (tx.nonce, tx.gas_limit) = (1, 1_000_000_000);
    let foreign = |tx: &mut TxEip1559| (tx.nonce, tx.chain_id) = (1, 1);
    let nobody = format!("0x{}", "ab".repeat(32));
    for (method, params, means) in [
        (SEND, sent, "nonce too low"),
        (SEND, transaction(&rich, low), "fee too low"),
        (SEND, transaction(&poor, |_| ()), "not enough coins"),
        (SEND, transaction(&rich, tight), "unknown"),
        (SEND, transaction(&rich, wide), "unknown"),
        (SEND, transaction(&rich, foreign), "unknown"),
        (SEND, json!(["0x010203"]), "unknown"),
        ("eth_call", json!([{ "to": Address::ZERO }, "0x99"]), "behind"),
        ("eth_call", json!([{ "to": Address::ZERO }, { "blockHash": nobody }]), "behind"),
        ("eth_call", refusal(""), "reverted"),
        ("eth_call", refusal("deadbeef"), "reverted: unknown error 0xdeadbeef"),
        ("eth_noSuchMethod", json!([]), "unknown"),
    ] {
        answers.push((refused(&provider, method, params).await, means));
    }
    anvil.shutdown().await.unwrap();

    let answers: Vec<Value> = answers
        .into_iter()
        .map(|(mut answer, means)| {
            answer["means"] = means.into();
            answer
        })
        .collect();
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let now = serde_json::to_string_pretty(&answers).unwrap();
    assert_eq!(recorded["answers"], Value::from(answers), "it answers now:\n{now}");
}
