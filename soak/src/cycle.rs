//! One upload with its own account, file and directories, and what must hold when it is finished.

use std::{
    collections::BTreeSet,
    fs,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use fastrand::Rng;
use serde_json::Value;
use spillway_seal::DataMap;
use spillway_types::{
    ChunkAddress, EvmAddress,
    limits::{SEGMENT_BYTES, STORE_QUORUM},
};
use tokio::process::Command;

use crate::{
    found::Found,
    program::{self, Ran},
    way::Way,
    world::{CHUNK_COST, World},
};

/// Random bytes at the head of each segment; the rest is a hole, so that a chunk has a few hundred
/// bytes however long its segment is, and no disk is filled.
const NOISE_BYTES: usize = 64;

/// A day and an hour: what nobody names and is so old is to be removed.
const STALE_SECS: u64 = 25 * 3600;

/// What the cycles of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The built program.
    pub(crate) program: PathBuf,
}

/// An account, a file and the directories of one upload.
#[derive(Debug)]
pub(crate) struct Cycle<'w> {
    pub(crate) world: &'w World,
    pub(crate) random: Rng,
    pub(crate) way: Way,
    /// Where file and key are.
    pub(crate) dir: PathBuf,
    /// Where the data directory, the wallet's locks and the data map are.
    pub(crate) home: PathBuf,
    pub(crate) payer: EvmAddress,
    pub(crate) file: PathBuf,
    /// What the file is cut into: each is one chunk.
    pub(crate) segments: usize,
    /// The name of the data directory.
    data: &'static str,
    /// Asked in place of Anvil.
    pub(crate) rpc_url: Option<String>,
    /// Whether payments may have been taken back after nodes have seen them.
    pub(crate) may_be_unpaid: bool,
    program: PathBuf,
    tokens: u128,
}

impl<'w> Cycle<'w> {
    /// A new account, and a new file of so many segments.
    pub(crate) async fn new(
        world: &'w World,
        setting: &Setting,
        (dir, seed): (&Path, u64),
        (way, segments): (Way, usize),
    ) -> Result<Self> {
        let mut random = Rng::with_seed(seed);
        fs::create_dir_all(dir).context("cannot make a directory")?;
        let (payer, key) = world.account().await?;
        fs::write(dir.join("key"), key).context("cannot write a key")?;
        let file = dir.join("file");
        write_file(&file, segments, &mut random)?;
        Ok(Self {
            world,
            random,
            way,
            dir: dir.to_owned(),
            home: dir.to_owned(),
            payer,
            file,
            segments,
            data: "data",
            rpc_url: None,
            may_be_unpaid: false,
            program: setting.program.clone(),
            tokens: world.tokens(payer).await?,
        })
    }

    /// Another upload of the same account beside this one, of a file with as many segments, with a
    /// data directory of its own.
    pub(crate) fn beside(&self, data: &'static str, file: PathBuf) -> Self {
        let (dir, home, program) = (self.dir.clone(), self.home.clone(), self.program.clone());
        let (random, rpc_url) = (self.random.clone(), self.rpc_url.clone());
        Self { random, dir, home, file, data, rpc_url, program, ..*self }
    }

