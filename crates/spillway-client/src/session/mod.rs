//! Sessions: one upload's durable record, from before the first network message on.
//!
//! A session is a directory `sessions/<id>/`: `manifest` (what is uploaded; written once), `map`
//! (the data map of level 0; written once), `plan-<k>` (what is paid, with the quotes; written
//! once), `tx-<n>` (signed bytes; written before they are sent) and `journal` (what happened since).
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
mod files;
#[cfg(test)]
mod golden;
mod journal;
mod key;
mod manifest;
mod open;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use spillway_disk::{Disk, DiskError, FileLock, Overwrite, run};
use spillway_pay::{Plan, SignedTx};
use spillway_types::{Quote, UnixTime, limits::CLOSE_GROUP};

pub(crate) use batch::{Batch, Effect, Event, Priced};
use files::FileKind;
use journal::Journal;
pub(crate) use journal::Record;
pub(crate) use key::{KeyParts, SessionKey};
pub(crate) use manifest::{ChunkInfo, Manifest, SourceNote};
pub(crate) use open::{KeyLock, Snapshot, list};

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
    /// The chunks, in the order of the plan's leaves.
    pub chunks: Vec<ChunkIx>,
    /// The quotes of each leaf, in share order.
    pub quotes: Vec<[Quote; CLOSE_GROUP]>,
}

/// What the journal says has happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progressed {
    /// Chunks with a quorum of receipts for this session's payments.
    pub stored: BTreeSet<ChunkIx>,
    /// Chunks that the network had before.
    pub already: BTreeSet<ChunkIx>,
    /// Plans that are recorded on the chain, and when.
    pub paid: BTreeMap<PlanIx, UnixTime>,
    /// Plans that can never be recorded any more.
    pub dropped: BTreeSet<PlanIx>,
    pub spend: Spend,
    pub finished: bool,
}

impl Progressed {
    pub(crate) fn is_done(&self, chunk: ChunkIx) -> bool {
        self.stored.contains(&chunk) || self.already.contains(&chunk)
    }

    /// Takes one record in. Of several about gas the last one counts.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Stored { chunk, .. } => {
                self.stored.insert(*chunk);
            }
            Record::Already { chunk, .. } => {
                self.already.insert(*chunk);
            }
            Record::Paid { plan, recorded, total } => {
                if self.paid.insert(*plan, *recorded).is_none() {
                    self.spend.storage_cost = self.spend.storage_cost.saturating_add(*total);
                }
            }
            Record::Gas { used, cost, tx_hashes } => {
                self.spend.gas_used = *used;
                self.spend.gas_cost = *cost;
                self.spend.tx_hashes.clone_from(tx_hashes);
            }
            Record::Dropped { plan } => {
                self.dropped.insert(*plan);
            }
            Record::Finished => self.finished = true,
        }
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
    pub progressed: Progressed,
    journal: Arc<Mutex<Journal>>,
    _lock: Box<dyn FileLock>,
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

    /// The plan that pays for a chunk: not one that was dropped, and not one whose upload window is
    /// over, after which the chunk has to be paid for anew.
    pub(crate) fn plan_of(&self, now: UnixTime) -> BTreeMap<ChunkIx, PlanIx> {
        let mut plan_of = BTreeMap::new();
        for (k, file) in self.plans.iter().enumerate() {
            let plan = PlanIx(u32::try_from(k).expect("invariant: plans are counted in 32 bits"));
            if !self.progressed.dropped.contains(&plan) && file.plan.upload_by >= now {
                plan_of.extend(file.chunks.iter().map(|&chunk| (chunk, plan)));
            }
        }
        plan_of
    }

    /// Plans that are recorded on the chain.
    pub(crate) fn paid_plans(&self) -> BTreeSet<PlanIx> {
        self.progressed.paid.keys().copied().collect()
    }

    /// Chunks without a quorum of receipts, in order.
    pub(crate) fn open_chunks(&self) -> impl Iterator<Item = ChunkIx> + '_ {
        let count = u32::try_from(self.manifest.chunks.len());
        let count = count.expect("invariant: chunks are counted in 32 bits");
        (0..count).map(ChunkIx).filter(|&chunk| !self.progressed.is_done(chunk))
    }

    /// Writes records durably, then takes them in.
    pub(crate) async fn record(&mut self, records: Vec<Record>) -> Result<(), DiskError> {
        let journal = Arc::clone(&self.journal);
        let records = run(&self.disk, move |disk| {
            let mut journal = journal.lock().expect("invariant: no panic while it is written");
            journal.append(disk, &records)?;
            Ok(records)
        })
        .await?;
        for record in &records {
            self.progressed.apply(record);
        }
        Ok(())
    }

    /// Writes a plan durably.
    pub(crate) async fn add_plan(&mut self, file: PlanFile) -> Result<PlanIx, DiskError> {
        let plan =
            PlanIx(u32::try_from(self.plans.len()).expect("invariant: plans fit in 32 bits"));
        let path = self.dir.join(format!("plan-{}", plan.0));
        let bytes = files::encode(FileKind::Plan, &file);
        run(&self.disk, move |disk| disk.write_durable(&path, &bytes, Overwrite::Never)).await?;
        self.plans.push(file);
        Ok(plan)
    }

    /// Where signed transactions go from here on.
    pub(crate) fn tx_writer(&self) -> TxWriter {
        TxWriter { disk: Arc::clone(&self.disk), dir: self.dir.clone(), next: self.txs.len() }
    }
}

/// Writes signed transactions into a session before they are sent.
#[derive(Debug)]
pub(crate) struct TxWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    next: usize,
}

impl TxWriter {
    /// Writes one durably.
    pub(crate) async fn write(&mut self, tx: &SignedTx) -> Result<(), DiskError> {
        let path = self.dir.join(format!("tx-{}", self.next));
        let bytes = files::encode(FileKind::Tx, tx);
        run(&self.disk, move |disk| disk.write_durable(&path, &bytes, Overwrite::Never)).await?;
        self.next += 1;
        Ok(())
    }
}
