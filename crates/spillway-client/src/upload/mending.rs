//! Storing again what was missed when it was looked for, with the proofs that sessions keep.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use spillway_disk::run;
use spillway_types::{ChunkAddress, Receipt, UnixTime};
use tokio::sync::Mutex;

use super::{
    Job,
    checking::{Checked, Item, Seen, find},
    engine::Engine,
    store::Bodies,
};
use crate::{
    UploadError,
    download::fetch_chunk,
    limits::CHECK_BACKOFF_MOST,
    session::{self, ChunkIx, Found, Kept, Progressed, Record},
    verify::{look_up, store_with_any},
};

/// A missed chunk that is stored again.
pub(super) struct Mend {
    pub job: Arc<Job>,
    pub bodies: Arc<Bodies>,
    pub session: String,
    pub chunk: ChunkIx,
    /// Itself and those that were missed, too: what is looked up for it is looked up for them.
    pub due: Vec<Due>,
    pub look_ups: Arc<LookUps>,
    pub item: Item,
    /// Its proof, if this session has paid for it.
    pub kept: Option<Kept>,
    /// Not before.
    pub next: UnixTime,
}

/// A chunk whose proof or receipts are looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub chunk: ChunkIx,
    pub address: ChunkAddress,
    pub is_paid_here: bool,
}

/// What was looked up last. Journals and plans are read whole, so it is done for many chunks together and
/// by one at a time.
#[derive(Debug, Default)]
pub(super) struct LookUps(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    receipts: BTreeMap<ChunkIx, Vec<Receipt>>,
    proofs: BTreeMap<ChunkAddress, Vec<Kept>>,
}

impl Engine {
    /// Opens chunks again that the network was said to have, that are not found, and of which nobody here
    /// has a proof. The next run asks the network once more, and prices what it does not have; in this one
    /// they have failed.
    pub(super) async fn open_unproven(&mut self) -> Result<(), UploadError> {
        let Some(checking) = &self.checking else { return Ok(()) };
        let Progressed { stored, already, .. } = &self.session.progressed;
        let planned = self.session.plan_of(self.job.parts.clock.now());
        let is_said = |chunk: &ChunkIx| {
            already.contains(chunk) && !stored.contains(chunk) && !planned.contains_key(chunk)
        };
        let open: Vec<ChunkIx> = checking.unproven().filter(is_said).collect();
        let records = open.iter().map(|&chunk| Record::Reopened { chunk }).collect();
        self.session.record(records).await?;
        // This run says of them what it has said before, and that they are not found.
        self.session.progressed.already.extend(open);
        Ok(())
    }
}

impl Mend {
    pub(super) async fn run(self) -> Checked {
        let chunks = vec![self.chunk];
        let mut has_proof = true;
        let found = self.mend(&mut has_proof).await.map(|seen| vec![seen.found()]);
        Checked { chunks, found, is_mend: true, has_proof }
    }

    async fn mend(mut self, has_proof: &mut bool) -> Result<Seen, UploadError> {
        // The clock may have been set right since.
        let wait = self.next.since(self.job.parts.clock.now()).min(CHECK_BACKOFF_MOST);
        self.job.pause(wait).await?;
        let seen = self.seen().await?;
        if seen.found() == Found::Verified {
            return Ok(seen);
        }
        let mut proofs = self.proofs().await?;
        // One whose window is over, and that nobody has signed for in time, stores nothing any more.
        let now = self.job.parts.clock.now();
        proofs.retain(|kept| kept.is_open(now) || kept.is_offer());
        *has_proof = !proofs.is_empty();
        if proofs.is_empty() {
            return Ok(seen);
        }
        let Some(body) = self.body().await? else { return Ok(seen) };
        let proofs: Vec<&Kept> = proofs.iter().collect();
        store_with_any(&self.job.parts, &proofs, &seen.lacks, &body).await;
        self.seen().await
    }

    /// Its proofs. One that the network had before was paid for by others: by another session here,
    /// maybe.
    async fn proofs(&mut self) -> Result<Vec<Kept>, UploadError> {
        let now = self.job.parts.clock.now();
        match self.kept.take() {
            Some(kept) if kept.is_open(now) => Ok(vec![kept]),
            Some(mut kept) => {
                kept.add_receipts(&self.receipts().await?);
                // Paid for here, and stored for another payment, maybe.
                if kept.is_offer() { Ok(vec![kept]) } else { self.proofs_elsewhere().await }
            }
            None => self.proofs_elsewhere().await,
        }
    }

    /// What this session has written down of it.
    async fn receipts(&self) -> Result<Vec<Receipt>, UploadError> {
        let mut known = self.look_ups.0.lock().await;
        if !known.receipts.contains_key(&self.chunk) {
            let due = self.due.iter().filter(|due| due.is_paid_here);
            let wanted: BTreeSet<ChunkIx> = due.map(|due| due.chunk).collect();
            let session = self.session.clone();
            let parts = &self.job.parts;
            known.receipts =
                look_up(parts, move |disk| session::receipts_of(disk, &session, &wanted)).await?;
        }
        Ok(known.receipts.get(&self.chunk).cloned().unwrap_or_default())
    }

    async fn proofs_elsewhere(&self) -> Result<Vec<Kept>, UploadError> {
        let mut known = self.look_ups.0.lock().await;
        if !known.proofs.contains_key(&self.item.info.address) {
            let own = self.item.info.address;
            let due = self.due.iter().filter(|due| !due.is_paid_here);
            let due: BTreeSet<ChunkAddress> = due.map(|due| due.address).chain([own]).collect();
            let wanted = due.clone();
            let (parts, of) =
                (&self.job.parts, (self.job.parts.domain, self.job.parts.clock.now()));
            let mut found =
                look_up(parts, move |disk| session::kept_proofs(disk, of, &wanted)).await?.found;
            known.proofs = due
                .into_iter()
                .map(|address| {
                    let kept = found.remove(&address).unwrap_or_default();
                    (address, kept.into_iter().map(|(kept, _)| kept).collect())
                })
                .collect();
        }
        Ok(known.proofs.get(&self.item.info.address).cloned().unwrap_or_default())
    }

    async fn seen(&self) -> Result<Seen, UploadError> {
        let seen = find(&self.job, std::slice::from_ref(&self.item)).await?;
        Ok(seen.into_iter().next().unwrap_or_default())
    }

    /// Its bytes, from the spill or the source, or from a copy that is left.
    async fn body(&self) -> Result<Option<Bytes>, UploadError> {
        let (bodies, info) = (Arc::clone(&self.bodies), self.item.info);
        let body = run(&self.job.parts.data, move |_| Ok(bodies.read(&info))).await??;
        if body.is_some() {
            return Ok(body);
        }
        Ok(fetch_chunk(&self.job.parts, info.address).await.ok())
    }
}
