use serde_json::{Value, json};
use spillway_types::Retry;

use super::*;

/// One recorded or documented error object, and what it means.
fn said(code: i64, message: &str, data: Option<Value>) -> Said {
    read_payload("eth_test", code, message, data.as_ref())
}

fn reverted(reason: &str) -> Said {
    Said::Error(ChainError::Reverted { reason: Some(reason.into()) })
}

#[test]
fn rate_limits_of_the_large_providers() {
    for (code, message) in [
        (429, "Your app has exceeded its compute units per second capacity."),
        (-32005, "project ID request rate exceeded"),
        (-32007, "100/second request limit reached - reduce calls per second"),
        (-32000, "Too Many Requests"),
    ] {
        assert_eq!(said(code, message, None), Said::Error(ChainError::RateLimited), "{message}");
    }
}

/// Recorded from Anvil 1.7.1.
#[test]
fn anvil() {
    for (code, message, expected) in [
        (-32003, "transaction already imported", Said::AlreadyKnown),
        (-32003, "nonce too low", Said::Error(ChainError::NonceTooLow)),
        (-32003, "replacement transaction underpriced", Said::Error(ChainError::Underpriced)),
        (-32003, "max fee per gas less than block base fee", Said::Error(ChainError::FeeTooLow)),
        (
            -32003,
            "Insufficient funds for gas * price + value",
            Said::Error(ChainError::NotEnoughCoins),
        ),
        (
            -32602,
            "BlockOutOfRangeError: block height is 0 but requested was 153",
            Said::Error(ChainError::Behind),
        ),
        (-32001, "Resource not found", Said::Error(ChainError::Behind)),
        (-32601, "Method not found", Said::Error(unexpected("eth_test", "Method not found"))),
        (
            -32000,
            "intrinsic gas too low",
            Said::Error(unexpected("eth_test", "intrinsic gas too low")),
        ),
    ] {
        assert_eq!(said(code, message, None), expected, "{message}");
    }
}

#[test]
fn geth_and_reth() {
    let nonce = "nonce too low: next nonce 5, tx nonce 4";
    assert_eq!(said(-32000, nonce, None), Said::Error(ChainError::NonceTooLow));
    assert_eq!(said(-32000, "already known", None), Said::AlreadyKnown);
    let replacement = "replacement transaction underpriced";
    assert_eq!(said(-32000, replacement, None), Said::Error(ChainError::Underpriced));
    for message in [
        "transaction underpriced: gas tip cap 0, minimum needed 1",
        "max fee per gas less than block base fee: address 0xab, maxFeePerGas: 1, baseFee: 7",
    ] {
        assert_eq!(said(-32000, message, None), Said::Error(ChainError::FeeTooLow), "{message}");
    }
    for message in [
        "insufficient funds for gas * price + value: balance 0, tx cost 21000, overshot 21000",
        "insufficient funds for gas * price + value: have 0 want 21000",
    ] {
        assert_eq!(said(-32000, message, None), Said::Error(ChainError::NotEnoughCoins));
    }
    assert_eq!(said(-32000, "header not found", None), Said::Error(ChainError::Behind));
    let data = json!(format!("0x58a2ba46{}{}", "0".repeat(62), "aa"));
    assert_eq!(said(3, "execution reverted", Some(data)), reverted("unknown error 0x58a2ba46"));
    assert_eq!(
        said(3, "execution reverted", None),
        Said::Error(ChainError::Reverted { reason: None })
    );
    let nothing = said(3, "execution reverted", Some(json!("0x")));
    assert_eq!(nothing, Said::Error(ChainError::Reverted { reason: None }));
}

#[test]
fn nethermind_and_erigon() {
    let nonce = "OldNonce, Current nonce: 5, nonce of rejected tx: 4";
    assert_eq!(said(-32010, nonce, None), Said::Error(ChainError::NonceTooLow));
    assert_eq!(said(-32010, "AlreadyKnown", None), Said::AlreadyKnown);
    let funds = "InsufficientFunds, Account balance: 0, cumulative cost: 21000";
    assert_eq!(said(-32010, funds, None), Said::Error(ChainError::NotEnoughCoins));
    for message in ["FeeTooLowToCompete", "FeeTooLow, MaxFeePerGas too low"] {
        assert_eq!(said(-32010, message, None), Said::Error(ChainError::FeeTooLow), "{message}");
    }
    let replacement = "ReplacementNotAllowed";
    assert_eq!(said(-32010, replacement, None), Said::Error(ChainError::Underpriced));
    let erigon = "could not replace existing tx";
    assert_eq!(said(-32000, erigon, None), Said::Error(ChainError::Underpriced));
    let why = format!("Reverted 0x08c379a0{:064x}{:064x}{}{}", 32, 3, "776879", "0".repeat(58));
    assert_eq!(said(-32015, "VM execution error.", Some(json!(why))), reverted("why"));
}

#[test]
fn what_is_not_known_is_kept_in_part_and_never_tried_again() {
    let long = "x".repeat(1000);
    let Said::Error(error) = said(-32000, &long, None) else { panic!("not an error") };
    let detail = "x".repeat(MAX_DETAIL);
    assert_eq!(error, ChainError::Unexpected { method: "eth_test", detail });
    assert_eq!(error.retry(), Retry::Never);
    assert!(!error.not_sent(), "doubt");
}
