use std::{collections::BTreeSet, sync::Arc};

use spillway_disk::{Clock, Disk, run};
use spillway_net::Peers;
use spillway_pay::{Payments, PlanError, Wallet};
use spillway_types::{Atto, Domain, UnixTime, limits::MAX_BATCH_LEAVES};
use tokio_util::sync::CancellationToken;

use crate::{
    BatchStatus, Cost, DownloadError, DownloadOptions, Downloaded, Gauges, Remote, SessionError,
    SessionStatus, SettleOptions, SettleReport, SettleStopped, Source, Spend, Target, UploadError,
    UploadOptions, Uploaded, Workers, download,
    session::{self, ChunkIx, PlanIx, Snapshot},
    upload::{self, Job},
};

/// What a client works with.
#[derive(Clone, Debug)]
pub struct ClientParts {
    /// `data_dir`: sessions and spill live below it.
    pub data: Arc<dyn Disk>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The network.
    pub peers: Arc<dyn Peers>,
    /// The vault and its chain.
    pub payments: Arc<Payments>,
    /// Which network, chain and vault.
    pub domain: Domain,
    /// Cancelled when the process is asked to stop: uploads and downloads end with `Interrupted`,
    /// everything that matters durable.
    pub stop: CancellationToken,
    /// What all clients of the process share: [`Workers::default`] in nearly every program.
    pub workers: Workers,
}

/// Uploads and downloads.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) parts: ClientParts,
}

impl Client {
    /// A client of these parts.
    pub fn new(parts: ClientParts) -> Self {
        Self { parts }
    }

    /// Uploads a source, or goes on with an upload of the same contents that was interrupted.
    ///
    /// # Errors
    /// Each says what was spent where money may have moved.
    ///
    /// # Cancel safety
    /// Dropping it (like a crash) loses nothing that was paid: the same upload goes on later.
    ///
    /// # Cost
    /// The offer that is shown to [`crate::Approve`]; nothing that was paid before is paid again.
    pub async fn upload(
        &self,
        source: Source,
        wallet: &Arc<Wallet>,
        options: UploadOptions,
    ) -> Result<Uploaded, UploadError> {
        Box::pin(upload::upload(self.job(wallet, options).await?, source)).await
    }

    /// Goes on with a session by its name or the unique beginning of it, from its files and its spill
    /// alone. A source is only read for sealed chunks that are lost: a path while it holds what was
    /// uploaded, or a single chunk. A stream is not read: upload it again. Of a session that is
    /// finished, what it came to is said again; with [`VerifyUpload::Wait`](crate::VerifyUpload::Wait) it
    /// is verified first. One that came with an archive is not finished before the chain and the network
    /// have confirmed what it says.
    ///
    /// A payment counts when it is as deep as the quotes ask, and a reorganisation may be deeper. So the
    /// payments of a session of which everything is stored are looked at until they are final
    /// ([`SessionStatus::payments_not_final`]): each is one or two questions to the chain. When one is
    /// gone, the bytes that were signed for it are sent again and its chunks are verified; the session is
    /// not finished until then. Of a finished one whose chain cannot be asked, what it came to is said
    /// with a warning in the log.
    ///
    /// # Errors
    /// As [`Client::upload`]; [`UploadError::HandedOver`]; [`UploadError::LostChunks`] when chunks are
    /// lost that are not paid for, after those that are paid for are stored; [`UploadError::Session`]
    /// when the session is not there, or is of another wallet or vault.
    ///
    /// # Cancel safety
    /// As [`Client::upload`].
    ///
    /// # Cost
    /// As [`Client::upload`]; what was planned before goes out as it was approved then. Of a session that
    /// was imported, plans that this wallet has not signed are asked for again
    /// ([`UploadError::ImportedPlans`] with neither somebody to ask nor a cap).
    pub async fn resume(
        &self,
        session: &str,
        wallet: &Arc<Wallet>,
        source: Option<Source>,
        options: UploadOptions,
    ) -> Result<Uploaded, UploadError> {
        Box::pin(upload::resume(self.job(wallet, options).await?, session, source)).await
    }

