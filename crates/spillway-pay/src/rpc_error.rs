//! What RPC servers say when they refuse, read in this one place. The texts are those of Anvil
//! (recorded) and of geth, reth, erigon, nethermind, besu and the large providers (as their sources
//! and pages have them); `tests/fixtures/rpc/` holds them with what each means. A text that is not
//! known stays an error after which a transaction counts as sent: it is never signed again.

use alloy::{primitives::hex, rpc::json_rpc::RpcError, transports::TransportErrorKind};
use serde_json::{Value, value::RawValue};

use crate::{ChainError, revert};

/// How much of a server's text is kept, in characters.
const MAX_DETAIL: usize = 200;

/// The code with which servers ask to slow down, as HTTP has it.
const TOO_MANY_REQUESTS: i64 = 429;

/// "Limit exceeded" of EIP-1474: a rate, or with besu and others a limit of gas.
const LIMIT_EXCEEDED: i64 = -32005;

/// Of a call that the contract refused, with its data.
const REVERTED: i64 = 3;

/// What a server's error says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The same transaction is waiting or mined already: success.
    AlreadyKnown,
    /// Anything else.
    Error(ChainError),
}

/// What a text means.
type Meaning = fn() -> Said;

/// Texts that mean one thing, in lower case. The first that is found counts, so the more special
/// ones come first.
const TEXTS: &[(&str, Meaning)] = &[
    ("already known", || Said::AlreadyKnown),
    ("alreadyknown", || Said::AlreadyKnown),
    ("already imported", || Said::AlreadyKnown),
    ("known transaction", || Said::AlreadyKnown),
    ("existing tx with same hash", || Said::AlreadyKnown),
    ("existing txn with same hash", || Said::AlreadyKnown),
    ("nonce too low", || Said::Error(ChainError::NonceTooLow)),
    ("oldnonce", || Said::Error(ChainError::NonceTooLow)),
    ("replacement transaction underpriced", || Said::Error(ChainError::Underpriced)),
    ("replacementnotallowed", || Said::Error(ChainError::Underpriced)),
    ("could not replace existing tx", || Said::Error(ChainError::Underpriced)),
    ("underpriced", || Said::Error(ChainError::FeeTooLow)),
    ("feetoolow", || Said::Error(ChainError::FeeTooLow)),
    ("fee too low", || Said::Error(ChainError::FeeTooLow)),
    ("less than block base fee", || Said::Error(ChainError::FeeTooLow)),
    ("below minimum required priority fee", || Said::Error(ChainError::FeeTooLow)),
    ("gas price below", || Said::Error(ChainError::FeeTooLow)),
    ("insufficient funds", || Said::Error(ChainError::NotEnoughCoins)),
    ("insufficientfunds", || Said::Error(ChainError::NotEnoughCoins)),
    ("upfront cost exceeds account balance", || Said::Error(ChainError::NotEnoughCoins)),
    ("rate limit", || Said::Error(ChainError::RateLimited)),
    ("rps limit", || Said::Error(ChainError::RateLimited)),
    ("too many requests", || Said::Error(ChainError::RateLimited)),
    ("request limit", || Said::Error(ChainError::RateLimited)),
    ("request rate", || Said::Error(ChainError::RateLimited)),
    ("credits limited", || Said::Error(ChainError::RateLimited)),
    ("compute units per second", || Said::Error(ChainError::RateLimited)),
    // A full pool may have room later.
    ("txpool is full", || Said::Error(ChainError::RateLimited)),
    ("sub-pool is full", || Said::Error(ChainError::RateLimited)),
    ("header not found", || Said::Error(ChainError::Behind)),
    ("header for hash not found", || Said::Error(ChainError::Behind)),
    ("block not found", || Said::Error(ChainError::Behind)),
    ("unknown block", || Said::Error(ChainError::Behind)),
    ("resource not found", || Said::Error(ChainError::Behind)),
    ("blockoutofrange", || Said::Error(ChainError::Behind)),
];

/// Reads an error object.
pub(crate) fn read_payload(
    method: &'static str,
    code: i64,
    message: &str,
    data: Option<&Value>,
) -> Said {
    let data = data.and_then(revert_data).filter(|data| !data.is_empty());
    if let Some(data) = data {
        return Said::Error(ChainError::Reverted { reason: revert::reason(&data) });
    }
    let text = message.to_lowercase();
    // A contract may refuse in any words, those below too.
    if code == REVERTED || text.starts_with("execution reverted") {
        return Said::Error(ChainError::Reverted { reason: None });
    }
    if let Some((_, said)) = TEXTS.iter().find(|(part, _)| text.contains(part)) {
        return said();
    }
    // Others say it in words of their own, then without the contract's data.
    if text.contains("revert") {
        return Said::Error(ChainError::Reverted { reason: None });
    }
    if code == TOO_MANY_REQUESTS || code == LIMIT_EXCEEDED && !text.contains("gas limit") {
        return Said::Error(ChainError::RateLimited);
    }
    Said::Error(unexpected(method, message))
}

/// Reads whatever alloy made of an answer.
pub(crate) fn read_error(
    method: &'static str,
    endpoint: &str,
    error: &RpcError<TransportErrorKind>,
) -> Said {
    let unreachable = || ChainError::Unreachable { endpoint: endpoint.to_owned() };
    let error = match error {
        RpcError::ErrorResp(payload) => {
            let data = payload.data.as_deref().map(RawValue::get);
            let data = data.and_then(|data| serde_json::from_str(data).ok());
            return read_payload(method, payload.code, &payload.message, data.as_ref());
        }
        RpcError::Transport(
            TransportErrorKind::HttpError(error)
            | TransportErrorKind::HttpErrorWithRetryAfter { error, .. },
        ) => match error.status {
            429 => ChainError::RateLimited,
            // A gateway that is down or overloaded; the request may have come through.
            500..=599 | 408 => unreachable(),
            status => unexpected(method, &format!("HTTP status {status}")),
        },
        RpcError::Transport(TransportErrorKind::NonRetryable(error)) => {
            unexpected(method, &error.to_string())
        }
        RpcError::Transport(_) => unreachable(),
        RpcError::NullResp => unexpected(method, "null"),
        RpcError::DeserError { text, .. } => unexpected(method, text),
        _ => unexpected(method, "an answer that is not JSON-RPC"),
    };
    Said::Error(error)
}

/// An answer that is not of this protocol.
pub(crate) fn unexpected(method: &'static str, detail: &str) -> ChainError {
    ChainError::Unexpected { method, detail: detail.chars().take(MAX_DETAIL).collect() }
}

/// The contract's own data: `"0x…"`, `"Reverted 0x…"` (nethermind), or an object with `data`.
fn revert_data(data: &Value) -> Option<Vec<u8>> {
    let text = match data {
        Value::String(text) => text.as_str(),
        Value::Object(fields) => fields.get("data")?.as_str()?,
        _ => return None,
    };
    let digits = text.strip_prefix("Reverted ").unwrap_or(text).strip_prefix("0x")?;
    hex::decode(digits).ok()
}

#[cfg(test)]
mod tests;
