use std::path::PathBuf;

use clap::Args;

use super::ClientArgs;

/// `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A data map file, a link spillway://… or the 64 hexadecimal digits of one
    #[arg(value_name = "DATAMAP|LINK")]
    pub(crate) remote: PathBuf,
    /// Store again what has fewer than five copies, with the proof that was paid for and that is kept
    /// in the data directory; nothing is paid
    #[arg(long)]
    pub(crate) repair: bool,
    /// Fetch every copy of every chunk, too: up to five times the size of the upload [default: those of
    /// 5 of 100 chunks]
    #[arg(long, conflicts_with = "read_data_subset")]
    pub(crate) read_data: bool,
    /// Fetch every copy of so many chunks of 100, chosen at random; 0% believes what the nodes say
    #[arg(long, value_name = "N%", value_parser = parse_percent)]
    pub(crate) read_data_subset: Option<u8>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

fn parse_percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').and_then(|number| number.parse().ok());
    number
        .filter(|number| *number <= 100)
        .ok_or_else(|| "expected a whole number of percent, such as 5%".to_owned())
}

/// What happens after an upload is stored.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Verification")]
pub(crate) struct VerifyAfterArgs {
    /// Ask the network afterwards for every chunk, fetch some, and store again what is missing; done is
    /// what passed
    #[arg(long)]
    pub(crate) wait_verified: bool,
    /// Run this when the upload is verified, and only then, with `sh -c`; it has SPILLWAY_UPLOAD_ID,
    /// SPILLWAY_DATA_MAP (a path) and of public uploads SPILLWAY_ADDRESS, and no key; what it prints
    /// goes to standard error. When it fails, the exit code is 1. Implies --wait-verified
    #[arg(long, value_name = "COMMAND")]
    pub(crate) after_verified: Option<String>,
}

impl VerifyAfterArgs {
    /// Whether to wait until the upload is verified.
    pub(crate) fn wants_verified(&self) -> bool {
        self.wait_verified || self.after_verified.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_have_their_sign_and_an_end() {
        assert_eq!((parse_percent("0%"), parse_percent("100%")), (Ok(0), Ok(100)));
        for text in ["5", "101%", "-1%", "1.5%", "%", ""] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
    }
}
