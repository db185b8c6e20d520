//! What a payment that never can be recorded any more leaves: chunks that nobody has paid for.

use std::collections::BTreeSet;

use spillway_types::PaymentId;

use super::{PlanFile, PlanIx, Progressed};

impl Progressed {
    /// Takes chunks for which only receipts of dropped payments vouch out of those that are stored: no
    /// proof of them is left, so what nodes lose of them could never be stored again. The network says
    /// that it has them, with receipts of now, or they are priced. Plans whose record is only gone are
    /// not dropped, and one that another plan of the session is too counts as that.
    pub(super) fn open_dropped(&mut self, plans: &[PlanFile]) {
        if self.dropped.is_empty() || self.vouched.is_empty() {
            return;
        }
        let (mut gone, mut kept) = (BTreeSet::new(), BTreeSet::new());
        for (plan, file) in (0..).map(PlanIx).zip(plans) {
            let is_gone = self.dropped.contains(&plan) && !self.paid.contains_key(&plan);
            if is_gone { &mut gone } else { &mut kept }.insert(file.plan.id());
        }
        for payment in gone.difference(&kept) {
            self.open_all_of(*payment);
        }
    }

    fn open_all_of(&mut self, payment: PaymentId) {
        for chunk in self.vouched.remove(&payment).unwrap_or_default() {
            if self.vouched.values().any(|chunks| chunks.contains(&chunk)) {
                continue;
            }
            self.stored.remove(&chunk);
            self.reopened.insert(chunk);
            if !self.already.contains(&chunk) {
                (self.finished, self.verified) = (false, false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use spillway_types::{
        Atto, ChunkAddress, LeafHash, Nonce, PeerSecret, Receipt, ReceiptBody, UnixTime,
    };

    use super::*;
    use crate::session::{
        ChunkIx, Record,
        golden::{domain, plan},
    };

    fn receipt(payment: PaymentId) -> Receipt {
        let body = ReceiptBody {
            domain: domain(),
            payment,
            leaf: LeafHash([16; 32]),
            address: ChunkAddress([6; 32]),
            size: 34,
            time: UnixTime(1_800_000_100),
            nonce: Nonce([17; 16]),
        };
        body.sign(&PeerSecret::from_seed(&[11; 32]))
    }

    fn stored(chunk: u32, by: &PlanFile) -> Record {
        Record::Stored { chunk: ChunkIx(chunk), receipts: vec![receipt(by.plan.id())] }
    }

    #[test]
    fn what_only_a_dropped_payment_vouches_for_is_open_again() {
        let (first, mut second) = (plan(), plan());
        second.plan.upload_by = UnixTime(1_800_086_401);
        let paid = |plan| Record::Paid { plan, recorded: UnixTime(1), total: Atto(5) };
        let already = Record::Already { chunk: ChunkIx(3), receipts: Vec::new() };
        let before = [
            paid(PlanIx(0)),
            paid(PlanIx(1)),
            stored(0, &first),
            stored(1, &first),
            stored(1, &second),
            stored(2, &second),
            stored(3, &first),
            already,
        ];
        let plans = [first.clone(), second];
        let mut all = Progressed::of(&before);
        // Gone, and maybe there again.
        all.apply(&Record::Undone { plan: PlanIx(0) });
        all.open_dropped(&plans);
        assert_eq!((all.stored.len(), all.reopened.len()), (4, 0));

        all.apply(&Record::Dropped { plan: PlanIx(0) });
        // Written by one who did not look.
        all.apply(&Record::Verified);
        all.apply(&Record::Finished);
        // The chain has taken it all the same.
        let mut taken = all.clone();
        taken.apply(&paid(PlanIx(0)));
        taken.open_dropped(&plans);
        assert_eq!((taken.stored.len(), taken.reopened.len()), (4, 0));
        // The same plan, taken over from another session since.
        let mut again = all.clone();
        again.open_dropped(&[&plans[..], std::slice::from_ref(&first)].concat());
        assert_eq!((again.stored.len(), again.reopened.len()), (4, 0));
        assert!(again.finished);

        all.open_dropped(&plans);
        assert_eq!(all.stored, [ChunkIx(1), ChunkIx(2)].into());
        assert_eq!(all.reopened, [ChunkIx(0), ChunkIx(3)].into());
        assert!(!all.finished && !all.verified && all.is_done(ChunkIx(3)));
        all.apply(&Record::Dropped { plan: PlanIx(1) });
        all.open_dropped(&plans);
        assert!(all.stored.is_empty());

        // What the network says it has is no reason.
        let before = [stored(3, &first), before[7].clone(), Record::Dropped { plan: PlanIx(0) }];
        let mut said = Progressed::of(&before);
        said.apply(&Record::Finished);
        said.open_dropped(&plans);
        assert!(said.finished && said.stored.is_empty());
    }
}
