//! Every limit and number of the protocol, in one place, each with its reason.

use std::time::Duration;

/// Largest sealed chunk, in bytes: 4 MiB.
pub const MAX_CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// What sealing adds to a segment, in bytes: 12 of nonce, 16 of tag, 1 flag.
pub const SEAL_OVERHEAD_BYTES: usize = 12 + 16 + 1;

/// Largest plaintext segment, in bytes: a chunk less what sealing adds.
pub const SEGMENT_BYTES: usize = MAX_CHUNK_BYTES - SEAL_OVERHEAD_BYTES;

/// Peers that are paid for and hold a chunk: the nearest by XOR distance.
pub const CLOSE_GROUP: usize = 5;

/// Peers that are asked for a quote: twice the close group, so that five may fail.
pub const QUOTE_PEERS: usize = 2 * CLOSE_GROUP;

/// Receipts that make a chunk stored: 3 of the close group of 5.
pub const STORE_QUORUM: usize = 3;

/// How many of a leaf's quoted peers a node must find among the nearest that it knows.
pub const KNOWN_QUOTED_PEERS: usize = 4;

/// How many nearest peers a node looks at for that: the bucket size of Kademlia.
pub const NEIGHBOURHOOD: usize = 20;

/// Leaves of one direct transaction: 100 leaves are 500 entries, near 3 M gas.
pub const MAX_DIRECT_LEAVES: usize = 100;

/// Entries of one direct transaction: a leaf has one a payee.
pub const MAX_DIRECT_ENTRIES: usize = MAX_DIRECT_LEAVES * CLOSE_GROUP;

/// Items in one quote request.
pub const MAX_QUOTE_ITEMS: usize = 128;

/// Addresses in one `Has` request.
pub const MAX_HAS_ITEMS: usize = 1024;

/// Peers that a put may be relayed to: the close group less the one that is asked.
pub const MAX_RELAY_PEERS: usize = CLOSE_GROUP - 1;

/// Header of a request or response, in bytes: 128 KiB. The largest is a quote response: 128
/// answers of at most 300 bytes of quote and 300 of receipt, 75 KiB. A put with a full direct proof
/// has 500 entries of at most 71 bytes and five quotes, 37 KiB.
pub const MAX_HEADER_BYTES: usize = 128 * 1024;

/// Levels of a Merkle-sum proof.
pub const MAX_PROOF_DEPTH: usize = 32;

/// Draws of one batch: one bit each in the vault's record, beside 40 bits of time.
pub const MAX_DRAWS: usize = 200;

/// Leaves a draw, about: what a draw costs to settle is then small beside what it pays.
pub const LEAVES_PER_DRAW: usize = 256;

/// Leaves of one batch when nothing else is said: 16 GiB of chunks, 16 draws.
pub const DEFAULT_BATCH_LEAVES: usize = 4_096;

/// Leaves of one batch at most, so that its plan with all quotes stays below 128 MiB: a leaf with
/// its five quotes takes at most 1,700 bytes.
pub const MAX_BATCH_LEAVES: usize = 65_536;

/// Batches that one transaction commits: 64 × 30k gas are 2 M, well below a block.
pub const MAX_COMMITS: usize = 64;

/// Draws that one transaction settles: 64 × 60k gas are 4 M, and 64 × 150k, when all payees are new to
/// the vault, 9.6 M: below the 16.8 M (2^24) that a transaction may use (EIP-7825).
pub const MAX_SETTLES: usize = 64;

/// Gas that settling one draw of many takes, at most; measured are 52,000 to 54,000 for each of 16.
pub const SETTLE_GAS: u64 = 60_000;

/// Gas that settling the only draw of a batch takes, at most, in a batch of up to
/// [`LEAVES_PER_DRAW`] leaves whose payees the vault has credited before; measured are 90,000 with one
/// leaf and 99,600 with 256. Every level of the tree is 1,200, every payee who was never credited
/// 17,100 more.
pub const SETTLE_ALONE_GAS: u64 = 100_000;

/// Gas that makes one seed of a public beacon known: measured are 193,794 for a signature of drand.
pub const SEED_GAS: u64 = 194_000;

/// Draws that share one seed in the tip that a node asks: those of one full transaction of
/// settlements ([`MAX_SETTLES`]), so that whoever posts a day's seed and settles one such transaction
/// has his money back. They are the draws of 64 GiB.
pub const DRAWS_PER_SEED: u64 = MAX_SETTLES as u64;

/// Gas that the tip of one draw pays for: one and a half of what settling it takes when it is alone
/// (150,000), so that it still pays when gas has become dearer until the draw, or two of its payees
/// are new to the vault; and its part of a seed (3,032). A draw that shares its transaction takes
/// half as much. What a rollup takes for publishing a transaction, beside gas, is not in it: where
/// that is much, the operator's rate must allow for it. See decision 0012.
pub const TIP_GAS: u64 = SETTLE_ALONE_GAS * 3 / 2 + SEED_GAS.div_ceil(DRAWS_PER_SEED);

/// Wins in one answer. The largest has 32 levels of 51 bytes and a leaf and terms of 300:
/// 48 × 1.9 KiB are 92 KiB, below [`MAX_HEADER_BYTES`].
pub const MAX_WINS_ITEMS: usize = 48;

/// Seeds that a node names as awaited in one answer: with one a day, those of half of a claim window
/// of 30 days. They take 160 bytes at most.
pub const MAX_AWAITED_SEEDS: usize = 16;

/// How long after the upload window a vault must draw at least for nodes to take batches: the seed may
/// not be known to anybody while a node with a slow clock, on a chain that is late, still takes chunks.
/// Three times [`MAX_CLOCK_SKEW`].
pub const MIN_DRAW_DELAY: Duration = Duration::from_mins(15);

/// How many epochs the beacon's newest seed may be old, when a batch is recorded, for nodes to take it.
pub const MAX_BEACON_LAG_EPOCHS: u32 = 2;

/// How often a failed store is tried again, and how long before each, without jitter.
pub const RETRY_DELAYS: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// How long a quote binds the node that signed it.
pub const QUOTE_LIFETIME: Duration = Duration::from_hours(1);

/// How much earlier than the first quote's end a plan ends, so that the payment's block time is
/// still inside every quote.
pub const PLAN_MARGIN: Duration = Duration::from_mins(5);

/// How far a peer's clock may be ahead of ours in a quote or a receipt.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_mins(5);

/// The least time that a client plans for an upload. The vault takes shorter windows: 15 minutes.
pub const MIN_UPLOAD_WINDOW: Duration = Duration::from_hours(24);

/// Longest upload window that the vault takes.
pub const MAX_UPLOAD_WINDOW: Duration = Duration::from_hours(14 * 24);

/// How many times the median of the answers a price may be before the quote is dropped.
pub const DEFAULT_PRICE_CAP_FACTOR: u32 = 10;

/// Depth of data maps of data maps that a reader follows. Each level holds at least 30,000
/// entries in a full chunk, so three are more than any file; the rest is headroom.
pub const MAX_DATA_MAP_DEPTH: u8 = 8;
