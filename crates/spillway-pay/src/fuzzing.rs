//! What chains, servers and sessions hand in, for `cargo xtask fuzz` and the test below.

use alloy::{
    primitives::{Bytes, U256},
    rpc::json_rpc::{ResponsePacket, RpcError},
    sol_types::{SolCall, SolEventInterface},
    transports::TransportErrorKind,
};
use spillway_types::{
    Atto, BatchProof, BatchTerms, ChunkAddress, DirectProof, EvmAddress, Leaf, NodeHash,
    PaymentProof, RewardAddress, Share, TxHash, UnixTime, Wei, limits::CLOSE_GROUP,
};

use crate::{
    DrandSignature, SignedTx, SumTree, TxPurpose,
    contracts::{IBeacon, IVault},
    revert, rpc_chain, rpc_error,
    verify::{batch_leaf, leaf_is_paid},
};

/// Name, what is run on every input, seeds.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// The decoders of this crate.
pub const TARGETS: &[Target] = &[
    ("signed_tx", signed_tx, signed_tx_seeds),
    ("rpc_answer", rpc_answer, rpc_answer_seeds),
    ("abi", abi, abi_seeds),
    ("drand", drand, drand_seeds),
    ("proof", proof, proof_seeds),
    ("sum_tree", sum_tree, sum_tree_seeds),
];

/// The raw bytes of a transaction as a session's file has them.
fn signed_tx(input: &[u8]) {
    let tx = SignedTx {
        purpose: TxPurpose::Approve { amount: Atto(1) },
        from: EvmAddress([1; 20]),
        nonce: 0,
        hash: TxHash([2; 32]),
        gas_limit: u64::MAX,
        max_fee: Wei(u128::MAX),
        priority_fee: Wei(0),
        raw: input.to_vec(),
    };
    assert!(tx.calldata().len() <= input.len());
    let _ = tx.max_cost();
}

fn signed_tx_seeds() -> Vec<Vec<u8>> {
    // A transaction of type 2 with three bytes of calldata, and one of type 0.
    let signature = [&[0x80, 0xa0][..], &[0x11; 32], &[0xa0], &[0x22; 32]].concat();
    let fields = [0x82, 0x7a, 0x69, 0x80, 0x01, 0x02, 0x82, 0x52, 0x08, 0x94];
    let front = [&fields[..], &[0xee; 20], &[0x01, 0x83, 1, 2, 3, 0xc0]].concat();
    let list = [front, signature].concat();
    let len = u8::try_from(list.len()).expect("invariant: short");
    vec![[&[2, 0xf8, len][..], &list].concat(), vec![0xc0], vec![2, 0xc0]]
}

/// The body of an HTTP answer: what is an error is read as one, results as everything that is asked for.
fn rpc_answer(input: &[u8]) {
    let Ok(packet) = serde_json::from_slice::<ResponsePacket>(input) else { return };
    for response in packet.responses() {
        if let Some(error) = response.payload.as_error() {
            let error = RpcError::<TransportErrorKind>::ErrorResp(error.clone());
            let _ = rpc_error::read_error("eth_sendRawTransaction", "endpoint", &error);
        }
        if let Some(result) = response.payload.as_success() {
            rpc_chain::read_any(result.get());
        }
    }
}

fn rpc_answer_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<String> = vec![
        r#"{"jsonrpc":"2.0","id":0,"result":"0x7a69"}"#.into(),
        r#"{"jsonrpc":"2.0","id":0,"result":null}"#.into(),
        format!(
            r#"{{"jsonrpc":"2.0","id":0,"result":{{"number":"0x1","hash":"0x{}","timestamp":"0x5","baseFeePerGas":"0x7"}}}}"#,
            "ab".repeat(32)
        ),
        r#"{"jsonrpc":"2.0","id":0,"result":{"status":"0x1","blockNumber":"0x2","gasUsed":"0x5208","effectiveGasPrice":"0x3","l1Fee":"0x4"}}"#.into(),
        r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32015,"message":"VM execution error.","data":"Reverted 0x58a2ba46"}}"#.into(),
    ];
    for fixture in [
        include_str!("../tests/fixtures/rpc/anvil.json"),
        include_str!("../tests/fixtures/rpc/geth.json"),
    ] {
        let fixture: serde_json::Value =
            serde_json::from_str(fixture).expect("invariant: the fixtures are tested");
        for answer in fixture["answers"].as_array().into_iter().flatten() {
            let mut error = answer.clone();
            if let Some(fields) = error.as_object_mut() {
                fields.retain(|name, _| ["code", "message", "data"].contains(&name.as_str()));
            }
            let answer = serde_json::json!({ "jsonrpc": "2.0", "id": 0, "error": error });
            seeds.push(answer.to_string());
        }
    }
    seeds.into_iter().map(String::into_bytes).collect()
}

