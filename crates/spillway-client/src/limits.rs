//! What one client does at a time, with the arithmetic.

use std::time::Duration;

use spillway_types::limits;

/// Segments that are read, hashed or sealed at once. Each holds a segment, its compressed form and
/// its chunk: 4 × 12 MiB = 48 MiB.
pub(crate) const SEAL_WORKERS: usize = 4;

/// Chunks that are being stored at once. Each holds one chunk, which its five puts share, and the
/// transport's copies in flight: 6 × 4 MiB of chunks and 6 × 5 × 256 KiB of windows, 32 MiB.
pub(crate) const STORE_WORKERS: usize = 6;

/// What the transport holds of a chunk on its way to five peers: a window of 256 KiB each.
pub(crate) const WINDOWS_BYTES: u64 = 5 * 256 * 1024;

/// Chunks that are being fetched at once, over all downloads, until they are on the disk. Each holds
/// one chunk and its plaintext: 8 × 8 MiB.
pub(crate) const FETCH_WORKERS: usize = 8;

/// Look-ups of close groups at once.
pub(crate) const LOOKUP_WORKERS: usize = 16;

/// Quote requests on their way at once.
pub(crate) const QUOTE_WORKERS: usize = 32;

/// Batches that are priced at once.
pub(crate) const QUOTE_BATCHES: usize = 2;

/// Peers that are asked for one chunk before it counts as not found.
pub(crate) const FETCH_PEERS: usize = 10;

/// How often a batch is priced again when too few peers answer well.
pub(crate) const QUOTE_ATTEMPTS: usize = 3;

/// Payments that were reported and not taken in yet.
pub(crate) const PAID_QUEUE: usize = 16;

/// Room on disk beyond the sealed chunks, in bytes: session files and the data map.
pub(crate) const DISK_MARGIN_BYTES: u64 = 16 * 1024 * 1024;

/// The rate that an upload window assumes when nothing was measured: 1 MiB/s, a slow home line.
pub(crate) const ASSUMED_BYTES_PER_SECOND: u64 = 1024 * 1024;

/// How often a lock that others hold for moments is asked for.
pub(crate) const LOCK_ATTEMPTS: usize = 20;

/// How long between two attempts: 20 × 50 ms is a second in all.
pub(crate) const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// How long the remaining peers are waited for when a quorum has stored a chunk.
pub(crate) const QUORUM_GRACE: Duration = Duration::from_secs(5);

/// How long a node may be behind the chain and not see a payment yet: five blocks of 12 s.
pub(crate) const LAG_PATIENCE: Duration = Duration::from_mins(1);

/// The longest pause that a peer may ask for with `Busy`.
pub(crate) const MAX_PEER_PAUSE: Duration = Duration::from_secs(10);

/// The deepest confirmation that a quote may ask for: finality of today's chains is less.
pub(crate) const MAX_CONFIRMATIONS: u16 = 64;

/// How long a price must hold at least when it arrives: half of what nodes promise. It is the time to
/// ask for the others, to show them, and to pay plan after plan.
pub(crate) const MIN_QUOTE_LIFETIME: Duration =
    Duration::from_secs(limits::QUOTE_LIFETIME.as_secs() / 2);

/// Gas that costs no more than this part more than a user has agreed to counts as agreed: an eighth, what
/// the base fee may rise in one block (EIP-1559).
pub(crate) const GAS_GUESS: u128 = 8;

/// How much of a plan's time must be left when its payment begins.
pub(crate) const MIN_TIME_TO_PAY: Duration = Duration::from_mins(1);

/// How long one peer is waited for before the next is asked for the same chunk, too: 4 MiB over a
/// line of 10 Mbit/s.
pub(crate) const FETCH_PATIENCE: Duration = Duration::from_secs(4);

/// Peers that are asked for one chunk at once, at most. Eight fetches of three hold 96 MiB in the
/// worst case.
pub(crate) const FETCH_HEDGES: usize = 3;

/// Pages of wins that one node is asked for: 1,024 × 48 draws are those of twelve million chunks.
pub(crate) const MAX_WINS_PAGES: usize = 1_024;

/// Wins that are gathered before they are settled: each has up to 32 levels of 72 bytes, a leaf of
/// 272 and terms of 120, so 4,096 take 11 MiB.
pub(crate) const SETTLE_ROUND: usize = 4_096;

/// How long a node that is busy is waited for in all, while its wins are gathered. It tells 4 pages of
/// 48 a second: the most that it may keep, 16,384 wins, take 70 s.
pub(crate) const BUSY_PATIENCE: Duration = Duration::from_mins(2);

