use std::fmt;

use spillway_types::{
    GetResponse, HasResponse, PutResponse, QuoteResponse, Refusal, Request, Response, WinsResponse,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// Prices.
    Quote,
    /// To store a chunk.
    Put,
    /// A chunk.
    Get,
    /// Which chunks are there.
    Has,
    /// Which draws were won.
    Wins,
    /// To take a chunk over.
    Offer,
}

impl RequestKind {
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::Quote(_) => Self::Quote,
            Request::Put(_) => Self::Put,
            Request::Get(_) => Self::Get,
            Request::Has(_) => Self::Has,
            Request::Wins(_) => Self::Wins,
            Request::Offer(_) => Self::Offer,
        }
    }

    /// The kind that a header's first byte announces, which is the number of the variant. So even
    /// a header that cannot be read is refused in the words that its sender waits for.
    pub(crate) fn of_header(first: u8) -> Option<Self> {
        match first {
            0 => Some(Self::Quote),
            1 => Some(Self::Put),
            2 => Some(Self::Get),
            3 => Some(Self::Has),
            4 => Some(Self::Wins),
            5 => Some(Self::Offer),
            _ => None,
        }
    }

    /// The response that refuses a request of this kind.
    pub(crate) fn refuse(self, refusal: Refusal) -> Response {
        match self {
            Self::Quote => Response::Quote(QuoteResponse { answers: Err(refusal) }),
            Self::Put | Self::Offer => Response::Put(PutResponse { receipts: Err(refusal) }),
            Self::Get => Response::Get(GetResponse::Refused(refusal)),
            Self::Has => Response::Has(HasResponse { present: Err(refusal) }),
            Self::Wins => Response::Wins(WinsResponse { page: Err(refusal) }),
        }
    }
}

impl fmt::Display for RequestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quote => "quote",
            Self::Put => "put",
            Self::Get => "get",
            Self::Has => "has",
            Self::Wins => "wins",
            Self::Offer => "offer",
        })
    }
}

#[cfg(test)]
mod tests {
    use spillway_types::{ChunkAddress, HasRequest, Nonce, QuoteItem, QuoteRequest, WinsRequest};

    use super::*;

    #[test]
    fn the_first_byte_of_a_header_tells_its_kind() {
        let address = ChunkAddress([7; 32]);
        let requests = [
            Request::Quote(QuoteRequest {
                items: vec![QuoteItem { address, size: 1 }],
                nonce: Nonce([1; 16]),
            }),
            Request::Get(address),
            Request::Has(HasRequest { addresses: vec![address] }),
            Request::Wins(WinsRequest { after: None }),
        ];
        for request in requests {
            let header = request.encode().unwrap();
            assert_eq!(RequestKind::of_header(header[0]), Some(RequestKind::of(&request)));
        }
        assert_eq!(RequestKind::of_header(6), None);
    }
}
