use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use spillway_disk::MemoryDisk;
use spillway_node::Price;
use spillway_pay::{At, PayTiming, Payments, PaymentsOptions, Wallet};
use spillway_testnet::{
    Anvil, ChangeNode, FindOptions, NodeOptions, TestClient, TestNode, Testnet, TestnetOptions,
    Windows,
};
use spillway_types::{
    Atto, ChunkAddress, EvmAddress, RewardAddress, UnixTime, Wei, Win, WinsRequest,
};
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
    /// The same after direct payments that cost so much, in so many transactions.
    #[must_use]
    pub fn after(&self, cost: Atto, transactions: u64) -> Self {
        Self {
            payer: self.payer.saturating_sub(cost),
            vault: self.vault.saturating_add(cost),
            credits: self.credits.saturating_add(cost),
            transactions: self.transactions + transactions,
        }
    }

    /// The same after batches whose totals and tips are so much, in so many transactions: the vault
    /// has it, and owes it to nobody yet.
    #[must_use]
    pub fn after_batches(&self, escrow: Atto, transactions: u64) -> Self {
        let credits = self.credits;
        Self { credits, ..self.after(escrow, transactions) }
    }
}

/// The same prices for chunks that are 4,096 times smaller.
pub fn at_small_chunks(options: TestnetOptions) -> TestnetOptions {
    let price = Price::per_mib(Atto(4_096 * 10_000_000_000_000)).unwrap();
    let change: ChangeNode = Arc::new(move |_, node| NodeOptions { price, ..node });
    TestnetOptions { change: Some(change), ..options }
}

impl Network {
    /// Starts it with honest nodes that take direct payments only.
    pub async fn start(nodes: usize) -> Self {
        Self::with(nodes, |options| TestnetOptions { max_prize: Atto::ZERO, ..options }).await
    }

    /// Starts it with honest nodes, changed in this way.
    pub async fn with(nodes: usize, change: impl FnOnce(TestnetOptions) -> TestnetOptions) -> Self {
        let program = Program::find();
        let place = tempfile::tempdir().unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).to_owned();
        let anvil =
            Anvil::find(&FindOptions { start_dir: Some(here), ..FindOptions::default() }).unwrap();
        let book = Playbook::new(nodes);
        let wrapped = book.clone();
        let testnet = Testnet::start(change(TestnetOptions {
            nodes,
            wrap: Some(Arc::new(move |index, honest| Some(wrapped.wrap(index, honest)))),
            ..TestnetOptions::new(place.path().join("network"), anvil)
        }))
        .await
        .unwrap();
        let manifest = serde_json::to_vec(&testnet.manifest()).unwrap();
        std::fs::write(place.path().join("devnet.json"), manifest).unwrap();
        Self { testnet, book, program, place }
    }

    /// Starts it with honest nodes that take batches, and ask for a chunk of a KiB as much as they
    /// usually ask for one of 4 MiB: so a few bytes are worth what an upload is worth.
    pub async fn batches(nodes: usize) -> Self {
        Self::with(nodes, at_small_chunks).await
    }

    /// Lets time jump forward until the chain is at this time, or a moment later.
    pub async fn go_to(&self, time: UnixTime) {
        self.testnet.advance(time.since(self.time().await)).await.unwrap();
        assert!(self.time().await >= time);
    }

    /// The chain's time.
    pub async fn time(&self) -> UnixTime {
        self.testnet.chain().block(At::Depth(0)).await.unwrap().time
    }

    /// The times of the vault.
    pub async fn windows(&self) -> Windows {
        self.testnet.chain().windows(self.testnet.domain().vault).await.unwrap()
    }

    /// All draws that a node says it has won, asked over its socket.
    pub async fn wins(&self, client: &TestClient, node: &TestNode) -> Vec<Win> {
        let (mut wins, mut after) = (Vec::<Win>::new(), None);
        loop {
            let request = WinsRequest { after };
            let response = client.net().peers().wins(node.peer(), request).await.unwrap();
            let page = response.page.unwrap();
            wins.extend(page.wins);
            let last = wins.last().map(|win| (win.terms.id(self.testnet.domain()), win.draw));
            if !page.more {
                return wins;
            }
            assert!(last > after, "a page is never empty when there is more");
            after = last;
        }
    }

    /// Payments of this network beside those of its clients: with locks of their own, as on another
    /// machine.
    pub fn payments(&self, timing: PayTiming) -> Payments {
        Payments::new(PaymentsOptions {
            chain: Arc::clone(self.testnet.chain()),
            domain: *self.testnet.domain(),
            token: None,
            clock: Arc::new(self.testnet.clock().clone()),
            wallet_locks: Arc::new(MemoryDisk::new()),
            timing,
        })
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
        let payer = self.testnet.wallet().address();
        Balances {
            payer: self.tokens(payer).await,
            vault: self.tokens(self.testnet.domain().vault).await,
            credits: self.credits().await.into_values().sum(),
            transactions: self.testnet.chain().pending_nonce(payer).await.unwrap(),
        }
    }

    /// What the vault owes each node; those that it owes nothing are left out.
    pub async fn credits(&self) -> BTreeMap<RewardAddress, Atto> {
        let mut credits = BTreeMap::new();
        for reward in self.testnet.rewards() {
            let vault = self.testnet.domain().vault;
            let credit = self.testnet.chain().credit(vault, reward).await.unwrap();
            if credit > Atto::ZERO {
                credits.insert(reward, credit);
            }
        }
        credits
    }

    /// Tokens that an account has.
    pub async fn tokens(&self, account: EvmAddress) -> Atto {
        self.testnet.chain().tokens(self.testnet.token(), account).await.unwrap()
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
