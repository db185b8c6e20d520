use std::{path::Path, sync::Arc};

use serde::Serialize;
use spillway_client::{
    Clock, Disk, ExportOptions, ImportOptions, Mode as FileMode, RealDisk, SessionError,
    SessionStatus, SystemClock, export_session, import_session, session_data_map,
};

use super::{Context, resume::is_stream, summary::only_report};
use crate::{
    advice,
    args::{DataArgs, SessionCommand, SessionDataMap, SessionExport, SessionImport},
    config::Layer,
    exit::Failure,
    local::{self, Output},
    render::{Report, bytes, count},
};

/// `session`.
pub(super) async fn run(context: &Context, command: &SessionCommand) -> Result<(), Failure> {
    match command {
        SessionCommand::Export(args) => export(context, args).await,
        SessionCommand::Import(args) => import(context, args).await,
        SessionCommand::DataMap(args) => data_map(context, args).await,
    }
}

/// The one of this name, or whose name alone begins so.
pub(super) fn find(sessions: Vec<SessionStatus>, name: &str) -> Result<SessionStatus, Failure> {
    let session = name.to_owned();
    let begins = |it: &SessionStatus| !name.is_empty() && it.id.starts_with(name);
    let mut found: Vec<SessionStatus> = sessions.into_iter().filter(begins).collect();
    if let Some(at) = found.iter().position(|it| it.id == name) {
        return Ok(found.swap_remove(at));
    }
    match (found.pop(), found.len()) {
        (None, _) => Err(SessionError::NotFound { session }.into()),
        (Some(one), 0) => Ok(one),
        (Some(_), more) => Err(SessionError::Ambiguous { session, found: more + 1 }.into()),
    }
}

/// Whether the contents of the session of this name came from standard input.
pub(super) async fn is_stream_named(data: &Arc<dyn Disk>, name: &str) -> bool {
    let found = spillway_client::sessions(data, SystemClock.now()).await.unwrap_or_default();
    found.iter().any(|session| session.id == name && is_stream(session))
}

/// The data directory, in which there must be a session of that name.
fn data(context: &Context, args: &DataArgs, session: &str) -> Result<Arc<dyn Disk>, Failure> {
    let settings = context.settings(Layer::from(args))?;
    Context::data(&settings)?
        .ok_or_else(|| SessionError::NotFound { session: session.to_owned() }.into())
}

/// What is written, and of what.
#[derive(Debug, Serialize)]
struct Written<'a> {
    upload_id: &'a str,
    path: String,
    bytes: u64,
    /// Sealed chunks in it, of an export.
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<u64>,
    /// Addresses of chunks that are not stored and not in it, of an export.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<Vec<String>>,
}

async fn export(context: &Context, args: &SessionExport) -> Result<(), Failure> {
    let data = data(context, &args.data, &args.session)?;
    let output = Output::check(&args.output, args.overwrite)?;
    let options = ExportOptions { now: SystemClock.now(), overwrite: output.overwrite };
    let exported = export_session(&data, &args.session, &output.disk, &output.name, options)
        .await
        .map_err(|error| Failure::of_export(&error))?;
    let path = output.path.display();
    let mut report = Report::default();
    report.line(format_args!(
        "Handed session {} over: {} with {} in {path}.\nIt goes on where that file is imported; here \
         it is read-only.",
        exported.session,
        bytes(exported.bytes),
        count(exported.chunks, "sealed chunk"),
    ));
    if !exported.lost.is_empty() {
        report.line(format_args!(
            "{} could not be put in: upload the same contents there, with the same --public and \
             --secret-file, to go on.",
            count(exported.lost.len() as u64, "chunk")
        ));
    }
    let summary = Written {
        upload_id: &exported.session,
        path: path.to_string(),
        bytes: exported.bytes,
        chunks: Some(exported.chunks),
        lost: Some(exported.lost.iter().map(ToString::to_string).collect()),
    };
    context.console.summary(&summary, &only_report(report.text()))
}

/// The summary of `session import`.
#[derive(Debug, Serialize)]
struct Taken {
    upload_id: String,
    chunks_total: u64,
    /// Sealed chunks that came with it.
    chunks: u64,
    /// The copy that was handed over from here and is gone now.
    replaces: Option<String>,
}

async fn import(context: &Context, args: &SessionImport) -> Result<(), Failure> {
    let settings = context.settings(Layer::from(&args.data))?;
    let (from, name) = local::readable(&args.file)?;
    let data: Arc<dyn Disk> = Arc::new(RealDisk::create(&settings.data_dir()?)?);
    let options = ImportOptions { now: SystemClock.now() };
    let taken = match import_session(&data, &from, &name, options).await {
        Err(error) => return Err(not_taken(&data, error).await),
        Ok(taken) => taken,
    };
    let mut report = Report::default();
    report.line(format_args!(
        "Took session {} over: {}; {} came with it.",
        taken.session,
        count(taken.chunks_total, "chunk"),
        count(taken.chunks, "sealed chunk"),
    ));
    if let Some(replaced) = &taken.replaces {
        report.line(format_args!("It takes the place of {replaced}, which is gone."));
    }
    let is_stream = is_stream_named(&data, &taken.session).await;
    let resume = advice::resume(&taken.session, is_stream);
    report.line(format_args!("`{resume}` goes on with it."));
    let summary = Taken {
        upload_id: taken.session,
        chunks_total: taken.chunks_total,
        chunks: taken.chunks,
        replaces: taken.replaces,
    };
    context.console.summary(&summary, &only_report(report.text()))
}

/// Why an archive was not taken over. What is here of the same upload decides what to do.
async fn not_taken(data: &Arc<dyn Disk>, error: SessionError) -> Failure {
    let failure = Failure::from(&error);
    let SessionError::AlreadyHere { session } = error else { return failure };
    let found = spillway_client::sessions(data, SystemClock.now()).await.unwrap_or_default();
    match found.iter().find(|here| here.id == session) {
        Some(here) if here.stakes.is_nothing() => failure.already_here(&session, None),
        Some(here) => failure.already_here(&session, Some(is_stream(here))),
        None => failure,
    }
}

async fn data_map(context: &Context, args: &SessionDataMap) -> Result<(), Failure> {
    let data = data(context, &args.data, &args.session)?;
    let sessions = spillway_client::sessions(&data, SystemClock.now()).await?;
    let session = find(sessions, &args.session)?;
    local::differs(Path::new(&session.source), &args.output)?;
    let output = Output::check(&args.output, args.overwrite)?;
    let map = session_data_map(&data, &session.id).await?;
    output.write(&map, FileMode::Private)?;
    let path = output.path.display();
    let mut report = Report::default();
    report.line(format_args!("Wrote the data map of session {} to {path}.", session.id));
    if !session.finished {
        report.line(format_args!(
            "Not everything that it describes is stored yet: `{}` goes on.",
            advice::resume(&session.id, is_stream(&session))
        ));
    }
    let summary = Written {
        upload_id: &session.id,
        path: path.to_string(),
        bytes: map.len() as u64,
        chunks: None,
        lost: None,
    };
    context.console.summary(&summary, &only_report(report.text()))
}