    async fn job(
        &self,
        wallet: &Arc<Wallet>,
        options: UploadOptions,
    ) -> Result<Arc<Job>, UploadError> {
        let found = options.batch.max_leaves;
        if !(1..=MAX_BATCH_LEAVES).contains(&found) {
            return Err(PlanError::BatchSize { found }.into());
        }
        let vault = self.parts.payments.check_domain().await?;
        let (parts, wallet) = (self.parts.clone(), Arc::clone(wallet));
        Ok(Arc::new(Job { parts, wallet, vault, options }))
    }

    /// Asks what an upload would cost. Nothing is paid and nothing is kept.
    pub async fn cost(
        &self,
        source: Source,
        wallet: &Arc<Wallet>,
        options: UploadOptions,
    ) -> Result<Cost, UploadError> {
        Box::pin(upload::cost(self.job(wallet, options).await?, source)).await
    }

    /// What is under way in this process: over all clients that share its [`Workers`].
    pub fn gauges(&self) -> Gauges {
        self.parts.workers.gauges()
    }

    /// Downloads what a data map describes.
    pub async fn download(
        &self,
        remote: Remote,
        target: Target,
        options: DownloadOptions,
    ) -> Result<Downloaded, DownloadError> {
        download::download(&self.parts, remote, target, options).await
    }

    /// Gathers the wins of nodes and settles them; see [`crate::settle`].
    ///
    /// # Errors
    /// As there.
    pub async fn settle(
        &self,
        wallet: &Wallet,
        options: SettleOptions,
    ) -> Result<SettleReport, SettleStopped> {
        crate::settle(&*self.parts.peers, &self.parts.payments, wallet, options).await
    }

    /// Fetches one chunk as it is.
    pub async fn get_chunk(
        &self,
        address: spillway_types::ChunkAddress,
    ) -> Result<bytes::Bytes, DownloadError> {
        download::fetch_chunk(&self.parts, address).await
    }

    /// Every session on disk, newest first.
    ///
    /// # Errors
    /// When the list cannot be read. A damaged session is an entry that says so.
    pub async fn sessions(&self) -> Result<Vec<SessionStatus>, UploadError> {
        sessions(&self.parts.data, self.parts.clock.now()).await
    }
}

/// Every session below a data directory, newest first; needs no network. `now` says which upload
/// windows are over.
///
/// # Errors
/// When the list cannot be read.
pub async fn sessions(
    data: &Arc<dyn Disk>,
    now: UnixTime,
) -> Result<Vec<SessionStatus>, UploadError> {
    let look = move |disk: &dyn Disk| session::list(disk, |id, loaded| status(id, loaded, now));
    let mut statuses = run(data, look).await?;
    statuses.sort_by(|a, b| (b.created, &b.id).cmp(&(a.created, &a.id)));
    Ok(statuses)
}

/// The data map of a session again, as the bytes of a `.datamap` file, from its files alone: the
/// session is found by its name or the unique beginning of it. Needs no network. Before everything is
/// stored it describes chunks that nobody may have yet.
///
/// # Errors
/// [`SessionError::NoDataMap`] for a chunk that was uploaded as it is; when the session cannot be
/// found or read.
pub async fn session_data_map(
    data: &Arc<dyn Disk>,
    session: &str,
) -> Result<Vec<u8>, SessionError> {
    let name = session.to_owned();
    let read = move |disk: &dyn Disk| {
        let id = session::resolve(disk, &name)?;
        let manifest = session::load_manifest(disk, &id)?;
        manifest.root.ok_or(SessionError::NoDataMap { session: id })
    };
    run(data, move |disk| Ok(read(disk))).await?
}

fn status(
    id: String,
    loaded: Result<(Snapshot, bool), UploadError>,
    now: UnixTime,
) -> SessionStatus {
    let (snapshot, running) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            return SessionStatus {
                id,
                damage: Some(error.to_string()),
                ..SessionStatus::default()
            };
        }
    };
    let Snapshot { manifest, progressed, .. } = &snapshot;
    let (paid, lapsed) = paid_chunks(&snapshot, now);
    SessionStatus {
        id,
        created: manifest.created,
        source: manifest.source.name.clone(),
        bytes: manifest.source.bytes,
        chunks_total: manifest.chunks.len() as u64,
        chunks_paid: paid.len() as u64,
        chunks_lapsed: lapsed.len() as u64,
        chunks_stored: (progressed.stored.len() + progressed.already.len()) as u64,
        spend: Spend { tips: tips(&snapshot), ..progressed.spend.clone() },
        upload_by: upload_by(&snapshot, now),
        batches: batches(&snapshot),
        finished: progressed.finished,
        handed_over: progressed.handed_over.map(|elsewhere| elsewhere.at),
        stage: snapshot.stage(now),
        stakes: session::stakes(&snapshot, now),
        payments_not_final: snapshot.unfinal(now).count() as u64,
        proofs_until: proofs_until(&snapshot, now),
        running,
        damage: None,
    }
}

