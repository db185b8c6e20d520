use std::{fmt, time::Duration};

use bytes::Bytes;
use spillway_types::{Request, Response};
use tokio_util::sync::CancellationToken;

use crate::{AdmittedPut, gate::Memory};

/// A request on its way out or in: what request-response calls a request.
pub(crate) enum Exchange {
    /// Ours, to be written.
    Outgoing(Outgoing),
    /// Another peer's, without a body.
    Asked(Box<Request>),
    /// Another peer's put or offer, admitted, with its body.
    Put(ReceivedPut),
    /// Another peer's, refused before it was read to its end.
    Refused(Response),
}

/// A request of ours.
pub(crate) struct Outgoing {
    /// The header, encoded.
    pub(crate) header: Vec<u8>,
    /// What follows it.
    pub(crate) body: Bytes,
    /// How long it may take, counted from its first byte.
    pub(crate) deadline: Duration,
    /// Ends it when nobody waits for the answer any more.
    pub(crate) given_up: CancellationToken,
}

/// A put whose body was read.
pub(crate) struct ReceivedPut {
    /// Takes the body.
    pub(crate) admitted: Box<dyn AdmittedPut>,
    /// The body.
    pub(crate) body: Bytes,
    /// The body's share of the memory for bodies.
    pub(crate) memory: Memory,
}

/// A response, on its way out or in.
pub(crate) struct Reply {
    /// The header.
    pub(crate) response: Response,
    /// What follows it.
    pub(crate) body: Bytes,
    /// The body's share of the memory for bodies.
    pub(crate) memory: Option<Memory>,
}

impl Reply {
    /// A response without a body.
    pub(crate) fn bare(response: Response) -> Self {
        Self { response, body: Bytes::new(), memory: None }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outgoing(outgoing) => write!(f, "Outgoing(+{} bytes)", outgoing.body.len()),
            Self::Asked(request) => f.debug_tuple("Asked").field(request).finish(),
            Self::Put(put) => write!(f, "Put({} bytes)", put.body.len()),
            Self::Refused(response) => f.debug_tuple("Refused").field(response).finish(),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({:?} +{} bytes)", self.response, self.body.len())
    }
}
