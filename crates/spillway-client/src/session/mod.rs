//! Sessions: one upload's durable record, from before the first network message on.
//!
//! A session is a directory `sessions/<id>/`: `manifest` (what is uploaded; written once), `map`
//! (the data map of level 0; written once), `plan-<k>` (what is paid, with the quotes; written
//! once), `vault` (the vault's times; written once, before the first plan of a batch), `tx-<n>` (signed
//! bytes; written before they are sent) and `journal` (what happened since).
//! There is no other state. The work is driven by the pure [`Batch::step`].
//!
//! Sessions are found by their [`SessionKey`], which is made of contents and never of a path. Beside
//! the directories, `sessions/<key>.lock` is held while one process works on uploads of that key:
//! two processes never both start the same upload.
//!
//! What a crash leaves: a directory without a manifest never became a session and is removed by the
//! next start of the same upload; a torn tail of the journal is dropped; damage anywhere else stops
//! with the files left as they are.

mod batch;
mod checks;
mod dropped;
mod files;
mod follow;
mod foreign;
#[cfg(test)]
pub(crate) mod golden;
mod journal;
mod kept;
mod key;
mod manifest;
mod open;
mod receipts;
mod refunds;
mod regroup;
mod stage;
mod stakes;
mod unfinal;
mod vault_note;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use spillway_disk::{Disk, DiskError, FileLock, Overwrite, run};
use spillway_pay::{PaymentMode, Plan, SignedTx, Windows};
use spillway_types::{
    Atto, EvmAddress, PaymentId, Quote, UnixTime,
    limits::{CLOSE_GROUP, QUOTE_LIFETIME},
};

pub(crate) use batch::{Batch, Effect, Event, Priced};
pub(crate) use checks::{Checks, Found};
pub(crate) use files::{FileKind, MAX_FILE_BYTES, decode, encode};
pub(crate) use follow::goes_on_from;
pub(crate) use foreign::{Foreign, counted_elsewhere, foreign_plans, give_up_plan, planning_lock};
pub(crate) use journal::{Journal, MAX_JOURNAL_BYTES, Record};
pub(crate) use kept::{Kept, kept_proofs, receipts_of};
pub(crate) use key::{KeyParts, SessionKey};
pub(crate) use manifest::{ChunkInfo, Manifest, SourceNote};
pub(crate) use open::{
    KeyLock, SESSIONS, Snapshot, discard, free_id, hidden, is_there, list, load_ids, load_journal,
    load_manifest, load_records, lock_files, remove_leftover, resolve,
};
pub(crate) use receipts::{Vouchers, receipts_elsewhere, vouched_for};
pub(crate) use refunds::{BatchPaid, batches_paid, note};
pub(crate) use regroup::{even_parts, regroup};
pub(crate) use stakes::stakes;
pub(crate) use vault_note::VaultNote;

pub use stage::SessionStage;

use crate::Spend;

/// A chunk of the session: its place in the manifest's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ChunkIx(pub u32);

/// A plan of the session: the k of `plan-<k>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct PlanIx(pub u32);

/// A plan with what is needed to store its chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlanFile {
    pub plan: Plan,
    /// The session's chunk of each leaf; `None` for leaves of another session, whose plan this one
    /// has taken over because it pays for chunks of both.
    pub chunks: Vec<Option<ChunkIx>>,
    /// The quotes of each leaf, in share order.
    pub quotes: Vec<[Quote; CLOSE_GROUP]>,
}

impl PlanFile {
    /// Whether nobody takes its proof any more, whatever our clock shows: a clock that is ahead by as
    /// long as prices last gets no prices, so nothing could be paid again too early.
    pub(crate) fn is_over(&self, now: UnixTime) -> bool {
        self.plan.upload_by.saturating_add(QUOTE_LIFETIME) < now
    }

    /// The session's chunks that it pays for.
    pub(crate) fn own_chunks(&self) -> impl Iterator<Item = ChunkIx> + '_ {
        self.chunks.iter().copied().flatten()
    }
}

/// A plan that the vault has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PaidAt {
    /// The time of its block.
    pub recorded: UnixTime,
    /// What it has cost this session; nothing if another session has paid it.
    pub total: Atto,
}

