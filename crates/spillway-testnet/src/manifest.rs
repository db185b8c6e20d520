use std::fmt;

use serde::{Deserialize, Serialize};

/// How to reach a test network: all that a client needs, as `spillway devnet` writes it.
///
/// The key is worth nothing outside of the test network, and still not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Addresses of nodes, with their peer ids.
    pub bootstrap: Vec<String>,
    /// The chain's JSON-RPC.
    pub rpc_url: String,
    /// The chain's id.
    pub chain_id: u64,
    /// The token that the vault takes, `0x` and 40 hexadecimal digits.
    pub token: String,
    /// The vault, `0x` and 40 hexadecimal digits.
    pub vault: String,
    /// The key of an account with coins and tokens, `0x` and 64 hexadecimal digits.
    pub private_key: String,
    /// The network's name; without it, the name that the reader takes for granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("bootstrap", &self.bootstrap)
            .field("rpc_url", &self.rpc_url)
            .field("chain_id", &self.chain_id)
            .field("token", &self.token)
            .field("vault", &self.vault)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            bootstrap: vec!["/ip4/127.0.0.1/tcp/1".into()],
            rpc_url: "http://127.0.0.1:2".into(),
            chain_id: 31337,
            token: "0x01".into(),
            vault: "0x02".into(),
            private_key: "0x4242".into(),
            network: None,
        }
    }

    #[test]
    fn its_names_are_fixed() {
        let json = r#"{"bootstrap":["/ip4/127.0.0.1/tcp/1"],"rpc_url":"http://127.0.0.1:2","chain_id":31337,"token":"0x01","vault":"0x02","private_key":"0x4242"}"#;
        assert_eq!(serde_json::to_string(&manifest()).unwrap(), json);
        assert_eq!(serde_json::from_str::<Manifest>(json).unwrap(), manifest());
    }

    #[test]
    fn further_fields_are_no_error() {
        let mut json = serde_json::to_value(manifest()).unwrap();
        json["later"] = 1.into();
        json["network"] = "devnet".into();
        let read: Manifest = serde_json::from_value(json).unwrap();
        assert_eq!(read.network.as_deref(), Some("devnet"));
    }

    #[test]
    fn the_key_is_not_shown() {
        assert!(!format!("{:?}", manifest()).contains("4242"));
    }
}
