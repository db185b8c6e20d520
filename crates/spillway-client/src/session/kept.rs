//! Proofs that sessions keep: what was paid for once can be stored again without paying.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use spillway_disk::Disk;
use spillway_types::{
    ChunkAddress, Domain, Leaf, PaymentId, PaymentProof, Quote, Receipt, UnixTime,
    limits::{CLOSE_GROUP, MAX_CLOCK_SKEW, STORE_QUORUM},
};

use super::{
    ChunkIx, PlanFile, PlanIx, Progressed, Record,
    open::{is_there, load_ids, load_manifest, load_plans, load_records},
};
use crate::{UnreadableSession, UploadError, limits::CHUNK_PROOFS};

/// A chunk's proof, and what shows that it was stored in time.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub leaf: Leaf,
    /// Its sealed size, in bytes.
    pub size: u32,
    /// In share order.
    pub quotes: [Quote; CLOSE_GROUP],
    pub proof: Arc<PaymentProof>,
    pub payment: PaymentId,
    pub upload_by: UnixTime,
    /// Receipts for this payment and leaf that are dated between its quotes and the end of its window,
    /// one a quoted peer.
    pub receipts: Vec<Receipt>,
}

impl Kept {
    /// Whether it can be put still.
    pub(crate) fn is_open(&self, now: UnixTime) -> bool {
        now <= self.upload_by
    }

    /// Whether it can be offered.
    pub(crate) fn is_offer(&self) -> bool {
        self.receipts.len() >= STORE_QUORUM
    }

    /// Takes in of these receipts what an offer may be made with. A single one that is not right would
    /// speak against the others, and its peer may want just that.
    pub(crate) fn add_receipts(&mut self, receipts: &[Receipt]) {
        let leaf = self.leaf.hash();
        // Not since the payment's record: a reorganisation may have moved that.
        let issued = self.quotes.iter().map(|quote| quote.terms.issued).max();
        let earliest = issued.map_or(UnixTime(0), |issued| issued.saturating_sub(MAX_CLOCK_SKEW));
        let times = earliest..=self.upload_by;
        for receipt in receipts {
            let body = &receipt.body;
            let subject = (body.payment, body.leaf, body.address, body.size);
            let quoted = self.quotes.iter().any(|quote| quote.peer == receipt.peer);
            let here = self.receipts.iter().any(|known| known.peer == receipt.peer);
            if subject == (self.payment, leaf, self.leaf.address, self.size)
                && body.domain == self.quotes[0].terms.domain
                && times.contains(&body.time)
                && quoted
                && !here
                && receipt.verify_signature().is_ok()
            {
                self.receipts.push(*receipt);
            }
        }
    }
}

/// Which proofs sessions keep of some chunks.
#[derive(Debug, Default)]
pub(crate) struct KeptProofs {
    /// Those of each chunk, the best ones first and [`CHUNK_PROOFS`] at most, with the spills of their
    /// sessions.
    pub found: BTreeMap<ChunkAddress, Vec<(Kept, String)>>,
    /// Sessions that cannot be read: there may be more in them.
    pub unreadable: Vec<UnreadableSession>,
}

/// The proofs that sessions keep of these chunks, for payments that are recorded on this network. One
/// that can still be put comes before one that can be offered. A session that came with an archive has
/// none before what it says was looked for here: its author may be a stranger, and payments may never
/// have been. Blocks.
///
/// # Errors
/// When our disk fails.
pub(crate) fn kept_proofs(
    disk: &dyn Disk,
    (domain, now): (Domain, UnixTime),
    wanted: &BTreeSet<ChunkAddress>,
) -> Result<KeptProofs, UploadError> {
    let mut proofs = KeptProofs::default();
    for session in load_ids(disk)? {
        match of_session(disk, &session, &domain, wanted) {
            Ok((kept, spill)) => {
                for kept in kept {
                    proofs.add(kept, &spill, now);
                }
            }
            Err(_) if !is_there(disk, &session)? => {}
            Err(error) => {
                let why = error.to_string();
                proofs.unreadable.push(UnreadableSession { session, why });
            }
        }
    }
    Ok(proofs)
}

