//! Going on with a session by its name: everything is in its files and its spill.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use spillway_disk::{Disk, run};
use spillway_pay::At;
use spillway_seal::DataMap;
use spillway_types::{ChunkAddress, PaymentId, Receipt, UnixTime};

use super::{
    Job,
    engine::Engine,
    finality,
    seal::{Sealed, open_spill},
    turn::Turn,
};
use crate::{
    SessionError, Source, UploadError, Uploaded, VerifyUpload,
    limits::{LOCK_ATTEMPTS, LOCK_PAUSE},
    session::{self, ChunkIx, KeyLock, Progressed, Record, Session},
    source::Layout,
    spill::Spill,
};

/// Goes on with a session to its end. One that is finished is only said again, unless it is to be
/// verified or a payment of it was taken back.
pub(crate) async fn resume(
    job: Arc<Job>,
    session: &str,
    source: Option<Source>,
) -> Result<Uploaded, UploadError> {
    let started = job.parts.clock.monotonic();
    let mut turn = Turn::go_on(&job).await?;
    let mut opened = reopen(&job, session).await?;
    if opened.1.is_some() && !goes_on(&opened.0, job.parts.clock.now()) {
        drop((opened, turn));
        turn = Turn::begin(&job).await?;
        opened = reopen(&job, session).await?;
    }
    if opened.1.is_none() {
        opened = look_again(&job, opened.0).await?;
    }
    let (session, spill) = match opened {
        (session, Some(spill)) => (session, spill),
        (session, None) => return Ok(said_again(&session)),
    };
    let mut sealed = find_source(&job, (session, spill), source).await?;
    let undone = keep_receipts(&job, &mut sealed).await?;
    let mut engine = Engine::new(job, sealed, turn).await?;
    engine.undone = undone;
    let lost = lost_chunks(&engine).await?;
    let done = if lost.is_empty() {
        engine.work().await
    } else {
        // What is paid for is stored as far as it can be; nothing is paid for what is lost.
        let session = engine.session.id().to_owned();
        engine.go_on().await.and(Err(UploadError::LostChunks { session, lost }))
    };
    engine.finish(started, done).await
}

/// Whether something of a session is planned or paid, and not stored: all others begin like uploads.
fn goes_on(session: &Session, now: UnixTime) -> bool {
    let planned = session.plan_of(now);
    session.open_chunks().any(|chunk| planned.contains_key(&chunk))
}

/// The session, locked, with its spill; one that is only said again needs none. Somebody who lists sessions holds a
/// lock for a moment: it is asked for more than once.
async fn reopen(job: &Job, name: &str) -> Result<(Session, Option<Spill>), UploadError> {
    for _ in 1..LOCK_ATTEMPTS {
        match reopen_once(job, name).await {
            Err(UploadError::Busy { .. }) => job.pause(LOCK_PAUSE).await?,
            other => return other,
        }
    }
    reopen_once(job, name).await
}

async fn reopen_once(job: &Job, name: &str) -> Result<(Session, Option<Spill>), UploadError> {
    let (data, name) = (Arc::clone(&job.parts.data), name.to_owned());
    let (domain, payer) = (job.parts.domain, job.wallet.address());
    let wants_verified = job.options.verify == VerifyUpload::Wait;
    let open = move |disk: &dyn Disk| {
        let id = session::resolve(disk, &name)?;
        let manifest = session::load_manifest(disk, &id)?;
        if manifest.domain != domain {
            return Err(SessionError::OtherDomain { session: id }.into());
        }
        if manifest.payer != payer {
            let payer = manifest.payer;
            return Err(SessionError::OtherPayer { session: id, payer }.into());
        }
        let lock = KeyLock::take(disk, &manifest.key)?;
        let session = Session::open(&data, &id, lock)?;
        let Progressed { finished, to_verify, verified, handed_over, .. } = session.progressed;
        if let (true, Some(elsewhere)) = (wants_verified, handed_over) {
            return Err(UploadError::HandedOver { session: id, at: elsewhere.at });
        }
        let is_due = wants_verified || to_verify && !verified;
        if finished && (handed_over.is_some() || !is_due) {
            return Ok((session, None));
        }
        let spill = open_spill(&data, &session)?;
        Ok((session, Some(spill)))
    };
    run(&job.parts.data, move |disk| Ok(open(disk))).await?
}

/// A finished session, with a spill if a reorganisation has taken back a payment of it: then it is not
/// finished any more.
async fn look_again(
    job: &Job,
    mut session: Session,
) -> Result<(Session, Option<Spill>), UploadError> {
    match finality::look(job, &mut session).await {
        Err(error @ UploadError::Payment { .. }) => tracing::warn!(
            session = session.id(), %error,
            "finished; the chain could not be asked whether its payments stand"
        ),
        looked => looked?,
    }
    if session.progressed.finished {
        return Ok((session, None));
    }
    let data = Arc::clone(&job.parts.data);
    let open = move |_: &dyn Disk| Ok(open_spill(&data, &session).map(|spill| (session, spill)));
    let (session, spill) = run(&job.parts.data, open).await??;
    tracing::warn!(session = session.id(), "a payment was taken back and is sent again");
    Ok((session, Some(spill)))
}

