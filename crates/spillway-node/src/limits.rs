//! What one node takes on at a time, with the arithmetic.

use std::time::Duration;

use spillway_types::{Atto, limits::MAX_CHUNK_BYTES};

pub use spillway_types::limits::TIP_GAS;

/// Puts of strangers that are judged at once, at most; most wait for the chain. Each holds a header,
/// 37 KiB with a full direct proof: 9.3 MiB. They hold none of the places below before they are
/// found paid for, so headers that cost nothing never keep out what was paid.
pub const MAX_JUDGED: usize = 2 * MAX_LOOKUPS;

/// Puts that are judged at once, beside those, for peers whose last payment was found recorded.
pub const MAX_TRUSTED_JUDGED: usize = 2 * MAX_TRUSTED_LOOKUPS;

/// The part of the puts that are judged at once that one peer may have: one in this many.
pub const JUDGED_PART_PER_PEER: usize = 4;

/// Puts that are awaited or stored at once, at most, all of them paid for. Each holds a header,
/// 37 KiB with a full direct proof: 4.6 MiB.
pub const MAX_PUTS: usize = 128;

/// Bytes of chunks that admitted puts may bring at once: 32 full chunks, 128 MiB. The network below
/// has a smaller budget of its own for what is really in memory; this one also bounds what is
/// promised to senders that have not sent yet.
pub const MAX_PUT_BYTES: u64 = 32 * MAX_CHUNK_BYTES as u64;

/// Puts of one peer at once: half of what the node takes, so that one peer never fills it alone.
pub const MAX_PUTS_PER_PEER: usize = MAX_PUTS / 2;

/// Bytes of chunks that admitted puts of one peer may bring at once: half of all, 16 full chunks.
/// A client has 6 chunks on their way at once.
pub const MAX_PUT_BYTES_PER_PEER: u64 = MAX_PUT_BYTES / 2;

/// Offers among those puts, at most: a quarter. Nobody pays this node for them, so they must not keep
/// out what is paid for.
pub const MAX_OFFERS: usize = MAX_PUTS / 4;

/// Bytes of chunks that admitted offers may bring at once, of those of puts: 8 full chunks.
pub const MAX_OFFER_BYTES: u64 = MAX_PUT_BYTES / 4;

/// Offers of one peer at once: half of those of all.
pub const MAX_OFFERS_PER_PEER: usize = MAX_OFFERS / 2;

/// Bytes of chunks that admitted offers of one peer may bring at once: 4 full chunks.
pub const MAX_OFFER_BYTES_PER_PEER: u64 = MAX_OFFER_BYTES / 2;

/// The least that a chunk is billed as, in bytes: what its record fills on a disk with blocks of
/// 4 KiB. The header (56 bytes) and the evidence of a batch's leaf (five quotes of 330, a leaf of 300
/// and a proof of up to 1,650) take 2 to 4 KiB with a chunk of one byte.
pub const LEAST_BILLED_BYTES: u32 = 4_096;

/// Chunks that are being read for others at once, at most.
pub const MAX_GETS: usize = 64;

/// Bytes of chunks that are being read for others at once: 16 full chunks, 64 MiB.
pub const MAX_GET_BYTES: u64 = 16 * MAX_CHUNK_BYTES as u64;

/// Chunks that are being read for one peer at once.
pub const MAX_GETS_PER_PEER: usize = MAX_GETS / 2;

/// Bytes of chunks that are being read for one peer at once: half of all, 8 full chunks. A client
/// fetches 8 at once, from all nodes together.
pub const MAX_GET_BYTES_PER_PEER: u64 = MAX_GET_BYTES / 2;

/// How long a peer is told to wait when the node is at a limit that clears in moments: about what
/// a few chunks take to be written.
pub const BUSY_RETRY: Duration = Duration::from_millis(500);

/// Prices that one peer may ask for in a second. One costs a signature, 20 µs: 1 % of a processor.
/// A client that uploads 1 GB/s asks each of 20 nodes for 120 a second.
pub const QUOTES_PER_SECOND: u32 = 512;

/// Prices that one peer may ask for at once, after a pause: 32 full requests.
pub const QUOTES_BURST: u32 = 4_096;

