//! Everything of a data directory goes on in another one, whatever dies on the way.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use spillway_client::{
    ExportOptions, ImportOptions, SessionError, UploadError, export_session, import_session,
};
use spillway_disk::{Disk, MemoryDisk, Overwrite};

use crate::{
    End, Promise, Sabotage, SimDisk, Strike, Violation, durable,
    picture::Picture,
    play::{Checked, Play},
    world::DataDir,
};

/// Where all is handed over to, and from there back to the first.
const ELSEWHERE: &str = "elsewhere";

/// How often one session is exported or imported in trouble; then there is none.
const ATTEMPTS: usize = 4;

impl Play {
    /// Hands every session of the data directory over to the other one, which is the payer's from then
    /// on. The first process that exports ends as `ends.0` says, the first that imports as `ends.1`.
    pub(crate) async fn hand_over(&mut self, mut ends: (End, End)) -> Checked {
        let from = self.dirs[0].clone();
        let sessions = self.live_sessions(&from).await?;
        if sessions.is_empty() {
            return Ok(());
        }
        self.world.fate.count(Strike::HandOver);
        let to = self.other_dir(&from);
        let before = self.world.paid();
        for (session, is_finished) in sessions {
            let path = Path::new("sessions").join(&session);
            let journal = from.machine.disk().read(&path.join("journal"), u64::MAX).ok();
            let archive = format!("{session}.archive");
            self.export(&from, (&session, &archive), std::mem::replace(&mut ends.0, End::Natural))
                .await?;
            // Until it is imported, the copy that is here keeps what is paid.
            self.oracle.check(&self.world, &self.dirs)?;
            self.import(&from, (&to, &archive), std::mem::replace(&mut ends.1, End::Natural))
                .await?;
            if let (Some(journal), Some(Sabotage::CopyGoesOn)) = (journal, self.world.sabotage) {
                let put_back = from.machine.disk();
                let _ = put_back.write_durable(&path.join("journal"), &journal, Overwrite::Replace);
            }
            if !is_finished {
                self.check_read_only(&from, &session).await?;
            }
        }
        self.oracle.note_hand_over(&self.world, &from, &to);
        if self.world.sabotage == Some(Sabotage::ImportLosesChunks) {
            let disk = to.machine.disk();
            let (plans, recorded) = (self.world.plans.all(&disk), self.world.recorded());
            let paid = plans.iter().filter(|(payment, _)| recorded.contains_key(payment));
            let paid: BTreeSet<_> =
                paid.flat_map(|(_, plan)| &plan.leaves).map(|leaf| leaf.address).collect();
            for (file, address) in durable::spilled_files(&disk) {
                if paid.contains(&address) {
                    let _ = disk.remove_file(&file);
                }
            }
        }
        self.left.retain(|name| *name != to.name);
        self.left.push(from.name);
        self.dirs.retain(|dir| dir.name != to.name);
        self.dirs.insert(0, to);
        self.oracle.check(&self.world, &self.dirs)?;
        let paid = self.world.paid();
        if paid == before {
            return Ok(());
        }
        let found = format!("{before} before and {paid} after");
        Err(Violation::new(Promise::I1, "nothing is paid by handing over", found))
    }

    /// The sessions that have not been handed over, and whether they are finished.
    async fn live_sessions(&self, dir: &DataDir) -> Checked<Vec<(String, bool)>> {
        let all = self.sessions(dir).await?;
        let live = all.into_iter().filter(|session| session.handed_over.is_none());
        Ok(live.map(|session| (session.id, session.finished)).collect())
    }

    fn other_dir(&self, from: &DataDir) -> DataDir {
        if let Some(known) = self.dirs.iter().find(|dir| {
            dir.family == from.family && dir.name != from.name && self.left.contains(&dir.name)
        }) {
            return known.clone();
        }
        let made = self.world.data_dir(ELSEWHERE, &MemoryDisk::new());
        DataDir { family: from.family, ..made }
    }