/// What the journal says has happened.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says that one record is there")]
pub(crate) struct Progressed {
    /// Chunks with a quorum of receipts for this session's payments.
    pub stored: BTreeSet<ChunkIx>,
    /// The same by the payments that their receipts name.
    pub vouched: BTreeMap<PaymentId, BTreeSet<ChunkIx>>,
    /// Chunks that are open again: they were stored for payments which were dropped, and for no other, or
    /// the network was said to have them.
    pub reopened: BTreeSet<ChunkIx>,
    /// Chunks that the network had before.
    pub already: BTreeSet<ChunkIx>,
    /// Plans that are recorded on the chain, and when.
    pub paid: BTreeMap<PlanIx, PaidAt>,
    /// Plans whose record no reorganisation takes back any more.
    pub finals: BTreeSet<PlanIx>,
    /// Plans whose record was there and is gone.
    pub undone: BTreeSet<PlanIx>,
    /// Plans that can never be recorded any more.
    pub dropped: BTreeSet<PlanIx>,
    /// What comes back of batches whose claim window is over.
    pub refundable: BTreeMap<PlanIx, Atto>,
    /// Batches of which nothing more comes back, and what did.
    pub refunded: BTreeMap<PlanIx, Atto>,
    pub spend: Spend,
    pub finished: bool,
    /// Whether it is only done when it is verified. It may be finished all the same: then it was not
    /// asked for before.
    pub to_verify: bool,
    /// Stored chunks that were not found where they should be, when they were looked for last.
    pub missed: BTreeMap<ChunkIx, Miss>,
    pub verified: bool,
    /// Since when it goes on elsewhere.
    pub handed_over: Option<HandedOver>,
    /// Whether something of it came with an archive: what is said there of payments and of stored
    /// chunks counts only as far as wallet, peers and chain confirm it.
    pub imported: bool,
}

/// A chunk that was not found where it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Miss {
    /// How often, in all runs.
    pub attempt: u32,
    /// From when on it is looked at again.
    pub next: UnixTime,
}

/// A session goes on elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandedOver {
    pub at: UnixTime,
    /// Whether the archive that it goes on with is known to have got its name.
    pub exported: bool,
}

impl Progressed {
    /// What these records, which are all, have come to.
    pub(crate) fn of(records: &[Record]) -> Self {
        let mut progressed = Self::default();
        for record in records {
            progressed.apply(record);
        }
        progressed
    }

    pub(crate) fn is_done(&self, chunk: ChunkIx) -> bool {
        self.stored.contains(&chunk) || self.already.contains(&chunk)
    }

    /// How many chunks are done.
    pub(crate) fn done(&self) -> usize {
        self.stored.union(&self.already).count()
    }

    /// Whether it came with an archive and is another wallet's: nothing here relies on it.
    pub(crate) fn is_strange(&self, payer: EvmAddress, own: EvmAddress) -> bool {
        self.imported && payer != own
    }

    /// Whether what it says of payments and receipts is an archive's word alone: one that came to its end
    /// here was looked up on the chain, and what was stored before was looked for.
    pub(crate) fn is_hearsay(&self) -> bool {
        self.imported && !self.finished && !self.verified
    }

    /// The record of a plan is gone from the chain: it has cost nothing so far.
    pub(crate) fn undo(&mut self, plan: PlanIx) {
        if let Some(paid) = self.paid.remove(&plan) {
            self.spend.storage_cost = self.spend.storage_cost.saturating_sub(paid.total);
        }
    }

    /// The record of a plan is gone, and what was done because of it is looked at again.
    fn take_back(&mut self, plan: PlanIx) {
        let was_paid = self.paid.contains_key(&plan);
        self.undo(plan);
        if was_paid && self.finished {
            (self.finished, self.to_verify, self.verified) = (false, true, false);
        }
    }

