use std::time::Duration;

use spillway_pay::{ModeReason, PaymentMode};
use spillway_types::{Atto, ChunkAddress, Domain, PaymentId, TxHash, UnixTime, Wei};

/// What an upload has spent, earlier runs of its session included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// What the vault took, the tips of batches included.
    pub storage_cost: Atto,
    /// What of that are tips for whoever settles batches.
    pub tips: Atto,
    /// What of `storage_cost` came back, because nobody claimed it.
    pub refunded: Atto,
    /// Gas used, an approval included.
    pub gas_used: u64,
    /// What that gas cost.
    pub gas_cost: Wei,
    /// Every transaction that was mined.
    pub tx_hashes: Vec<TxHash>,
}

impl Spend {
    /// What storing has cost in the end, gas apart: what the vault took less what came back.
    pub fn net_storage_cost(&self) -> Atto {
        self.storage_cost.saturating_sub(self.refunded)
    }
}

/// A finished upload: every chunk has receipts of at least three of its close group.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// The session's name.
    pub upload_id: String,
    /// Plaintext bytes of the source.
    pub bytes: u64,
    /// Chunks of the upload, data maps included.
    pub chunks_total: u64,
    /// Chunks that this session stored.
    pub chunks_stored: u64,
    /// Chunks that the network had already.
    pub chunks_already_stored: u64,
    /// How was paid in fact, earlier runs of the session included; `None` when there was nothing to
    /// pay.
    pub payment_mode: Option<PaymentMode>,
    /// Why this run chose how to pay, in rounds the last of them; `None` when it had nothing to choose.
    pub mode_reason: Option<ModeReason>,
    /// What was spent.
    pub spend: Spend,
    /// The bytes of the `.datamap` file; `None` for a single raw chunk.
    pub data_map: Option<Vec<u8>>,
    /// Where the public data map or the raw chunk is.
    pub public_address: Option<ChunkAddress>,
    /// Files of a directory that were not uploaded because they are devices, sockets or pipes.
    pub skipped: Vec<std::path::PathBuf>,
    /// Whether every chunk was verified after it was stored ([`crate::VerifyUpload::Wait`]).
    pub verified: bool,
    /// How long this run took.
    pub elapsed: Duration,
}

/// What an upload would cost.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Plaintext bytes of the source.
    pub bytes: u64,
    /// Chunks of the upload, data maps included.
    pub chunks_total: u64,
    /// The offer.
    pub offer: crate::Offer,
}

/// A finished download.
#[derive(Clone, Debug)]
pub struct Downloaded {
    /// Plaintext bytes written.
    pub bytes: u64,
    /// Chunks fetched, data maps included.
    pub chunks: u64,
    /// Segments that were there from an earlier download, verified and not fetched. A chunk is one
    /// segment, so of all segments these are the ones that `chunks` does not count.
    pub chunks_resumed: u64,
    /// Their plaintext bytes; of a directory, its manifest included.
    pub bytes_resumed: u64,
    /// Files written: one, or those of a directory.
    pub files: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// One session on disk.
#[derive(Clone, Debug, Default)]
pub struct SessionStatus {
    /// Its name.
    pub id: String,
    /// When it was started.
    pub created: UnixTime,
    /// What is uploaded, as its user named it.
    pub source: String,
    /// Plaintext bytes of the source.
    pub bytes: u64,
    /// Chunks in all.
    pub chunks_total: u64,
    /// Chunks that are paid for by this session: stored, or with time left to be stored.
    pub chunks_paid: u64,
    /// Chunks that were paid for and not stored before their window was over: going on pays for
    /// them anew.
    pub chunks_lapsed: u64,
    /// Chunks with a quorum of receipts.
    pub chunks_stored: u64,
    /// What was spent so far.
    pub spend: Spend,
    /// When the first paid, unstored chunk can no longer be stored. It may be past: for
    /// [`QUOTE_LIFETIME`](spillway_types::limits::QUOTE_LIFETIME) after it the session waits, and
    /// pays for nothing anew.
    pub upload_by: Option<UnixTime>,
    /// The batches that this session has paid, or may have.
    pub batches: Vec<BatchStatus>,
    /// Whether everything is stored.
    pub finished: bool,
    /// When it was handed over, if it was: nothing goes on here.
    pub handed_over: Option<UnixTime>,
    /// Where it is.
    pub stage: crate::SessionStage,
    /// What would be lost with it: paid and not stored, perhaps paid, and what may come back, with
    /// when. Of a session that was handed over, the archive has it.
    pub stakes: crate::Stakes,
    /// Payments whose signed bytes are here and that were not seen final: a reorganisation may take
    /// them back. [`Client::resume`](crate::Client::resume) looks, and sends the same bytes again then.
    /// Those whose upload window is over do not count: nobody takes chunks for them any more.
    pub payments_not_final: u64,
    /// When the last upload window ends of what it has paid. Until then its proofs store again what
    /// nodes have lost, for nothing. `None`: nothing was paid, or all are over, by
    /// [`QUOTE_LIFETIME`](spillway_types::limits::QUOTE_LIFETIME).
    pub proofs_until: Option<UnixTime>,
    /// Whether a process works on it now.
    pub running: bool,
    /// Why its files cannot be read, if so; everything else is empty then.
    pub damage: Option<String>,
}

impl SessionStatus {
    /// Whether nothing is left to do or to come back: everything is stored, and every draw of its
    /// batches is settled or refunded as far as this disk knows. Until then it is worth listing.
    pub fn is_over(&self) -> bool {
        self.finished && self.batches.iter().all(|batch| batch.refunded.is_some())
    }
}

/// One batch payment of a session, from disk alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchStatus {
    /// The vault's id of it.
    pub payment: PaymentId,
    /// Where it was paid: the chain that knows of it, and its vault.
    pub domain: Domain,
    /// When the vault recorded it. `None`: the payment was signed, and this disk does not know
    /// whether it came about; going on with the upload or asking the chain tells.
    pub recorded: Option<UnixTime>,
    /// Until when its chunks may be stored.
    pub upload_by: UnixTime,
    /// After this the seed becomes public that draws the winners.
    pub draw_time: Option<UnixTime>,
    /// From when on what nobody has claimed can be had back.
    pub refundable_from: Option<UnixTime>,
    /// How many leaves are drawn.
    pub draws: u8,
    /// What the vault took, or would have, and so the most that may come back.
    pub escrow: Atto,
    /// What may come back: what the chain said when the claim window was over, so that nothing of it
    /// can be settled any more. `None`: nobody has asked since; it is the escrow at most.
    pub refundable: Option<Atto>,
    /// What came back. `None`: there may be more to come; then nodes may still claim it, too.
    pub refunded: Option<Atto>,
}