/// Data of calls, their answers, events and errors of the contracts.
fn abi(input: &[u8]) {
    let _ = revert::reason(input);
    let _ = IVault::recordsCall::abi_decode_returns(input);
    let _ = IVault::seedForCall::abi_decode_returns(input);
    let _ = IVault::tokenCall::abi_decode_returns(input);
    let _ = IVault::minWindowCall::abi_decode_returns(input);
    let _ = IBeacon::latestCall::abi_decode_returns(input);
    if let Ok(call) = IVault::settleCall::abi_decode(input) {
        let again = IVault::settleCall::abi_decode(&call.abi_encode());
        assert!(again.is_ok_and(|again| again.abi_encode() == call.abi_encode()));
    }
    if let Ok(call) = IVault::commitManyCall::abi_decode(input) {
        assert!(call.batches.len() * 32 <= input.len());
    }
    let topics: Vec<_> =
        input.chunks_exact(32).take(4).map(alloy::primitives::B256::from_slice).collect();
    let data = &input[topics.len() * 32..];
    let _ = IVault::IVaultEvents::decode_raw_log(&topics, data);
}

fn abi_seeds() -> Vec<Vec<u8>> {
    let terms = terms(NodeHash([4; 32]), Atto(1_000));
    let batch = crate::contracts::batch(&terms);
    let valid_until = alloy::primitives::aliases::U40::from(5);
    let commit = IVault::commitManyCall {
        batches: vec![batch.clone(), batch.clone()],
        validUntil: valid_until,
    };
    let win = IVault::Win {
        draw: 1,
        chunk: alloy::primitives::B256::repeat_byte(6),
        shares: vec![alloy::primitives::B256::repeat_byte(7); CLOSE_GROUP],
        siblings: vec![alloy::primitives::B256::repeat_byte(8); 4],
    };
    let settle =
        IVault::settleCall { batch, wins: vec![win], seedProof: Bytes::from_static(&[9; 40]) };
    let word = U256::from(77).to_be_bytes::<32>();
    let exists = [&[0x58, 0xa2, 0xba, 0x46][..], &word].concat();
    vec![commit.abi_encode(), settle.abi_encode(), word.to_vec(), exists]
}

/// Signatures of drand, as bytes and as the texts in which they are handed in.
fn drand(input: &[u8]) {
    for read in [
        DrandSignature::from_bytes(input).ok(),
        std::str::from_utf8(input).ok().and_then(|text| text.parse().ok()),
    ] {
        let Some(signature) = read else { continue };
        let again = DrandSignature::from_bytes(&signature.proof());
        assert_eq!(again.map(|again| again.proof()), Ok(signature.proof()));
    }
}

