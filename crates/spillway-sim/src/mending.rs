//! Verifying an upload that is done, and storing again what nodes have lost.

use std::{collections::BTreeMap, path::Path, time::Duration};

use spillway_client::{ReadData, Remote, Uploaded, Verified, VerifyError, VerifyOptions};
use spillway_types::{
    ChunkAddress, PaymentId,
    limits::{CLOSE_GROUP, STORE_QUORUM},
};

use crate::{
    End, Promise, Strike, Violation, oracle,
    play::{Checked, Play},
    work::Kind,
    world::DataDir,
};

/// Copies of chunks, by how many of the five closest have them.
type Copies = [u64; CLOSE_GROUP + 1];

impl Play {
    /// Verifies and repairs in trouble: whatever it says, it pays nothing and counts every chunk.
    pub(crate) async fn verify_in_trouble(&mut self, dir: &DataDir, done: &Uploaded) -> Checked {
        if self.work.kind == Kind::Chunk {
            return Ok(());
        }
        let before = self.world.paid();
        let total = oracle::addresses(done)?.len() as u64;
        if let Ok(report) = self.verify(dir, done, ReadData::default()).await {
            check_sums(&report, total)?;
        }
        self.check_unpaid(before)?;
        self.oracle.check(&self.world, &self.dirs)
    }

    /// Nodes lose copies, but for one of each chunk; after a while all is verified and repaired. In
    /// peace the report is exact, and what this session has paid for has five copies again.
    pub(crate) async fn lose_and_repair(&mut self, done: &Uploaded, after: Duration) -> Checked {
        if self.work.kind == Kind::Chunk {
            return Ok(());
        }
        self.world.wait(after).await;
        let chunks = oracle::addresses(done)?;
        self.lose_copies(chunks.iter().copied()).await;
        let count = |play: &Self| {
            let mut copies = Copies::default();
            for address in &chunks {
                copies[play.close_copies(*address)] += 1;
            }
            copies
        };
        let (before, paid, dir) = (count(self), self.world.paid(), self.dirs[0].clone());
        let read = if before[0] == 0 { ReadData::All } else { ReadData::default() };
        let report = self.verify(&dir, done, read).await.map_err(|error| {
            Violation::new(Promise::Finishes, "an upload is verified in peace", error.to_string())
        })?;
        check_sums(&report, chunks.len() as u64)?;
        let after = count(self);
        if (report.copies, report.copies_after) != (before, after) {
            return Err(Violation::new(
                Promise::I6,
                format!("copies said to be {before:?} before and {after:?} after"),
                format!("{:?} and {:?}", report.copies, report.copies_after),
            ));
        }
        self.check_unpaid(paid)?;
        self.check_mended(&dir, done, &report)?;
        self.oracle.check(&self.world, &self.dirs)
    }

    /// Every chunk that the session has paid for is on all five of its closest nodes. Not one that was
    /// stored for a payment which a reorganisation has taken back: its receipts name that one. Nor, when
    /// the window is over, one that somebody else has paid for, too: it may have been stored for them.
    fn check_mended(&self, dir: &DataDir, done: &Uploaded, report: &Verified) -> Checked {
        let session = Path::new("sessions").join(&done.upload_id);
        let recorded = self.world.recorded();
        let plans = self.world.plans.of(&dir.machine.disk(), &session);
        let now = self.world.now();
        let is_others = |payment: &PaymentId, address: ChunkAddress| {
            let others = recorded.keys().filter(|other| *other != payment);
            let mut others = others.filter_map(|other| self.oracle.plan(*other));
            others.any(|plan| plan.leaves.iter().any(|leaf| leaf.address == address))
        };
        let paid = plans.iter().filter(|(payment, _)| recorded.contains_key(payment));
        let mut all = oracle::addresses(done)?;
        for payment in self.world.sky.undone() {
            let plan = self.oracle.plan(payment);
            plan.into_iter().flat_map(|plan| &plan.leaves).for_each(|leaf| {
                all.remove(&leaf.address);
            });
        }
        let paid = paid
            .flat_map(|(payment, plan)| plan.leaves.iter().map(move |leaf| (payment, plan, leaf)));
        for (payment, plan, leaf) in paid {
            if plan.upload_by < now && is_others(payment, leaf.address) {
                continue;
            }
            let copies = self.close_copies(leaf.address);
            if all.contains(&leaf.address) && copies < CLOSE_GROUP {
                let found = format!("{copies}; {:?}", report.not_repaired);
                let expected = format!("{CLOSE_GROUP} copies of the paid chunk {}", leaf.address);
                return Err(Violation::new(Promise::I3, expected, found));
            }
        }
        Ok(())
    }

    fn check_unpaid(&self, before: spillway_types::Atto) -> Checked {
        let paid = self.world.paid();
        if paid == before {
            return Ok(());
        }
        let found = format!("{before} before and {paid} after");
        Err(Violation::new(Promise::I1, "nothing is paid by verifying", found))
    }

    async fn verify(
        &self,
        dir: &DataDir,
        done: &Uploaded,
        read: ReadData,
    ) -> Result<Verified, VerifyError> {
        self.world.fate.count(Strike::Repair);
        let remote = match (done.public_address, &done.data_map) {
            (None, Some(map)) => Remote::DataMap(map.clone()),
            (address, _) => Remote::Public(address.unwrap_or(ChunkAddress([0; 32]))),
        };
        let life = dir.machine.start(End::Natural, None, &self.world.fate);
        let process = self.world.process(dir, life, false);
        let options = VerifyOptions { read, repair: true, ..VerifyOptions::default() };
        let report = process.client.verify(remote, options).await;
        drop(process);
        dir.machine.forget_lives();
        let error = report.as_ref().err();
        self.world.fate.note(format_args!("= verify: {error:?}"));
        report
    }

    /// How many of the five closest nodes have a chunk.
    fn close_copies(&self, address: ChunkAddress) -> usize {
        let closest = self.world.closest(address);
        closest.iter().filter(|&&index| self.world.members[index].has(address)).count()
    }

    async fn lose_copies(&mut self, chunks: impl Iterator<Item = ChunkAddress>) {
        let mut lost: BTreeMap<usize, Vec<ChunkAddress>> = BTreeMap::new();
        for address in chunks {
            let mut have: Vec<usize> = (0..self.world.members.len())
                .filter(|&index| self.world.members[index].has(address))
                .collect();
            let lose = self.world.fate.draw(|random| {
                random.shuffle(&mut have);
                random.usize(..have.len().max(1))
            });
            for &index in &have[..lose] {
                lost.entry(index).or_default().push(address);
                self.oracle.outlived.insert(address);
            }
        }
        if !lost.is_empty() {
            self.world.fate.count(Strike::CopiesLost);
        }
        for (index, chunks) in lost {
            self.world.members[index].lose(&chunks).await;
        }
    }
}

/// Every chunk is counted once.
fn check_sums(report: &Verified, total: u64) -> Checked {
    let sums = [report.chunks_total, report.copies.iter().sum(), report.copies_after.iter().sum()];
    let short: u64 = report.copies_after[..STORE_QUORUM].iter().sum();
    if sums == [total; 3] && report.short() == short {
        return Ok(());
    }
    Err(Violation::new(Promise::I6, format!("{total} chunks counted once"), format!("{sums:?}")))
}