    /// The program with what it needs to know.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(&self.program, &self.home);
        command
            .args(arguments)
            .env("SPILLWAY_DEVNET", &self.world.manifest)
            .env("SPILLWAY_DATA_DIR", self.home.join(self.data))
            .env("SPILLWAY_PRIVATE_KEY_FILE", self.dir.join("key"));
        if let Some(url) = &self.rpc_url {
            command.env("SPILLWAY_RPC_URL", url);
        }
        command
    }

    fn data_map(&self) -> PathBuf {
        self.home.join(self.data).with_extension("datamap")
    }

    /// The upload.
    pub(crate) fn upload(&self) -> Command {
        let mut command = self.command(&["upload", "--yes", "--json", "--overwrite"]);
        command.args(self.way.arguments()).arg("-o").arg(self.data_map()).arg(&self.file);
        command
    }

    /// The same with an operation on the disk that fails, as the test hook reads it.
    pub(crate) fn upload_with(&self, fault: &str) -> Command {
        let mut command = self.upload();
        command.env(program::DISK_FAULT, fault);
        command
    }

    /// Goes on with the upload: by its name, or, where it never came to a session, from the beginning.
    pub(crate) async fn resume(&self) -> Result<Command> {
        let status = program::run(self.command(&["status", "--json"])).await?;
        let summary = status.summary.as_ref().with_context(|| status.said())?;
        let sessions = summary["sessions"].as_array().context("no list of sessions")?;
        let is_open = |session: &&Value| session["state"] != "finished";
        let session = sessions.iter().find(is_open).or(sessions.first());
        let Some(id) = session.and_then(|session| session["upload_id"].as_str()) else {
            return Ok(self.upload());
        };
        let mut command = self.command(&["resume", id, "--yes", "--json", "--overwrite"]);
        command.args(self.way.arguments()).arg("-o").arg(self.data_map());
        Ok(command)
    }

    /// Goes on once, which must finish it, and checks everything.
    pub(crate) async fn finish(&self) -> Result<()> {
        let ran = program::run(self.resume().await?).await?;
        self.check(&ran).await
    }

    /// Checks what must hold after the run that has finished the upload.
    pub(crate) async fn check(&self, ran: &Ran) -> Result<()> {
        if ran.code != Some(0) {
            let text = format!("one resume does not finish: {}", ran.said());
            return Err(Found::Unfinished(text).into());
        }
        self.check_all(self.segments).await?;
        let summary = ran.summary.as_ref().context("it printed no summary")?;
        let said = ran.amount("storage_cost_atto").zip(ran.amount("tip_atto"));
        let said = said.map(|(cost, tips)| cost + tips);
        let delta = self.tokens.saturating_sub(self.world.tokens(self.payer).await?);
        // Killed between the last receipt and its data map, it is a new upload of what is stored.
        let is_stored = summary["chunks_already_stored"] == self.segments && said == Some(0);
        if said != Some(delta) && !is_stored && !self.may_be_unpaid {
            return Err(Found::Money(format!("it says {said:?}, the chain took {delta}")).into());
        }
        Ok(())
    }

    /// What must hold whenever an upload is finished, whatever was done to it: the account has paid
    /// for so many chunks in all, each once; every chunk of the file has its copies; the file comes
    /// back.
    pub(crate) async fn check_all(&self, paid: usize) -> Result<()> {
        self.check_money(paid).await?;
        self.check_copies()?;
        self.download().await
    }

    /// The chain's view: how many chunks were paid for, by payments of which no two are the same,
    /// which together are what the payer has less.
    async fn paid(&self) -> Result<u128> {
        let payments = self.world.payments(self.payer).await?;
        let ids: BTreeSet<&str> = payments.iter().map(|payment| payment.id.as_str()).collect();
        let sum: u128 = payments.iter().map(|payment| payment.total + payment.tips).sum();
        let delta = self.tokens.saturating_sub(self.world.tokens(self.payer).await?);
        if delta != sum || ids.len() != payments.len() {
            let text = format!("{delta} tokens are gone, its payments are {payments:?}");
            return Err(Found::Money(text).into());
        }
        let total: u128 = payments.iter().map(|payment| payment.total).sum();
        if !total.is_multiple_of(CHUNK_COST) {
            let text = format!("{total} is not the price of whole chunks: {payments:?}");
            return Err(Found::Money(text).into());
        }
        Ok(total / CHUNK_COST)
    }

    /// The account has paid for so many chunks, no more and no less.
    pub(crate) async fn check_money(&self, chunks: usize) -> Result<()> {
        let (chunks, paid) = (chunks as u128, self.paid().await?);
        if paid > chunks {
            let text = format!("{chunks} chunks and {paid} were paid for");
            return Err(Found::Double(u64::try_from(paid - chunks)?, text).into());
        }
        if paid < chunks && !self.may_be_unpaid {
            let text = format!("{chunks} chunks, and only {paid} were paid for");
            return Err(Found::Money(text).into());
        }
        Ok(())
    }

    /// The data map names as many chunks as the file has segments, and at least three of the five
    /// nearest nodes have the whole of each.
    fn check_copies(&self) -> Result<()> {
        let lost = |count: usize, text| Err(Found::Lost(count as u64, text).into());
        let map = fs::read(self.data_map()).map_err(anyhow::Error::from);
        let map = match map.and_then(|bytes| Ok(DataMap::decode(&bytes)?)) {
            Ok(map) => map,
            Err(error) => return lost(self.segments, format!("the data map: {error:#}")),
        };
        let chunks: BTreeSet<ChunkAddress> =
            map.entries().iter().map(|entry| entry.address).collect();
        if map.level() != 0 || chunks.len() != self.segments {
            let text = format!("{} segments, the data map has {}", self.segments, chunks.len());
            return lost(self.segments.abs_diff(chunks.len()), text);
        }
        let copies = chunks.into_iter().map(|address| (address, self.world.copies(address)));
        let short: Vec<_> = copies.filter(|&(_, count)| count < STORE_QUORUM).collect();
        if short.is_empty() {
            return Ok(());
        }
        lost(short.len(), format!("too few of the five nearest nodes have {short:?}"))
    }

    /// The file comes back as it is, and nothing is left in the spill.
    async fn download(&self) -> Result<()> {
        let spill = self.home.join(self.data).join("spill");
        make_old(&spill)?;
        let copy = self.dir.join("copy");
        let mut command = self.command(&["download", "--json", "--overwrite", "-o"]);
        command.arg(&copy).arg(self.data_map());
        let ran = program::run(command).await?;
        if ran.code != Some(0) {
            return Err(Found::Lost(1, format!("it cannot be downloaded: {}", ran.said())).into());
        }
        if !same(&copy, &self.file)? {
            return Err(Found::Lost(1, "it came back otherwise".to_owned()).into());
        }
        fs::remove_file(&copy).context("cannot remove a copy")?;
        let left = names(&spill);
        if !left.is_empty() {
            return Err(Found::Orphan(format!("left in the spill: {left:?}")).into());
        }
        Ok(())
    }
}

