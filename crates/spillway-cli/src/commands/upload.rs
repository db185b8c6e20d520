use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use spillway_client::{
    Connected, Mode as FileMode, Source, Traffic, UploadError, UploadOptions, Uploaded, Wallet,
};

use super::{
    Context, after_verified,
    mode::{pay_as, verify_as},
    summary::{Measured, UploadSummary, only_report, partial_report, report},
};
use crate::{
    advice,
    args::{Upload, VerifyAfterArgs},
    config::{Layer, Settings},
    exit::{Failure, Of},
    local::{self, Output},
    render::{Text, one_line},
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
    let options = UploadOptions {
        public: args.public,
        secret,
        approve,
        verify: verify_as(&args.verify),
        ..pay_as(&args.mode, &settings)
    };
    let job = Job { work: Work::Upload(source), wallet: Arc::new(settings.wallet()?), options };
    let (uploaded, measured) = job.run(context, &settings).await?;
    let done = Done { uploaded, measured, output: Ok(Some(output)), of_several: false };
    done.end(context, &settings, &args.verify).await
}

/// An upload of which everything is stored.
pub(super) struct Done {
    pub(super) uploaded: Uploaded,
    pub(super) measured: Measured,
    /// Where its data map goes, if it goes anywhere; or why there is no place for it.
    pub(super) output: Result<Option<Output>, Failure>,
    /// Whether the command has more of them.
    pub(super) of_several: bool,
}

impl Done {
    /// Writes the data map, says what was done, and runs what is to be run then.
    pub(super) async fn end(
        self,
        context: &Context,
        settings: &Settings,
        verify: &VerifyAfterArgs,
    ) -> Result<(), Failure> {
        let uploaded = &self.uploaded;
        if let (Ok(Some(output)), Some(data_map)) = (&self.output, uploaded.data_map.as_deref())
            && let Err(error) = output.write(data_map, FileMode::Private)
        {
            let kept = keep(settings, &uploaded.upload_id, data_map);
            return Err(Failure::from(error).without_data_map(uploaded, kept));
        }
        let path = match &self.output {
            Ok(output) => output.as_ref().map(|output| output.path.as_path()),
            Err(_) => None,
        };
        let next = self.output.is_err().then(|| advice::data_map(&uploaded.upload_id));
        let summary =
            UploadSummary::done(uploaded, self.measured).with_data_map(path).with_next(next);
        let mut text = self.text(path);
        // The session may be forgotten, and has the only one then.
        let kept = match (&self.output, uploaded.data_map.as_deref()) {
            (Err(_), Some(data_map)) => Some(keep(settings, &uploaded.upload_id, data_map)),
            _ => None,
        };
        if let Some(Ok(copy)) = &kept {
            text.report.push_str("A copy of it is kept as ");
            text.report.push_str(&copy.display().to_string());
            text.report.push_str(".\n");
        }
        if self.of_several {
            context.console.upload(&summary, &text)?;
        } else {
            context.console.summary(&summary, &text)?;
        }
        if let Some(Err(failure)) = kept {
            return Err(failure);
        }
        if verify.wants_verified() && !uploaded.verified {
            return Err(Failure::not_verified(uploaded));
        }
        match &verify.after_verified {
            Some(command) => after_verified::run(context, command, uploaded, path).await,
            None => Ok(()),
        }
    }

    fn text(&self, path: Option<&Path>) -> Text {
        let uploaded = &self.uploaded;
        let mut text = Text { report: report(uploaded, self.measured), result: String::new() };
        let (is_public, no_place) = (uploaded.public_address.is_some(), self.output.as_ref().err());
        let not_written;
        text.report.push_str(match (uploaded.data_map.is_some(), path, no_place) {
            // A single chunk.
            (false, _, _) => "",
            (true, None, Some(why)) => {
                not_written = format!(
                    "Its data map is not written, for {}: `{}` writes it.\n",
                    one_line(&why.message),
                    advice::data_map(&uploaded.upload_id)
                );
                &not_written
            }
            (true, None, None) => "Its data map is not written again without -o.\n",
            (true, Some(_), _) if is_public => {
                "The data map is written, and public under this link:\n"
            }
            (true, Some(_), _) => {
                "Keep the data map: nothing else can turn the chunks back into the contents.\n"
            }
        });
        text.result = match (uploaded.public_address, path) {
            (Some(address), _) if uploaded.data_map.is_none() => format!("{address}\n"),
            (Some(address), _) => format!("spillway://{address}\n"),
            (None, Some(path)) => format!("{}\n", path.display()),
            (None, None) => String::new(),
        };
        text
    }
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

/// What is to be uploaded.
pub(super) enum Work {
    Upload(Source),
    /// The session of this name, and whether it came from standard input.
    Resume(String, bool),
}

/// Something to upload, of which everything was checked that can be checked here.
pub(super) struct Job {
    pub(super) work: Work,
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
        let outcome = self.run_on(context, &connected, (start, false)).await;
        connected.shutdown().await;
        outcome
    }

