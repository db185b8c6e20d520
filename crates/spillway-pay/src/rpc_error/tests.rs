use serde::Deserialize;
use spillway_types::Retry;

use super::*;

/// What one server answers, in `tests/fixtures/rpc/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    source: String,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    method: String,
    code: i64,
    message: String,
    data: Option<Value>,
    means: String,
}

const FIXTURES: [(&str, &str); 7] = [
    ("anvil", include_str!("../../tests/fixtures/rpc/anvil.json")),
    ("besu", include_str!("../../tests/fixtures/rpc/besu.json")),
    ("erigon", include_str!("../../tests/fixtures/rpc/erigon.json")),
    ("geth", include_str!("../../tests/fixtures/rpc/geth.json")),
    ("nethermind", include_str!("../../tests/fixtures/rpc/nethermind.json")),
    ("providers", include_str!("../../tests/fixtures/rpc/providers.json")),
    ("reth", include_str!("../../tests/fixtures/rpc/reth.json")),
];

/// The name that fixtures have for it.
fn meaning(said: &Said) -> String {
    let Said::Error(error) = said else { return "already known".into() };
    match error {
        ChainError::NonceTooLow => "nonce too low".into(),
        ChainError::Underpriced => "underpriced".into(),
        ChainError::FeeTooLow => "fee too low".into(),
        ChainError::NotEnoughCoins => "not enough coins".into(),
        ChainError::RateLimited => "rate limited".into(),
        ChainError::Behind => "behind".into(),
        ChainError::Reverted { reason: None } => "reverted".into(),
        ChainError::Reverted { reason: Some(reason) } => format!("reverted: {reason}"),
        ChainError::Unexpected { .. } => "unknown".into(),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_recorded_and_documented_answer_means_what_its_fixture_says() {
    for (server, text) in FIXTURES {
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        assert!(!fixture.source.is_empty() && fixture.answers.len() > 9, "{server}");
        for answer in fixture.answers {
            let Answer { method, code, message, data, means } = answer;
            let said = read_payload("eth_test", code, &message, data.as_ref());
            assert_eq!(meaning(&said), means, "{server} to {method}: {code} {message}");
        }
    }
}

/// Only these may be signed again with another fee at once, or end a payment.
#[test]
fn what_is_not_known_for_sure_counts_as_sent() {
    let surely = ["underpriced", "fee too low", "not enough coins"];
    for (server, text) in FIXTURES {
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        for Answer { code, message, data, means, .. } in fixture.answers {
            match read_payload("eth_sendRawTransaction", code, &message, data.as_ref()) {
                Said::AlreadyKnown => assert_eq!(means, "already known"),
                Said::Error(error) => {
                    assert_eq!(error.not_sent(), surely.contains(&&*means), "{server}: {message}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_known_is_kept_in_part_and_never_tried_again() {
    let long = "x".repeat(1000);
    let Said::Error(error) = read_payload("eth_test", -32000, &long, None) else {
        panic!("not an error")
    };
    let detail = "x".repeat(MAX_DETAIL);
    assert_eq!(error, ChainError::Unexpected { method: "eth_test", detail });
    assert_eq!(error.retry(), Retry::Never);
    assert!(!error.not_sent(), "doubt");
}

#[test]
fn a_contract_may_say_what_servers_say() {
    for (code, message) in [(3, "nonce too low"), (-32000, "execution reverted: already known")] {
        let said = read_payload("eth_test", code, message, None);
        assert_eq!(said, Said::Error(ChainError::Reverted { reason: None }), "{message}");
    }
    // Empty data says nothing: the words do.
    let known = read_payload("eth_test", -32000, "already known", Some(&"0x".into()));
    assert_eq!(known, Said::AlreadyKnown);
}

/// What carries no words of a server, or none that are looked at.
#[test]
fn an_answer_without_a_server_s_words_means_what_its_kind_says() {
    let read = |error: RpcError<TransportErrorKind>| match read_error("eth_test", "here", &error) {
        Said::Error(error) => error,
        said @ Said::AlreadyKnown => panic!("{said:?}"),
    };
    let http = |status| read(TransportErrorKind::http_error(status, String::new()));
    let down = ChainError::Unreachable { endpoint: "here".to_owned() };
    assert_eq!(http(429), ChainError::RateLimited);
    for status in [408, 500, 503, 599] {
        assert_eq!(http(status), down, "{status}");
    }
    assert_eq!(http(404), unexpected("eth_test", "HTTP status 404"));
    assert_eq!(read(TransportErrorKind::custom_str("reset")), down);
    let malformed = TransportErrorKind::non_retryable_str("malformed");
    assert_eq!(read(malformed), unexpected("eth_test", "malformed"));
    assert_eq!(read(RpcError::NullResp), unexpected("eth_test", "null"));
    let err = serde_json::from_str::<u8>("{}").unwrap_err();
    let other = RpcError::DeserError { err, text: "{}".to_owned() };
    assert_eq!(read(other), unexpected("eth_test", "{}"));
    let strange = unexpected("eth_test", "an answer that is not JSON-RPC");
    assert_eq!(read(RpcError::UnsupportedFeature("batches")), strange);
}
