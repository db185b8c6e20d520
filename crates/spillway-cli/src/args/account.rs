use std::path::PathBuf;

use clap::Args;
use spillway_client::{DrandSignature, NotASignature};
use spillway_types::Wei;

use super::{
    AccountOnChainArgs, ChainArgs, ClientArgs, DataArgs, ManifestArgs, RateArgs, parse_wei,
};
use crate::{exit::Failure, local};

/// Where what a beacon of drand asks for is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SeedProof {
    Signature(Box<DrandSignature>),
    /// In this file.
    File(PathBuf),
}

/// Standard input, as a file.
const STDIN: &str = "/dev/stdin";

fn parse_seed_proof(text: &str) -> Result<SeedProof, NotASignature> {
    match text.strip_prefix('@') {
        Some(path) => Ok(SeedProof::File(path.into())),
        None if text == "-" => Ok(SeedProof::File(STDIN.into())),
        None => Ok(SeedProof::Signature(Box::new(text.parse()?))),
    }
}

impl SeedProof {
    /// What the beacon takes.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no signature.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Failure> {
        let path = match self {
            Self::Signature(signature) => return Ok(signature.proof()),
            Self::File(path) => path,
        };
        let hint = "a round of drand in JSON, or its signature in hexadecimal";
        let text = local::read_text(path, "the signature in", hint)?;
        let signature: DrandSignature = text.parse().map_err(|error: NotASignature| {
            Failure::usage(format!("{}: {error}", path.display())).hint(format!("expected {hint}"))
        })?;
        Ok(signature.proof())
    }
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
    /// What proves a seed that nobody has made known yet: the signature of its round of drand, in
    /// hexadecimal as published or uncompressed, or the round in JSON; @FILE or - to read it. It is
    /// tried for each seed that uploads of this machine or the nodes wait for, else for the newest
    #[arg(long, value_name = "SIGNATURE", value_parser = parse_seed_proof)]
    pub(crate) seed_proof: Option<SeedProof>,
    /// Say what would be settled and for how much gas; nothing is sent
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Settle draws without a tip, too, and draws whose tips are worth less than their gas
    #[arg(long)]
    pub(crate) at_a_loss: bool,
    #[command(flatten)]
    pub(crate) rate: RateArgs,
    /// Spend no more on gas than this, that for seeds included, in the coin's smallest unit
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
    use std::fs;

    use super::*;
    use crate::exit::Code;

    /// Round 1 of drand's quicknet, as published.
    const SIGNATURE: &str = "b55e7cb2d5c613ee0b2e28d6750aabbb78c39dcc96bd9d38c2c2e12198df95571de8e8e402a0cc48871c7089a2b3af4b";

    #[test]
    fn a_proof_is_a_signature_or_where_it_is() {
        let proof = parse_seed_proof(SIGNATURE).unwrap().read().unwrap();
        assert_eq!(proof.len(), 128);
        assert_eq!(parse_seed_proof(&format!("0x{SIGNATURE}")).unwrap().read().unwrap(), proof);
        assert_eq!(parse_seed_proof("-"), Ok(SeedProof::File("/dev/stdin".into())));
        assert_eq!(parse_seed_proof("ff"), Err(NotASignature::Length { found: 1 }));
        assert_eq!(parse_seed_proof("xyz"), Err(NotASignature::Text));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("round");
        let at = format!("@{}", path.display());
        let read = || parse_seed_proof(&at).unwrap().read();
        assert_eq!(read().unwrap_err().code, Code::NotFound);
        fs::write(&path, format!("{{\"round\":1,\"signature\":\"{SIGNATURE}\"}}\n")).unwrap();
        assert_eq!(read().unwrap(), proof);
        fs::write(&path, "none").unwrap();
        let failure = read().unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert!(failure.message.contains("neither hexadecimal"), "{failure}");
    }
}
