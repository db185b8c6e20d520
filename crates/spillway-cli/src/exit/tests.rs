use std::{path::PathBuf, time::Duration};

use serde_json::json;
use spillway_client::{
    ChainError, ChunkFailure, ConnectError, DiskError, DownloadError, NetError, Offer, PayError,
    PayFailure, PaymentMode, PeersError, SourceError, Spend, UploadError,
};
use spillway_node::NodeError;
use spillway_types::{Atto, ChunkAddress, EvmAddress, PeerSecret, TxHash, UnixTime, Wei};

use super::*;

const ADDRESS: ChunkAddress = ChunkAddress([0xab; 32]);
const ACCOUNT: EvmAddress = EvmAddress([0x11; 20]);

fn code(failure: impl Into<Failure>) -> Code {
    failure.into().code
}

fn path() -> PathBuf {
    PathBuf::from("file")
}

fn payment(failure: PayFailure) -> UploadError {
    let source = Box::new(PayError::from(failure));
    UploadError::Payment { source, spend: spend() }
}

fn spend() -> Spend {
    Spend { storage_cost: Atto(5), gas_used: 6, gas_cost: Wei(7), tx_hashes: vec![TxHash([1; 32])] }
}

fn partial(cause: Option<UploadError>) -> UploadError {
    UploadError::PartialUpload {
        session: "session".into(),
        bytes: 9,
        payment_mode: Some(PaymentMode::Direct),
        stored: vec![ChunkAddress([1; 32])],
        already_stored: vec![],
        failed: vec![(ADDRESS, ChunkFailure::WindowOver)],
        paid_unstored: vec![ADDRESS],
        total: 2,
        spend: spend(),
        cause: cause.map(Box::new),
    }
}

#[test]
fn a_failure_is_one_line_and_one_object() {
    let failure = Failure::new(Code::NotFound, "no\nsuch file")
        .hint("check the path")
        .detail("path", "no\nsuch file");
    assert_eq!(failure.to_string(), "no\u{fffd}such file; check the path");
    assert_eq!(
        failure.to_json(),
        r#"{"message_type":"exit_error","code":10,"message":"no\nsuch file","hint":"check the path","path":"no\nsuch file"}"#
    );
}

#[test]
fn files_that_are_not_there_or_locked_have_codes() {
    assert_eq!(code(DiskError::NotFound { path: path() }), Code::NotFound);
    assert_eq!(code(DiskError::Locked { path: path() }), Code::Locked);
    assert_eq!(code(DiskError::Exists { path: path() }), Code::Failure);
    let missing = SourceError::Disk(DiskError::NotFound { path: path() });
    assert_eq!(code(UploadError::Source(missing)), Code::NotFound);
    assert_eq!(code(UploadError::Source(SourceError::Changed { path: path() })), Code::Failure);
    assert_eq!(code(UploadError::Busy { session: "s".into() }), Code::Locked);
}

#[test]
fn what_may_work_later_is_code_5() {
    let endpoint = "http://127.0.0.1:1".to_owned();
    let after = Duration::from_secs(1);
    let peer = PeerSecret::from_seed(&[1; 32]).peer();
    assert_eq!(code(UploadError::Network(PeersError::NoPeers)), Code::TryAgain);
    assert_eq!(code(DownloadError::Network(PeersError::Unreachable { peer })), Code::TryAgain);
    assert_eq!(code(ConnectError::Network(NetError::Unreachable { after })), Code::TryAgain);
    let unreachable = || ChainError::Unreachable { endpoint: endpoint.clone() };
    assert_eq!(code(ConnectError::Chain(unreachable())), Code::TryAgain);
    assert_eq!(code(UploadError::Chain(unreachable())), Code::TryAgain);
    assert_eq!(code(NodeError::Chain(unreachable())), Code::TryAgain);
    assert_eq!(code(payment(PayFailure::Chain(unreachable()))), Code::TryAgain);
    assert_eq!(code(UploadError::Undecided { valid_until: UnixTime(1) }), Code::TryAgain);
    let few =
        UploadError::TooFewQuotes { address: ADDRESS, good: 4, asked: 10, dropped: 6, last: None };
    assert_eq!(code(few), Code::TryAgain);
    let nobody = DownloadError::NotFound { address: ADDRESS, asked: 10 };
    assert_eq!(code(nobody), Code::NotFound);
}

#[test]
fn money_has_codes() {
    let tokens = PayFailure::NotEnoughTokens { needed: Atto(2), found: Atto(1) };
    assert_eq!(code(payment(tokens)), Code::NoFunds);
    let coins = PayFailure::NotEnoughCoins { needed: Wei(2), found: Wei(1) };
    assert_eq!(code(payment(coins)), Code::NoFunds);
    assert_eq!(code(UploadError::Chain(ChainError::NotEnoughCoins)), Code::NoFunds);
    let over = UploadError::OverCost { cost: Atto(2), cap: Atto(1) };
    assert_eq!(code(over), Code::OverCap);
    let over = UploadError::OverGasCost { cost: Wei(2), cap: Wei(1) };
    assert_eq!(code(over), Code::OverCap);
    let over = PayFailure::OverGasCost { cost: Wei(2), cap: Wei(1) };
    assert_eq!(code(payment(over)), Code::OverCap);
    assert_eq!(code(PayError::from(PayFailure::Locked { wallet: ACCOUNT })), Code::Locked);
    let offer = Offer {
        storage_cost: Atto(1),
        gas: 1,
        gas_cost: Wei(1),
        chunks_to_pay: 1,
        chunks_already_stored: 0,
    };
    assert_eq!(code(UploadError::Declined { offer }), Code::Failure);
    let other = PayFailure::WrongChain { expected: 1, found: 2 };
    assert_eq!(code(ConnectError::Payments(other.into())), Code::Failure);
}

#[test]
fn a_failure_after_paying_says_what_was_spent() {
    let failure = Failure::from(payment(PayFailure::NoVault { vault: ACCOUNT }));
    assert_eq!(failure.details["storage_cost_atto"], "5");
    assert_eq!(failure.details["gas_used"], 6);
    assert_eq!(failure.details["gas_cost_wei"], "7");
    assert_eq!(failure.details["tx_hashes"], json!([TxHash([1; 32]).to_string()]));
}

#[test]
fn a_partial_upload_lists_what_is_missing() {
    let failure = Failure::from(partial(None));
    assert_eq!(failure.code, Code::PartialUpload);
    let address = ADDRESS.to_string();
    assert_eq!(failure.details["paid_unstored"], json!([address]));
    assert_eq!(
        failure.details["failed"],
        json!([{"address": address, "reason": "its upload window is over"}])
    );
    assert_eq!(code(partial(Some(UploadError::Interrupted))), Code::Interrupted);
    assert_eq!(code(UploadError::Interrupted), Code::Interrupted);
    let go_on = Failure::from(UploadError::Interrupted).hint;
    assert_eq!(
        go_on.as_deref(),
        Some("run the same command again to go on; what is paid stays paid")
    );
    // Where nothing is paid, nothing is said of it.
    assert_eq!(Failure::from(&NetError::Closed).to_string(), "interrupted");
    assert_eq!(code(DownloadError::Interrupted), Code::Interrupted);
}
