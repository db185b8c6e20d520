//! A network of this program and clients of this program: processes, sockets, a chain, files. Needs
//! the pinned tools: `cargo xtask setup`.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::{Place, Ran};

/// A key of an account that has nothing.
const POOR: &str = "0x0000000000000000000000000000000000000000000000000000000000000007";

/// `spillway devnet` in a process of its own.
pub(crate) struct Devnet {
    pub(crate) child: Child,
    pub(crate) manifest: Value,
}

impl Devnet {
    fn start(place: &Place, nodes: &str) -> Self {
        Self::start_with(place, nodes, &[])
    }

    /// With further flags.
    pub(crate) fn start_with(place: &Place, nodes: &str, flags: &[&str]) -> Self {
        let words = ["devnet", "--nodes", nodes, "--data-dir", "network", "--json"];
        let mut command = place.command(&[&words[..], flags].concat());
        command.args(["--manifest", "devnet.json"]);
        // Anvil is found where the workspace has it.
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/node_modules/.bin");
        let mut child = command
            .env("PATH", tools)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["message_type"], "summary");
        assert_eq!(ready["nodes"].to_string(), nodes);
        let manifest = fs::read(place.path().join("devnet.json")).unwrap();
        Self { child, manifest: serde_json::from_slice(&manifest).unwrap() }
    }

    /// Where its chain listens.
    pub(crate) fn chain(&self) -> String {
        let url = self.manifest["rpc_url"].as_str().unwrap();
        url.strip_prefix("http://").unwrap().to_owned()
    }

    pub(crate) fn stop(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

/// A test that fails leaves no network running.
impl Drop for Devnet {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.stop(Signal::INT);
        }
    }
}

/// The last line of a successful run.
pub(crate) fn summary(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{ran}");
    let last: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["message_type"], "summary");
    last
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_network_comes_serves_and_goes() {
    let place = Place::new();
    let mut devnet = Devnet::start(&place, "6");
    manifest_is_complete(&place, &devnet.manifest);
    files_go_up_and_come_down(&place);
    chunks_go_up_and_come_down(&place);
    settings_are_as_good_as_a_manifest(&place, &devnet.manifest);
    refusals_cost_nothing(&place);
    a_data_map_is_never_lost(&place);
    another_node_joins(&place);
    assert_eq!(devnet.stop(Signal::TERM), Some(0));
    assert!(!place.path().join("devnet.json").exists());
    assert!(!place.path().join("network").exists());
}

