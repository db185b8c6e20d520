use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use spillway_types::{ChunkAddress, PeerKey, limits::CLOSE_GROUP};

use super::{
    VerifyError,
    probe::{Copy, has, read_copies},
    report::Verified,
};
use crate::{
    ClientParts,
    limits::{LOOKUP_WORKERS, VERIFY_WORKERS},
    workers::Work,
};

/// Who of its close group has a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copies {
    pub address: ChunkAddress,
    pub has: Vec<PeerKey>,
    /// Those who say that they do not have it, or gave something else, or did not answer.
    pub lacks: Vec<PeerKey>,
}

/// Counts the copies of these chunks, at most one window, and reads those of the chosen ones.
pub(super) async fn count(
    parts: &ClientParts,
    chunks: &[ChunkAddress],
    chosen: Vec<bool>,
    report: &mut Verified,
) -> Result<Vec<Copies>, VerifyError> {
    let groups: Vec<Vec<PeerKey>> = stream::iter(chunks)
        .map(|&address| async move {
            let _place = parts.workers.enter(Work::Lookup).await;
            parts.peers.closest(address, CLOSE_GROUP).await
        })
        .buffered(LOOKUP_WORKERS)
        .try_collect()
        .await?;
    let mut by_peer: BTreeMap<PeerKey, Vec<usize>> = BTreeMap::new();
    for (at, group) in groups.into_iter().enumerate() {
        for peer in group {
            by_peer.entry(peer).or_default().push(at);
        }
    }
    let mut all: Vec<Copies> = chunks
        .iter()
        .map(|&address| Copies { address, has: Vec::new(), lacks: Vec::new() })
        .collect();
    let mut answers = stream::iter(by_peer)
        .map(|(peer, asked)| async move {
            let addresses = asked.iter().map(|&at| chunks[at]).collect();
            (peer, has(parts, peer, addresses).await, asked)
        })
        .buffer_unordered(VERIFY_WORKERS);
    while let Some((peer, present, asked)) = answers.next().await {
        if present.is_none() {
            report.silent.insert(peer);
        }
        for (place, at) in asked.into_iter().enumerate() {
            let is_there = present.as_ref().is_some_and(|present| present[place]);
            let side = if is_there { &mut all[at].has } else { &mut all[at].lacks };
            side.push(peer);
        }
    }
    drop(answers);
    read(parts, &mut all, &chosen, report).await;
    for copies in &mut all {
        // Answers come as they come; reports do not.
        let address = copies.address;
        copies.has.sort_by_key(|peer| peer.distance(&address));
        copies.lacks.sort_by_key(|peer| peer.distance(&address));
    }
    Ok(all)
}

/// Reads every copy of the chosen chunks; those that are not what they should be do not count.
async fn read(parts: &ClientParts, all: &mut [Copies], chosen: &[bool], report: &mut Verified) {
    let chosen =
        all.iter().enumerate().filter(|(at, copies)| chosen[*at] && !copies.has.is_empty());
    let claims: Vec<(usize, ChunkAddress, PeerKey)> = chosen
        .inspect(|_| report.chunks_read += 1)
        .flat_map(|(at, copies)| copies.has.iter().map(move |&peer| (at, copies.address, peer)))
        .collect();
    let mut reads = read_copies(parts, claims);
    while let Some((at, peer, copy)) = reads.next().await {
        let copies = &mut all[at];
        match copy {
            Copy::Good(chunk) => {
                report.copies_read += 1;
                report.bytes_read += chunk.len() as u64;
                continue;
            }
            Copy::Bad => report.bad(copies.address, peer),
            Copy::Silent => {
                report.silent.insert(peer);
            }
        }
        copies.has.retain(|other| *other != peer);
        copies.lacks.push(peer);
    }
}