/// The least that is waited for a busy node, whatever it says: so it is asked 1,200 times at most.
pub(crate) const LEAST_BUSY_WAIT: Duration = Duration::from_millis(100);

/// Seeds that nodes have named and that the chain is asked for, at most: with one a day, twice those
/// of a claim window of 30 days.
pub(crate) const MAX_NAMED_SEEDS: usize = 64;

/// Uploads of one process that have begun, also those that wait for their users' answers. Others wait
/// before they read their source: each that has begun holds its list of chunks, prices and plans, about
/// 8 KiB a leaf of the batch that is planned, so 16 × 4,096 × 8 KiB = 512 MiB with full batches of the
/// default size, and 2 MiB for a file of 1 GiB.
pub(crate) const BEGUN_UPLOADS: u32 = 16;

/// Uploads of one process that have begun and do not wait for their users: as many as share the other
/// limits at once.
pub(crate) const ACTIVE_UPLOADS: u32 = 4;

/// Sessions that go on at once with what an earlier run has planned or paid: each holds its list of
/// chunks and its plans, about 2 KiB a leaf, 4 × 8 MiB = 32 MiB with a full batch of the default size.
pub(crate) const ACTIVE_RESUMES: u32 = 4;

/// Streams that are read at once. Each has the segment that it reads, 8 × 4 MiB = 32 MiB beside
/// [`HELD_KIBIBYTES`], and one of the runtime's threads for what blocks, of which tokio has 512.
pub(crate) const ACTIVE_STREAMS: u32 = 8;

/// Downloads of one process that have begun. Each holds its data map, of a directory the manifest, of
/// at most 256 MiB, and for a stream what waits for its turn: 4 × 8 × 4 MiB = 128 MiB.
pub(crate) const ACTIVE_DOWNLOADS: u32 = 4;

/// Chunks that are being verified at once. Most are only asked for; a sample is fetched, 4 MiB each.
pub(crate) const VERIFY_WORKERS: usize = 8;

/// Stored chunks of an upload that are asked for together, at most: a group takes what has come since
/// the last one.
pub(crate) const CHECK_GROUP: usize = 64;

/// Groups of one upload that are asked for at once.
pub(crate) const CHECK_GROUPS: usize = 2;

/// Missed chunks of one upload that wait or are stored again at once; each holds a chunk.
pub(crate) const MENDS: usize = 4;

/// Of one in this many stored chunks every copy is fetched and hashed while an upload is verified: with
/// five copies each, a third of the upload's size.
pub(crate) const CHECK_READS: u32 = 16;

/// Missed chunks whose proofs and receipts are looked for together. Each has up to three proofs of
/// 4 KiB, or five receipts: 2,048 × 12 KiB = 24 MiB.
pub(crate) const LOOKED_UP: usize = 2_048;

/// Proofs of one chunk that are tried one after the other: one that nodes do not take, in an open window or
/// not, leaves two others.
pub(crate) const CHUNK_PROOFS: usize = 3;

/// How often a chunk that was missed is looked at again in one run.
pub(crate) const CHECK_ATTEMPTS: u32 = 4;

/// How long a chunk that was missed once is left alone; twice as long each time.
pub(crate) const CHECK_BACKOFF: Duration = Duration::from_secs(2);

/// The longest that it is left alone.
pub(crate) const CHECK_BACKOFF_MOST: Duration = Duration::from_mins(1);

/// Chunks whose copies are counted together: one `Has` a peer. Each has five peers of 32 bytes.
pub(crate) const VERIFY_WINDOW: usize = limits::MAX_HAS_ITEMS;

/// The part of the chunks whose copies are read by default, in percent.
pub(crate) const READ_PERCENT: u8 = 5;

/// Chunks that one call of `verify` repairs, at most, and that its report names: each needs its leaf,
/// five quotes and a proof, 4 KiB together, so 32 MiB, for 32 GiB of full chunks, and three times that if
/// each has [`CHUNK_PROOFS`].
pub(crate) const MAX_REPAIRS: usize = 8_192;

/// Segments and chunks in memory, in KiB: 160 MiB. All workers of one upload at their most hold 48 MiB
/// to seal, then 32 MiB to store and as much to verify; eight fetches 64 MiB, or 96 MiB with all hedges.
pub(crate) const HELD_KIBIBYTES: u32 = 160 * 1024;

/// Batches that the journals say are refunded and that the chain is asked about once more, at most,
/// unless their session is named: two questions each, eight at a time, take 26 s at 0.1 s an answer.
pub(crate) const MAX_LOOKED_AT_AGAIN: usize = 1_024;
