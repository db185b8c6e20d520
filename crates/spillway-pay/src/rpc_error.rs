//! What RPC servers say when they refuse, read in this one place. The texts are those of Anvil
//! (recorded), and of geth, reth, nethermind and erigon (as documented and in their sources).

use alloy::{primitives::hex, rpc::json_rpc::RpcError, transports::TransportErrorKind};
use serde_json::{Value, value::RawValue};

use crate::{ChainError, revert};

/// How much of a server's text is kept, in characters.
const MAX_DETAIL: usize = 200;

/// JSON-RPC codes with which servers ask to slow down: HTTP's own, Infura's and Alchemy's -32005,
/// QuickNode's -32007 and -32012, Alchemy's -32016.
const RATE_CODES: [i64; 5] = [429, -32005, -32007, -32012, -32016];

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
    ("nonce too low", || Said::Error(ChainError::NonceTooLow)),
    ("oldnonce", || Said::Error(ChainError::NonceTooLow)),
    ("replacement transaction underpriced", || Said::Error(ChainError::Underpriced)),
    ("replacementnotallowed", || Said::Error(ChainError::Underpriced)),
    ("could not replace existing tx", || Said::Error(ChainError::Underpriced)),
    ("underpriced", || Said::Error(ChainError::FeeTooLow)),
    ("feetoolow", || Said::Error(ChainError::FeeTooLow)),
    ("less than block base fee", || Said::Error(ChainError::FeeTooLow)),
    ("insufficient funds", || Said::Error(ChainError::NotEnoughCoins)),
    ("insufficientfunds", || Said::Error(ChainError::NotEnoughCoins)),
    ("rate limit", || Said::Error(ChainError::RateLimited)),
    ("too many requests", || Said::Error(ChainError::RateLimited)),
    ("request limit", || Said::Error(ChainError::RateLimited)),
    ("header not found", || Said::Error(ChainError::Behind)),
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
    if let Some(data) = data.and_then(revert_data) {
        return Said::Error(ChainError::Reverted { reason: revert::reason(&data) });
    }
    let text = message.to_lowercase();
    if let Some((_, said)) = TEXTS.iter().find(|(part, _)| text.contains(part)) {
        return said();
    }
    // Geth's code for a revert is 3; others say so in words only, then without the contract's data.
    if code == 3 || text.contains("revert") {
        return Said::Error(ChainError::Reverted { reason: None });
    }
    if RATE_CODES.contains(&code) {
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
