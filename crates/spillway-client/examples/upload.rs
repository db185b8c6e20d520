//! Uploads a file and downloads it again, over the library alone.
//!
//! Start a network with `spillway devnet --nodes 20 --data-dir DIR --manifest FILE`, then run
//! `cargo run -p spillway-client --example upload -- MANIFEST FILE`.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use spillway_client::{
    ConnectOptions, Connected, DownloadOptions, Overwrite, RealDisk, Remote, Source, Target,
    UploadError, UploadOptions, Wallet, types::NetworkId,
};
use tokio_util::sync::CancellationToken;

/// What `spillway devnet` writes.
#[derive(Deserialize)]
struct Manifest {
    network: String,
    bootstrap: Vec<String>,
    rpc_url: String,
    chain_id: u64,
    vault: String,
    private_key: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(manifest), Some(file)) = (arguments.next(), arguments.next()) else {
        return Err("usage: upload MANIFEST FILE".into());
    };
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(manifest)?)?;
    let wallet = Arc::new(Wallet::from_hex(&manifest.private_key)?);
    let state = std::env::temp_dir().join("spillway-example");
    let connected = Connected::connect(ConnectOptions {
        data_dir: state.join("data"),
        state_dir: state.join("state"),
        network: NetworkId::named(&manifest.network),
        bootstrap: manifest.bootstrap.iter().map(|a| a.parse()).collect::<Result<_, _>>()?,
        rpc_url: manifest.rpc_url,
        chain_id: Some(manifest.chain_id),
        vault: manifest.vault.parse()?,
        stop: CancellationToken::new(),
    })
    .await?;
    let result = round_trip(&connected, &wallet, &file).await;
    connected.shutdown().await;
    result
}

async fn round_trip(
    connected: &Connected,
    wallet: &Arc<Wallet>,
    file: &Path,
) -> Result<(), Box<dyn Error>> {
    let file = file.canonicalize()?;
    let (directory, name) =
        (file.parent().ok_or("the root is no file")?, file.file_name().ok_or("no name")?);
    let disk = Arc::new(RealDisk::open(directory)?);
    let source = Source::Path { disk: disk.clone(), path: name.into() };
    let uploaded = match connected.client().upload(source, wallet, UploadOptions::default()).await {
        Ok(uploaded) => uploaded,
        // What is paid is kept: the same call goes on with it.
        Err(UploadError::PartialUpload { stored, failed, total, spend, .. }) => {
            return Err(format!(
                "{} of {total} chunks stored, {} not, for {}",
                stored.len(),
                failed.len(),
                spend.storage_cost
            )
            .into());
        }
        Err(error) => return Err(error.into()),
    };
    println!(
        "{} bytes in {} chunks for {} of the token's smallest unit and {} wei of gas",
        uploaded.bytes, uploaded.chunks_total, uploaded.spend.storage_cost, uploaded.spend.gas_cost
    );
    let map = uploaded.data_map.ok_or("a file has a data map")?;
    let mut copy = name.to_owned();
    copy.push(".copy");
    let target = Target::Path { disk, path: copy.into(), overwrite: Overwrite::Never };
    let client = connected.client();
    let downloaded =
        client.download(Remote::DataMap(map), target, DownloadOptions::default()).await?;
    println!("{} bytes came back", downloaded.bytes);
    Ok(())
}
