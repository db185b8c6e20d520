use std::{
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};
use libp2p::{StreamProtocol, request_response};
use spillway_types::{PeerKey, Refusal, Request, Response};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    RequestKind,
    exchange::{Exchange, ReceivedPut, Reply},
    frame::{self, Header},
    gate::{BUSY, BodyRequest, Gate},
};

/// The protocol of requests and chunks.
pub(crate) const CHUNK_PROTOCOL: StreamProtocol = StreamProtocol::new("/spillway/chunk/1");

/// Nothing.
static NO_ROOM: Semaphore = Semaphore::const_new(0);

/// Reads and writes the frames of [`CHUNK_PROTOCOL`]. One lives in the behaviour, a clone of it in
/// each connection, a clone of that in each stream. A clone for a connection takes over the peer
/// that [`NextPeer`] names; see `docs/adr/` on how the codec learns its peer.
#[derive(Debug)]
pub(crate) struct ChunkCodec {
    gate: Arc<Gate>,
    side: Side,
    stream: StreamState,
}

/// Whom a codec is for.
#[derive(Clone, Debug)]
enum Side {
    /// Nobody yet: the behaviour's own.
    Behaviour(NextPeer),
    /// One peer.
    Connection(Arc<Connection>),
}

/// What the streams of one connection share.
#[derive(Debug)]
struct Connection {
    peer: PeerKey,
    requests: Arc<Semaphore>,
    /// The peer's, shared by all of its connections.
    of_peer: Arc<Semaphore>,
}

/// What an inbound request takes up until its answer is written.
#[derive(Debug)]
struct Places {
    _connection: OwnedSemaphorePermit,
    _peer: OwnedSemaphorePermit,
    /// Among all requests.
    everywhere: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn enter(&self) -> Option<Places> {
        Some(Places {
            _connection: Arc::clone(&self.requests).try_acquire_owned().ok()?,
            _peer: Arc::clone(&self.of_peer).try_acquire_owned().ok()?,
            everywhere: None,
        })
    }
}

/// What a stream remembers between its request and its response.
#[derive(Debug, Default)]
struct StreamState {
    /// The places that an inbound request takes up until its answer is written.
    places: Option<Places>,
    /// The sender may still be writing a body that nobody will read.
    unread: bool,
    /// When an outbound request ends, and whether anybody still waits for it.
    patience: Option<(Instant, CancellationToken)>,
}

/// Names the peer of the connection that is being set up.
#[derive(Clone, Debug, Default)]
pub(crate) struct NextPeer(Arc<Mutex<Option<PeerKey>>>);

impl NextPeer {
    /// The next clone of the behaviour's codec is for this peer.
    pub(crate) fn set(&self, peer: PeerKey) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(peer);
    }

    fn take(&self) -> Option<PeerKey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ChunkCodec {
    /// The behaviour's codec.
    pub(crate) fn new(gate: Arc<Gate>, next: NextPeer) -> Self {
        Self { gate, side: Side::Behaviour(next), stream: StreamState::default() }
    }

    fn stall(&self) -> Duration {
        self.gate.deadlines.stall
    }

    /// Refuses a request that may have more to come.
    fn refuse(&mut self, kind: RequestKind, refusal: Refusal) -> Exchange {
        self.stream.unread = true;
        Exchange::Refused(kind.refuse(refusal))
    }

    /// Reads what follows a put or an offer, once it is admitted.
    async fn read_put<T>(
        &mut self,
        peer: PeerKey,
        request: BodyRequest,
        io: &mut T,
    ) -> io::Result<Exchange>
    where
        T: AsyncRead + Unpin + Send,
    {
        let size = request.body_bytes();
        let deadline = Instant::now() + self.gate.deadlines.put;
        let (admitted, memory) = match self.gate.admit(peer, request).await {
            Ok(admitted) => admitted,
            Err(refusal) => return Ok(self.refuse(RequestKind::Put, refusal)),
        };
        let body = timeout_at(deadline, frame::read_body(io, size, self.stall())).await??;
        if !frame::ends(io, self.stall()).await? {
            return Ok(self.refuse(RequestKind::Put, Refusal::Malformed));
        }
        Ok(Exchange::Put(ReceivedPut { admitted, body: body.into(), memory }))
    }

    /// Reads a response and its body.
    async fn read_reply<T>(&self, io: &mut T) -> io::Result<Reply>
    where
        T: AsyncRead + Unpin + Send,
    {
        let header = frame::read_header(io, self.gate.deadlines.answer, &self.gate.headers).await?;
        let header = match header {
            Header::Whole(header) => header,
            Header::TooLong(_) => return Err(io::ErrorKind::InvalidData.into()),
            Header::NoRoom(_) => return Err(io::ErrorKind::OutOfMemory.into()),
        };
        let response = Response::decode(&header)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let size = response.body_bytes();
        if size == 0 {
            return Ok(Reply::bare(response));
        }
        let memory = self.gate.memory(size).await.ok_or(io::ErrorKind::TimedOut)?;
        let body = Bytes::from(frame::read_body(io, size, self.stall()).await?);
        Ok(Reply { response, body, memory: Some(memory) })
    }
}