    /// Takes one record in. Of several about gas the last one counts.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Stored { chunk, receipts } => {
                self.stored.insert(*chunk);
                for receipt in receipts {
                    self.vouched.entry(receipt.body.payment).or_default().insert(*chunk);
                }
            }
            Record::Already { chunk, .. } => {
                self.already.insert(*chunk);
            }
            Record::Paid { plan, recorded, total } => {
                self.undo(*plan);
                self.undone.remove(plan);
                self.paid.insert(*plan, PaidAt { recorded: *recorded, total: *total });
                self.spend.storage_cost = self.spend.storage_cost.saturating_add(*total);
            }
            Record::Gas { used, cost, tx_hashes } => {
                self.spend.gas_used = *used;
                self.spend.gas_cost = *cost;
                self.spend.tx_hashes.extend(tx_hashes);
            }
            Record::Dropped { plan } => {
                self.take_back(*plan);
                self.undone.remove(plan);
                self.dropped.insert(*plan);
            }
            Record::Finished => self.finished = true,
            Record::ToVerify => {
                self.to_verify = true;
                self.verified = false;
            }
            Record::Missed { chunk, attempt, next } => {
                self.missed.insert(*chunk, Miss { attempt: *attempt, next: *next });
            }
            Record::Verified => self.verified = true,
            Record::ClaimOver { plan, refundable } => {
                self.refunded.remove(plan);
                self.refundable.insert(*plan, *refundable);
                self.spend.refunded = self.refunded.values().copied().sum();
            }
            Record::Refunded { plan, amount } => {
                self.refunded.insert(*plan, *amount);
                self.spend.refunded = self.refunded.values().copied().sum();
            }
            Record::HandedOver { at, .. } => {
                self.handed_over = Some(HandedOver { at: *at, exported: false });
            }
            Record::Imported => self.import(),
            Record::Exported { .. } => {
                if let Some(handed_over) = &mut self.handed_over {
                    handed_over.exported = true;
                }
            }
            Record::Final { plan } => {
                self.finals.insert(*plan);
            }
            Record::Undone { plan } => {
                self.take_back(*plan);
                self.undone.insert(*plan);
            }
            Record::Reopened { chunk } => {
                self.already.remove(chunk);
                self.missed.remove(chunk);
                self.reopened.insert(*chunk);
                (self.finished, self.verified) = (false, false);
            }
        }
    }

    /// What stands in the journal until here was another's word.
    fn import(&mut self) {
        self.imported = true;
        self.finals.clear();
        // What is said to be stored is looked for, and so nothing is finished, either.
        self.to_verify |= !self.stored.is_empty();
        (self.finished, self.verified) = (false, false);
        self.already.clear();
        self.missed.clear();
        // The chain says it all again.
        self.undone.clear();
        self.refundable.clear();
        self.refunded.clear();
        self.spend.refunded = Atto::ZERO;
    }
}

/// A session that this process works on.
#[derive(Debug)]
pub(crate) struct Session {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    id: String,
    pub manifest: Manifest,
    pub plans: Vec<PlanFile>,
    pub txs: Vec<SignedTx>,
    pub vault: Option<VaultNote>,
    pub progressed: Progressed,
    held: Arc<Held>,
}

/// The journal and the lock. Every write holds it to its end: a write that its caller has given up
/// still runs, and no other process may read the session before it is done.
#[derive(Debug)]
struct Held {
    journal: Mutex<Journal>,
    _lock: Box<dyn FileLock>,
}

impl Held {
    /// Writes a new file of the session durably.
    async fn write(
        self: &Arc<Self>,
        disk: &Arc<dyn Disk>,
        path: PathBuf,
        bytes: Vec<u8>,
    ) -> Result<(), DiskError> {
        let held = Arc::clone(self);
        run(disk, move |disk| {
            let written = disk.write_durable(&path, &bytes, Overwrite::Never);
            drop(held);
            written
        })
        .await
    }
}

impl Session {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn plan(&self, plan: PlanIx) -> &PlanFile {
        &self.plans[plan.0 as usize]
    }

    pub(crate) fn chunk(&self, chunk: ChunkIx) -> &ChunkInfo {
        &self.manifest.chunks[chunk.0 as usize]
    }

    /// The plan that pays for a chunk. One that is not recorded holds its chunks until the chain
    /// says that it never will be; one that is, until its upload window is over: after that a chunk
    /// has to be paid for anew.
    pub(crate) fn plan_of(&self, now: UnixTime) -> BTreeMap<ChunkIx, PlanIx> {
        let mut plan_of = BTreeMap::new();
        for (plan, file) in self.numbered_plans() {
            let over = self.progressed.paid.contains_key(&plan) && file.is_over(now);
            if !over && !self.progressed.dropped.contains(&plan) {
                plan_of.extend(file.own_chunks().map(|chunk| (chunk, plan)));
            }
        }
        plan_of
    }

    /// The plans with their numbers.
    pub(crate) fn numbered_plans(&self) -> impl Iterator<Item = (PlanIx, &PlanFile)> {
        (0..).map(PlanIx).zip(&self.plans)
    }

    /// Whether the cost of every transaction that was signed is written down. One that was replaced
    /// by another of the same nonce never costs anything.
    pub(crate) fn gas_is_known(&self) -> bool {
        let nonces: BTreeSet<u64> = self.txs.iter().map(|tx| tx.nonce).collect();
        self.progressed.spend.tx_hashes.len() >= nonces.len()
    }

