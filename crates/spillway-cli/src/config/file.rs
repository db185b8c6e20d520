use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use spillway_types::{Atto, TokenRate, Wei};

use super::Layer;
use crate::{args::parse_token_rate, exit::Failure, local};

/// The configuration file. It has no place for a key: files of settings are copied and shown.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    data_dir: Option<PathBuf>,
    devnet: Option<PathBuf>,
    network: Option<String>,
    bootstrap: Option<Vec<String>>,
    rpc_url: Option<String>,
    chain_id: Option<u64>,
    vault: Option<String>,
    private_key_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "amount")]
    max_cost: Option<u128>,
    #[serde(default, deserialize_with = "amount")]
    max_gas_cost: Option<u128>,
    #[serde(default, deserialize_with = "rate")]
    token_rate: Option<TokenRate>,
}

/// Amounts do not fit the integers of TOML: they may be written as text.
fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u128>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Amount {
        Number(u64),
        Text(String),
    }
    match Amount::deserialize(deserializer)? {
        Amount::Number(number) => Ok(Some(number.into())),
        Amount::Text(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

/// A rate may be written as a number or, with all its digits, as text.
fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TokenRate>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Rate {
        Whole(u64),
        Decimal(f64),
        Text(String),
    }
    let text = match Rate::deserialize(deserializer)? {
        Rate::Whole(number) => number.to_string(),
        // The shortest decimal that is this number: what was written.
        Rate::Decimal(number) => number.to_string(),
        Rate::Text(text) => text,
    };
    parse_token_rate(&text).map(Some).map_err(serde::de::Error::custom)
}

/// What the file says. Nothing, if there is none and none was asked for.
///
/// # Errors
/// When it cannot be read or says something that is not a setting.
pub(super) fn read(path: &Path, asked_for: bool) -> Result<Layer, Failure> {
    if !asked_for && !path.exists() {
        return Ok(Layer::default());
    }
    let text = local::read_text(path, "the settings file", "check --config")?;
    parse(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        let message = format!("{} line {line}: {}", path.display(), error.message());
        Failure::usage(message).hint("see the settings in `spillway --help`")
    })
}

fn parse(text: &str) -> Result<Layer, toml::de::Error> {
    let contents: Contents = toml::from_str(text)?;
    Ok(Layer {
        data_dir: contents.data_dir,
        devnet: contents.devnet,
        network: contents.network,
        bootstrap: contents.bootstrap,
        rpc_url: contents.rpc_url,
        chain_id: contents.chain_id,
        vault: contents.vault,
        private_key: None,
        private_key_file: contents.private_key_file,
        max_cost: contents.max_cost.map(Atto),
        max_gas_cost: contents.max_gas_cost.map(Wei),
        token_rate: contents.token_rate,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::exit::Code;

    #[test]
    fn a_file_has_every_setting_but_keys() {
        let layer = parse(
            "bootstrap = ['/ip4/1.2.3.4/tcp/1']\nchain_id = 1\nmax_cost = 5\n\
             max_gas_cost = '340282366920938463463374607431768211455'\n",
        )
        .unwrap();
        assert_eq!(layer.bootstrap.unwrap(), ["/ip4/1.2.3.4/tcp/1"]);
        assert_eq!(layer.chain_id, Some(1));
        assert_eq!(layer.max_cost, Some(Atto(5)));
        assert_eq!(layer.max_gas_cost, Some(Wei(u128::MAX)));
        let error = parse("private_key = '0x42'").unwrap_err();
        assert!(error.message().starts_with("unknown field `private_key`"), "{error}");
    }

    #[test]
    fn a_rate_is_a_number_or_text() {
        let rate = |text: &str| parse(&format!("token_rate = {text}")).map(|it| it.token_rate);
        let cents = Some(TokenRate(Wei(4 * 10u128.pow(14))));
        assert_eq!((rate("0.0004").unwrap(), rate("'0.0004'").unwrap()), (cents, cents));
        assert_eq!(rate("2").unwrap(), Some(TokenRate(Wei(2 * 10u128.pow(18)))));
        let said = "expected the coins that one token is worth, such as 0.0004";
        for wrong in ["-0.5", "'much'", "inf"] {
            assert_eq!(rate(wrong).unwrap_err().message(), said, "{wrong}");
        }
    }

    #[test]
    fn a_bad_file_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "chain_id = 1\nvault = 2\n").unwrap();
        let failure = read(&path, false).unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        let start = format!("{} line 2: ", path.display());
        assert!(failure.message.starts_with(&start), "{}", failure.message);
    }

    #[test]
    fn a_file_must_be_there_only_when_it_was_asked_for() {
        let nowhere = Path::new("/nonexistent/config.toml");
        assert!(read(nowhere, false).unwrap().vault.is_none());
        assert_eq!(read(nowhere, true).unwrap_err().code, Code::NotFound);
    }
}