impl Clone for ChunkCodec {
    fn clone(&self) -> Self {
        let side = match &self.side {
            Side::Behaviour(next) => match next.take() {
                None => Side::Behaviour(next.clone()),
                Some(peer) => Side::Connection(Arc::new(Connection {
                    peer,
                    of_peer: self.gate.places_of(peer),
                    requests: Arc::new(Semaphore::new(self.gate.limits.requests_per_connection)),
                })),
            },
            Side::Connection(connection) => Side::Connection(Arc::clone(connection)),
        };
        Self { gate: Arc::clone(&self.gate), side, stream: StreamState::default() }
    }
}

/// Runs a part of an outbound request, unless its time is over or nobody waits for it any more.
async fn patiently<F, R>(patience: Option<(Instant, CancellationToken)>, part: F) -> io::Result<R>
where
    F: Future<Output = io::Result<R>>,
{
    let Some((deadline, given_up)) = patience else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    tokio::select! {
        done = timeout_at(deadline, part) => done?,
        () = given_up.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

impl request_response::Codec for ChunkCodec {
    type Protocol = StreamProtocol;
    type Request = Exchange;
    type Response = Reply;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Exchange>
    where
        T: AsyncRead + Unpin + Send,
    {
        let Side::Connection(connection) = self.side.clone() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // Taken before a byte is read: those who stall while they speak count, too. Who finds no
        // place is refused without a header being kept for it.
        let here = connection.enter();
        let room = if here.is_some() { &self.gate.headers } else { &NO_ROOM };
        let (first, header) = match frame::read_header(io, self.stall(), room).await? {
            Header::Whole(header) => (header[0], Ok(header)),
            Header::TooLong(first) => (first, Err(Refusal::Malformed)),
            Header::NoRoom(first) => (first, Err(BUSY)),
        };
        let kind = RequestKind::of_header(first).ok_or(io::ErrorKind::InvalidData)?;
        let header = match header {
            Ok(header) => header,
            Err(refusal) => return Ok(self.refuse(kind, refusal)),
        };
        let Some(here) = here else { return Ok(self.refuse(kind, BUSY)) };
        let places = self.stream.places.insert(here);
        let Ok(request) = Request::decode(&header) else {
            return Ok(self.refuse(kind, Refusal::Malformed));
        };
        // A place among all is for those who have said all that they have to say, but for a body
        // that was not asked for yet: a peer that falls silent here stands in its own way only.
        if request.body_bytes() == 0 && !frame::ends(io, self.gate.deadlines.stall).await? {
            return Ok(self.refuse(kind, Refusal::Malformed));
        }
        places.everywhere = self.gate.enter();
        if places.everywhere.is_none() {
            return Ok(self.refuse(kind, BUSY));
        }
        match BodyRequest::of(request) {
            Ok(request) => self.read_put(connection.peer, request, io).await,
            Err(request) => Ok(Exchange::Asked(request)),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Reply>
    where
        T: AsyncRead + Unpin + Send,
    {
        let patience = self.stream.patience.take();
        patiently(patience, self.read_reply(io)).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        exchange: Exchange,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let Exchange::Outgoing(outgoing) = exchange else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // The peer judges a put before it takes the body.
        let stall = self.gate.deadlines.answer;
        self.stream.patience = Some((Instant::now() + outgoing.deadline, outgoing.given_up));
        patiently(self.stream.patience.clone(), async {
            frame::write_header(io, &outgoing.header, stall).await?;
            // A peer that refuses stops reading: the answer is there although the body is not.
            match frame::write(io, &outgoing.body, stall).await {
                Err(error) if error.kind() != io::ErrorKind::TimedOut => Ok(()),
                written => written,
            }
        })
        .await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        reply: Reply,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let header = reply
            .response
            .encode()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        frame::write_header(io, &header, self.stall()).await?;
        frame::write(io, &reply.body, self.stall()).await?;
        if self.stream.unread {
            // A closed stream would be drained in silence by Yamux, and the sender would wait for
            // credit until its deadline; a stream that is dropped unclosed is reset, behind the
            // answer. An error here is how request-response is told to drop it.
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Deadlines, NetLimits};

    #[test]
    fn more_connections_are_no_more_places() {
        let limits =
            NetLimits { requests_per_connection: 2, requests_per_peer: 3, ..NetLimits::default() };
        let gate = Arc::new(Gate::new(limits, Deadlines::default()));
        let next = NextPeer::default();
        let codec = ChunkCodec::new(gate, next.clone());
        let connect = |peer| {
            next.set(peer);
            match codec.clone().side {
                Side::Connection(connection) => connection,
                Side::Behaviour(_) => panic!("the peer was not named"),
            }
        };
        let (first, second) = (connect(PeerKey([1; 32])), connect(PeerKey([1; 32])));
        let held = [first.enter().unwrap(), first.enter().unwrap(), second.enter().unwrap()];
        assert!(second.enter().is_none());
        assert!(connect(PeerKey([2; 32])).enter().is_some());
        drop(held);
        assert!(second.enter().is_some());
    }
}
