use std::{io, os::fd::AsFd, path::Path, process::Stdio};

use spillway_client::Uploaded;
use tokio::process::Command;

use super::Context;
use crate::exit::{Code, Failure};

/// The shell that runs it, as cron and make do.
const SHELL: &str = "sh";

/// Runs what the user wants run when an upload is verified, and waits for it. It reads nothing, and
/// what it prints goes to standard error, for standard output is ours. Ctrl-C reaches it too; it is
/// waited for, and the second one ends it.
///
/// # Errors
/// When it cannot be run, or fails.
pub(super) async fn run(
    context: &Context,
    command: &str,
    uploaded: &Uploaded,
    data_map: Option<&Path>,
) -> Result<(), Failure> {
    let fail = |what: String| {
        Failure::new(Code::Failure, format!("the upload is verified, but its command {what}"))
            .detail("upload_id", uploaded.upload_id.clone())
    };
    let stderr = io::stderr().as_fd().try_clone_to_owned();
    let stderr = stderr.map_err(|error| fail(format!("cannot be run: {error}")))?;
    let mut shell = Command::new(SHELL);
    shell.arg("-c").arg(command).kill_on_drop(true);
    shell.stdin(Stdio::null()).stdout(Stdio::from(stderr));
    shell.env("SPILLWAY_UPLOAD_ID", &uploaded.upload_id);
    for (name, value) in [
        ("SPILLWAY_DATA_MAP", data_map.map(|path| path.as_os_str().to_owned())),
        ("SPILLWAY_ADDRESS", uploaded.public_address.map(|address| address.to_string().into())),
    ] {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    // The key is for paying; what runs now has nothing to pay.
    shell.env_remove("SPILLWAY_PRIVATE_KEY");
    let status = shell.status().await.map_err(|error| fail(format!("cannot be run: {error}")))?;
    match (status.success(), context.stop.is_cancelled()) {
        (true, _) => Ok(()),
        (false, true) => Err(Failure::interrupted().hint("the upload is verified")),
        (false, false) => Err(fail(format!("failed: {status}"))),
    }
}