/// How much more all peers together may ask for than one: names of peers cost nothing, so a limit
/// for each alone would be none. 4,096 prices a second are 8 % of a processor.
pub const ALL_PEERS_FACTOR: u32 = 8;

/// Payments that nobody has recorded which one peer may make the node look up in a second.
pub const UNKNOWN_PAYMENTS_PER_SECOND: u32 = 1;

/// Unrecorded payments that one peer may make the node look up at once, after a pause. A client
/// that shows a payment one block too early does so once a chunk and try: a batch of 100 chunks has
/// 20 with each of 25 nodes.
pub const UNKNOWN_PAYMENTS_BURST: u32 = 64;

/// Unrecorded payments that all strangers together may make the node look up in a second, of the
/// several hundred that an RPC answers. A flood that is to keep new payers out must bring more puts
/// than that, with signed quotes, in every second.
pub const STRANGERS_PER_SECOND: u32 = 256;

/// Unrecorded payments of all strangers at once, after a pause.
pub const STRANGERS_BURST: u32 = 2_048;

/// Unrecorded payments, on top, for all the peers whose last payment was found recorded. Strangers
/// have no part in it, and one payment that nobody recorded makes a peer a stranger again: whoever
/// would use it up pays for every few (those of one peer at once).
pub const TRUSTED_PER_SECOND: u32 = 64;

/// Unrecorded payments of all those peers at once, after a pause.
pub const TRUSTED_BURST: u32 = 512;

/// Peers of which the node remembers that their last payment was found recorded, about 100 bytes
/// each.
pub const MAX_TRUSTED_PEERS: usize = 4_096;

/// Peers whose rates are remembered, about 150 bytes each.
pub const MAX_RATED_PEERS: usize = 4_096;

/// Questions to the chain at once for strangers: what an RPC that takes half a second can keep up
/// with at their rate.
pub const MAX_LOOKUPS: usize = 128;

/// Questions to the chain at once, beside those, for peers whose last payment was found recorded.
pub const MAX_TRUSTED_LOOKUPS: usize = 64;

/// The part of the questions at once that one peer may have: one in this many.
pub const LOOKUPS_PART_PER_PEER: usize = 4;

/// How long one question to the chain may take before the put is refused.
pub const LOOKUP_DEADLINE: Duration = Duration::from_secs(20);

/// Searches for the peers near a chunk that one peer may cause in a second. Only a put whose quoted
/// peers the node does not know causes one.
pub const SEARCHES_PER_SECOND: u32 = 1;

/// Searches that one peer may cause at once, after a pause.
pub const SEARCHES_BURST: u32 = 16;

/// Searches for the peers near a chunk at once, for all peers; each asks some 20 peers.
pub const MAX_SEARCHES: usize = 4;

/// Payments whose record is remembered, about 150 bytes each: 2.5 MiB. With 100 chunks a payment
/// that is 1.6 million chunks.
pub const MAX_KNOWN_PAYMENTS: usize = 16_384;

/// Stored chunks of which the node remembers, without reading its disk, for which payment it keeps
/// them; about 250 bytes each: 16 MiB.
pub const MAX_KEPT_IN_MEMORY: usize = 65_536;

/// The part of the free space that may be promised to quotes that nobody has paid: one in this
/// many. Quotes are free, so what they can hold must be bounded: see decision 0002.
pub const PROMISED_PART: u64 = 2;

/// The part of the promised space that one peer's quotes may hold: one in this many.
pub const PROMISED_PART_PER_PEER: u64 = 4;

/// Promises at once, about 400 bytes each: 26 MiB. Full chunks fill the promised half of 512 GiB
/// before.
pub const MAX_PROMISES: usize = 65_536;

/// Places of chunks that were paid for and whose puts came to nothing, set aside at once until their
/// upload windows end; about 400 bytes each: 26 MiB. One more is not set aside. Whoever fills it has
/// paid the node for 65,536 chunks.
pub const MAX_PAID_PLACES: usize = 65_536;

/// How long a shutdown waits for what is under way.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// How often the node asks for the chain's time when nothing else is said: about a block of a
/// public chain.
pub const DEFAULT_HEAD_POLL: Duration = Duration::from_secs(12);

