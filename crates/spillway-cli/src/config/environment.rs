use std::{env, ffi::OsString, path::PathBuf};

use spillway_testnet::{Fault, FaultPlan};
use spillway_types::{Atto, TokenRate, Wei};
use zeroize::Zeroizing;

use super::Layer;
use crate::{args::parse_token_rate, exit::Failure};

/// What the environment says, read once.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// Settings.
    pub(crate) layer: Layer,
    /// `SPILLWAY_CONFIG`.
    pub(crate) config: Option<PathBuf>,
    /// `SPILLWAY_ANVIL`.
    pub(crate) anvil: Option<PathBuf>,
    /// `SPILLWAY_LOG`.
    pub(crate) log: Option<String>,
    /// `PATH`.
    pub(crate) path: Option<OsString>,
    /// `NO_COLOR` is set and not empty.
    pub(crate) no_color: bool,
    /// `SPILLWAY_TEST_DISK_FAULT`, the test hook: which operation of this process on disks fails,
    /// and how.
    pub(crate) disk_fault: Option<FaultPlan>,
}

impl Environment {
    /// Reads all of it.
    ///
    /// # Errors
    /// When a variable cannot be what it should be.
    pub(crate) fn read() -> Result<Self, Failure> {
        Self::from_variables(|name| {
            #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
            let value = env::var_os(name);
            value
        })
    }

    /// The same from anywhere. An empty variable is as good as none.
    fn from_variables(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, Failure> {
        let raw = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let path = |name: &str| raw(name).map(PathBuf::from);
        let text = |name: &str| -> Result<Option<String>, Failure> {
            let not_text = |_| Failure::usage(format!("{name} is not text"));
            raw(name).map(OsString::into_string).transpose().map_err(not_text)
        };
        let layer = Layer {
            data_dir: path("SPILLWAY_DATA_DIR"),
            devnet: path("SPILLWAY_DEVNET"),
            network: text("SPILLWAY_NETWORK")?,
            bootstrap: text("SPILLWAY_BOOTSTRAP")?.map(|list| split(&list)),
            rpc_url: text("SPILLWAY_RPC_URL")?,
            chain_id: number("SPILLWAY_CHAIN_ID", text("SPILLWAY_CHAIN_ID")?)?,
            vault: text("SPILLWAY_VAULT")?,
            private_key: text("SPILLWAY_PRIVATE_KEY")?.map(Zeroizing::new),
            private_key_file: path("SPILLWAY_PRIVATE_KEY_FILE"),
            max_cost: number::<Atto>("SPILLWAY_MAX_COST", text("SPILLWAY_MAX_COST")?)?,
            max_gas_cost: number::<Wei>("SPILLWAY_MAX_GAS_COST", text("SPILLWAY_MAX_GAS_COST")?)?,
            token_rate: rate("SPILLWAY_TOKEN_RATE", text("SPILLWAY_TOKEN_RATE")?)?,
        };
        Ok(Self {
            layer,
            config: path("SPILLWAY_CONFIG"),
            anvil: path("SPILLWAY_ANVIL"),
            log: text("SPILLWAY_LOG")?,
            path: raw("PATH"),
            no_color: raw("NO_COLOR").is_some(),
            disk_fault: text("SPILLWAY_TEST_DISK_FAULT")?
                .map(|text| fault_plan(&text))
                .transpose()?,
        })
    }
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}

fn number<T: std::str::FromStr>(name: &str, text: Option<String>) -> Result<Option<T>, Failure> {
    let not_a_number = |_| Failure::usage(format!("{name} is not a whole number"));
    text.map(|text| text.trim().parse().map_err(not_a_number)).transpose()
}

fn rate(name: &str, text: Option<String>) -> Result<Option<TokenRate>, Failure> {
    let parse = |text: String| parse_token_rate(text.trim());
    text.map(parse).transpose().map_err(|why| Failure::usage(format!("{name}: {why}")))
}

/// `kill:17`, `full:17`, `io:17`: what happens at the 17th operation that changes a disk; with a `+`
/// at the end, at all after it, too. The 0th is never reached: then they are only counted.
fn fault_plan(text: &str) -> Result<FaultPlan, Failure> {
    let bad = || {
        let said = "SPILLWAY_TEST_DISK_FAULT is for tests: kill, full or io, a colon and a number";
        Failure::usage(said)
    };
    let (fault, at) = text.trim().split_once(':').ok_or_else(bad)?;
    let fault = match fault {
        "kill" => Fault::Kill,
        "full" => Fault::Full,
        "io" => Fault::Io,
        _ => return Err(bad()),
    };
    let (at, onwards) = at.strip_suffix('+').map_or((at, false), |at| (at, true));
    let at = at.parse().map_err(|_| bad())?;
    Ok(if onwards { FaultPlan::onwards(at, fault) } else { FaultPlan::once(at, fault) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, Failure> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        Environment::from_variables(|name| variables.get(name).map(OsString::from))
    }

    #[test]
    fn every_variable_has_its_place() {
        let environment = read(&[
            ("SPILLWAY_BOOTSTRAP", "/ip4/1.2.3.4/tcp/1, /ip4/1.2.3.4/tcp/2,"),
            ("SPILLWAY_CHAIN_ID", " 31337"),
            ("SPILLWAY_MAX_COST", "5"),
            ("SPILLWAY_TOKEN_RATE", "0.5"),
            ("SPILLWAY_VAULT", ""),
            ("NO_COLOR", "1"),
        ])
        .unwrap();
        let layer = environment.layer;
        assert_eq!(layer.bootstrap.unwrap(), ["/ip4/1.2.3.4/tcp/1", "/ip4/1.2.3.4/tcp/2"]);
        assert_eq!(layer.chain_id, Some(31337));
        assert_eq!(layer.max_cost, Some(Atto(5)));
        assert_eq!(layer.token_rate, Some(TokenRate(Wei(5 * 10u128.pow(17)))));
        assert_eq!(layer.vault, None);
        assert!(environment.no_color);
    }

    #[test]
    fn a_bad_variable_is_named() {
        let failure = read(&[("SPILLWAY_CHAIN_ID", "one")]).unwrap_err();
        assert_eq!(failure, Failure::usage("SPILLWAY_CHAIN_ID is not a whole number"));
        let failure = read(&[("SPILLWAY_TOKEN_RATE", "much")]).unwrap_err();
        let said =
            "SPILLWAY_TOKEN_RATE: expected the coins that one token is worth, such as 0.0004";
        assert_eq!(failure, Failure::usage(said));
    }

    #[test]
    fn a_fault_of_the_disk_is_for_tests() {
        let plan = |text| read(&[("SPILLWAY_TEST_DISK_FAULT", text)]).map(|read| read.disk_fault);
        assert_eq!(plan("").unwrap(), None);
        assert_eq!(plan("kill:17").unwrap(), Some(FaultPlan::once(17, Fault::Kill)));
        assert_eq!(plan("full:3+").unwrap(), Some(FaultPlan::onwards(3, Fault::Full)));
        assert_eq!(plan("io:0").unwrap(), Some(FaultPlan::once(0, Fault::Io)));
        for bad in ["kill", "burn:1", "io:", "io:-1", "io:+"] {
            let failure = plan(bad).unwrap_err();
            assert!(failure.message.starts_with("SPILLWAY_TEST_DISK_FAULT is for tests"), "{bad}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let environment = read(&[("SPILLWAY_PRIVATE_KEY", "0x4242")]).unwrap();
        assert!(!format!("{environment:?}").contains("4242"));
    }
}