/// What a finished session came to.
fn said_again(session: &Session) -> Uploaded {
    let (progressed, manifest) = (&session.progressed, &session.manifest);
    Uploaded {
        upload_id: session.id().to_owned(),
        bytes: manifest.source.bytes,
        chunks_total: manifest.chunks.len() as u64,
        chunks_stored: progressed.stored.len() as u64,
        chunks_already_stored: progressed.already.len() as u64,
        payment_mode: session.payment_mode(),
        mode_reason: None,
        spend: session.spend(),
        data_map: manifest.root.clone(),
        public_address: manifest.public_address,
        skipped: manifest.source.skipped.iter().map(Into::into).collect(),
        verified: progressed.verified,
        elapsed: std::time::Duration::ZERO,
    }
}

/// The source, for chunks that the spill has lost. One that cannot be read any more is no reason to
/// stop: each segment of it is compared with its hash when it is needed.
async fn find_source(
    job: &Job,
    (session, spill): (Session, Spill),
    source: Option<Source>,
) -> Result<Sealed, UploadError> {
    match source {
        Some(Source::Path { disk, path }) if session.manifest.root.is_some() => {
            let map = session.read_map().await?;
            let segment_bytes = DataMap::decode(&map).map_err(UploadError::Map)?.segment_bytes();
            let parts = Arc::clone(&disk);
            let find = move |_: &dyn Disk| Ok(Layout::find(parts, path, segment_bytes));
            let layout = run(&disk, find).await?.ok().map(Arc::new);
            Ok(Sealed { session, spill, layout })
        }
        Some(Source::Chunk(chunk)) => {
            let address = ChunkAddress::of(&chunk);
            let ours = session.manifest.chunks.iter().any(|info| info.address == address);
            let write = move |_: &dyn Disk| {
                if ours {
                    spill.write(address, &chunk)?;
                }
                Ok(spill)
            };
            let spill = run(&job.parts.data, write).await?;
            Ok(Sealed { session, spill, layout: None })
        }
        _ => Ok(Sealed { session, spill, layout: None }),
    }
}

/// Chunks that no plan pays for and that are neither in the spill nor can be sealed again: they must
/// not be paid for.
async fn lost_chunks(engine: &Engine) -> Result<Vec<ChunkAddress>, UploadError> {
    let planned = engine.session.plan_of(engine.job.parts.clock.now());
    let open: Vec<ChunkIx> =
        engine.session.open_chunks().filter(|chunk| !planned.contains_key(chunk)).collect();
    engine.lost_of(open).await
}

/// Takes over receipts that other sessions hold for chunks which no plan of this one pays for: a file
/// that was edited or is part of another upload keeps what is stored of it. Returns the payments of
/// such receipts that are not recorded (any more).
pub(super) async fn keep_receipts(
    job: &Job,
    sealed: &mut Sealed,
) -> Result<BTreeSet<PaymentId>, UploadError> {
    let session = &sealed.session;
    let now = job.parts.clock.now();
    let planned = session.plan_of(now);
    let open: Vec<(ChunkAddress, ChunkIx)> = session
        .open_chunks()
        .filter(|chunk| !planned.contains_key(chunk))
        .map(|chunk| (session.chunk(chunk).address, chunk))
        .collect();
    let wanted: BTreeSet<ChunkAddress> = open.iter().map(|(address, _)| *address).collect();
    let (id, domain) = (session.id().to_owned(), job.parts.domain);
    let (payer, vault) = (job.wallet.address(), domain.vault);
    let look = move |disk: &dyn Disk| {
        Ok(session::receipts_elsewhere(disk, &id, (&domain, payer, now), &wanted))
    };
    let mut found: BTreeMap<ChunkAddress, Vec<Receipt>> = BTreeMap::new();
    let mut undone = BTreeSet::new();
    for (payment, receipts) in run(&job.parts.data, look).await?? {
        // What a journal says of it may have been undone, or never have been true.
        let record = job.parts.payments.chain().record(vault, payment, At::Depth(0)).await?;
        if record.recorded.is_some() {
            found.extend(receipts);
        } else {
            undone.insert(payment);
        }
    }
    let records = open.into_iter().filter_map(|(address, chunk)| {
        let receipts: Vec<Receipt> = found.remove(&address)?;
        Some(Record::Already { chunk, receipts })
    });
    let records = records.collect();
    sealed.session.record(records).await?;
    Ok(undone)
}