impl KeptProofs {
    fn add(&mut self, kept: Kept, spill: &str, now: UnixTime) {
        let rank = |kept: &Kept| (kept.is_open(now), kept.is_offer(), kept.upload_by);
        let all = self.found.entry(kept.leaf.address).or_default();
        all.push((kept, spill.to_owned()));
        all.sort_by_key(|(kept, _)| Reverse(rank(kept)));
        all.truncate(CHUNK_PROOFS);
    }
}

fn of_session(
    disk: &dyn Disk,
    id: &str,
    domain: &Domain,
    wanted: &BTreeSet<ChunkAddress>,
) -> Result<(Vec<Kept>, String), UploadError> {
    let manifest = load_manifest(disk, id)?;
    let here: BTreeMap<ChunkIx, ChunkAddress> = (0..)
        .map(ChunkIx)
        .zip(&manifest.chunks)
        .filter(|(_, chunk)| wanted.contains(&chunk.address))
        .map(|(ix, chunk)| (ix, chunk.address))
        .collect();
    if manifest.domain != *domain || here.is_empty() {
        return Ok((Vec::new(), manifest.spill));
    }
    let (_, records) = load_records(disk, id)?;
    let progressed = Progressed::of(&records);
    if progressed.is_hearsay() {
        return Ok((Vec::new(), manifest.spill));
    }
    let mut found = Vec::new();
    for (plan, file) in (0..).map(PlanIx).zip(load_plans(disk, id)?) {
        if progressed.paid.contains_key(&plan) {
            found.extend(of_plan(&file, wanted));
        }
    }
    let mut by_address: BTreeMap<ChunkAddress, Vec<&mut Kept>> = BTreeMap::new();
    for kept in &mut found {
        by_address.entry(kept.leaf.address).or_default().push(kept);
    }
    for record in &records {
        let (Record::Stored { chunk, receipts } | Record::Already { chunk, receipts }) = record
        else {
            continue;
        };
        let Some(address) = here.get(chunk) else { continue };
        for kept in by_address.get_mut(address).into_iter().flatten() {
            kept.add_receipts(receipts);
        }
    }
    Ok((found, manifest.spill))
}

/// What a plan pays for of these, for its own session or not: of a plan that was taken over, a chunk that
/// was there already is nobody's here.
fn of_plan(file: &PlanFile, wanted: &BTreeSet<ChunkAddress>) -> Vec<Kept> {
    let leaves = file.plan.leaves.iter().enumerate();
    let places: Vec<usize> =
        leaves.filter(|(_, leaf)| wanted.contains(&leaf.address)).map(|(at, _)| at).collect();
    if places.is_empty() {
        return Vec::new();
    }
    let Ok(proofs) = file.plan.proofs() else { return Vec::new() };
    let payment = file.plan.id();
    let kept = places.into_iter().map(|at| Kept {
        leaf: file.plan.leaves[at].clone(),
        size: file.quotes[at][0].terms.size,
        quotes: file.quotes[at],
        proof: proofs.of(at),
        payment,
        upload_by: file.plan.upload_by,
        receipts: Vec::new(),
    });
    kept.collect()
}