    /// Whether a transaction that pays this is signed. Those that came with an archive were checked
    /// then: this wallet has signed them.
    pub(crate) fn is_signed(&self, payment: PaymentId) -> bool {
        self.txs.iter().any(|tx| tx.purpose.pays(payment))
    }

    /// The payments that a reorganisation may still take back; see [`Snapshot::unfinal`].
    pub(crate) fn unfinal(&self, now: UnixTime) -> impl Iterator<Item = (PlanIx, &PlanFile)> {
        unfinal::unfinal((&self.plans, &self.txs), &self.progressed, now)
    }

    /// Plans that are recorded on the chain.
    pub(crate) fn paid_plans(&self) -> BTreeSet<PlanIx> {
        self.progressed.paid.keys().copied().collect()
    }

    /// How the plans that are recorded on the chain pay; `None` without any.
    pub(crate) fn payment_mode(&self) -> Option<PaymentMode> {
        let paid = self.progressed.paid.keys();
        paid.map(|plan| self.plan(*plan).plan.payment_mode()).reduce(PaymentMode::and)
    }

    /// Plans that this session has paid itself.
    pub(crate) fn paid_here(&self) -> impl Iterator<Item = PlanIx> + '_ {
        self.progressed
            .paid
            .iter()
            .filter(|(_, paid)| paid.total > Atto::ZERO)
            .map(|(plan, _)| *plan)
    }

    /// What was spent, with what of it are tips.
    pub(crate) fn spend(&self) -> Spend {
        let batches = self.paid_here().filter_map(|plan| self.plan(plan).plan.batch_terms());
        let tips = batches.map(|terms| terms.tips()).sum();
        Spend { tips, ..self.progressed.spend.clone() }
    }

    /// Chunks without a quorum of receipts, in order.
    pub(crate) fn open_chunks(&self) -> impl Iterator<Item = ChunkIx> + '_ {
        let count = u32::try_from(self.manifest.chunks.len());
        let count = count.expect("invariant: chunks are counted in 32 bits");
        (0..count).map(ChunkIx).filter(|&chunk| !self.progressed.is_done(chunk))
    }

    /// Writes records durably, then takes them in.
    pub(crate) async fn record(&mut self, records: Vec<Record>) -> Result<(), DiskError> {
        let held = Arc::clone(&self.held);
        let records = run(&self.disk, move |disk| {
            let mut journal = held.journal.lock().expect("invariant: no panic while it is written");
            journal.append(disk, &records)?;
            Ok(records)
        })
        .await?;
        for record in &records {
            self.progressed.apply(record);
        }
        if records.iter().any(|record| matches!(record, Record::Dropped { .. })) {
            self.progressed.open_dropped(&self.plans);
        }
        Ok(())
    }

    /// Writes a plan durably. Before the first plan of a batch, the vault's times: from then on the
    /// session says by itself when its draws are over.
    pub(crate) async fn add_plan(
        &mut self,
        file: PlanFile,
        windows: &Windows,
    ) -> Result<PlanIx, DiskError> {
        if self.vault.is_none() && file.plan.batch_terms().is_some() {
            let note = VaultNote::of(windows);
            let bytes = files::encode(FileKind::Vault, &note);
            self.held.write(&self.disk, self.dir.join(VaultNote::FILE), bytes).await?;
            self.vault = Some(note);
        }
        let plan =
            PlanIx(u32::try_from(self.plans.len()).expect("invariant: plans fit in 32 bits"));
        let path = self.dir.join(format!("plan-{}", plan.0));
        let bytes = files::encode(FileKind::Plan, &file);
        self.held.write(&self.disk, path, bytes).await?;
        self.plans.push(file);
        Ok(plan)
    }

    /// Where signed transactions go from here on.
    pub(crate) fn tx_writer(&self) -> TxWriter {
        TxWriter {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            next: self.txs.len(),
            held: Arc::clone(&self.held),
        }
    }
}

/// Writes signed transactions into a session before they are sent.
#[derive(Debug)]
pub(crate) struct TxWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    next: usize,
    held: Arc<Held>,
}

impl TxWriter {
    /// Writes one durably.
    pub(crate) async fn write(&mut self, tx: &SignedTx) -> Result<(), DiskError> {
        let path = self.dir.join(format!("tx-{}", self.next));
        let bytes = files::encode(FileKind::Tx, tx);
        self.held.write(&self.disk, path, bytes).await?;
        self.next += 1;
        Ok(())
    }
}
