//! Sealing what can be read once, and chunks that are not sealed at all.

use std::{collections::BTreeSet, io::Read, sync::Arc};

use spillway_disk::run;
use spillway_pay::Permit;
use spillway_seal::{ContentKind, DataMap, FileSecret, HoldKey, Pushed, StreamSealer};
use spillway_types::SegmentHash;

use super::{
    Job,
    seal::{Contents, Sealed, add_map, find, info, new_spill, raw_chunk, start},
};
use crate::{
    SourceError, Stage, StreamSource, UploadError,
    session::{ChunkInfo, ChunkIx, KeyParts, Session, SessionKey},
    spill::Spill,
    workers::{Held, Work},
};

/// Seals a stream as it comes. Its first segments wait, encrypted, in the spill.
pub(super) async fn seal_stream(job: &Job, stream: StreamSource) -> Result<Sealed, UploadError> {
    let spill = Arc::new(new_spill(job, None).await?);
    let (map, chunks) = read_stream(job, stream, &spill).await?;
    let hashes: Vec<SegmentHash> = map.entries().iter().map(|entry| entry.hash).collect();
    let key = SessionKey::of(&KeyParts {
        domain: &job.parts.domain,
        payer: job.wallet.address(),
        content: Some(ContentKind::File),
        public: job.options.public,
        segment_bytes: job.options.segment_bytes,
        secret: map.secret(),
        hashes: &hashes,
    });
    match find(job, key).await? {
        Ok((session, earlier)) => {
            if session.progressed.imported {
                let contents = add_map(job, &spill, Contents::of_stream(chunks, map)).await?;
                contents.check_imported(&session)?;
            }
            adopt(job, session, earlier, spill).await
        }
        Err(lock) => {
            let contents = Contents::of_stream(chunks, map);
            let contents = add_map(job, &spill, contents).await?;
            start(job, key, lock, (spill, contents)).await
        }
    }
}

/// Waits for a place among the streams that are read. The stream has it too, whichever thread that is
/// on: one that says nothing cannot be interrupted, and keeps its place until it ends, also when its
/// upload is given up. So a process never has more threads that wait for streams than places.
pub(super) async fn enter(
    job: &Job,
    stream: StreamSource,
) -> Result<(StreamSource, Arc<Permit>), UploadError> {
    let place = Arc::new(job.enter(Work::Stream).await?);
    let placed = Placed { stream: stream.0, _place: Arc::clone(&place) };
    Ok((StreamSource(Box::new(placed)), place))
}

/// A stream with its place.
struct Placed {
    stream: Box<dyn Read + Send>,
    _place: Arc<Permit>,
}

impl Read for Placed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buffer)
    }
}

/// Reads a stream to its end, sealing as it comes. Nothing that others wait for is taken before a
/// segment is read: a stream may say nothing for ever.
pub(super) async fn read_stream(
    job: &Job,
    stream: StreamSource,
    spill: &Arc<Spill>,
) -> Result<(DataMap, Vec<ChunkInfo>), UploadError> {
    job.options.progress.begin(Stage::Seal, None, None);
    let mut reader = StreamReader {
        stream: stream.0,
        sealer: StreamSealer::new(job.seal_options(), &HoldKey::random()?)?,
        segment: Vec::new(),
        spill: Arc::clone(spill),
        later: Vec::new(),
    };
    loop {
        reader = on_thread(job, move || reader.read()).await?;
        let held = job.hold(Work::Seal, job.sealing_bytes()).await?;
        if reader.segment.is_empty() {
            return on_thread(job, move || reader.finish(held)).await;
        }
        let len = reader.segment.len() as u64;
        reader = on_thread(job, move || reader.push(held)).await?;
        job.options.progress.add(len, 1);
    }
}

/// Works on a blocking thread; a stop does not wait for it.
async fn on_thread<T, F>(job: &Job, work: F) -> Result<T, UploadError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, UploadError> + Send + 'static,
{
    let working = run(&job.parts.data, move |_| Ok(work()));
    tokio::select! {
        biased;
        () = job.parts.stop.cancelled() => Err(UploadError::Interrupted),
        done = working => done?,
    }
}

