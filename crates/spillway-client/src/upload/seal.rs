//! The first stage: from a source to a session with every sealed chunk in the spill.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use futures::{StreamExt, TryStreamExt, stream};
use spillway_disk::{Disk, DiskError, run};
use spillway_seal::{
    Compression, DataMap, Entry, FileSecret, KeyHashes, PackOptions, SealOptions, SealedChunk,
    Sealer, UserSecret,
};
use spillway_types::{ChunkAddress, SegmentHash, limits::MAX_CHUNK_BYTES};

use super::{
    Job,
    quote::Wanted,
    streams::{read_stream, seal_chunk, seal_stream},
};
use crate::{
    Source, SourceError, Stage, UploadError,
    limits::{DISK_MARGIN_BYTES, LOCK_ATTEMPTS, LOCK_PAUSE, SEAL_WORKERS},
    session::{ChunkInfo, ChunkIx, KeyLock, KeyParts, Manifest, Session, SessionKey, SourceNote},
    source::Layout,
    spill::Spill,
    workers::Work,
};

/// A session with its spill, and the source if it can be read again.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub session: Session,
    pub spill: Spill,
    pub layout: Option<Arc<Layout>>,
}

/// What is known before the session's key is.
struct Hashed {
    layout: Arc<Layout>,
    hashes: Vec<SegmentHash>,
    secret: FileSecret,
}

/// All of an upload's chunks, in the spill.
pub(super) struct Contents {
    chunks: Vec<ChunkInfo>,
    map: Option<DataMap>,
    root: Option<Vec<u8>>,
    public_address: Option<ChunkAddress>,
    source: SourceNote,
}

/// What pricing a source needs. Its spill goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Dry {
    chunks: Vec<ChunkInfo>,
    /// Plaintext bytes of the source.
    pub bytes: u64,
    _spill: Arc<Spill>,
}

impl Dry {
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let numbered = (0..).map(ChunkIx).zip(&self.chunks);
        numbered.map(|(chunk, info)| Wanted::new(chunk, info)).collect()
    }
}

/// Seals a source to learn its chunks, without a session.
pub(crate) async fn seal_dry(job: &Job, source: Source) -> Result<Dry, UploadError> {
    job.seal_options().check()?;
    let (contents, spill) = match source {
        Source::Path { disk, path } => {
            let hashed = hash(job, find_layout(job, disk, path).await?).await?;
            let spill = Arc::new(new_spill(job, Some(needed_space(&hashed.layout))).await?);
            (seal_segments(job, hashed, &spill).await?, spill)
        }
        Source::Stream(stream) => {
            let spill = Arc::new(new_spill(job, None).await?);
            let (map, chunks) = read_stream(job, stream, &spill).await?;
            let contents = Contents::of_stream(chunks, map);
            (add_map(job, &spill, contents).await?, spill)
        }
        Source::Chunk(chunk) => {
            let chunk = raw_chunk(chunk)?;
            (Contents::of_chunk(&chunk), Arc::new(new_spill(job, None).await?))
        }
    };
    Ok(Dry { chunks: contents.chunks, bytes: contents.source.bytes, _spill: spill })
}

async fn find_layout(
    job: &Job,
    disk: Arc<dyn Disk>,
    path: PathBuf,
) -> Result<Arc<Layout>, UploadError> {
    let segment_bytes = job.options.segment_bytes;
    let parts = Arc::clone(&disk);
    Ok(Arc::new(run(&disk, move |_| Ok(Layout::find(parts, path, segment_bytes))).await??))
}

/// Sealed, a segment is at most 29 bytes longer; the rest is the data map.
fn needed_space(layout: &Layout) -> u64 {
    layout.segment_bytes_total() + 128 * layout.segments()
}

/// Seals a source, or finds the session that has done so.
pub(crate) async fn seal(job: &Job, source: Source) -> Result<Sealed, UploadError> {
    job.seal_options().check()?;
    match source {
        Source::Path { disk, path } => {
            let layout = find_layout(job, disk, path).await?;
            seal_layout(job, layout).await
        }
        Source::Stream(stream) => seal_stream(job, stream).await,
        Source::Chunk(chunk) => seal_chunk(job, chunk).await,
    }
}