    /// Exports until the archive is there.
    async fn export(&self, dir: &DataDir, (session, archive): (&str, &str), end: End) -> Checked {
        let options = ExportOptions { now: self.world.now(), overwrite: Overwrite::Replace };
        let mut last = String::new();
        for attempt in 0..=ATTEMPTS {
            let calm = self.calm_at(attempt);
            let life = dir.machine.start(
                if attempt == 0 { end } else { End::Natural },
                None,
                &self.world.fate,
            );
            let disk = SimDisk::new(life.disk(), life.clone(), self.world.fate.clone());
            let data: Arc<dyn Disk> = Arc::new(disk);
            let done = export_session(&data, session, &data, Path::new(archive), options).await;
            let died = life.is_dead();
            drop(data);
            dir.machine.forget_lives();
            self.calm_over(calm);
            self.note_hand_over("export", died, &done);
            match done {
                Ok(_) if !died => return Ok(()),
                Ok(_) => {}
                Err(error) => last = format!("{error:?}"),
            }
        }
        Err(Violation::new(Promise::Finishes, format!("session {session} is exported"), last))
    }

    /// Imports until the session is there.
    async fn import(
        &mut self,
        from: &DataDir,
        (to, archive): (&DataDir, &str),
        end: End,
    ) -> Checked {
        let mut last = String::new();
        for attempt in 0..=ATTEMPTS {
            self.note_upload(to);
            let options = ImportOptions { now: self.world.now() };
            let calm = self.calm_at(attempt);
            let life = to.machine.start(
                if attempt == 0 { end } else { End::Natural },
                None,
                &self.world.fate,
            );
            let data: Arc<dyn Disk> =
                Arc::new(SimDisk::new(life.disk(), life.clone(), self.world.fate.clone()));
            let carried: Arc<dyn Disk> = Arc::new(from.machine.disk());
            let done = import_session(&data, &carried, Path::new(archive), options).await;
            let died = life.is_dead();
            drop(data);
            to.machine.forget_lives();
            self.calm_over(calm);
            self.note_hand_over("import", died, &done);
            match done {
                Ok(_) if !died => return Ok(()),
                // The process before has come to the end and died then.
                Err(SessionError::AlreadyHere { .. }) if attempt > 0 => return Ok(()),
                Ok(_) => {}
                Err(error) => last = format!("{error:?}"),
            }
        }
        Err(Violation::new(Promise::Finishes, format!("{archive} is imported"), last))
    }

    /// The last attempt is without trouble; whether there was any.
    fn calm_at(&self, attempt: usize) -> bool {
        let hostile = self.world.fate.is_hostile();
        self.world.fate.set_hostile(hostile && attempt < ATTEMPTS);
        hostile
    }

    fn calm_over(&self, hostile: bool) {
        self.world.fate.set_hostile(hostile);
    }

    fn note_hand_over<T>(&self, what: &str, died: bool, done: &Result<T, SessionError>) {
        if died {
            self.world.fate.count(Strike::HandOverDies);
        }
        let error = done.as_ref().err();
        self.world.fate.note(format_args!("= {what}: died {died}, {error:?}"));
    }

    /// I1: the copy of a session that was handed over does not go on.
    async fn check_read_only(&self, dir: &DataDir, session: &str) -> Checked {
        let path = Path::new("sessions").join(session);
        let before = Picture::of(&dir.machine.disk(), &path);
        let hostile = self.world.fate.is_hostile();
        self.world.fate.set_hostile(false);
        let life = dir.machine.start(End::Natural, None, &self.world.fate);
        let process = self.world.process(dir, life, true);
        let resumed =
            process.client.resume(session, &self.world.payer, None, self.work.how.options());
        let result = Box::pin(resumed).await;
        drop(process);
        dir.machine.forget_lives();
        self.world.fate.set_hostile(hostile);
        let refused = matches!(result, Err(UploadError::HandedOver { .. }));
        if refused && Picture::of(&dir.machine.disk(), &path) == before {
            return Ok(());
        }
        Err(Violation::new(
            Promise::I1,
            format!("the copy of {session} that was handed over is left as it is"),
            format!("it goes on: {:?}", result.err().map(|error| error.to_string())),
        ))
    }
}
