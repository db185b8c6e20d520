use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use serde::Serialize;
use spillway_client::{
    Clock, Connected, Disk, DiskError, SessionError, SessionStatus, SystemClock, UploadError,
    UploadOptions, VerifyUpload, Wallet, session_data_map,
};

use super::{
    Context,
    mode::{pay_as, verify_as},
    session::find,
    summary::only_report,
    upload::{Done, Job, Work},
};
use crate::{
    advice,
    args::Resume,
    config::{Layer, Settings},
    exit::{Code, Failure, Failures, Of},
    local::{self, Output},
    render::count,
};

/// How many uploads are named when there are too many to choose from.
const NAMED: usize = 10;

/// The summary of `resume --all`.
#[derive(Debug, Serialize)]
struct Summary {
    uploads: usize,
    finished: usize,
}

/// `resume`.
pub(super) async fn run(context: &Context, args: &Resume) -> Result<(), Failure> {
    let flags = Layer::from(&args.client).with_mode(&args.mode).with_payment(&args.payment);
    let settings = context.settings(flags)?;
    let (data, sessions) = match Context::data(&settings)? {
        Some(data) => {
            let sessions = spillway_client::sessions(&data, SystemClock.now()).await?;
            (Some(data), sessions)
        }
        None => (None, Vec::new()),
    };
    let not_final = if args.all { not_final(&sessions) } else { Vec::new() };
    let chosen = choose(sessions, args)?;
    let Some(data) = data.filter(|_| !chosen.is_empty() || !not_final.is_empty()) else {
        return context.console.summary(
            &Summary { uploads: 0, finished: 0 },
            &only_report("No upload waits to be gone on with.\n".to_owned()),
        );
    };
    let first = match chosen.as_slice() {
        [one] if !args.all => {
            let map = data_map(&data, one).await?;
            Some(output(args, one, map, &BTreeSet::new())?)
        }
        _ => None,
    };
    let start = Instant::now();
    let all = All {
        context,
        args,
        wallet: Arc::new(settings.wallet()?),
        options: UploadOptions { verify: verify_as(&args.verify), ..pay_as(&args.mode, &settings) },
        settings: &settings,
        data: &data,
    };
    let connected = context.connect(&settings).await?;
    let outcome = match first {
        Some(output) => all.go_on_with(&connected, (&chosen[0], Ok(output)), start).await,
        None => all.go_on(&connected, &chosen, &not_final).await,
    };
    connected.shutdown().await;
    outcome
}

/// Which uploads.
fn choose(sessions: Vec<SessionStatus>, args: &Resume) -> Result<Vec<SessionStatus>, Failure> {
    if let Some(name) = &args.session {
        return Ok(vec![find(sessions, name)?]);
    }
    let mut open: Vec<SessionStatus> = sessions.into_iter().filter(is_open).collect();
    // Oldest first: its payments end first.
    open.reverse();
    match open.len() {
        _ if args.all => Ok(open),
        0 => Err(Failure::new(Code::NotFound, "no upload waits to be gone on with")
            .hint(format!("`{}` lists all uploads", advice::status()))),
        1 => Ok(open),
        found => {
            let names = open.iter().take(NAMED).map(|it| format!("{} ({})", it.id, it.source));
            let names = names.collect::<Vec<_>>().join(", ");
            let more = if found > NAMED { ", …" } else { "" };
            let ids: Vec<String> = open.iter().map(|session| session.id.clone()).collect();
            Err(Failure::usage(format!("{found} uploads wait to be gone on with: {names}{more}"))
                .hint("say which, or --all")
                .detail("uploads", ids))
        }
    }
}

/// Whether there is something left to do here.
pub(super) fn is_open(session: &SessionStatus) -> bool {
    session.damage.is_none() && !session.finished && session.handed_over.is_none()
}

/// Finished uploads with payments that a reorganisation may still take back, oldest first.
fn not_final(sessions: &[SessionStatus]) -> Vec<String> {
    let found = sessions.iter().rev();
    let found = found.filter(|it| it.finished && it.payments_not_final > 0 && !it.running);
    found.map(|session| session.id.clone()).collect()
}

/// Whether its contents came from standard input, so that its data map has no name of its own.
pub(super) fn is_stream(session: &SessionStatus) -> bool {
    local::is_stream(Path::new(&session.source))
}

