use std::{io, os::fd::AsFd, path::Path, process::Stdio};

use spillway_client::Uploaded;
use tokio::process::Command;

use super::Context;
use crate::exit::{Code, Failure};

/// The shell that runs it, as cron and make do.
const SHELL: &str = "sh";

/// What has a key or a token in it, or names what has: for paying, and for nothing that runs then.
const SECRETS: [&str; 4] =
    ["SPILLWAY_PRIVATE_KEY", "SPILLWAY_PRIVATE_KEY_FILE", "SPILLWAY_DEVNET", "SPILLWAY_RPC_URL"];

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
    let mut shell = shell(command, uploaded, data_map);
    shell.stdin(Stdio::null()).stdout(Stdio::from(stderr)).kill_on_drop(true);
    let status = shell.status().await.map_err(|error| fail(format!("cannot be run: {error}")))?;
    match (status.success(), context.stop.is_cancelled()) {
        (true, _) => Ok(()),
        (false, true) => Err(Failure::interrupted().hint("the upload is verified")),
        (false, false) => Err(fail(format!("failed: {status}"))),
    }
}

/// The command with its environment.
fn shell(command: &str, uploaded: &Uploaded, data_map: Option<&Path>) -> Command {
    let mut shell = Command::new(SHELL);
    shell.arg("-c").arg(command);
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
    for name in SECRETS {
        shell.env_remove(name);
    }
    shell
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, ffi::OsStr, time::Duration};

    use spillway_client::Spend;

    use super::*;

    #[test]
    fn it_is_told_of_the_upload_and_of_no_secret() {
        let uploaded = Uploaded {
            upload_id: "a1".into(),
            bytes: 1,
            chunks_total: 1,
            chunks_stored: 1,
            chunks_already_stored: 0,
            payment_mode: None,
            mode_reason: None,
            spend: Spend::default(),
            data_map: None,
            public_address: None,
            skipped: Vec::new(),
            verified: true,
            elapsed: Duration::ZERO,
        };
        let shell = shell("true", &uploaded, Some(Path::new("a.datamap")));
        let set: BTreeMap<&OsStr, Option<&OsStr>> = shell.as_std().get_envs().collect();
        let value = |name: &str| set[OsStr::new(name)];
        assert_eq!(value("SPILLWAY_UPLOAD_ID"), Some(OsStr::new("a1")));
        assert_eq!(value("SPILLWAY_DATA_MAP"), Some(OsStr::new("a.datamap")));
        let taken = [
            "SPILLWAY_ADDRESS",
            "SPILLWAY_PRIVATE_KEY",
            "SPILLWAY_PRIVATE_KEY_FILE",
            "SPILLWAY_DEVNET",
            "SPILLWAY_RPC_URL",
        ];
        assert!(taken.iter().all(|name| value(name).is_none()), "{set:?}");
    }
}
