use std::{
    io::{self, Read},
    path::PathBuf,
};

use clap::Args;
use spillway_client::{DrandSignature, NotASignature};
use spillway_types::Wei;

use super::{
    AccountOnChainArgs, ChainArgs, ClientArgs, DataArgs, ManifestArgs, RateArgs, parse_wei,
};
use crate::{
    exit::{Code, Failure},
    local,
};

/// Where what a beacon of drand asks for is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SeedProof {
    Signature(Box<DrandSignature>),
    /// In standard input.
    Stdin,
    /// In this file.
    File(PathBuf),
}

/// Bytes of standard input that are read for a proof, at most: a round in JSON is shorter than 512.
const MAX_PROOF_BYTES: u64 = 4 * 1024;

/// What the text of a proof may be.
const HINT: &str = "a round of drand in JSON, or its signature in hexadecimal";

fn parse_seed_proof(text: &str) -> Result<SeedProof, NotASignature> {
    match text.strip_prefix('@') {
        Some(path) => Ok(SeedProof::File(path.into())),
        None if text == "-" => Ok(SeedProof::Stdin),
        None => Ok(SeedProof::Signature(Box::new(text.parse()?))),
    }
}

impl SeedProof {
    /// What the beacon takes.
    ///
    /// # Errors
    /// When the file or standard input cannot be read, is too long, or holds no signature.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Signature(signature) => Ok(signature.proof()),
            Self::Stdin => proof(&whole(io::stdin().lock())?, "standard input"),
            Self::File(path) => {
                let text = local::read_text(path, "the signature in", HINT)?;
                proof(&text, &path.display().to_string())
            }
        }
    }
}

/// What is read of standard input.
fn whole(input: impl Read) -> Result<String, Failure> {
    let failed = |why: String| {
        let message = format!("cannot read the signature in standard input: {why}");
        Failure::new(Code::Failure, message).hint(HINT)
    };
    let mut text = String::new();
    let read = input.take(MAX_PROOF_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_PROOF_BYTES {
        return Err(failed(format!("more than {MAX_PROOF_BYTES} bytes")));
    }
    Ok(text)
}

/// What the beacon takes, of a text that is there.
fn proof(text: &str, place: &str) -> Result<Vec<u8>, Failure> {
    let signature: DrandSignature = text.parse().map_err(|error: NotASignature| {
        Failure::usage(format!("{place}: {error}")).hint(format!("expected {HINT}"))
    })?;
    Ok(signature.proof())
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

    /// Round 1 of drand's quicknet, as published.
    const SIGNATURE: &str = "b55e7cb2d5c613ee0b2e28d6750aabbb78c39dcc96bd9d38c2c2e12198df95571de8e8e402a0cc48871c7089a2b3af4b";

    #[test]
    fn a_proof_is_a_signature_or_where_it_is() {
        let proof = parse_seed_proof(SIGNATURE).unwrap().read().unwrap();
        assert_eq!(proof.len(), 128);
        assert_eq!(parse_seed_proof(&format!("0x{SIGNATURE}")).unwrap().read().unwrap(), proof);
        assert_eq!(parse_seed_proof("-"), Ok(SeedProof::Stdin));
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

    #[test]
    fn standard_input_is_read_to_its_end_and_no_further_than_4_kib() {
        let text = format!("{SIGNATURE}\n");
        assert_eq!(proof(&whole(text.as_bytes()).unwrap(), "standard input").unwrap().len(), 128);
        assert_eq!(whole(&[b' '; 4_096][..]).unwrap().len(), 4_096);
        let failure = whole(io::repeat(b' ')).unwrap_err();
        assert_eq!(
            failure.message,
            "cannot read the signature in standard input: more than 4096 bytes"
        );
        let failure = proof("none", "standard input").unwrap_err();
        assert!(failure.message.starts_with("standard input: "), "{failure}");
    }
}
