//! HTTP as JSON-RPC needs it. Beside alloy's own, for two reasons: that one puts the whole URL, which
//! may hold credentials, into log spans, and it reads answers of any length.

use std::{
    fmt,
    task::{Context, Poll},
};

use alloy::{
    rpc::json_rpc::{RequestPacket, ResponsePacket, RpcError},
    transports::{
        TransportError, TransportErrorKind, TransportFut,
        http::reqwest::{Client, Url, header::CONTENT_TYPE},
    },
};
use tower_service::Service;

/// The longest answer that is read, in bytes: 8 MiB. The largest that is asked for is a block with
/// the hashes of its transactions, 70 bytes each: room for 100,000.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Sends requests to one URL.
#[derive(Clone)]
pub(crate) struct RpcTransport {
    client: Client,
    url: Url,
}

/// An answer was longer than [`MAX_ANSWER_BYTES`].
#[derive(Debug, thiserror::Error)]
#[error("an answer of more than {MAX_ANSWER_BYTES} bytes")]
struct TooLong;

impl RpcTransport {
    pub(crate) fn new(client: Client, url: Url) -> Self {
        Self { client, url }
    }

    async fn send(self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let body = serde_json::to_vec(&request).map_err(RpcError::SerError)?;
        let request = self.client.post(self.url).header(CONTENT_TYPE, "application/json");
        // The errors of reqwest name the URL; it is cut out of them.
        let sent = request.body(body).send().await;
        let mut answer = sent.map_err(|error| TransportErrorKind::custom(error.without_url()))?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(part) =
            answer.chunk().await.map_err(|error| TransportErrorKind::custom(error.without_url()))?
        {
            if bytes.len() + part.len() > MAX_ANSWER_BYTES {
                return Err(TransportErrorKind::non_retryable(TooLong));
            }
            bytes.extend_from_slice(&part);
        }
        let packet = serde_json::from_slice::<ResponsePacket>(&bytes);
        if status.is_success() {
            return packet
                .map_err(|error| RpcError::deser_err(error, String::from_utf8_lossy(&bytes)));
        }
        match packet {
            // Some servers give JSON-RPC errors a status of their own.
            Ok(packet) if packet.is_error() => Ok(packet),
            _ => Err(TransportErrorKind::http_error(status.as_u16(), String::new())),
        }
    }
}

impl Service<RequestPacket> for RpcTransport {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

impl fmt::Debug for RpcTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RpcTransport")
    }
}
