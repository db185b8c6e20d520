use std::{
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use serde::Serialize;
use spillway_client::{Mode as FileMode, Source, UploadOptions};
use spillway_types::limits::MAX_CHUNK_BYTES;

use super::{
    Context,
    download::{address, no_json},
    mode::pay_as,
    summary::{Measured, UploadSummary, report},
    upload::{Job, Work},
};
use crate::{
    args::{ChunkCommand, ChunkGet, ChunkPut},
    config::Layer,
    exit::{Code, Failure},
    local::{self, Output},
    memory,
    render::{Text, bytes, seconds},
};

/// `chunk`.
pub(super) async fn run(context: &Context, command: &ChunkCommand) -> Result<(), Failure> {
    match command {
        ChunkCommand::Put(args) => put(context, args).await,
        ChunkCommand::Get(args) => get(context, args).await,
    }
}

async fn put(context: &Context, args: &ChunkPut) -> Result<(), Failure> {
    let approve = context.approval(args.payment.yes, local::is_stream(&args.path))?;
    let path = args.path.clone();
    // A pipe may never end, so the thread that reads it is not waited for.
    let reading = tokio::task::spawn_blocking(move || chunk_bytes(&path));
    let read = context.until_stopped(async {
        reading
            .await
            .map_err(|error| Failure::new(Code::Failure, format!("cannot read the chunk: {error}")))
    });
    let chunk = read.await??;
    let flags = Layer::from(&args.client).with_mode(&args.mode).with_payment(&args.payment);
    let settings = context.settings(flags)?;
    let options = UploadOptions { approve, ..pay_as(&args.mode, &settings) };
    let work = Work::Upload(Source::Chunk(chunk));
    let job = Job { work, wallet: Arc::new(settings.wallet()?), options };
    let (uploaded, measured) = job.run(context, &settings).await?;
    let result = uploaded.public_address.map(|address| format!("{address}\n"));
    let text = Text { report: report(&uploaded, measured), result: result.unwrap_or_default() };
    context.console.summary(&UploadSummary::done(&uploaded, measured), &text)
}

/// 1 byte to 4 MiB.
fn chunk_bytes(path: &Path) -> Result<Bytes, Failure> {
    let limit = MAX_CHUNK_BYTES as u64;
    let chunk = if local::is_stream(path) {
        let mut chunk = Vec::new();
        io::stdin().take(limit + 1).read_to_end(&mut chunk).map_err(|error| {
            Failure::new(Code::Failure, format!("cannot read standard input: {error}"))
        })?;
        chunk
    } else {
        // One byte more than can be, so that what is too long is not called a disk's error.
        let (disk, name) = local::readable(path)?;
        let len = disk.stat(&name)?.len;
        if len > limit {
            return Err(wrong_size(&format!("{len} bytes")));
        }
        disk.read(&name, limit)?
    };
    match chunk.len() {
        0 => Err(wrong_size("none")),
        len if len > MAX_CHUNK_BYTES => Err(wrong_size("more")),
        _ => Ok(chunk.into()),
    }
}

fn wrong_size(found: &str) -> Failure {
    Failure::usage(format!("a chunk has 1 to {MAX_CHUNK_BYTES} bytes, this has {found}"))
        .hint("use `spillway upload` for anything else")
}

/// The summary of `chunk get`.
#[derive(Debug, Serialize)]
struct Fetched {
    address: String,
    bytes: usize,
    path: String,
    uplink_bytes: u64,
    downlink_bytes: u64,
    elapsed_seconds: f64,
    peak_rss_bytes: Option<u64>,
}

async fn get(context: &Context, args: &ChunkGet) -> Result<(), Failure> {
    let start = Instant::now();
    let address = address(&args.address)?;
    let output = if local::is_stream(&args.output) {
        no_json(context)?;
        None
    } else {
        Some(Output::check(&args.output, args.overwrite)?)
    };
    let settings = context.settings(Layer::from(&args.client))?;
    let connected = context.connect(&settings).await?;
    let outcome = context.until_stopped(connected.client().get_chunk(address)).await;
    let measured = Measured { traffic: connected.traffic(), elapsed: start.elapsed() };
    connected.shutdown().await;
    let chunk = outcome?;
    let Some(output) = output else {
        return io::stdout().lock().write_all(&chunk).map_err(|error| {
            Failure::new(Code::Failure, format!("cannot write to standard output: {error}"))
        });
    };
    output.write(&chunk, FileMode::Shared)?;
    let summary = Fetched {
        address: address.to_string(),
        bytes: chunk.len(),
        path: output.path.display().to_string(),
        uplink_bytes: measured.traffic.sent_bytes,
        downlink_bytes: measured.traffic.received_bytes,
        elapsed_seconds: measured.elapsed.as_secs_f64(),
        peak_rss_bytes: memory::peak_rss_bytes(),
    };
    let report = format!(
        "Fetched {} to {} in {}.\n",
        bytes(chunk.len() as u64),
        output.path.display(),
        seconds(measured.elapsed)
    );
    context.console.summary(&summary, &Text { report, result: String::new() })
}
