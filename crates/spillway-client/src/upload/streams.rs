//! Sealing what can be read once, and chunks that are not sealed at all.

use std::{collections::BTreeSet, io::Read, sync::Arc};

use spillway_disk::run;
use spillway_seal::{ContentKind, DataMap, FileSecret, HoldKey, Pushed, SealOptions, StreamSealer};
use spillway_types::SegmentHash;
use tokio_util::sync::CancellationToken;

use super::{
    Job,
    seal::{Contents, Sealed, add_map, find, info, new_spill, raw_chunk, start},
};
use crate::{
    SourceError, Stage, StreamSource, UploadError,
    session::{ChunkInfo, ChunkIx, KeyParts, Session, SessionKey},
    spill::Spill,
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

/// Reads a stream to its end on a blocking thread, sealing as it comes.
pub(super) async fn read_stream(
    job: &Job,
    stream: StreamSource,
    spill: &Arc<Spill>,
) -> Result<(DataMap, Vec<ChunkInfo>), UploadError> {
    job.options.progress.begin(Stage::Seal, None, None);
    let reader = StreamReader {
        spill: Arc::clone(spill),
        options: job.seal_options(),
        stop: job.parts.stop.clone(),
        progress: job.options.progress.clone(),
    };
    let _held = job.reserve(job.sealing_bytes()).await?;
    let reading = run(&job.parts.data, move |_| Ok(reader.seal(stream.0)));
    tokio::select! {
        biased;
        // A silent pipe cannot be interrupted: its thread ends with the process or the pipe.
        () = job.parts.stop.cancelled() => Err(UploadError::Interrupted),
        read = reading => read?,
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

/// What a blocking thread needs to seal a stream.
struct StreamReader {
    spill: Arc<Spill>,
    options: SealOptions,
    stop: CancellationToken,
    progress: crate::ProgressSender,
}

impl StreamReader {
    fn seal(self, mut stream: impl Read) -> Result<(DataMap, Vec<ChunkInfo>), UploadError> {
        let mut sealer = StreamSealer::new(self.options.clone(), &HoldKey::random()?)?;
        let mut later = Vec::new();
        let mut segment = Vec::new();
        loop {
            if self.stop.is_cancelled() {
                return Err(UploadError::Interrupted);
            }
            segment.clear();
            let limit = sealer.segment_bytes() as u64;
            let count = stream
                .by_ref()
                .take(limit)
                .read_to_end(&mut segment)
                .map_err(|error| UploadError::Source(SourceError::Stream(error)))?;
            if count == 0 {
                break;
            }
            match sealer.push(&segment)? {
                Pushed::Held { index, bytes } => self.spill.hold(index, &bytes)?,
                Pushed::Sealed { index, chunk } => {
                    self.spill.write(chunk.address, &chunk.bytes)?;
                    later.push(info(&chunk, u32::try_from(index).ok()));
                }
            }
            self.progress.add(count as u64, 1);
        }
        let mut chunks = Vec::new();
        let map = sealer.finish(
            ContentKind::File,
            |index| self.spill.release(index),
            |index, chunk| {
                chunks.push(info(&chunk, u32::try_from(index).ok()));
                self.spill.write(chunk.address, &chunk.bytes)
            },
        )?;
        chunks.append(&mut later);
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