    /// Uploads on a network that was joined; `start` is when the command's work began, and
    /// `of_several` whether there is more of it.
    pub(super) async fn run_on(
        self,
        context: &Context,
        connected: &Connected,
        (start, of_several): (Instant, bool),
    ) -> Result<(Uploaded, Measured), Failure> {
        let before = if of_several { connected.traffic() } else { Traffic::default() };
        let (view, progress) = context.progress();
        let shown = progress.clone();
        let options = UploadOptions { progress, ..self.options };
        let (client, wallet) = (connected.client(), &self.wallet);
        let is_stream =
            matches!(self.work, Work::Upload(Source::Stream(_)) | Work::Resume(_, true));
        // Nobody may have what these were sealed from.
        let stays = is_stream || matches!(self.work, Work::Resume(..));
        let outcome = match self.work {
            Work::Upload(source) => Box::pin(client.upload(source, wallet, options)).await,
            Work::Resume(session, _) => {
                Box::pin(client.resume(&session, wallet, None, options)).await
            }
        };
        view.finish().await;
        let traffic = since(before, connected.traffic());
        let measured = Measured { traffic, elapsed: start.elapsed() };
        let (error, may_be_gone) = match outcome {
            Ok(uploaded) => return Ok((uploaded, measured)),
            // A question that was cut short was not answered with no; but the session of it goes, as
            // after a no, when its source can be read again.
            Err(UploadError::Declined { .. }) if context.stop.is_cancelled() => {
                (UploadError::Interrupted, !stays)
            }
            Err(error) => (error, false),
        };
        if let Some(summary) = UploadSummary::partial(&error, measured) {
            let text = only_report(partial_report(&error, measured));
            if of_several {
                context.console.upload(&summary, &text)?;
            } else {
                context.console.summary(&summary, &text)?;
            }
        }
        let of = Of { session: shown.session().filter(|_| !may_be_gone), is_stream };
        let failure = context.upload_failure(&error, of);
        let stays = stays && error.is_price_not_taken();
        Err(if stays { failure.kept(of.session) } else { failure })
    }
}

/// What went over the network since then.
fn since(before: Traffic, now: Traffic) -> Traffic {
    Traffic {
        sent_bytes: now.sent_bytes.saturating_sub(before.sent_bytes),
        received_bytes: now.received_bytes.saturating_sub(before.received_bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use spillway_client::Spend;

    use super::*;

    #[test]
    fn where_there_is_no_place_for_a_data_map_the_command_that_writes_it_is_said() {
        let uploaded = Uploaded {
            upload_id: "a1".into(),
            bytes: 1,
            chunks_total: 1,
            chunks_stored: 1,
            chunks_already_stored: 0,
            payment_mode: None,
            mode_reason: None,
            spend: Spend::default(),
            data_map: Some(vec![1]),
            public_address: None,
            skipped: Vec::new(),
            verified: false,
            elapsed: Duration::ZERO,
        };
        let measured = Measured { traffic: Traffic::default(), elapsed: Duration::ZERO };
        let done = |output| Done { uploaded: uploaded.clone(), measured, output, of_several: true };
        let text = done(Err(Failure::usage("a.datamap exists already"))).text(None);
        let last = "Its data map is not written, for a.datamap exists already: `spillway session \
                    data-map a1 -o FILE` writes it.\n";
        assert!(text.report.ends_with(last) && text.result.is_empty(), "{text:?}");
        let text = done(Ok(None)).text(None);
        assert!(text.report.ends_with("\nIts data map is not written again without -o.\n"));
    }
}