fn drand_seeds() -> Vec<Vec<u8>> {
    let digits = "8d61d9100567de44682506aea1a7a6fa6e5491cd27a0a0ed349ef6910ac5ac20ff7bc3e09d7c046566c9f7f3c6f3b104";
    let round = format!(r#"{{"round":1,"randomness":"00","signature":"{digits}"}}"#);
    let bytes = hex::decode(digits).unwrap_or_default();
    vec![digits.into(), round.into_bytes(), bytes, vec![0; 128]]
}

fn leaf(number: u8, amount: u128) -> Leaf {
    let share = Share { payee: RewardAddress([number.max(1); 20]), amount: Atto(amount) };
    Leaf { address: ChunkAddress([number; 32]), shares: [share; CLOSE_GROUP] }
}

fn terms(root: NodeHash, total: Atto) -> BatchTerms {
    BatchTerms {
        payer: EvmAddress([3; 20]),
        root,
        total,
        tip: Atto(5),
        upload_by: UnixTime(1_800_000_000),
        draws: 1,
    }
}

/// Proofs of either kind with the leaf that they are for. As JSON, so that mutations reach single
/// fields; the wire's own form is that of the target `request`.
fn proof(input: &[u8]) {
    let Ok((proof, leaf)) = serde_json::from_slice::<(PaymentProof, Leaf)>(input) else { return };
    if leaf_is_paid(&proof, &leaf).is_err() {
        return;
    }
    // What is paid for this leaf is not paid for another.
    let mut other = leaf.clone();
    other.address.0[0] ^= 1;
    assert!(leaf_is_paid(&proof, &other).is_err(), "{proof:?}");
    let mut dearer = leaf.clone();
    dearer.shares[0].amount = dearer.shares[0].amount.saturating_add(Atto(1));
    assert!(leaf_is_paid(&proof, &dearer).is_err(), "{proof:?}");
}

fn proof_seeds() -> Vec<Vec<u8>> {
    let leaves: Vec<Leaf> = (1..=5).map(|number| leaf(number, 10)).collect();
    let tree = SumTree::new(&leaves).expect("invariant: sound leaves");
    let terms = terms(tree.root().hash, tree.root().sum);
    let batch = |index: usize| {
        let proof = BatchProof { terms, siblings: tree.siblings(index) };
        (PaymentProof::Batch(proof), leaves[index].clone())
    };
    let direct =
        DirectProof::for_leaves(EvmAddress([3; 20]), UnixTime(1_800_000_000), &leaves[..2]);
    let direct = (PaymentProof::Direct(direct), leaves[0].clone());
    let json = |pair| serde_json::to_vec(&pair).expect("invariant: proofs always encode");
    vec![json(batch(0)), json(batch(4)), json(direct)]
}

/// A tree over leaves that the input tells, a byte of number and one of amount each; the last byte says
/// what of a proof is changed. Each leaf is proven, at its own points, and no changed proof is taken.
fn sum_tree(input: &[u8]) {
    let Some((change, amounts)) = input.split_last() else { return };
    let leaves: Vec<Leaf> = amounts
        .chunks_exact(2)
        .take(64)
        .map(|pair| leaf(pair[0], u128::from(pair[1]) << (pair[0] % 90)))
        .collect();
    let Ok(tree) = SumTree::new(&leaves) else { return };
    let terms = terms(tree.root().hash, tree.root().sum);
    let mut from = Atto::ZERO;
    for (index, leaf) in leaves.iter().enumerate() {
        let proof = BatchProof { terms, siblings: tree.siblings(index) };
        let span = batch_leaf(&proof, leaf).expect("every leaf of a tree is proven");
        assert_eq!((span.from, span.sum), (from, leaf.total()), "leaf {index}");
        from = from.saturating_add(leaf.total());
        let mut changed = proof.clone();
        let level = usize::from(*change) % changed.siblings.len().max(1);
        match (changed.siblings.get_mut(level), change % 4) {
            (Some(sibling), 0) => sibling.hash.0[usize::from(*change) % 32] ^= 1,
            (Some(sibling), 1) => sibling.sum = sibling.sum.saturating_add(Atto(1)),
            (Some(_), 2) => drop(changed.siblings.remove(level)),
            _ => changed.terms.total = changed.terms.total.saturating_add(Atto(1)),
        }
        assert!(batch_leaf(&changed, leaf).is_err(), "leaf {index}, {changed:?}");
    }
    assert_eq!(from, tree.root().sum);
}

fn sum_tree_seeds() -> Vec<Vec<u8>> {
    let leaves = |count: u8| (0..count).flat_map(|number| [number, number + 1]).collect::<Vec<_>>();
    (0..8).map(|change| [leaves(1 + 2 * change), vec![change]].concat()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_handed_in_wrong_in_every_way() {
        spillway_fuzz::play_all(super::TARGETS, spillway_fuzz::ROUNDS);
    }
}