/// Names in a directory; none when it is not there.
fn names(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Lets everything in the spill look a day old, as if the next command came tomorrow: what is of no
/// use must go then.
fn make_old(spill: &Path) -> Result<()> {
    for path in names(spill) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((head, tail)) = name.split_once("spill_") else { continue };
        let Some((time, random)) = tail.split_once('_') else { continue };
        let Ok(time) = time.parse::<u64>() else { continue };
        let old = format!("{head}spill_{}_{random}", time.saturating_sub(STALE_SECS));
        fs::rename(&path, spill.join(old)).context("cannot rename a spill")?;
    }
    Ok(())
}

/// Writes noise and holes.
fn write_file(path: &Path, segments: usize, random: &mut Rng) -> Result<()> {
    let mut file = fs::File::create(path).context("cannot make a file")?;
    file.set_len((segments * SEGMENT_BYTES - random.usize(..SEGMENT_BYTES / 2)) as u64)
        .context("cannot make a file long")?;
    for segment in 0..segments {
        let mut noise = [0; NOISE_BYTES];
        random.fill(&mut noise);
        file.seek(SeekFrom::Start((segment * SEGMENT_BYTES) as u64)).context("a file")?;
        file.write_all(&noise).context("cannot write a file")?;
    }
    Ok(())
}

/// Whether two files have the same bytes.
fn same(one: &Path, other: &Path) -> Result<bool> {
    use std::io::Read;
    let open = |path: &Path| {
        fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))
    };
    let (mut one, mut other) = (open(one)?, open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = one.read(&mut left).context("a copy")?;
        if count == 0 {
            return Ok(true);
        }
        other.read_exact(&mut right[..count]).context("a file")?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}
