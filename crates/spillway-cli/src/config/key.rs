use std::path::Path;

use spillway_client::Wallet;
use zeroize::Zeroizing;

use crate::{exit::Failure, local};

/// The wallet of a key in text. The text is never shown.
pub(super) fn parse(text: &str, from: &str) -> Result<Wallet, Failure> {
    Wallet::from_hex(text)
        .map_err(|error| Failure::usage(format!("{from} is not a private key: {error}")))
}

/// The wallet of a key in a file.
pub(super) fn read(path: &Path) -> Result<Wallet, Failure> {
    let text = local::read_text(path, "the key file", "check --private-key-file")?;
    parse(&Zeroizing::new(text), &format!("what is in {}", path.display()))
}
