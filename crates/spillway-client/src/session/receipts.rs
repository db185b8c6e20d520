//! What vouches for a stored chunk: receipts that peers which were quoted for it have signed, for a
//! payment. Those of other sessions count here too: what is stored and paid for there is neither asked
//! for nor stored again.

use std::collections::{BTreeMap, BTreeSet};

use spillway_disk::Disk;
use spillway_types::{
    ChunkAddress, Domain, EvmAddress, PaymentId, Receipt, UnixTime, limits::STORE_QUORUM,
};

use super::{
    ChunkIx, PlanFile, PlanIx, Progressed, Record,
    open::{is_there, load_ids, load_manifest, load_plans, load_records},
};
use crate::UploadError;

/// Plans of one session, by payment, with the leaf of each chunk.
pub(crate) struct Vouchers<'p>(BTreeMap<PaymentId, (&'p PlanFile, BTreeMap<ChunkIx, usize>)>);

impl<'p> Vouchers<'p> {
    pub(crate) fn of(plans: impl IntoIterator<Item = &'p PlanFile>) -> Self {
        let leaves = |file: &PlanFile| {
            let places = file.chunks.iter().enumerate();
            places.filter_map(|(at, chunk)| chunk.map(|chunk| (chunk, at))).collect()
        };
        Self(plans.into_iter().map(|file| (file.plan.id(), (file, leaves(file)))).collect())
    }

    /// The payment for which a quorum of the peers that were quoted for a chunk say, over their
    /// signatures, that they have stored it; with what they say, once a peer.
    pub(crate) fn quorum(
        &self,
        chunk: ChunkIx,
        receipts: &[Receipt],
    ) -> Option<(PaymentId, Vec<Receipt>)> {
        let payments: BTreeSet<PaymentId> = receipts.iter().map(|r| r.body.payment).collect();
        payments.into_iter().find_map(|payment| {
            let (file, places) = self.0.get(&payment)?;
            let at = *places.get(&chunk)?;
            let (leaf, quotes) = (file.plan.leaves.get(at)?, file.quotes.get(at)?);
            let subject = (payment, leaf.hash(), leaf.address, quotes[0].terms.size);
            let mut sound: Vec<Receipt> = Vec::new();
            for receipt in receipts {
                let body = &receipt.body;
                if (body.payment, body.leaf, body.address, body.size) == subject
                    && body.domain == file.plan.domain
                    && quotes.iter().any(|quote| quote.peer == receipt.peer)
                    && !sound.iter().any(|known| known.peer == receipt.peer)
                    && receipt.verify_signature().is_ok()
                {
                    sound.push(*receipt);
                }
            }
            (sound.len() >= STORE_QUORUM).then_some((payment, sound))
        })
    }
}

/// The chunks of a session that its receipts vouch for, of these payments. Blocks.
///
/// # Errors
/// When the session cannot be read.
pub(crate) fn vouched_for(
    disk: &dyn Disk,
    id: &str,
    payments: &BTreeSet<PaymentId>,
) -> Result<BTreeSet<ChunkIx>, UploadError> {
    let plans = load_plans(disk, id)?;
    let vouchers = Vouchers::of(plans.iter().filter(|file| payments.contains(&file.plan.id())));
    let (_, records) = load_records(disk, id)?;
    let stored = records.into_iter().filter_map(|record| match record {
        Record::Stored { chunk, receipts } => vouchers.quorum(chunk, &receipts).map(|_| chunk),
        _ => None,
    });
    Ok(stored.collect())
}

/// Receipts of other sessions: by payment, of each chunk.
pub(crate) type Elsewhere = BTreeMap<PaymentId, BTreeMap<ChunkAddress, Vec<Receipt>>>;