/// The stream was uploaded before and not finished: that session goes on, and what its own spill
/// has lost is copied from the new one.
async fn adopt(
    job: &Job,
    session: Session,
    earlier: Spill,
    fresh: Arc<Spill>,
) -> Result<Sealed, UploadError> {
    let chunks = session.manifest.chunks.clone();
    let done: BTreeSet<usize> = (0..chunks.len())
        .filter(|&at| {
            let ix = u32::try_from(at).expect("invariant: chunks are counted in 32 bits");
            // What is said to be done in one that was imported may be open after a look at the chain.
            !session.progressed.imported && session.progressed.is_done(ChunkIx(ix))
        })
        .collect();
    let spill = run(&job.parts.data, move |_| {
        for (at, chunk) in chunks.iter().enumerate() {
            if done.contains(&at) || earlier.read(chunk.address)?.is_some() {
                continue;
            }
            if let Some(bytes) = fresh.read(chunk.address)? {
                earlier.write(chunk.address, &bytes)?;
            }
        }
        drop(fresh);
        Ok(earlier)
    })
    .await?;
    Ok(Sealed { session, spill, layout: None })
}

/// A stream that is being sealed. All of it blocks.
struct StreamReader {
    stream: Box<dyn Read + Send>,
    sealer: StreamSealer,
    /// What was read last and is not sealed.
    segment: Vec<u8>,
    spill: Arc<Spill>,
    /// Chunks of all but the first segments.
    later: Vec<ChunkInfo>,
}

impl StreamReader {
    /// Reads a segment; an empty one is the end.
    fn read(mut self) -> Result<Self, UploadError> {
        let limit = self.sealer.segment_bytes();
        // No more than a segment: growing as it comes it may get twice as much.
        self.segment.reserve_exact(limit);
        let mut stream = self.stream.by_ref().take(limit as u64);
        let read = stream.read_to_end(&mut self.segment);
        read.map_err(|error| UploadError::Source(SourceError::Stream(error)))?;
        Ok(self)
    }

    /// Seals and spills what was read.
    fn push(mut self, held: Held) -> Result<Self, UploadError> {
        match self.sealer.push(&self.segment)? {
            Pushed::Held { index, bytes } => self.spill.hold(index, &bytes)?,
            Pushed::Sealed { index, chunk } => {
                self.spill.write(chunk.address, &chunk.bytes)?;
                self.later.push(info(&chunk, u32::try_from(index).ok()));
            }
        }
        self.segment.clear();
        drop(held);
        Ok(self)
    }

    /// Seals and spills what has waited for the end.
    fn finish(self, held: Held) -> Result<(DataMap, Vec<ChunkInfo>), UploadError> {
        let Self { sealer, spill, mut later, .. } = self;
        let mut chunks = Vec::new();
        let map = sealer.finish(
            ContentKind::File,
            |index| spill.release(index),
            |index, chunk| {
                chunks.push(info(&chunk, u32::try_from(index).ok()));
                spill.write(chunk.address, &chunk.bytes)
            },
        )?;
        chunks.append(&mut later);
        drop(held);
        Ok((map, chunks))
    }
}

/// One chunk as it is.
pub(super) async fn seal_chunk(job: &Job, chunk: bytes::Bytes) -> Result<Sealed, UploadError> {
    let chunk = raw_chunk(chunk)?;
    let key = SessionKey::of(&KeyParts {
        domain: &job.parts.domain,
        payer: job.wallet.address(),
        content: None,
        public: true,
        segment_bytes: 0,
        secret: &FileSecret::public(),
        hashes: &[SegmentHash(chunk.address.0)],
    });
    let lock = match find(job, key).await? {
        Ok((session, spill)) => {
            let write = chunk.clone();
            let spill = run(&job.parts.data, move |_| {
                spill.write(write.address, &write.bytes)?;
                Ok(spill)
            })
            .await?;
            return Ok(Sealed { session, spill, layout: None });
        }
        Err(lock) => lock,
    };
    let spill = Arc::new(new_spill(job, Some(chunk.bytes.len() as u64)).await?);
    let contents = Contents::of_chunk(&chunk);
    let write = Arc::clone(&spill);
    run(&job.parts.data, move |_| write.write(chunk.address, &chunk.bytes)).await?;
    start(job, key, lock, (spill, contents)).await
}