/// Its data map, unless it is of a single chunk.
async fn data_map(
    data: &Arc<dyn Disk>,
    session: &SessionStatus,
) -> Result<Option<Vec<u8>>, Failure> {
    match session_data_map(data, &session.id).await {
        Ok(map) => Ok(Some(map)),
        Err(SessionError::NoDataMap { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Where the data map goes. What is there may be the data map of a newer upload under the same name, so
/// it is kept unless it is this one, or the user says otherwise; `written` by this command is kept anyway.
fn output(
    args: &Resume,
    session: &SessionStatus,
    map: Option<Vec<u8>>,
    written: &BTreeSet<PathBuf>,
) -> Result<Option<Output>, Failure> {
    let (path, map) = match (&args.output, map) {
        (Some(_), None) => {
            let none = SessionError::NoDataMap { session: session.id.clone() };
            return Err(Failure::usage(none.to_string()).hint("leave -o out"));
        }
        (Some(path), Some(map)) => (path.clone(), map),
        (None, Some(map)) if !session.finished => (default_path(session, written)?, map),
        (None, _) => return Ok(None),
    };
    local::differs(Path::new(&session.source), &path)?;
    if args.overwrite {
        return Output::check(&path, true).map(Some);
    }
    let output = Output::check_for(&path, &map)?;
    output.map(Some).ok_or_else(|| other_map(path, &session.id))
}

/// What is there is not the data map of this upload.
fn other_map(path: PathBuf, session: &str) -> Failure {
    Failure::from(DiskError::Exists { path }).hint(format!(
        "it may be the data map of a newer upload: `{}` writes this one to another place",
        advice::resume_to(session)
    ))
}

/// Where the upload would have written it; with the session's name if `written` has that.
fn default_path(session: &SessionStatus, written: &BTreeSet<PathBuf>) -> Result<PathBuf, Failure> {
    let source = Path::new(&session.source);
    match source.file_name() {
        Some(name) if !is_stream(session) => {
            let path = local::data_map_name(Path::new(name));
            if !written.contains(&path) {
                return Ok(path);
            }
            let mut name = name.to_owned();
            name.push(format!(".{}", session.id));
            Ok(local::data_map_name(Path::new(&name)))
        }
        _ => Err(Failure::usage(format!("what session {} uploads has no name", session.id))
            .hint("say where the data map goes with -o")),
    }
}

/// Everything that uploads of this command have in common.
struct All<'a> {
    context: &'a Context,
    args: &'a Resume,
    settings: &'a Settings,
    data: &'a Arc<dyn Disk>,
    wallet: Arc<Wallet>,
    options: UploadOptions,
}

impl All<'_> {
    /// Goes on with one after the other. Where there is no place for a data map, what is paid is stored
    /// without: it has a deadline, and the session keeps the data map. The payments of those that are
    /// finished are looked at, too.
    async fn go_on(
        &self,
        connected: &Connected,
        sessions: &[SessionStatus],
        not_final: &[String],
    ) -> Result<(), Failure> {
        let (mut failures, mut finished) = (Failures::default(), 0);
        let mut written = BTreeSet::new();
        for session in sessions {
            let start = Instant::now();
            let one = async {
                let map = data_map(self.data, session).await?;
                let output = output(self.args, session, map, &written);
                written.extend(output.iter().flatten().map(|output| output.path.clone()));
                self.go_on_with(connected, (session, output), start).await
            };
            match Box::pin(one).await {
                Ok(()) => finished += 1,
                Err(failure) => {
                    let id = session.id.as_str().into();
                    let mut failure = failure;
                    failure.details.entry("upload_id").or_insert(id);
                    self.context.console.failure_of_one(&failure);
                    failures.add(failure);
                }
            }
            if self.context.stop.is_cancelled() {
                break;
            }
        }
        for session in not_final {
            if self.context.stop.is_cancelled() {
                break;
            }
            if let Err(failure) = Box::pin(self.look_at(connected, session)).await {
                self.context.console.failure_of_one(&failure);
                failures.add(failure);
            }
        }
        let text = format!("Finished {}, of {}.\n", count(finished, "upload"), sessions.len());
        let finished = usize::try_from(finished).unwrap_or(usize::MAX);
        let summary = Summary { uploads: sessions.len(), finished };
        self.context.console.summary(&summary, &only_report(text))?;
        failures.end(sessions.len() + not_final.len(), "finished")
    }

    /// Nothing is said of payments that stand, nor of those of another wallet or vault.
    async fn look_at(&self, connected: &Connected, session: &str) -> Result<(), Failure> {
        let verify = VerifyUpload::default();
        let approve = self.context.approval_of(self.args.payment.yes, format!("Session {session}"));
        let options = UploadOptions { approve, verify, ..self.options.clone() };
        match connected.client().resume(session, &self.wallet, None, options).await {
            Ok(_)
            | Err(UploadError::Session(
                SessionError::OtherPayer { .. } | SessionError::OtherDomain { .. },
            )) => Ok(()),
            Err(error) => {
                let of = Of { session: Some(session), ..Of::default() };
                Err(self.context.upload_failure(&error, of))
            }
        }
    }

    async fn go_on_with(
        &self,
        connected: &Connected,
        (session, output): (&SessionStatus, Result<Option<Output>, Failure>),
        start: Instant,
    ) -> Result<(), Failure> {
        let of = format!("Session {}, of {}", session.id, session.source);
        let approve = self.context.approval_of(self.args.payment.yes, of);
        let job = Job {
            work: Work::Resume(session.id.clone(), is_stream(session)),
            wallet: Arc::clone(&self.wallet),
            options: UploadOptions { approve, ..self.options.clone() },
        };
        let of_several = self.args.all;
        let outcome = job.run_on(self.context, connected, (start, of_several)).await;
        let (uploaded, measured) = outcome?;
        let done = Done { uploaded, measured, output, of_several };
        done.end(self.context, self.settings, &self.args.verify).await
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn args(words: &[&str]) -> Box<Resume> {
        let cli = Cli::try_parse_from([&["spillway", "resume"], words].concat()).unwrap();
        match cli.command {
            Command::Resume(args) => args,
            _ => panic!("another command"),
        }
    }

    fn session(id: &str, finished: bool) -> SessionStatus {
        let source = format!("/data/{id}.raw");
        SessionStatus { id: id.into(), source, finished, ..SessionStatus::default() }
    }

    fn chosen(sessions: &[SessionStatus], words: &[&str]) -> Result<Vec<String>, Failure> {
        let chosen = choose(sessions.to_vec(), &args(words))?;
        Ok(chosen.into_iter().map(|session| session.id).collect())
    }

    #[test]
    fn the_only_one_that_is_open_is_meant() {
        let damaged = SessionStatus { damage: Some("why".into()), ..session("d", false) };
        let handed = SessionStatus { handed_over: Some(SystemClock.now()), ..session("h", false) };
        let sessions = [session("a1", false), session("b1", true), damaged, handed];
        assert_eq!(chosen(&sessions, &[]).unwrap(), ["a1"]);
        assert_eq!(chosen(&sessions, &["--all"]).unwrap(), ["a1"]);
        assert_eq!(chosen(&sessions, &["b"]).unwrap(), ["b1"]);
        assert_eq!(chosen(&sessions[1..], &["--all"]).unwrap(), Vec::<String>::new());
        let failure = chosen(&sessions[1..], &[]).unwrap_err();
        assert_eq!(failure.code, Code::NotFound);
        let failure = chosen(&sessions, &["c"]).unwrap_err();
        assert_eq!(failure.code, Code::NotFound);
        assert_eq!(failure.message, "there is no session c");
    }

    #[test]
    fn all_looks_at_payments_that_are_not_final() {
        let mut sessions = [session("a1", true), session("b1", true), session("c1", false)];
        for session in &mut sessions[1..] {
            session.payments_not_final = 1;
        }
        assert_eq!(not_final(&sessions), ["b1"]);
        assert_eq!(chosen(&sessions, &["--all"]).unwrap(), ["c1"]);
    }

    #[test]
    fn several_are_listed() {
        let sessions = [session("a2", false), session("a1", false)];
        let failure = chosen(&sessions, &[]).unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert_eq!(
            failure.to_string(),
            "2 uploads wait to be gone on with: a1 (/data/a1.raw), a2 (/data/a2.raw); say which, or \
             --all"
        );
        let failure = chosen(&sessions, &["a"]).unwrap_err();
        assert_eq!(
            (failure.code, failure.message.as_str()),
            (Code::Usage, "2 sessions begin with a")
        );
        // The whole name is no beginning of another.
        let sessions = [session("a1", false), session("a1-2", false)];
        assert_eq!(chosen(&sessions, &["a1"]).unwrap(), ["a1"]);
        assert_eq!(chosen(&sessions, &["--all"]).unwrap(), ["a1-2", "a1"]);
    }

    #[test]
    fn a_data_map_goes_where_the_upload_would_have_put_it() {
        let none = BTreeSet::new();
        assert_eq!(default_path(&session("a", false), &none).unwrap(), Path::new("a.raw.datamap"));
        let stream = SessionStatus { source: "-".into(), ..session("a", false) };
        assert_eq!(default_path(&stream, &none).unwrap_err().code, Code::Usage);
        // Of an edited file, in the same run.
        let written = [PathBuf::from("a.raw.datamap")].into();
        let other = default_path(&session("a", false), &written).unwrap();
        assert_eq!(other, Path::new("a.raw.a.datamap"));
    }

    #[test]
    fn replacing_another_data_map_is_not_what_is_advised() {
        let failure = other_map("a.datamap".into(), "a1");
        assert_eq!(
            (failure.code, failure.to_string().as_str()),
            (
                Code::Failure,
                "a.datamap exists already; it may be the data map of a newer upload: `spillway resume \
                 a1 -o FILE` writes this one to another place"
            )
        );
    }
}
