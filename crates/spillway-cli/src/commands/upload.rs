use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use spillway_client::{Mode as FileMode, Source, UploadError, UploadOptions, Uploaded, Wallet};

use super::{
    Context,
    mode::pay_as,
    summary::{Measured, UploadSummary, report},
};
use crate::{
    args::Upload,
    config::{Layer, Settings},
    exit::Failure,
    local::{self, Output},
    render::{ProgressView, Text},
};

/// `upload`.
pub(super) async fn run(context: &Context, args: &Upload) -> Result<(), Failure> {
    let output = output_path(args)?;
    let approve = context.approval(args.payment.yes, local::is_stream(&args.path))?;
    let source = Context::source(&args.path)?;
    local::differs(&args.path, &output)?;
    let output = Output::check(&output, args.overwrite)?;
    let secret = Context::secret(args.secret_file.as_deref())?;
    let flags = Layer::from(&args.client).with_mode(&args.mode).with_payment(&args.payment);
    let settings = context.settings(flags)?;
    let options =
        UploadOptions { public: args.public, secret, approve, ..pay_as(&args.mode, &settings) };
    let job = Job { source, wallet: Arc::new(settings.wallet()?), options };
    let (uploaded, measured) = job.run(context, &settings).await?;

    let data_map = uploaded.data_map.as_deref().unwrap_or_default();
    if let Err(error) = output.write(data_map, FileMode::Private) {
        let kept = keep(&settings, &uploaded.upload_id, data_map);
        return Err(Failure::from(error).without_data_map(&uploaded, kept));
    }
    let summary = UploadSummary::done(&uploaded, measured).with_data_map(&output.path);
    let mut text = Text { report: report(&uploaded, measured), result: String::new() };
    text.report.push_str(if uploaded.public_address.is_some() {
        "The data map is written, and public under this link:\n"
    } else {
        "Keep the data map: nothing else can turn the chunks back into the contents.\n"
    });
    text.result = match uploaded.public_address {
        Some(address) => format!("spillway://{address}\n"),
        None => format!("{}\n", output.path.display()),
    };
    context.console.summary(&summary, &text)
}

/// Where the data map goes when it cannot go where it should: next to the sessions.
fn keep(settings: &Settings, upload_id: &str, data_map: &[u8]) -> Result<PathBuf, Failure> {
    let path = settings.data_dir()?.join(local::data_map_name(Path::new(upload_id)));
    Output::check(&path, true)?.write(data_map, FileMode::Private)?;
    Ok(path)
}

fn output_path(args: &Upload) -> Result<PathBuf, Failure> {
    if let Some(output) = &args.output {
        return Ok(output.clone());
    }
    if local::is_stream(&args.path) {
        return Err(Failure::usage("standard input has no name")
            .hint("say where the data map goes with -o"));
    }
    Ok(local::data_map_name(&local::name_of(&args.path)?))
}

/// Something to upload, of which everything was checked that can be checked here.
pub(super) struct Job {
    pub(super) source: Source,
    pub(super) wallet: Arc<Wallet>,
    pub(super) options: UploadOptions,
}

impl Job {
    /// Joins the network and uploads. Of a partial upload it prints the summary.
    pub(super) async fn run(
        self,
        context: &Context,
        settings: &Settings,
    ) -> Result<(Uploaded, Measured), Failure> {
        let start = Instant::now();
        let connected = context.connect(settings).await?;
        let (view, progress) = ProgressView::start(&context.console);
        let options = UploadOptions { progress, ..self.options };
        let client = connected.client();
        let outcome = Box::pin(client.upload(self.source, &self.wallet, options)).await;
        view.finish().await;
        let measured = Measured { traffic: connected.traffic(), elapsed: start.elapsed() };
        connected.shutdown().await;
        match outcome {
            Ok(uploaded) => Ok((uploaded, measured)),
            Err(error) => {
                if let Some(summary) = UploadSummary::partial(&error, measured) {
                    context.console.summary(&summary, &Text::default())?;
                }
                // A question that was cut short was not answered with no.
                if context.stop.is_cancelled() && matches!(error, UploadError::Declined { .. }) {
                    return Err(UploadError::Interrupted.into());
                }
                Err(error.into())
            }
        }
    }
}
