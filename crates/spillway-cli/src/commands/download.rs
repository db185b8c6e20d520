use std::{io, path::Path, time::Instant};

use serde::Serialize;
use spillway_client::{DownloadOptions, Downloaded, Remote, Target};
use spillway_types::{ChunkAddress, limits::MAX_CHUNK_BYTES};

use super::{
    Context,
    summary::{Measured, only_report},
};
use crate::{
    args::Download,
    config::Layer,
    exit::Failure,
    local::{self, Output},
    memory,
    render::{Format, bytes, count, seconds},
};

/// How public links begin.
const LINK_PREFIX: &str = "spillway://";
/// Hexadecimal digits of an address.
const ADDRESS_DIGITS: usize = 64;

/// The summary of `download`.
#[derive(Debug, Serialize)]
struct Summary {
    bytes: u64,
    chunks_fetched: u64,
    chunks_resumed: u64,
    bytes_resumed: u64,
    files: u64,
    path: String,
    uplink_bytes: u64,
    downlink_bytes: u64,
    elapsed_seconds: f64,
    peak_rss_bytes: Option<u64>,
}

/// `download`.
pub(super) async fn run(context: &Context, args: &Download) -> Result<(), Failure> {
    let start = Instant::now();
    let to_stream = local::is_stream(&args.output);
    local::differs(&args.remote, &args.output)?;
    let target = target(context, &args.output, args.overwrite)?;
    let remote = remote(&args.remote)?;
    let settings = context.settings(Layer::from(&args.client))?;
    let connected = context.connect(&settings).await?;
    let (view, progress) = context.progress();
    let client = connected.client();
    let outcome = Box::pin(client.download(remote, target, DownloadOptions { progress })).await;
    view.finish().await;
    let measured = Measured { traffic: connected.traffic(), elapsed: start.elapsed() };
    connected.shutdown().await;
    let downloaded = match outcome {
        Err(error) if to_stream => return Err(Failure::of_stream(&error)),
        outcome => outcome?,
    };
    let report = report(&downloaded, &args.output, measured);
    if to_stream {
        context.console.note(report.trim_end());
        return Ok(());
    }
    context.console.summary(&summary(&downloaded, &args.output, measured), &only_report(report))
}

/// Where the bytes go.
fn target(context: &Context, output: &Path, overwrite: bool) -> Result<Target, Failure> {
    if local::is_stream(output) {
        no_json(context)?;
        return Ok(Target::Stream(Box::new(io::stdout())));
    }
    let output = Output::check(output, overwrite)?;
    Ok(Target::Path { disk: output.disk, path: output.name, overwrite: output.overwrite })
}

/// Standard output is for one thing only.
pub(super) fn no_json(context: &Context) -> Result<(), Failure> {
    if context.console.format() == Format::Json {
        return Err(
            Failure::usage("--json and -o - both need standard output").hint("name a file with -o")
        );
    }
    Ok(())
}

/// What is downloaded: a link; digits that are no file; else a file.
pub(super) fn remote(text: &Path) -> Result<Remote, Failure> {
    if let Some(link) = text.to_str() {
        if let Some(digits) = link.strip_prefix(LINK_PREFIX) {
            return address(digits).map(Remote::Public);
        }
        let is_digits =
            link.len() == ADDRESS_DIGITS && link.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_digits && !text.exists() {
            return address(link).map(Remote::Public);
        }
    }
    Ok(Remote::data_map(local::read(text, MAX_CHUNK_BYTES as u64)?)?)
}

/// A chunk's address. A slash at the end comes from copying links.
pub(super) fn address(text: &str) -> Result<ChunkAddress, Failure> {
    text.trim_end_matches('/').parse().map_err(|error| {
        Failure::usage(format!("not an address: {error}")).hint("check that the link is whole")
    })
}

fn summary(downloaded: &Downloaded, path: &Path, measured: Measured) -> Summary {
    Summary {
        bytes: downloaded.bytes,
        chunks_fetched: downloaded.chunks,
        chunks_resumed: downloaded.chunks_resumed,
        bytes_resumed: downloaded.bytes_resumed,
        files: downloaded.files,
        path: path.display().to_string(),
        uplink_bytes: measured.traffic.sent_bytes,
        downlink_bytes: measured.traffic.received_bytes,
        elapsed_seconds: measured.elapsed.as_secs_f64(),
        peak_rss_bytes: memory::peak_rss_bytes(),
    }
}

fn report(downloaded: &Downloaded, path: &Path, measured: Measured) -> String {
    let place = if local::is_stream(path) {
        "standard output".to_owned()
    } else {
        path.display().to_string()
    };
    let resumed = match downloaded.bytes_resumed {
        0 => String::new(),
        resumed => format!(", {} of them there before", bytes(resumed)),
    };
    format!(
        "Downloaded {} in {} to {place}, from {}, in {}{resumed}.\n",
        bytes(downloaded.bytes),
        count(downloaded.files, "file"),
        count(downloaded.chunks, "chunk"),
        seconds(measured.elapsed),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Code;

    #[test]
    fn links_and_digits_are_addresses() {
        let digits = "ab".repeat(32);
        let expected = ChunkAddress([0xab; 32]);
        for text in
            [digits.clone(), format!("spillway://{digits}"), format!("spillway://{digits}/")]
        {
            match remote(Path::new(&text)).unwrap() {
                Remote::Public(address) => assert_eq!(address, expected, "{text}"),
                Remote::DataMap(_) => panic!("{text}"),
            }
        }
    }

    #[test]
    fn anything_else_is_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file.datamap");
        std::fs::write(&path, [b'x'; 100]).unwrap();
        let failure = remote(&path).unwrap_err();
        assert_eq!(failure.message, "not a Spillway data map");
        let failure = remote(&dir.path().join("none")).unwrap_err();
        assert_eq!(failure.code, Code::NotFound);
        let failure = remote(Path::new("spillway://xyz")).unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert_eq!(
            failure.message,
            r#"not an address: expected 64 hexadecimal digits, found "xyz""#
        );
    }
}
