use std::time::Duration;

use spillway_types::limits::MAX_CHUNK_BYTES;

use crate::RequestKind;

/// What a peer takes on at once. Whatever is over a limit is refused, never queued without end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetLimits {
    /// Connections that others opened.
    pub inbound_connections: u32,
    /// Connections that others opened or are opening from one network: a /24 of IPv4, a /48 of
    /// IPv6. Private networks and this machine itself have no such limit.
    pub inbound_connections_per_network: u32,
    /// Connections that others are opening.
    pub pending_inbound_connections: u32,
    /// Connections that this peer opened.
    pub outbound_connections: u32,
    /// Connections with one peer, whoever opened them.
    pub connections_per_peer: u32,
    /// Requests of one connection that are answered at once; more are refused as busy.
    pub requests_per_connection: usize,
    /// Requests of all peers that are answered at once; more are refused as busy.
    pub requests: usize,
    /// Requests of one peer that are answered at once, over all its connections; more are refused
    /// as busy.
    pub requests_per_peer: usize,
    /// Bytes of bodies in memory, read or about to be sent.
    pub body_bytes: usize,
    /// Bytes of bodies in memory for the requests of one peer; more wait for one of them. At least
    /// one chunk.
    pub body_bytes_per_peer: usize,
    /// Requests on their way to one peer; more wait for one of them.
    pub outbound_per_peer: usize,
    /// Requests on their way to all peers; more wait for one of them.
    pub outbound: usize,
    /// Searches for peers that run at once; more wait for one of them.
    pub searches: usize,
}

impl Default for NetLimits {
    fn default() -> Self {
        Self {
            // 512 clients of one node at once; each costs some 100 KiB of buffers: 50 MiB.
            inbound_connections: 512,
            // A sixteenth of all.
            inbound_connections_per_network: 32,
            pending_inbound_connections: 128,
            // More than the peers of an upload of thousands of chunks in a large network.
            outbound_connections: 1_024,
            // Two sides that dial each other over two transports at once.
            connections_per_peer: 4,
            // A wave of 32 chunks for one peer: 128 MiB on one connection.
            requests_per_connection: 32,
            // Each may hold a window that is not yet read, up to 512 KiB: 128 MiB.
            requests: 256,
            // An eighth of all, and twice what an honest peer asks.
            requests_per_peer: 32,
            // 16 full chunks: at 1 Gbit/s a body is in memory for 34 ms, so 16 are far more than
            // a line can fill, and 64 MiB is what a small machine can spare.
            body_bytes: 16 * MAX_CHUNK_BYTES,
            // A quarter: a peer that takes its time leaves the others room.
            body_bytes_per_peer: 4 * MAX_CHUNK_BYTES,
            // Below `requests_per_connection`, so that an honest peer is never refused as busy.
            outbound_per_peer: 16,
            // 64 chunks to 5 peers.
            outbound: 320,
            // Each asks up to 20 peers.
            searches: 16,
        }
    }
}

/// How long things may take. Each is the time for the whole thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Opening a connection, with its handshakes.
    pub connect: Duration,
    /// A `Quote`, from its first byte to the last of the answer.
    pub quote: Duration,
    /// A `Put` or an `Offer`, with its body: 16 chunks side by side in 300 s are 1.8 Mbit/s.
    pub put: Duration,
    /// A `Get`, with its body.
    pub get: Duration,
    /// A `Has` or a `Wins`.
    pub has: Duration,
    /// How long a sender may be silent in the middle of a header or a body.
    pub stall: Duration,
    /// How long a peer may think before it takes the body or begins to answer. It judges a put in
    /// half of this.
    pub answer: Duration,
    /// A search for the peers nearest to an address.
    pub search: Duration,
    /// Finding the network through the bootstrap addresses.
    pub bootstrap: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// How long a shutdown waits for what is under way.
    pub drain: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            quote: Duration::from_secs(15),
            put: Duration::from_mins(5),
            get: Duration::from_mins(5),
            has: Duration::from_secs(15),
            stall: Duration::from_secs(10),
            answer: Duration::from_mins(1),
            search: Duration::from_secs(10),
            bootstrap: Duration::from_secs(20),
            idle: Duration::from_mins(1),
            drain: Duration::from_secs(5),
        }
    }
}

impl Deadlines {
    /// The longest that a request may take.
    pub(crate) fn longest(&self) -> Duration {
        self.quote.max(self.put).max(self.get).max(self.has)
    }

    /// How long a request of this kind may take.
    pub(crate) fn of(&self, kind: RequestKind) -> Duration {
        match kind {
            RequestKind::Quote => self.quote,
            RequestKind::Put | RequestKind::Offer => self.put,
            RequestKind::Get => self.get,
            RequestKind::Has | RequestKind::Wins => self.has,
        }
    }
}

/// Streams of request-response on one connection beyond [`NetLimits::requests_per_connection`],
/// for requests of our own and for those that are refused with words. Streams beyond are reset.
pub(crate) const SPARE_STREAMS: usize = 64;

/// Streams of one connection, of all protocols. Yamux gives each a window of at least 256 KiB.
pub(crate) const MAX_STREAMS: usize = 256;

/// How much of a TCP connection is read at once, in bytes. All inbound connections: 32 MiB.
pub(crate) const TCP_BUFFER_BYTES: usize = 64 * 1024;

/// What QUIC lets a peer send on one stream before it is read, in bytes. Over 100 ms that is
/// 5 MB/s a stream, and 16 chunks travel side by side.
pub(crate) const QUIC_STREAM_WINDOW: u32 = 512 * 1024;

/// What QUIC lets a peer send on one connection before it is read, in bytes: 48 streams. Puts wait
/// unread while they are judged, at most 32 by default; what they hold must not stop the others.
pub(crate) const QUIC_CONNECTION_WINDOW: u32 = 48 * QUIC_STREAM_WINDOW;

/// Memory for headers that are larger than the first step of reading them, in bytes, of all
/// connections. 16 MiB are 128 of the largest; when it is used up, large headers are refused as
/// busy, small ones (gets, and quotes for up to 100 chunks) are not.
pub(crate) const HEADER_BYTES: usize = 16 * 1024 * 1024;

/// Commands on their way to the actor. A caller waits when it is full.
pub(crate) const COMMAND_QUEUE: usize = 256;

/// Peers whose addresses are remembered after they were met, about 1 KiB each.
pub(crate) const ADDRESS_BOOK: usize = 4_096;

/// Addresses that are taken from one peer.
pub(crate) const ADDRESSES_PER_PEER: usize = 16;

/// Most peers that a search returns: Kademlia's bucket size.
pub(crate) const MAX_SEARCH_RESULTS: usize = 20;

/// How much longer QUIC waits before it dials, where TCP is on too: TCP, Noise and Yamux take
/// three round trips, so up to 80 ms of distance TCP comes first.
pub(crate) const QUIC_DELAY: Duration = Duration::from_millis(250);

/// How often the bootstrap addresses are dialled while no peer is known.
pub(crate) const BOOTSTRAP_INTERVAL: Duration = Duration::from_secs(2);

/// What a peer that is busy says to wait, in milliseconds.
pub(crate) const BUSY_MS: u32 = 1_000;

/// The least that a body must move in the mean, in bytes a second, with one stall to spare. A full
/// chunk takes at most 266 s, so nobody who meets the deadlines of puts and gets is given up.
pub(crate) const LEAST_RATE: u32 = 16 * 1024;

/// How much of a body is read or written at once, in bytes. Larger pieces make the tasks of other
/// streams wait, smaller ones cost calls.
pub(crate) const SLICE_BYTES: usize = 128 * 1024;