/// After how many such times without an answer the node sells nothing more: a minute by default, a
/// few blocks or one bad moment of an RPC. Never sooner than [`LOOKUP_DEADLINE`], which one answer
/// may take.
pub const SILENT_POLLS: u32 = 5;

/// How many halves of an epoch the beacon's newest seed may be old for batches to be quoted: half an
/// epoch less than when a batch is recorded
/// ([`MAX_BEACON_LAG_EPOCHS`](spillway_types::limits::MAX_BEACON_LAG_EPOCHS)), so that what is paid by a
/// quote while it lasts, an hour, is recorded in time. A beacon on time is never older than one epoch.
pub const QUOTED_BEACON_LAG_HALVES: u32 = 3;

/// The largest prize of a draw that a node with a token rate takes when nothing else is said: 10 tokens. A draw for
/// 256 full chunks at the highest that the default price becomes, 20 times its base, pays 1 token;
/// ten times that leaves room for batches with fewer draws, and bounds what hangs on one draw. Who
/// asks a much higher price must allow larger prizes.
pub const DEFAULT_MAX_PRIZE: Atto = Atto(10_000_000_000_000_000_000);

/// Leaves of batches that wait for their draw, in memory: about 250 bytes each, 64 MiB. With full
/// chunks they are 1 TiB. When there are more, those stay out that pay the node the least, and are
/// found by walking the store when others are drawn.
pub const MAX_INDEXED_LEAVES: usize = 262_144;

/// Chunks whose evidence is read between two looks at the list of chunks while the store is walked.
pub const WALK_STEP: usize = 256;

/// How long the store's walk waits to be repeated when something could not be read; twice as long each
/// time.
pub const WALK_RETRY: Duration = Duration::from_mins(1);

/// The longest such wait: a sector that stays bad costs four walks a day.
pub const WALK_RETRY_MOST: Duration = Duration::from_hours(6);

/// Longest file of a further proof or of a win, in bytes: the largest has 32 levels of 47 bytes and
/// 307 of leaf, terms and frame.
pub const MAX_PROOF_FILE_BYTES: u64 = 2_048;

/// Further proofs that are kept for chunks that are stored already. Each of them was paid the node's
/// price for its chunk, so whoever would fill this pays for it; when it is full, those go that pay
/// the node the least.
pub const MAX_FURTHER_PROOFS: usize = 16_384;

/// Further proofs that are written at once, at most: each waits for two syncs of the disk, and one
/// after the other they would be some hundred a second.
pub const FURTHER_WRITERS: usize = 4;

/// Bytes that further proofs and wins fill on the disk, at most, in files of one block of 4 KiB each:
/// 128 MiB. They are not counted as chunks are; the node's chunks leave as much free on the disk.
pub const BATCH_FILES_BYTES: u64 = (MAX_FURTHER_PROOFS + MAX_WINS) as u64 * 4_096;

/// Wins that are noted, on disk and in memory, at most 2 KiB each: 32 MiB. When there are more,
/// those go that pay the node the least. One batch of 4,096 full chunks has 16.
pub const MAX_WINS: usize = 16_384;

/// Questions for seeds after one look at the head, one after the other. All draws of one epoch of the
/// beacon have one seed.
pub const MAX_SEED_QUESTIONS: usize = 16;

/// Seeds that are remembered, about 100 bytes each.
pub const MAX_SEEDS: usize = 1_024;

/// Batches of which the chain is asked, after one look at the head, which draws are settled; one
/// after the other, all in turn. With the most wins that there may be, each in a batch of its own,
/// and the default poll, each is asked after in 3.4 hours, of a claim window of weeks.
pub const MAX_SETTLED_QUESTIONS: usize = 16;

/// Pages of wins that one peer may ask for in a second; one is 92 KiB at most.
pub const WINS_PAGES_PER_SECOND: u32 = 4;

/// Pages of wins that one peer may ask for at once, after a pause: 3,072 wins. For as many as there
/// may be, 342 pages, it waits 70 s. Strangers share [`ALL_PEERS_FACTOR`] times as much, and the peers
/// whose last payment was found recorded as much again.
pub const WINS_PAGES_BURST: u32 = 64;