/// Receipts that other sessions hold for these chunks: a quorum for a payment that is noted as
/// recorded, or was, and whose upload window is not over. Whether it is is the chain's to say. When it
/// is over, the network is asked again. A session that cannot be read gives none, nor does one that
/// came with an archive, if it is another payer's or what it says was not looked for here. Blocks.
///
/// # Errors
/// When our disk fails.
pub(crate) fn receipts_elsewhere(
    disk: &dyn Disk,
    own: &str,
    of: (&Domain, EvmAddress, UnixTime),
    wanted: &BTreeSet<ChunkAddress>,
) -> Result<Elsewhere, UploadError> {
    let mut found = Elsewhere::new();
    for id in load_ids(disk)? {
        if id == own || wanted.is_empty() {
            continue;
        }
        match of_session(disk, &id, of, wanted, &mut found) {
            Ok(()) => {}
            // Given up since the list was read.
            Err(UploadError::Disk(_)) if !is_there(disk, &id)? => {}
            // Before anything is planned it stops the upload; what is paid goes on without it.
            Err(error) => tracing::warn!(session = %id, %error, "its receipts are not used"),
        }
    }
    Ok(found)
}

fn of_session(
    disk: &dyn Disk,
    id: &str,
    (domain, payer, now): (&Domain, EvmAddress, UnixTime),
    wanted: &BTreeSet<ChunkAddress>,
    found: &mut Elsewhere,
) -> Result<(), UploadError> {
    let manifest = load_manifest(disk, id)?;
    let ours = manifest.chunks.iter().any(|chunk| wanted.contains(&chunk.address));
    if manifest.domain != *domain || !ours {
        return Ok(());
    }
    let (_, records) = load_records(disk, id)?;
    let progressed = Progressed::of(&records);
    if progressed.is_hearsay() || progressed.is_strange(manifest.payer, payer) {
        return Ok(());
    }
    let plans = load_plans(disk, id)?;
    let plans = (0..).map(PlanIx).zip(&plans);
    let vouchers = Vouchers::of(
        plans
            .filter(|(plan, file)| {
                let was_paid =
                    progressed.paid.contains_key(plan) || progressed.undone.contains(plan);
                was_paid && !file.is_over(now)
            })
            .map(|(_, file)| file),
    );
    for record in records {
        let Record::Stored { chunk, receipts } = record else { continue };
        let Some(info) = manifest.chunks.get(chunk.0 as usize) else { continue };
        if !wanted.contains(&info.address) {
            continue;
        }
        if let Some((payment, receipts)) = vouchers.quorum(chunk, &receipts) {
            found.entry(payment).or_default().insert(info.address, receipts);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use spillway_disk::{MemoryDisk, Overwrite};
    use spillway_types::{
        Atto, NetworkId, Nonce, PeerSecret, ReceiptBody,
        limits::{CLOSE_GROUP, QUOTE_LIFETIME},
    };

    use super::*;
    use crate::session::{
        files::{FileKind, encode},
        golden, journal,
    };

    const ID: &str = "0303030303030303-1800000000";
    const CHUNK: ChunkAddress = ChunkAddress([6; 32]);
    const NOW: UnixTime = UnixTime(1_800_000_500);

    fn secret(number: usize) -> PeerSecret {
        PeerSecret::from_seed(&[u8::try_from(number).unwrap() + 11; 32])
    }

    /// That of [`golden::plan`], with five peers.
    fn plan() -> PlanFile {
        let file = golden::plan();
        let terms = file.quotes[0][0].terms;
        let quotes: [usize; CLOSE_GROUP] = [0, 1, 2, 3, 4];
        PlanFile { quotes: vec![quotes.map(|number| terms.sign(&secret(number)))], ..file }
    }

    fn receipt(number: usize) -> Receipt {
        let PlanFile { plan, .. } = plan();
        let body = ReceiptBody {
            domain: golden::domain(),
            payment: plan.id(),
            leaf: plan.leaves[0].hash(),
            address: CHUNK,
            size: 34,
            time: UnixTime(1_800_000_100),
            nonce: Nonce([17; 16]),
        };
        body.sign(&secret(number))
    }

    fn stored(peers: &[usize]) -> Record {
        let receipts = peers.iter().map(|number| receipt(*number)).collect();
        Record::Stored { chunk: ChunkIx(0), receipts }
    }

    fn paid() -> Record {
        Record::Paid { plan: PlanIx(0), recorded: NOW, total: Atto(5_000) }
    }

    fn session(records: &[Record]) -> MemoryDisk {
        let disk = MemoryDisk::new();
        let dir = Path::new("sessions").join(ID);
        disk.create_dir_all(&dir).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            disk.write_durable(&dir.join(name), bytes, Overwrite::Never).unwrap();
        };
        write("manifest", &encode(FileKind::Manifest, &golden::manifest()));
        write("plan-0", &encode(FileKind::Plan, &plan()));
        write("journal", &journal::encode(records));
        disk
    }

    #[test]
    fn another_session_vouches_with_a_quorum_for_a_payment_of_this_vault() {
        let undone = Record::Undone { plan: PlanIx(0) };
        for (records, count) in [
            (&[paid(), stored(&[0, 1, 2])][..], 1),
            (&[paid(), stored(&[0, 1, 2]), undone], 1),
            (&[stored(&[0, 1, 2])], 0),
            (&[paid(), stored(&[0, 1])], 0),
            (&[paid(), stored(&[0, 1, 1])], 0),
            // One that was not quoted.
            (&[paid(), stored(&[0, 1, 5])], 0),
            (&[paid(), stored(&[0, 1, 2]), Record::Imported], 0),
        ] {
            let disk = session(records);
            let of = (&golden::domain(), golden::manifest().payer, NOW);
            let found = receipts_elsewhere(&disk, "own", of, &[CHUNK].into()).unwrap();
            assert_eq!(found.len(), count, "{records:?}");
            if let Some(chunks) = found.get(&plan().plan.id()) {
                assert_eq!(chunks[&CHUNK].len(), 3);
            }
        }
    }

    #[test]
    fn what_is_another_networks_or_too_old_or_not_wanted_is_left_out() {
        let disk = session(&[paid(), stored(&[0, 1, 2])]);
        let domain = golden::domain();
        let other = Domain { network: NetworkId([9; 32]), ..domain };
        let last = plan().plan.upload_by.saturating_add(QUOTE_LIFETIME);
        let over = UnixTime(last.0 + 1);
        let not_paid_for = ChunkAddress([7; 32]);
        for (own, domain, now, wanted, count) in [
            ("own", &domain, NOW, Some(CHUNK), 1),
            ("own", &domain, last, Some(CHUNK), 1),
            ("own", &domain, over, Some(CHUNK), 0),
            ("own", &other, NOW, Some(CHUNK), 0),
            ("own", &domain, NOW, Some(not_paid_for), 0),
            ("own", &domain, NOW, Some(ChunkAddress([8; 32])), 0),
            ("own", &domain, NOW, None, 0),
            (ID, &domain, NOW, Some(CHUNK), 0),
        ] {
            let wanted: BTreeSet<ChunkAddress> = wanted.into_iter().collect();
            let of = (domain, golden::manifest().payer, now);
            let found = receipts_elsewhere(&disk, own, of, &wanted).unwrap();
            assert_eq!(found.len(), count, "{own} {domain:?} {now} {wanted:?}");
        }
    }

    #[test]
    fn an_imported_session_is_vouched_for_by_the_payments_that_are_recorded() {
        let disk = session(&[paid(), stored(&[0, 1, 2])]);
        let vouched = |payments| vouched_for(&disk, ID, &payments).unwrap();
        assert_eq!(vouched([plan().plan.id()].into()), [ChunkIx(0)].into());
        assert_eq!(vouched([PaymentId([9; 32])].into()), [].into());
        let disk = session(&[paid(), stored(&[0, 1])]);
        assert_eq!(vouched_for(&disk, ID, &[plan().plan.id()].into()).unwrap(), [].into());
    }
}