async fn seal_layout(job: &Job, layout: Arc<Layout>) -> Result<Sealed, UploadError> {
    let hashed = hash(job, layout).await?;
    let key = SessionKey::of(&KeyParts {
        domain: &job.parts.domain,
        payer: job.wallet.address(),
        content: Some(hashed.layout.kind()),
        public: job.options.public,
        segment_bytes: job.options.segment_bytes,
        secret: &hashed.secret,
        hashes: &hashed.hashes,
    });
    let layout = Arc::clone(&hashed.layout);
    match find(job, key).await? {
        Ok((session, spill)) => {
            if session.progressed.imported {
                let again = Arc::new(new_spill(job, Some(needed_space(&layout))).await?);
                seal_segments(job, hashed, &again).await?.check_imported(&session)?;
            }
            Ok(Sealed { session, spill, layout: Some(layout) })
        }
        Err(lock) => {
            let spill = Arc::new(new_spill(job, Some(needed_space(&layout))).await?);
            let contents = seal_segments(job, hashed, &spill).await?;
            let sealed = start(job, key, lock, (spill, contents)).await?;
            Ok(Sealed { layout: Some(layout), ..sealed })
        }
    }
}

/// The fast pass: every segment's hash.
async fn hash(job: &Job, layout: Arc<Layout>) -> Result<Hashed, UploadError> {
    let total = Some(layout.segment_bytes_total());
    job.options.progress.begin(Stage::Hash, total, Some(layout.segments()));
    let hashes: Vec<SegmentHash> = stream::iter(0..layout.segments())
        .map(|index| {
            let layout = Arc::clone(&layout);
            async move {
                let _place = job.enter(Work::Seal).await?;
                let _held = job.reserve(job.options.segment_bytes as u64).await?;
                job.check_stop()?;
                let disk = Arc::clone(layout.disk());
                let (hash, len) = run(&disk, move |_| Ok(layout.hash(index))).await??;
                job.options.progress.add(len, 1);
                Ok::<_, UploadError>(hash)
            }
        })
        .buffered(SEAL_WORKERS)
        .try_collect()
        .await?;
    let secret = job.seal_options().file_secret(&hashes);
    Ok(Hashed { layout, hashes, secret })
}

/// The second pass: every segment sealed and spilled.
async fn seal_segments(
    job: &Job,
    hashed: Hashed,
    spill: &Arc<Spill>,
) -> Result<Contents, UploadError> {
    let Hashed { layout, hashes, secret } = hashed;
    let total = Some(layout.segment_bytes_total());
    job.options.progress.begin(Stage::Seal, total, Some(layout.segments()));
    let compression = job.seal_options().compression;
    let sealers = Arc::new(Mutex::new(Vec::<Sealer>::new()));
    let hashes = Arc::new(hashes);
    let sealed: Vec<(Entry, ChunkInfo)> = stream::iter(0..layout.segments())
        .map(|index| {
            let (layout, hashes, spill) =
                (Arc::clone(&layout), Arc::clone(&hashes), Arc::clone(spill));
            let (sealers, secret) = (Arc::clone(&sealers), secret.clone());
            async move {
                let _place = job.enter(Work::Seal).await?;
                let _held = job.reserve(job.sealing_bytes()).await?;
                job.check_stop()?;
                let work = move |_: &dyn Disk| {
                    let taken = lock(&sealers).pop();
                    let mut sealer = taken.unwrap_or_else(|| Sealer::new(secret, 0, compression));
                    let done = seal_one(&layout, &hashes, &spill, &mut sealer, index);
                    lock(&sealers).push(sealer);
                    Ok(done)
                };
                let (entry, chunk) = run(&job.parts.data, work).await??;
                job.options.progress.add(u64::from(entry.len), 1);
                Ok::<_, UploadError>((entry, chunk))
            }
        })
        .buffered(SEAL_WORKERS)
        .try_collect()
        .await?;
    let checked = Arc::clone(&layout);
    run(&job.parts.data, move |_| Ok(checked.recheck())).await??;
    let (entries, chunks) = sealed.into_iter().unzip();
    let map = DataMap::new(layout.kind(), job.options.segment_bytes, secret, entries)
        .map_err(UploadError::Map)?;
    let source = SourceNote {
        name: layout.name().display().to_string(),
        bytes: layout.bytes,
        skipped: layout.skipped.iter().map(|path| path.display().to_string()).collect(),
    };
    add_map(job, spill, Contents::of_map(chunks, map, source)).await
}

