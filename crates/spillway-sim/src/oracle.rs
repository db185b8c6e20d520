//! Who judges. The oracle looks at the vault's records and balances, at what nodes have in their
//! stores and at the files on the client's disk; what the client believes it compares with that.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use spillway_client::{ChunkFailure, Spend, UploadError, Uploaded};
use spillway_pay::Plan;
use spillway_seal::DataMap;
use spillway_types::{Atto, ChunkAddress, PaymentId, UnixTime, limits::STORE_QUORUM};

use crate::{
    Promise, Violation,
    copies::Stored,
    durable::{self, Plans},
    world::{DataDir, World},
};

type Checked = Result<(), Violation>;

/// Files and locks that one process may hold at once: the session's, the spill's, the planning and the
/// wallet's lock, one reader for each of four sealing workers, and as many again.
const MAX_HANDLES: u64 = 16;

/// What is known of all runs so far.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// By data directory: every plan that was ever seen there.
    plans: BTreeMap<&'static str, Plans>,
    /// Where the sessions of a payment have gone, if they were handed over.
    moved: BTreeMap<PaymentId, &'static str>,
    /// Payments that stood in several sessions when they were handed over. The one that has paid may have
    /// gone elsewhere.
    shared: BTreeSet<PaymentId>,
    /// Payments that the vault has recorded at some time.
    pub ever: BTreeSet<PaymentId>,
    /// What came back of batches.
    refunded: BTreeMap<PaymentId, Atto>,
    /// Chunks whose bytes were spoilt on purpose.
    pub rotten: BTreeSet<ChunkAddress>,
    /// Chunks that nodes have lost after their upload was done: nobody keeps those for them.
    pub outlived: BTreeSet<ChunkAddress>,
    /// Uploads that were started, by data directory.
    pub uploads: BTreeMap<&'static str, usize>,
}

/// What is known about one run beside its result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    /// What was paid when it began.
    pub paid_before: Atto,
    /// The chain was whole and nobody else paid.
    pub chain_was_clear: bool,
}

impl Oracle {
    /// Takes in what is there to be known: plans on disks, and what the vault has recorded so far.
    pub(crate) fn learn(&mut self, world: &World, dirs: &[DataDir]) {
        for dir in dirs {
            let here = world.plans.all(&dir.machine.disk());
            self.plans.entry(dir.name).or_default().extend(here);
        }
        self.ever.extend(world.recorded().into_keys());
        self.ever.extend(world.sky.undone());
    }

