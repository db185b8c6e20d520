use std::path::PathBuf;

use clap::Args;
use spillway_types::Wei;

use super::{
    AccountOnChainArgs, ChainArgs, ClientArgs, DataArgs, ManifestArgs, RateArgs, parse_wei,
};

/// What a beacon asks for. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeedProof(pub(crate) Vec<u8>);

/// Bytes of a proof at most: a signature of drand has 128.
const MAX_PROOF_BYTES: usize = 1024;

fn parse_seed_proof(text: &str) -> Result<SeedProof, String> {
    let wrong = || "expected an even number of hexadecimal digits, such as 0x12ab…".to_owned();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if digits.is_empty() || !is_hex || !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    if digits.len() > 2 * MAX_PROOF_BYTES {
        return Err(format!("a proof has at most {MAX_PROOF_BYTES} bytes"));
    }
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong());
    (0..digits.len()).step_by(2).map(byte).collect::<Result<_, _>>().map(SeedProof)
}

/// `settle`.
#[derive(Debug, Args)]
pub(crate) struct Settle {
    /// Addresses of nodes to ask, with their peer ids, such as
    /// /ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooW… [default: the peers to begin with]
    #[arg(value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// Directory of a node whose wins are settled, too; may be given more than once. Without NODE, no
    /// node is asked
    #[arg(long, value_name = "DIR")]
    pub(crate) from_dir: Vec<PathBuf>,
    /// What proves a seed that nobody has made known yet, in hexadecimal: for drand, the signature of
    /// its round. It is tried for each that uploads of this machine or the nodes wait for, else for
    /// the newest
    #[arg(long, value_name = "HEX", value_parser = parse_seed_proof)]
    pub(crate) seed_proof: Option<SeedProof>,
    /// Say what would be settled; nothing is sent, and what gas would cost is not looked at
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Settle draws without a tip, too, and draws whose tips are worth less than their gas
    #[arg(long)]
    pub(crate) at_a_loss: bool,
    #[command(flatten)]
    pub(crate) rate: RateArgs,
    /// Spend no more on gas for settling than this, in the coin's smallest unit
    #[arg(long, value_name = "WEI", value_parser = parse_wei, help_heading = "Payment")]
    pub(crate) max_gas_cost: Option<Wei>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// `refund`.
#[derive(Debug, Args)]
pub(crate) struct Refund {
    /// Uploads, by the names that `spillway status` lists [default: all]
    #[arg(value_name = "SESSION")]
    pub(crate) sessions: Vec<String>,
    /// Say what would come back; nothing is sent
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) account: AccountOnChainArgs,
}

/// `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Ask the chain what can be refunded, to the last unit; else it is what this machine knows: at
    /// most so much
    #[arg(long)]
    pub(crate) chain: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) manifest: ManifestArgs,
    #[command(flatten)]
    pub(crate) on: ChainArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_hexadecimal() {
        let proof = |bytes: &[u8]| Ok(SeedProof(bytes.to_vec()));
        assert_eq!(parse_seed_proof("0x12aB"), proof(&[0x12, 0xab]));
        assert_eq!(parse_seed_proof("ff"), proof(&[0xff]));
        let wrong = "expected an even number of hexadecimal digits, such as 0x12ab…";
        for text in ["", "0x", "0x1", "0x+1", "xyz", "1é"] {
            assert_eq!(parse_seed_proof(text), Err(wrong.to_owned()), "{text}");
        }
        let long = "00".repeat(MAX_PROOF_BYTES + 1);
        assert_eq!(parse_seed_proof(&long), Err("a proof has at most 1024 bytes".to_owned()));
    }
}