fn lock(sealers: &Mutex<Vec<Sealer>>) -> std::sync::MutexGuard<'_, Vec<Sealer>> {
    sealers.lock().expect("invariant: no panic while it is held")
}

/// Reads, seals and spills one segment. Blocks.
fn seal_one(
    layout: &Layout,
    hashes: &[SegmentHash],
    spill: &Spill,
    sealer: &mut Sealer,
    index: u64,
) -> Result<(Entry, ChunkInfo), UploadError> {
    let plaintext = layout.read(index)?;
    let at = usize::try_from(index).expect("invariant: there is a hash for it in memory");
    let keys = KeyHashes::at(hashes, at).expect("invariant: every segment was hashed");
    let chunk = sealer.seal(&keys, &plaintext).map_err(|error| match error {
        spillway_seal::SealError::SourceChanged { .. } => {
            UploadError::Source(SourceError::Changed { path: layout.name() })
        }
        other => other.into(),
    })?;
    let entry = Entry::new(&keys, plaintext.len(), &chunk);
    drop(plaintext);
    spill.write(chunk.address, &chunk.bytes)?;
    Ok((entry, info(&chunk, u32::try_from(index).ok())))
}

pub(super) fn info(chunk: &SealedChunk, segment: Option<u32>) -> ChunkInfo {
    let size = u32::try_from(chunk.bytes.len()).expect("invariant: a chunk is at most 4 MiB");
    ChunkInfo { address: chunk.address, size, segment }
}

impl Contents {
    fn of_map(chunks: Vec<ChunkInfo>, map: DataMap, source: SourceNote) -> Self {
        Self { chunks, map: Some(map), root: None, public_address: None, source }
    }

    pub(super) fn of_stream(chunks: Vec<ChunkInfo>, map: DataMap) -> Self {
        let bytes = map.content_len();
        let source = SourceNote { name: SourceNote::STREAM.to_owned(), bytes, skipped: Vec::new() };
        Self::of_map(chunks, map, source)
    }

    /// That a session which somebody else may have made has the chunks of this source: its key speaks
    /// of the plaintext alone.
    pub(super) fn check_imported(&self, session: &Session) -> Result<(), UploadError> {
        if (&self.chunks, &self.root) == (&session.manifest.chunks, &session.manifest.root) {
            return Ok(());
        }
        let what = "it was imported, and its chunks are not those of this source; \
                    forget it and upload again";
        Err(UploadError::DamagedSession { session: session.id().to_owned(), what: what.to_owned() })
    }

    pub(super) fn of_chunk(chunk: &SealedChunk) -> Self {
        let source = SourceNote {
            name: chunk.address.to_string(),
            bytes: chunk.bytes.len() as u64,
            skipped: Vec::new(),
        };
        Self {
            chunks: vec![info(chunk, None)],
            map: None,
            root: None,
            public_address: Some(chunk.address),
            source,
        }
    }
}

/// Packs the data map and spills its chunks; each address stands once in the list.
pub(super) async fn add_map(
    job: &Job,
    spill: &Arc<Spill>,
    mut contents: Contents,
) -> Result<Contents, UploadError> {
    let Some(map) = contents.map.clone() else {
        return Ok(contents);
    };
    let packed = map.pack(PackOptions::default())?;
    let mut map_chunks = packed.chunks;
    if job.options.public {
        let root = packed.root.public_chunk();
        contents.public_address = Some(root.address);
        map_chunks.push(root);
    }
    contents.root = Some(packed.root.encode());
    contents.chunks.extend(map_chunks.iter().map(|chunk| info(chunk, None)));
    let mut seen = HashSet::new();
    contents.chunks.retain(|chunk| seen.insert(chunk.address));
    let spill = Arc::clone(spill);
    run(&job.parts.data, move |_| {
        map_chunks.iter().try_for_each(|chunk| spill.write(chunk.address, &chunk.bytes))
    })
    .await?;
    Ok(contents)
}