    /// After every run, whatever came of it.
    pub(crate) fn check(&mut self, world: &World, dirs: &[DataDir]) -> Checked {
        if let Some(violation) = world.seen.lock().ok().and_then(|mut seen| seen.pop()) {
            return Err(violation);
        }
        self.learn(world, dirs);
        let recorded = world.recorded();
        self.check_sum(world, &recorded)?;
        for dir in dirs {
            self.check_paid_once(dirs, dir.family, &recorded)?;
            self.check_kept(world, dir, &recorded)?;
            self.check_bounds(dir)?;
            if !dir.is_untouched() {
                return Err(Violation::new(
                    Promise::I4,
                    format!("what is not ours in {} as it was", dir.name),
                    "it was changed",
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn plan(&self, payment: PaymentId) -> Option<&Plan> {
        self.plans.values().find_map(|plans| plans.get(&payment)).map(|plan| &**plan)
    }

    /// Everything of a data directory goes on in another one.
    pub(crate) fn note_hand_over(&mut self, world: &World, from: &DataDir, to: &DataDir) {
        let disk = from.machine.disk();
        let mut seen = BTreeSet::new();
        for session in durable::sessions(&disk) {
            let plans = world.plans.of(&disk, &session).into_keys();
            self.shared.extend(plans.filter(|payment| !seen.insert(*payment)));
        }
        let gone = world.plans.all(&disk);
        self.moved.extend(gone.keys().map(|payment| (*payment, to.name)));
        self.plans.entry(from.name).or_default().extend(gone);
    }

    /// I1: the payer has lost what the plans say that were recorded, and nothing else.
    fn check_sum(&self, world: &World, recorded: &BTreeMap<PaymentId, UnixTime>) -> Checked {
        let mut sum = Atto::ZERO;
        for payment in recorded.keys() {
            let Some(plan) = self.plan(*payment) else {
                return Err(Violation::new(
                    Promise::I2,
                    "a plan on disk for every recorded payment",
                    format!("none for {payment}"),
                ));
            };
            sum = sum.saturating_add(plan.total());
            sum = sum.saturating_sub(self.refunded.get(payment).copied().unwrap_or_default());
        }
        let paid = world.paid();
        if paid == sum {
            return Ok(());
        }
        let found = format!("{paid} is gone for {} payments", recorded.len());
        Err(Violation::new(Promise::I1, format!("{sum} paid"), found))
    }

    /// I1: no chunk was paid for twice while its first proof held, from one data directory or from
    /// those that it was handed over to.
    fn check_paid_once(
        &self,
        dirs: &[DataDir],
        family: &str,
        recorded: &BTreeMap<PaymentId, UnixTime>,
    ) -> Checked {
        let mut by_chunk: BTreeMap<ChunkAddress, BTreeSet<(UnixTime, UnixTime, PaymentId)>> =
            BTreeMap::new();
        let names = dirs.iter().filter(|dir| dir.family == family).map(|dir| dir.name);
        for (payment, plan) in names.filter_map(|name| self.plans.get(name)).flatten() {
            let Some(&at) = recorded.get(payment) else { continue };
            for leaf in &plan.leaves {
                by_chunk.entry(leaf.address).or_default().insert((at, plan.upload_by, *payment));
            }
        }
        for (address, payments) in by_chunk {
            let payments = Vec::from_iter(payments);
            for pair in payments.windows(2) {
                let (first, second) = (pair[0], pair[1]);
                if second.0 <= first.1 {
                    return Err(Violation::new(
                        Promise::I1,
                        format!("chunk {address} paid for once until {}", first.1),
                        format!(
                            "paid at {} by {} and at {} by {}, from {family}",
                            first.0, first.2, second.0, second.2
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// I2: of everything that is paid, can still be stored and is not, plan and bytes are there.
    fn check_kept(
        &self,
        world: &World,
        dir: &DataDir,
        recorded: &BTreeMap<PaymentId, UnixTime>,
    ) -> Checked {
        let disk = dir.machine.disk();
        let here = world.plans.all(&disk);
        let is_here = |payment: &PaymentId| match self.moved.get(payment) {
            Some(to) => *to == dir.name,
            None => self.plans.get(dir.name).is_some_and(|plans| plans.contains_key(payment)),
        };
        let all = self.ever.iter().filter(|payment| is_here(payment));
        for (payment, plan) in all.filter_map(|payment| Some((payment, self.plan(*payment)?))) {
            if !recorded.contains_key(payment) || plan.upload_by < world.now() {
                continue;
            }
            let missing = plan.leaves.iter().map(|leaf| leaf.address).filter(|&address| {
                world.holders(address) < STORE_QUORUM
                    && !self.rotten.contains(&address)
                    && !self.outlived.contains(&address)
            });
            for address in missing {
                if !here.contains_key(payment) {
                    return Err(Violation::new(
                        Promise::I2,
                        format!("the plan of {payment} in {}", dir.name),
                        format!("it is gone, and chunk {address} is paid and not stored"),
                    ));
                }
                if !durable::is_spilled(&disk, address) {
                    return Err(Violation::new(
                        Promise::I2,
                        format!("chunk {address} in a spill of {}", dir.name),
                        format!("it is gone, and paid with {payment} until {}", plan.upload_by),
                    ));
                }
            }
        }
        Ok(())
    }

    /// I5: no more spills and sessions than uploads.
    fn check_bounds(&self, dir: &DataDir) -> Checked {
        let disk = dir.machine.disk();
        let most = self.uploads.get(dir.name).copied().unwrap_or(0);
        for (what, found) in
            [("spills", durable::spills(&disk).len()), ("sessions", durable::sessions(&disk).len())]
        {
            if found > most {
                let expected = format!("at most {most} {what} in {}", dir.name);
                return Err(Violation::new(Promise::I5, expected, found.to_string()));
            }
        }
        Ok(())
    }

    /// I5: what one process held open.
    pub(crate) fn check_handles((open, most): (u64, u64)) -> Checked {
        if open == 0 && most <= MAX_HANDLES {
            return Ok(());
        }
        Err(Violation::new(
            Promise::I5,
            format!("no file or lock is open after a run, and {MAX_HANDLES} at most in it"),
            format!("{open} are open, {most} were"),
        ))
    }

    /// I3 of an upload that says it is done.
    pub(crate) fn check_stored(
        &self,
        world: &World,
        (done, to_verify): (&Uploaded, bool),
    ) -> Checked {
        // What was imported, or taken back by a reorganisation, is verified unasked.
        if to_verify && !done.verified {
            let found = "it does not say that it is verified";
            return Err(Violation::new(Promise::I3, "an upload that is verified", found));
        }
        let stored = if done.verified { Stored::Found } else { Stored::Signed };
        for address in addresses(done)? {
            self.check_copies(world, address, (Promise::I3, stored))?;
        }
        Ok(())
    }

    /// I6 of an upload that says it is done.
    pub(crate) fn check_done(
        &self,
        world: &World,
        dir: &DataDir,
        done: &Uploaded,
        about: Circumstances,
    ) -> Checked {
        if done.chunks_stored + done.chunks_already_stored != done.chunks_total {
            return Err(Violation::new(
                Promise::I6,
                format!("{} chunks", done.chunks_total),
                format!("{} stored, {} there", done.chunks_stored, done.chunks_already_stored),
            ));
        }
        self.check_spend(world, dir, (&done.upload_id, &done.spend), about)
    }

    /// I6 of an upload that did not come to its end.
    pub(crate) fn check_failed(
        &self,
        world: &World,
        dir: &DataDir,
        error: &UploadError,
        about: Circumstances,
    ) -> Checked {
        let UploadError::PartialUpload {
            session,
            stored,
            already_stored,
            failed,
            paid_unstored,
            total,
            spend,
            ..
        } = error
        else {
            return Self::check_nothing_paid(world, error, about);
        };
        let done: BTreeSet<ChunkAddress> = stored.iter().chain(already_stored).copied().collect();
        // What is stored and was not found again is in both lists, by what these mean.
        let unfound = |failure: &ChunkFailure| matches!(failure, ChunkFailure::NotVerified { .. });
        let (unfound, open): (Vec<_>, Vec<_>) = failed.iter().partition(|(_, why)| unfound(why));
        let open: BTreeSet<ChunkAddress> = open.iter().map(|(address, _)| *address).collect();
        let lists = format!("{} done, {} failed of {total}", done.len(), open.len());
        let twice =
            !done.is_disjoint(&open) || unfound.iter().any(|(address, _)| !done.contains(address));
        let listed = done.len() + open.len();
        if listed as u64 != *total || twice || stored.len() + already_stored.len() != done.len() {
            return Err(Violation::new(Promise::I6, "every chunk listed once", lists));
        }
        for address in &done {
            self.check_copies(world, *address, (Promise::I6, Stored::Signed))?;
        }
        // Of what was sent when the stop came nobody can know whether it is paid: that is said.
        let is_undecided = |failure: &ChunkFailure| matches!(failure, ChunkFailure::Undecided);
        let undecided = failed.iter().filter(|(_, failure)| is_undecided(failure));
        let undecided: BTreeSet<ChunkAddress> = undecided.map(|(address, _)| *address).collect();
        let is_known = undecided.is_empty();
        let open: BTreeSet<ChunkAddress> = open.difference(&undecided).copied().collect();
        self.check_paid_unstored(world, dir, (session, &open, paid_unstored), about)?;
        let about = Circumstances { chain_was_clear: about.chain_was_clear && is_known, ..about };
        self.check_spend(world, dir, (session, spend), about)
    }

    /// I6: chunks that are said to be paid and not stored are, and no others.
    fn check_paid_unstored(
        &self,
        world: &World,
        dir: &DataDir,
        (session, open, said): (&str, &BTreeSet<ChunkAddress>, &[ChunkAddress]),
        about: Circumstances,
    ) -> Checked {
        let said: BTreeSet<ChunkAddress> = said.iter().copied().collect();
        let plans = plans_in(world, dir, session);
        let leaves = |wanted: &dyn Fn(&PaymentId, &Plan) -> bool| -> BTreeSet<ChunkAddress> {
            let wanted = plans.iter().filter(|(payment, plan)| wanted(payment, plan));
            wanted.flat_map(|(_, plan)| plan.leaves.iter().map(|leaf| leaf.address)).collect()
        };
        let ever = leaves(&|payment, _| self.ever.contains(payment));
        if !said.is_subset(open) || !said.is_subset(&ever) {
            return Err(Violation::new(
                Promise::I6,
                "what is paid and not stored was paid, and has failed",
                format!("{said:?} is said; paid was {ever:?}"),
            ));
        }
        if !about.chain_was_clear {
            return Ok(());
        }
        let (recorded, now) = (world.recorded(), world.now());
        let paid = leaves(&|payment, plan| recorded.contains_key(payment) && plan.upload_by > now);
        let hidden: Vec<&ChunkAddress> =
            paid.intersection(open).filter(|a| !said.contains(a)).collect();
        if hidden.is_empty() {
            return Ok(());
        }
        let found = format!("{hidden:?} is paid, has failed, and is not said to be paid");
        Err(Violation::new(Promise::I6, "every chunk that is paid and not stored", found))
    }

    /// I1: what is said to be spent is what the vault took.
    fn check_spend(
        &self,
        world: &World,
        dir: &DataDir,
        (session, spend): (&str, &Spend),
        about: Circumstances,
    ) -> Checked {
        let (recorded, plans) = (world.recorded(), plans_in(world, dir, session));
        let elsewhere: BTreeSet<PaymentId> = {
            let disk = dir.machine.disk();
            let others = durable::sessions(&disk).into_iter();
            let others = others.filter(|path| path.file_name().is_none_or(|name| name != session));
            others.flat_map(|path| world.plans.of(&disk, &path).into_keys()).collect()
        };
        let total = |wanted: &dyn Fn(&PaymentId) -> bool| -> Atto {
            plans.iter().filter(|(payment, _)| wanted(payment)).map(|(_, plan)| plan.total()).sum()
        };
        let most = total(&|payment| self.ever.contains(payment));
        let is_others =
            |payment: &PaymentId| elsewhere.contains(payment) || self.shared.contains(payment);
        let least = total(&|payment| recorded.contains_key(payment) && !is_others(payment));
        let least = if about.chain_was_clear { least } else { Atto::ZERO };
        if (least..=most).contains(&spend.storage_cost) {
            return Ok(());
        }
        Err(Violation::new(
            Promise::I1,
            format!("a spend of {least} to {most} for session {session}"),
            spend.storage_cost.to_string(),
        ))
    }

    /// I6: an error that says that nothing was paid is right.
    fn check_nothing_paid(world: &World, error: &UploadError, about: Circumstances) -> Checked {
        let says_so = matches!(
            error,
            UploadError::Source(_)
                | UploadError::NoSpace { .. }
                | UploadError::TooFewQuotes { .. }
                | UploadError::OverCost { .. }
                | UploadError::Declined { .. }
                | UploadError::NoBatch(_)
                | UploadError::Plan(_)
                | UploadError::Interrupted
        );
        let paid = world.paid();
        if !says_so || !about.chain_was_clear || paid == about.paid_before {
            return Ok(());
        }
        let expected = format!("nothing paid, since the result is: {error}");
        let found = format!("{} before and {paid} after", about.paid_before);
        Err(Violation::new(Promise::I6, expected, found))
    }

    /// What came back of a batch.
    pub(crate) fn note_refund(&mut self, payment: PaymentId, amount: Atto) {
        let known = self.refunded.entry(payment).or_default();
        *known = known.saturating_add(amount);
    }

    /// The recorded batches of a data directory.
    pub(crate) fn batches(&self, world: &World, dir: &DataDir) -> Vec<(PaymentId, Plan)> {
        let recorded = world.recorded();
        let plans = self.plans.get(dir.name).into_iter().flatten();
        plans
            .filter(|(payment, plan)| {
                recorded.contains_key(payment) && plan.batch_terms().is_some()
            })
            .map(|(payment, plan)| (*payment, Plan::clone(plan)))
            .collect()
    }

    /// I5 at the end, a day after everything was cleaned: nothing is left that nobody needs.
    pub(crate) fn check_clean(dir: &DataDir, unfinished: usize) -> Checked {
        let disk = dir.machine.disk();
        let mut temporary = Vec::new();
        for root in ["spill", "sessions"] {
            durable::temporaries(&disk, std::path::Path::new(root), &mut temporary);
        }
        if !temporary.is_empty() {
            let found = format!("{temporary:?}");
            return Err(Violation::new(Promise::I5, "no temporary file after a day", found));
        }
        let spills = durable::spills(&disk);
        if spills.len() > unfinished {
            return Err(Violation::new(
                Promise::I5,
                format!("spills of {unfinished} unfinished sessions in {}", dir.name),
                format!("{spills:?}"),
            ));
        }
        Ok(())
    }
}

/// The plans in one session's directory.
fn plans_in(world: &World, dir: &DataDir, session: &str) -> Plans {
    world.plans.of(&dir.machine.disk(), &std::path::Path::new("sessions").join(session))
}

/// How long after the end is cleaned: a spill is stale after a day.
pub(crate) const STALE: Duration = Duration::from_hours(25);

/// The chunks of an upload that are certain: those of its data map, and the public one.
pub(crate) fn addresses(done: &Uploaded) -> Result<BTreeSet<ChunkAddress>, Violation> {
    let mut addresses: BTreeSet<ChunkAddress> = done.public_address.into_iter().collect();
    if let Some(bytes) = &done.data_map {
        let map = DataMap::decode(bytes)
            .map_err(|error| Violation::new(Promise::I3, "a data map", format!("none: {error}")))?;
        addresses.extend(map.entries().iter().map(|entry| entry.address));
    }
    Ok(addresses)
}
