use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use spillway_pay::Wallet;
use spillway_testnet::{Anvil, FindOptions, Testnet, TestnetOptions};
use spillway_types::{Atto, ChunkAddress, Wei};
use tempfile::TempDir;

use crate::{Playbook, Program, Ran, Running};

/// A test network with real sockets, a real chain and real disks, in a directory of its own, and
/// the built program that uses it from other processes.
#[derive(Debug)]
#[must_use = "shut it down"]
pub struct Network {
    /// The network.
    pub testnet: Testnet,
    /// What its nodes do otherwise than honest ones.
    pub book: Playbook,
    program: Program,
    place: TempDir,
}

/// Who has what on the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balances {
    /// Tokens that the payer has.
    pub payer: Atto,
    /// Tokens that the vault has.
    pub vault: Atto,
    /// What the vault owes to all nodes.
    pub credits: Atto,
    /// Transactions of the payer.
    pub transactions: u64,
}

impl Balances {
    /// The same after an upload that cost so much, in so many transactions.
    #[must_use]
    pub fn after(&self, cost: Atto, transactions: u64) -> Self {
        Self {
            payer: self.payer.saturating_sub(cost),
            vault: self.vault.saturating_add(cost),
            credits: self.credits.saturating_add(cost),
            transactions: self.transactions + transactions,
        }
    }
}

impl Network {
    /// Starts it with honest nodes.
    pub async fn start(nodes: usize) -> Self {
        let program = Program::find();
        let place = tempfile::tempdir().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).to_owned();
        let anvil =
            Anvil::find(&FindOptions { start_dir: Some(here), ..FindOptions::default() }).unwrap();
        let book = Playbook::new(nodes);
        let wrapped = book.clone();
        let testnet = Testnet::start(TestnetOptions {
            nodes,
            wrap: Some(Arc::new(move |index, honest| Some(wrapped.wrap(index, honest)))),
            ..TestnetOptions::new(place.path().join("network"), anvil)
        })
        .await
        .unwrap();
        let manifest = serde_json::to_vec(&testnet.manifest()).unwrap();
        std::fs::write(place.path().join("devnet.json"), manifest).unwrap();
        Self { testnet, book, program, place }
    }

    /// Where the program runs.
    pub fn place(&self) -> &Path {
        self.place.path()
    }

    /// Writes a file there.
    pub fn put(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.place().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    }

    /// Reads a file there.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.place().join(name)).unwrap()
    }

    /// The program with these arguments, on this network, with its data in `data`.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = self.program.command(self.place(), arguments);
        command.env("SPILLWAY_DEVNET", "devnet.json").env("SPILLWAY_DATA_DIR", "data");
        command
    }

    /// Runs it to its end.
    pub async fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        let mut command = self.command(arguments);
        // The nodes are in this process: none of its workers may be blocked.
        tokio::task::spawn_blocking(move || Ran::of(&mut command)).await.unwrap()
    }

    /// Runs it to its end with these bytes coming through a pipe.
    pub async fn run_piped<S: AsRef<OsStr>>(&self, arguments: &[S], input: Vec<u8>) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let run = move || {
            let mut child = command.spawn().unwrap();
            let mut pipe = child.stdin.take().unwrap();
            let feeding = std::thread::spawn(move || pipe.write_all(&input));
            let output = child.wait_with_output().unwrap();
            feeding.join().unwrap().unwrap();
            Ran::new(output)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// Starts it and lets it run.
    pub fn spawn<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Running {
        Running::start(self.command(arguments))
    }

    /// Who has what on the chain now.
    pub async fn balances(&self) -> Balances {
        let (testnet, chain) = (&self.testnet, self.testnet.chain());
        let payer = testnet.wallet().address();
        let vault = testnet.domain().vault;
        let mut credits = Atto::ZERO;
        for node in testnet.running() {
            let credit = chain.credit(vault, node.reward()).await.unwrap();
            credits = credits.saturating_add(credit);
        }
        Balances {
            payer: chain.tokens(testnet.token(), payer).await.unwrap(),
            vault: chain
                .tokens(testnet.token(), spillway_types::EvmAddress(vault.0))
                .await
                .unwrap(),
            credits,
            transactions: chain.pending_nonce(payer).await.unwrap(),
        }
    }

    /// Every chunk on the nodes' disks, and on how many of them it is.
    pub fn chunk_files(&self) -> BTreeMap<ChunkAddress, usize> {
        let mut files = BTreeMap::new();
        for node in self.testnet.running() {
            for entry in std::fs::read_dir(node.dir().join("chunks")).unwrap() {
                let name = entry.unwrap().file_name();
                if let Some(address) = name.to_str().and_then(|name| name.parse().ok()) {
                    *files.entry(address).or_default() += 1;
                }
            }
        }
        files
    }

    /// The spill directories that the program has left.
    pub fn spills(&self) -> Vec<PathBuf> {
        let spills = std::fs::read_dir(self.place().join("data/spill")).unwrap();
        spills.map(|entry| entry.unwrap().path()).collect()
    }

    /// Writes the key of a new account with so much into a file there.
    pub async fn key_file(&self, name: &str, tokens: Atto, coins: Wei) -> Arc<Wallet> {
        let wallet = self.testnet.fund(tokens, coins).await.unwrap();
        self.put(name, wallet.expose_hex().as_bytes());
        wallet
    }

    /// Ends it; nothing is left.
    pub async fn shutdown(self) {
        self.testnet.shutdown().await.unwrap();
        self.place.close().unwrap();
    }
}