/// All receipts that a session has written down for each of these chunks. Blocks.
///
/// # Errors
/// When its journal cannot be read.
pub(crate) fn receipts_of(
    disk: &dyn Disk,
    id: &str,
    wanted: &BTreeSet<ChunkIx>,
) -> Result<BTreeMap<ChunkIx, Vec<Receipt>>, UploadError> {
    let mut of_chunks: BTreeMap<ChunkIx, Vec<Receipt>> =
        wanted.iter().map(|chunk| (*chunk, Vec::new())).collect();
    for record in load_records(disk, id)?.1 {
        let Record::Stored { chunk, receipts } = record else { continue };
        if let Some(known) = of_chunks.get_mut(&chunk) {
            known.extend(receipts);
        }
    }
    Ok(of_chunks)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use spillway_disk::{MemoryDisk, Overwrite};
    use spillway_types::{Atto, EvmAddress, NetworkId, Nonce, PeerSecret, ReceiptBody};

    use super::*;
    use crate::session::{
        files::{FileKind, encode},
        golden, journal, load_journal,
    };

    const NOW: UnixTime = UnixTime(1_800_000_500);

    /// A session with the one plan of [`golden::plan`], taken over from another session for a chunk that
    /// the network had already: what it says of that chunk.
    fn taken_over(receipt: impl FnOnce(&PlanFile) -> ReceiptBody) -> Vec<(Kept, String)> {
        kept_there(&disk_of(receipt), golden::domain())
    }

    fn kept_there(disk: &MemoryDisk, domain: Domain) -> Vec<(Kept, String)> {
        let wanted = BTreeSet::from([ChunkAddress([6; 32])]);
        let mut proofs = kept_proofs(disk, (domain, NOW), &wanted).unwrap();
        assert!(proofs.unreadable.is_empty(), "{:?}", proofs.unreadable);
        proofs.found.remove(&ChunkAddress([6; 32])).unwrap_or_default()
    }

    /// The same when its journal goes on with these records.
    fn kept_after(since: &[Record]) -> Vec<(Kept, String)> {
        let disk = disk_of(said);
        let (mut journal, _) = load_journal(&disk, "0303030303030303-1800000000").unwrap();
        journal.append(&disk, since).unwrap();
        kept_there(&disk, golden::domain())
    }

    fn disk_of(receipt: impl FnOnce(&PlanFile) -> ReceiptBody) -> MemoryDisk {
        let disk = MemoryDisk::new();
        let dir = Path::new("sessions/0303030303030303-1800000000");
        disk.create_dir_all(dir).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            disk.write_durable(&dir.join(name), bytes, Overwrite::Never).unwrap();
        };
        let plan = PlanFile { chunks: vec![None], ..golden::plan() };
        let receipt = receipt(&plan).sign(&PeerSecret::from_seed(&[11; 32]));
        let records = [
            Record::Already { chunk: ChunkIx(0), receipts: vec![receipt] },
            Record::Paid { plan: PlanIx(0), recorded: NOW, total: Atto::ZERO },
        ];
        write("manifest", &encode(FileKind::Manifest, &golden::manifest()));
        write("plan-0", &encode(FileKind::Plan, &plan));
        write("journal", &journal::encode(&records));
        disk
    }

    fn said(plan: &PlanFile) -> ReceiptBody {
        ReceiptBody {
            domain: golden::domain(),
            payment: plan.plan.id(),
            leaf: plan.plan.leaves[0].hash(),
            address: ChunkAddress([6; 32]),
            size: 34,
            // The payment was recorded again after it.
            time: UnixTime(1_800_000_001),
            nonce: Nonce([17; 16]),
        }
    }

    #[test]
    fn a_plan_that_was_taken_over_pays_for_what_was_there_already() {
        let found = taken_over(said);
        assert_eq!(found.len(), 1);
        let (kept, spill) = &found[0];
        assert_eq!(spill, &golden::manifest().spill);
        assert_eq!((kept.payment, kept.size), (golden::plan().plan.id(), 34));
        assert!(kept.is_open(NOW));
        assert_eq!(kept.receipts.len(), 1);
    }

    #[test]
    fn what_another_network_was_paid_for_is_no_proof_here() {
        let disk = disk_of(said);
        assert_eq!(kept_there(&disk, golden::domain()).len(), 1);
        let other = Domain { network: NetworkId([9; 32]), ..golden::domain() };
        assert!(kept_there(&disk, other).is_empty());
    }

    #[test]
    fn what_came_with_an_archive_has_proofs_when_it_has_come_to_its_end_here() {
        let looked_for = [Record::Imported, Record::Verified];
        let whole = [Record::Imported, Record::Finished];
        let again = [Record::Finished, Record::Imported];
        for (since, count) in
            [(&again[..], 0), (&again[1..], 0), (&looked_for, 1), (&whole, 1), (&again[..1], 1)]
        {
            assert_eq!(kept_after(since).len(), count, "{since:?}");
        }
    }

    #[test]
    fn receipts_that_a_node_would_not_take_are_left_out() {
        let first = golden::plan().quotes[0][0].terms.issued.saturating_sub(MAX_CLOCK_SKEW);
        let last = golden::plan().plan.upload_by;
        let before = first.saturating_sub(std::time::Duration::from_secs(1));
        for (time, count) in [(before, 0), (first, 1), (last, 1), (UnixTime(last.0 + 1), 0)] {
            let found = taken_over(|plan| ReceiptBody { time, ..said(plan) });
            assert_eq!(found[0].0.receipts.len(), count, "{time}");
        }
        let strange = taken_over(|plan| ReceiptBody { payment: PaymentId([9; 32]), ..said(plan) });
        assert_eq!(strange[0].0.receipts.len(), 0);
    }

    #[test]
    fn a_receipt_counts_once_and_only_for_what_it_says() {
        let body = said(&golden::plan());
        let of = |body: ReceiptBody| body.sign(&PeerSecret::from_seed(&[11; 32]));
        let mut forged = of(body);
        forged.body.nonce = Nonce([18; 16]);
        let bad = [
            of(ReceiptBody { payment: PaymentId([9; 32]), ..body }),
            of(ReceiptBody { leaf: spillway_types::LeafHash([9; 32]), ..body }),
            of(ReceiptBody { address: ChunkAddress([9; 32]), ..body }),
            of(ReceiptBody { size: 35, ..body }),
            of(ReceiptBody { domain: Domain { chain_id: 1, ..golden::domain() }, ..body }),
            body.sign(&PeerSecret::from_seed(&[12; 32])),
            forged,
        ];
        let (mut kept, _) = taken_over(said).remove(0);
        kept.receipts.clear();
        for receipt in bad {
            kept.add_receipts(&[receipt]);
            assert!(kept.receipts.is_empty(), "{receipt:?}");
        }
        kept.add_receipts(&[of(body), of(body)]);
        assert_eq!(kept.receipts.len(), 1);
    }

    #[test]
    fn what_can_be_put_comes_first_then_what_can_be_offered_then_what_ends_later() {
        let kept = |by: u64, receipts: usize| {
            let (mut kept, _) = taken_over(said).remove(0);
            kept.upload_by = UnixTime(by);
            kept.receipts = vec![kept.receipts[0]; receipts];
            kept
        };
        let now = NOW.0;
        assert!(kept(now, 0).is_open(NOW) && !kept(now - 1, 0).is_open(NOW));
        assert!(kept(now, STORE_QUORUM).is_offer() && !kept(now, STORE_QUORUM - 1).is_offer());
        let mut proofs = KeptProofs::default();
        for (by, receipts) in [(now - 1, 0), (now - 2, 3), (now - 3, 3), (now, 0), (now + 1, 2)] {
            proofs.add(kept(by, receipts), "spill", NOW);
        }
        let found = proofs.found.into_values().next().unwrap();
        let found: Vec<u64> = found.into_iter().map(|(kept, _)| kept.upload_by.0).collect();
        assert_eq!(found, [now + 1, now, now - 2], "as many as are tried");
    }

    #[test]
    fn a_session_that_cannot_be_read_is_named() {
        let disk = MemoryDisk::new();
        let dir = Path::new("sessions/0123456789abcdef-1800000000");
        disk.create_dir_all(dir).unwrap();
        disk.write_durable(&dir.join("manifest"), b"none", Overwrite::Never).unwrap();
        let domain =
            Domain { network: NetworkId([1; 32]), chain_id: 1, vault: EvmAddress([2; 20]) };
        let wanted = BTreeSet::from([ChunkAddress([6; 32])]);
        let found = kept_proofs(&disk, (domain, UnixTime(1_800_000_000)), &wanted).unwrap();
        assert!(found.found.is_empty());
        let unreadable: Vec<&str> =
            found.unreadable.iter().map(|session| session.session.as_str()).collect();
        assert_eq!(unreadable, ["0123456789abcdef-1800000000"]);
    }
}