fn manifest_is_complete(place: &Place, manifest: &Value) {
    let expected = ["bootstrap", "chain_id", "private_key", "rpc_url", "token", "vault"];
    assert_eq!(keys(manifest), BTreeSet::from(expected));
    let mode = fs::metadata(place.path().join("devnet.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

fn files_go_up_and_come_down(place: &Place) {
    place.file("file", [b"one segment and a bit".repeat(220_000), vec![7]].concat());
    let upload = ["upload", "file", "--devnet", "devnet.json", "--yes", "--json"];
    let first = summary(&place.run(&upload));
    let expected = [
        "bytes",
        "chunks_already_stored",
        "chunks_failed",
        "chunks_stored",
        "chunks_total",
        "data_map",
        "downlink_bytes",
        "elapsed_seconds",
        "gas_cost_wei",
        "gas_used",
        "message_type",
        "mode_reason",
        "payment_mode",
        "peak_rss_bytes",
        "public_address",
        "skipped",
        "storage_cost_atto",
        "tip_atto",
        "tx_hashes",
        "upload_id",
        "uplink_bytes",
        "verified",
    ];
    assert_eq!(keys(&first), BTreeSet::from(expected));
    assert_eq!(first["bytes"], 4_620_001);
    assert_eq!((&first["chunks_total"], &first["chunks_failed"]), (&2.into(), &0.into()));
    assert_eq!(first["payment_mode"], "direct");
    assert_eq!(first["data_map"], "file.datamap");
    let cost: u128 = first["storage_cost_atto"].as_str().unwrap().parse().unwrap();
    assert!(cost > 0);
    let mode = fs::metadata(place.path().join("file.datamap")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Again: nothing is stored, nothing is paid, and nothing is replaced unasked.
    assert_eq!(place.run(&upload).code, Some(1));
    let again = summary(&place.run(&[&upload[..], &["--overwrite", "--public"]].concat()));
    assert_eq!(again["chunks_already_stored"], 2);
    let link = format!("spillway://{}", again["public_address"].as_str().unwrap());

    for remote in ["file.datamap", &link] {
        let words = ["download", remote, "-o", "copy", "--devnet", "devnet.json", "--overwrite"];
        let down = summary(&place.run(&[&words[..], &["--json"]].concat()));
        assert_eq!((&down["bytes"], &down["files"]), (&4_620_001.into(), &1.into()));
        let copy = fs::read(place.path().join("copy")).unwrap();
        assert!(copy == fs::read(place.path().join("file")).unwrap(), "{remote}");
    }
    let status = summary(&place.run(&["status", "--json"]));
    let states = status["sessions"].as_array().unwrap().iter().map(|session| &session["state"]);
    assert!(states.clone().count() >= 1 && states.clone().all(|state| state == "finished"));
}

fn chunks_go_up_and_come_down(place: &Place) {
    place.file("chunk", "a chunk as it is");
    let put = place.run(&["chunk", "put", "chunk", "--devnet", "devnet.json", "--yes", "-q"]);
    let address = put.stdout.trim_end();
    assert_eq!(address.len(), 64, "{put}");
    let get = place.run(&["chunk", "get", address, "-o", "-", "--devnet", "devnet.json"]);
    assert_eq!(get.stdout, "a chunk as it is", "{get}");
    let other = "ab".repeat(32);
    let words = ["chunk", "get", &other, "-o", "none", "--devnet", "devnet.json"];
    assert_eq!(place.run(&words).code, Some(10));
    assert!(!place.path().join("none").exists());
}

/// `--bootstrap`, `--rpc-url`, `--vault` and the key in the environment, all from a fresh directory.
fn settings_are_as_good_as_a_manifest(place: &Place, manifest: &Value) {
    let text = |name: &str| manifest[name].as_str().unwrap();
    let words = [
        "upload",
        "chunk",
        "--yes",
        "--json",
        "--data-dir",
        "other",
        "--bootstrap",
        manifest["bootstrap"][0].as_str().unwrap(),
        "--rpc-url",
        text("rpc_url"),
        "--vault",
        text("vault"),
    ];
    let key = [("SPILLWAY_PRIVATE_KEY", text("private_key"))];
    let uploaded = summary(&place.run_with(&words, &key));
    assert_eq!(uploaded["chunks_total"], 1);
    // What it costs is told without a key.
    let cost = [&["cost", "chunk", "--json"], &words[4..]].concat();
    let priced = summary(&place.run(&cost));
    assert_eq!((&priced["chunks_total"], &priced["chunks_to_pay"]), (&1.into(), &0.into()));
    place.file("unpaid", "that nobody has paid for");
    let cost = [&["cost", "unpaid", "--json"], &words[4..]].concat();
    let priced = summary(&place.run(&cost));
    assert_eq!(priced["chunks_to_pay"], 1);
    assert!(priced["storage_cost_atto"].as_str().unwrap().parse::<u128>().unwrap() > 0);
}

fn refusals_cost_nothing(place: &Place) {
    place.file("new", "never seen before");
    place.file("poor", POOR);
    let before = summary(&place.run(&["wallet", "balance", "--devnet", "devnet.json", "--json"]));
    let refused: [(&[&str], i32); 5] = [
        (&["--private-key-file", "poor"], 13),
        (&["--max-cost", "1"], 14),
        (&["--max-gas-cost", "1"], 14),
        (&["--chain-id", "5"], 1),
        (&["--vault", "0x1111111111111111111111111111111111111111"], 1),
    ];
    for (words, code) in refused {
        let upload = ["upload", "new", "--devnet", "devnet.json", "--yes"];
        let ran = place.run(&[&upload[..], words].concat());
        assert_eq!(ran.code, Some(code), "{ran}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
        assert!(!place.path().join("new.datamap").exists());
    }
    let after = summary(&place.run(&["wallet", "balance", "--devnet", "devnet.json", "--json"]));
    assert_eq!(before, after);
}

/// Its place is taken while the upload is under way.
fn a_data_map_is_never_lost(place: &Place) {
    let words = ["upload", "-", "-o", "piped", "--public", "--devnet", "devnet.json"];
    let mut command = place.command(&[&words[..], &["--yes", "--json"]].concat());
    let pipes = [Stdio::piped(), Stdio::piped(), Stdio::piped()];
    let [stdin, stdout, stderr] = pipes;
    let mut child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"through a pipe").unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    // Progress comes after everything was checked.
    lines.read_line(&mut String::new()).unwrap();
    place.file("piped", "other");
    drop(pipe);
    lines.read_to_string(&mut String::new()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(fs::read_to_string(place.path().join("piped")).unwrap(), "other");
    let upload_id = said["upload_id"].as_str().unwrap();
    let kept = said["data_map"].as_str().unwrap();
    assert!(kept.ends_with(&format!("/{upload_id}.datamap")), "{kept}");
    assert!(!said["tx_hashes"].as_array().unwrap().is_empty());
    assert!(said["storage_cost_atto"].as_str().unwrap().parse::<u128>().unwrap() > 0);
    let link = format!("spillway://{}", said["public_address"].as_str().unwrap());
    for remote in [kept, &link] {
        let words = ["download", remote, "-o", "unpiped", "--devnet", "devnet.json"];
        let ran = place.run(&[&words[..], &["--overwrite"]].concat());
        assert_eq!(ran.code, Some(0), "{ran}");
        assert_eq!(fs::read_to_string(place.path().join("unpiped")).unwrap(), "through a pipe");
    }
}

/// A node of its own process finds the network, and a second one is kept out of its directory.
fn another_node_joins(place: &Place) {
    let words = [
        "node",
        "run",
        "--listen",
        "/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1",
        "--reward-address",
        "0x1111111111111111111111111111111111111111",
        "--capacity",
        "1GiB",
        "--devnet",
        "devnet.json",
        "--data-dir",
        "node",
        "--json",
    ];
    let mut child = place.command(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["addresses"].as_array().unwrap().len(), 2);
    let second = place.run(&words);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(second.code, Some(11), "{second}");
}

#[test]
fn an_old_manifest_is_no_obstacle_and_nothing_is_left() {
    let place = Place::new();
    // What a network that was killed has left is no obstacle.
    place.file("devnet.json", "");
    let mut devnet = Devnet::start(&place, "1");
    assert_eq!(devnet.stop(Signal::INT), Some(0));
    let left: BTreeSet<_> =
        fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The second signal does not wait for anything, and yet leaves neither process nor file.
#[test]
fn a_network_that_ends_at_once_leaves_nothing() {
    let place = Place::new();
    let mut devnet = Devnet::start(&place, "3");
    let chain = devnet.chain();
    let child = Pid::from_child(&devnet.child);
    kill_process(child, Signal::HUP).unwrap();
    kill_process(child, Signal::INT).unwrap();
    assert_eq!(devnet.child.wait().unwrap().code(), Some(130));
    assert!(TcpStream::connect(chain).is_err_and(|it| it.kind() == ErrorKind::ConnectionRefused));
    assert!(!place.path().join("devnet.json").exists());
    assert!(!place.path().join("network").exists());
}

#[test]
fn a_network_without_its_chain_ends() {
    let place = Place::new();
    let mut devnet = Devnet::start(&place, "1");
    kill_process(anvil_of(&devnet.child), Signal::KILL).unwrap();
    assert_eq!(devnet.child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    devnet.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let said: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(said["message"], "anvil has ended");
    assert!(!place.path().join("devnet.json").exists());
    assert!(!place.path().join("network").exists());
}

/// The only child of the program.
fn anvil_of(program: &Child) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{}/task", program.id())).unwrap();
    let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")));
    let children: String = children.map(Result::unwrap).collect();
    Pid::from_raw(children.trim().parse().unwrap()).unwrap()
}

#[test]
fn a_second_network_leaves_the_manifest_of_the_first_alone() {
    let place = Place::new();
    // What a network that was killed has left, a lock that nobody holds, is no obstacle.
    place.file("devnet.json.lock", "");
    let mut first = Devnet::start(&place, "1");
    let manifest = || fs::read(place.path().join("devnet.json")).unwrap();
    let before = manifest();
    // A chain that ends at once: the second must not come as far as that.
    let second = ["devnet", "--anvil", "/bin/true", "--data-dir", "second", "--manifest"];
    // Under another name of it, too.
    for name in ["devnet.json", "../devnet.json"] {
        let from = place.path().join("network");
        let mut command = place.command(&[&second[..], &[name]].concat());
        if name.starts_with("..") {
            command.current_dir(from);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let expected = format!(
            "error: {name} is the manifest of a test network that runs; choose another --manifest, \
             or end that network first\n"
        );
        assert_eq!((output.status.code(), said), (Some(11), expected));
        assert_eq!(manifest(), before);
    }
    assert!(!place.path().join("second").exists());
    assert_eq!(first.stop(Signal::INT), Some(0));
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn the_manifest_of_another_network_is_kept() {
    let place = Place::new();
    let mut first = Devnet::start(&place, "1");
    fs::write(place.path().join("devnet.json"), "of another network").unwrap();
    assert_eq!(first.stop(Signal::HUP), Some(0));
    let kept = fs::read_to_string(place.path().join("devnet.json")).unwrap();
    assert_eq!(kept, "of another network");
}

#[test]
fn a_network_that_cannot_be_reached_is_tried_again_later() {
    let place = Place::new();
    let devnet = Devnet::start(&place, "1");
    place.file("file", "bytes");
    let words = ["upload", "file", "--devnet", "devnet.json", "--yes"];
    let ran = place.run(&[&words[..], &["--bootstrap", "/ip4/127.0.0.1/tcp/1"]].concat());
    assert_eq!(ran.code, Some(5), "{ran}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran}");
    assert!(!place.path().join("file.datamap").exists());
    drop(devnet);
}