/// Looks for an unfinished session of this key and takes it and its spill over.
///
/// Somebody who lists sessions holds a lock for a moment: it is asked for more than once.
pub(super) async fn find(
    job: &Job,
    key: SessionKey,
) -> Result<Result<(Session, Spill), KeyLock>, UploadError> {
    for _ in 1..LOCK_ATTEMPTS {
        match find_once(job, key).await {
            Err(UploadError::Busy { .. }) => job.pause(LOCK_PAUSE).await?,
            other => return other,
        }
    }
    find_once(job, key).await
}

async fn find_once(
    job: &Job,
    key: SessionKey,
) -> Result<Result<(Session, Spill), KeyLock>, UploadError> {
    let data = Arc::clone(&job.parts.data);
    let look = move |disk: &dyn Disk| {
        let lock = KeyLock::take(disk, &key)?;
        match Session::find(&data, &key, lock)? {
            Err(lock) => Ok(Err(lock)),
            Ok(session) => {
                let spill = open_spill(&data, &session)?;
                Ok(Ok((session, spill)))
            }
        }
    };
    run(&job.parts.data, move |disk| Ok(look(disk))).await?
}

/// The session's spill. One that is gone is made anew, empty: what is missing in it is sealed again
/// from the source.
pub(super) fn open_spill(data: &Arc<dyn Disk>, session: &Session) -> Result<Spill, UploadError> {
    match Spill::open(data, &session.manifest.spill) {
        Err(DiskError::NotFound { .. }) => Ok(Spill::recreate(data, &session.manifest.spill)?),
        Err(DiskError::Locked { .. }) => {
            Err(UploadError::Busy { session: session.id().to_owned() })
        }
        other => Ok(other?),
    }
}

/// A new spill, after looking whether `needed` bytes fit.
pub(super) async fn new_spill(job: &Job, needed: Option<u64>) -> Result<Spill, UploadError> {
    let data = Arc::clone(&job.parts.data);
    let clock = Arc::clone(&job.parts.clock);
    run(&job.parts.data, move |disk| {
        let needed = needed.unwrap_or(0).saturating_add(DISK_MARGIN_BYTES);
        let free = disk.free_space()?;
        if free < needed {
            let path = disk.display(std::path::Path::new("spill"));
            return Ok(Err(UploadError::NoSpace { needed, free, path }));
        }
        Ok(Ok(Spill::create(&data, clock.now())?))
    })
    .await?
}

/// Makes the session durable: from here on it is found again.
pub(super) async fn start(
    job: &Job,
    key: SessionKey,
    lock: KeyLock,
    (spill, contents): (Arc<Spill>, Contents),
) -> Result<Sealed, UploadError> {
    let spill = Arc::into_inner(spill).expect("invariant: all sealing work has ended");
    let manifest = Manifest {
        key,
        created: job.parts.clock.now(),
        domain: job.parts.domain,
        payer: job.wallet.address(),
        source: contents.source,
        spill: spill.name().to_owned(),
        chunks: contents.chunks,
        root: contents.root,
        public_address: contents.public_address,
    };
    let map = contents.map.map(|map| map.encode());
    let data = Arc::clone(&job.parts.data);
    // Kept before the session is there: a spill that nobody names goes when it is stale, a session
    // without its spill would have lost its chunks.
    spill.keep();
    let session =
        run(&job.parts.data, move |_| Ok(Session::start(&data, manifest, map, lock))).await??;
    Ok(Sealed { session, spill, layout: None })
}

pub(super) fn raw_chunk(chunk: bytes::Bytes) -> Result<SealedChunk, SourceError> {
    if chunk.is_empty() || chunk.len() > MAX_CHUNK_BYTES {
        return Err(SourceError::ChunkSize { found: chunk.len(), limit: MAX_CHUNK_BYTES });
    }
    Ok(SealedChunk { address: ChunkAddress::of(&chunk), bytes: chunk })
}

impl Job {
    pub(crate) fn seal_options(&self) -> SealOptions {
        SealOptions {
            segment_bytes: self.options.segment_bytes,
            compression: Compression::Auto,
            secret: self.options.secret.as_ref().map(|secret| UserSecret::new(secret.to_vec())),
        }
    }

    pub(crate) fn check_stop(&self) -> Result<(), UploadError> {
        if self.parts.stop.is_cancelled() { Err(UploadError::Interrupted) } else { Ok(()) }
    }
}