/// Chunks whose payment has bought something or still can, and those whose payment cannot any more:
/// nobody took them before their window was over. One that was paid for twice counts once.
fn paid_chunks(snapshot: &Snapshot, now: UnixTime) -> (BTreeSet<ChunkIx>, BTreeSet<ChunkIx>) {
    let Snapshot { plans, progressed, .. } = snapshot;
    let (mut paid, mut lapsed) = (BTreeSet::new(), BTreeSet::new());
    for plan in progressed.paid.keys() {
        let file = &plans[plan.0 as usize];
        for chunk in file.own_chunks() {
            let lost = file.is_over(now) && !progressed.is_done(chunk);
            if lost {
                lapsed.insert(chunk)
            } else {
                paid.insert(chunk)
            };
        }
    }
    lapsed.retain(|chunk| !paid.contains(chunk));
    (paid, lapsed)
}

/// When the first window ends in which paid chunks wait to be stored.
fn upload_by(snapshot: &Snapshot, now: UnixTime) -> Option<UnixTime> {
    let Snapshot { plans, progressed, .. } = snapshot;
    let paid = progressed.paid.keys().map(|plan| &plans[plan.0 as usize]);
    paid.filter(|file| !file.is_over(now))
        .filter(|file| file.own_chunks().any(|chunk| !progressed.is_done(chunk)))
        .map(|file| file.plan.upload_by)
        .min()
}

/// When the last window ends of what was paid, if one is open.
fn proofs_until(snapshot: &Snapshot, now: UnixTime) -> Option<UnixTime> {
    let paid = snapshot.progressed.paid.keys().map(|plan| &snapshot.plans[plan.0 as usize]);
    paid.filter(|file| !file.is_over(now)).map(|file| file.plan.upload_by).max()
}

/// The tips of the batches that a session has paid itself.
fn tips(snapshot: &Snapshot) -> Atto {
    let paid = snapshot.progressed.paid.iter().filter(|(_, paid)| paid.total > Atto::ZERO);
    let terms = paid.filter_map(|(plan, _)| snapshot.plans[plan.0 as usize].plan.batch_terms());
    terms.map(|terms| terms.tips()).sum()
}

/// The batches that a session has paid itself, and those that it may have: a crash between the
/// vault's record and ours leaves a signed payment of which nothing more is known here.
fn batches(snapshot: &Snapshot) -> Vec<BatchStatus> {
    let Snapshot { manifest, plans, txs, vault, progressed, .. } = snapshot;
    let batches = (0..).map(PlanIx).zip(plans).filter_map(|(plan, file)| {
        let terms = file.plan.batch_terms()?;
        let payment = terms.id(&manifest.domain);
        let recorded = match progressed.paid.get(&plan) {
            // Another session has paid it, and lists it.
            Some(paid) if paid.total == Atto::ZERO => return None,
            Some(paid) => Some(paid.recorded),
            None if progressed.dropped.contains(&plan) => return None,
            None if txs.iter().any(|tx| tx.purpose.pays(payment)) => None,
            None => return None,
        };
        let upload_by = terms.upload_by;
        Some(BatchStatus {
            payment,
            domain: manifest.domain,
            recorded,
            upload_by,
            draw_time: vault.map(|vault| vault.draw_time(upload_by)),
            refundable_from: vault.map(|vault| vault.refundable_from(upload_by)),
            draws: terms.draws,
            escrow: terms.escrow(),
            refundable: progressed.refundable.get(&plan).copied(),
            refunded: progressed.refunded.get(&plan).copied(),
        })
    });
    batches.collect()
}

#[cfg(test)]
mod tests;
