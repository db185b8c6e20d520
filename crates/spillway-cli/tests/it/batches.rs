//! The life of batches by the program alone: paid, listed, drawn, settled, and taken back. Time jumps
//! on the chain. Needs the pinned tools: `cargo xtask setup`.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    network::{Devnet, summary},
    program::Place,
};

/// The times of the network, and a token that is dear enough for batches of two small chunks.
const FLAGS: &[&str] = &["--epoch", "1h", "--claim-window", "30d", "--token-rate", "1000000"];
/// The upload window of 24 hours, 15 minutes to the draw, and an hour to the next seed.
const TO_THE_SEED: u64 = 24 * 3600 + 15 * 60 + 3600;
/// Until the claim window is over, too.
const TO_THE_END: u64 = TO_THE_SEED + 30 * 86_400;

/// How long nodes may take to hear of a seed: they ask the chain every 12 seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs a command of the network and returns its summary.
fn run(place: &Place, words: &[&str]) -> Value {
    summary(&place.run(&[words, &["--devnet", "devnet.json", "--json"]].concat()))
}

fn atto(value: &Value) -> u128 {
    value.as_str().unwrap().parse().unwrap()
}

/// Tokens of the account that pays.
fn tokens(place: &Place) -> u128 {
    atto(&run(place, &["wallet", "balance"])["tokens_atto"])
}

/// Asks the network's chain.
fn ask(devnet: &Devnet, method: &str, params: &Value) -> Value {
    let chain = devnet.chain();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let mut stream = TcpStream::connect(chain.trim_end_matches('/')).unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {chain}\r\nconnection: close\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let answer: Value = serde_json::from_str(body).unwrap();
    assert!(answer["error"].is_null(), "{answer}");
    answer["result"].clone()
}

/// A number as the chain says it.
fn number(value: &Value) -> u128 {
    u128::from_str_radix(value.as_str().unwrap().strip_prefix("0x").unwrap(), 16).unwrap()
}

fn set_coins(devnet: &Devnet, account: &str, wei: u128) {
    ask(devnet, "anvil_setBalance", &json!([account, format!("{wei:#x}")]));
}

/// The network's keeper of the beacon has no coins any more: who wants a seed has to post it.
fn ruin_the_keeper(devnet: &Devnet) {
    let first = number(&ask(devnet, "eth_blockNumber", &json!([]))) + 1;
    jump(devnet, 3600);
    let started = Instant::now();
    let keeper = loop {
        let newest = number(&ask(devnet, "eth_blockNumber", &json!([])));
        let sender = (first..=newest).find_map(|block| {
            let block = ask(devnet, "eth_getBlockByNumber", &json!([format!("{block:#x}"), true]));
            block["transactions"][0]["from"].as_str().map(str::to_owned)
        });
        if let Some(sender) = sender {
            break sender;
        }
        assert!(started.elapsed() < PATIENCE, "nobody keeps the beacon");
    };
    set_coins(devnet, &keeper, 0);
}

/// Runs until it says that so many draws are won, without settling them.
fn wait_for_wins(place: &Place, draws: u64) -> Value {
    let started = Instant::now();
    loop {
        let dry = run(place, &["settle", "--dry-run"]);
        if dry["draws"] == draws {
            return dry;
        }
        assert!(started.elapsed() < PATIENCE, "not all have won: {dry}");
    }
}

/// Runs a command of the network that fails, with both streams in one: what it says, in order.
fn stopped(place: &Place, words: &[&str]) -> String {
    let path = place.path().join("said");
    let said = fs::File::create(&path).unwrap();
    let mut command = place.command(&[words, &["--devnet", "devnet.json"]].concat());
    command.stdout(said.try_clone().unwrap()).stderr(said);
    assert!(!command.status().unwrap().success());
    fs::read_to_string(path).unwrap()
}

fn jump(devnet: &Devnet, seconds: u64) {
    ask(devnet, "evm_increaseTime", &json!([seconds]));
    ask(devnet, "evm_mine", &json!([]));
}

/// Uploads two chunks as a batch; what the vault took.
fn upload(place: &Place) -> u128 {
    place.file("file", "of one segment");
    let priced = run(place, &["cost", "file", "--public", "--mode", "batch"]);
    assert_eq!((&priced["payment_mode"], &priced["chunks_to_pay"]), (&"batch".into(), &2.into()));
    assert_eq!(priced["mode_reason"], "batch: as asked for");
    let before = tokens(place);
    let words = ["upload", "file", "--public", "--mode", "batch", "--yes"];
    let uploaded = run(place, &words);
    assert_eq!(uploaded["payment_mode"], "batch");
    assert_eq!(uploaded["mode_reason"], "batch: as asked for");
    assert_eq!(uploaded["storage_cost_atto"], priced["storage_cost_atto"]);
    let (storage, tip) = (atto(&uploaded["storage_cost_atto"]), atto(&uploaded["tip_atto"]));
    assert!(storage > 0 && tip > 0);
    assert_eq!(tokens(place), before - storage - tip);
    storage + tip
}

/// The only batch of the only upload.
fn batch(place: &Place, words: &[&str]) -> (Value, Value) {
    let status = run(place, &[&["status"], words].concat());
    let [session] = status["sessions"].as_array().unwrap().as_slice() else { panic!("{status}") };
    let [batch] = session["batches"].as_array().unwrap().as_slice() else { panic!("{status}") };
    (session.clone(), batch.clone())
}

/// The directories of the network's nodes.
fn nodes(place: &Place) -> Vec<PathBuf> {
    let [root] = fs::read_dir(place.path().join("network"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let dirs = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    dirs.filter(|dir| dir.file_name().unwrap().to_string_lossy().starts_with("node-")).collect()
}

/// What all nodes know to be won, asked from beside.
fn wins(place: &Place, words: &[&str]) -> Vec<Value> {
    let of_node = |dir: PathBuf| {
        let words = [&["node", "wins", "--data-dir", dir.to_str().unwrap()], words].concat();
        run(place, &words)["wins"].as_array().unwrap().clone()
    };
    nodes(place).into_iter().flat_map(of_node).collect()
}

#[test]
fn a_batch_is_listed_drawn_and_settled() {
    let place = Place::new();
    let mut devnet = Devnet::start_with(&place, "6", FLAGS);
    let escrow = upload(&place);

    // Before the draw: nothing is won, and nothing comes back yet.
    let (session, open) = batch(&place, &[]);
    assert_eq!((atto(&session["refundable_atto"]), atto(&open["escrow_atto"])), (escrow, escrow));
    assert_eq!((&open["settled"], &open["refunded_atto"]), (&Value::Null, &Value::Null));
    let (_, exact) = batch(&place, &["--chain"]);
    assert_eq!((atto(&exact["refundable_atto"]), &exact["settled"]), (escrow, &0.into()));
    assert_eq!(exact["refundable_from"], open["refundable_from"]);
    let refund = run(&place, &["refund"]);
    assert_eq!((&refund["refunded"], &refund["tx_hashes"]), (&json!([]), &json!([])));
    assert_eq!(refund["refundable"][0]["due"], false);
    assert_eq!(refund["refundable"][0]["payment"], open["payment"]);
    let early = run(&place, &["settle"]);
    assert_eq!((&early["nodes"], &early["wins"]), (&6.into(), &0.into()));

    // After it: whoever keeps the chunk that was drawn says so.
    jump(&devnet, TO_THE_SEED);
    let dry = wait_for_wins(&place, 1);
    assert!(dry["gas_used"].as_u64().unwrap() > 21_000 && atto(&dry["gas_cost_wei"]) > 0);
    assert_eq!((&dry["wins"], &dry["tx_hashes"]), (&1.into(), &json!([])));
    let noted = wins(&place, &["--chain"]);
    assert!(!noted.is_empty() && noted.iter().all(|win| win["payment"] == open["payment"]));

    // Anybody settles: the drawn chunk's nodes are paid, and the tip comes in.
    let before = tokens(&place);
    let settled = run(&place, &["settle"]);
    assert_eq!((&settled["draws"], &settled["transactions"]), (&1.into(), &1.into()));
    assert_eq!((&settled["payees"], &settled["tip_atto"]), (&dry["payees"], &dry["tip_atto"]));
    assert!(settled["gas_used"].as_u64().unwrap() > 0);
    let (prize, tip) = (atto(&settled["prize_atto"]), atto(&settled["tip_atto"]));
    assert_eq!((prize + tip, tokens(&place)), (escrow, before + tip));
    let payees = settled["payees"].as_array().unwrap();
    assert_eq!(payees.iter().map(|payee| atto(&payee["amount_atto"])).sum::<u128>(), prize);
    assert_eq!(wins(&place, &["--chain"]), Vec::<Value>::new());
    let (session, _) = batch(&place, &["--chain"]);
    assert_eq!(atto(&session["refundable_atto"]), 0);
    let nothing = place.run(&["refund", "--devnet", "devnet.json"]);
    assert_eq!(nothing.stdout, "Nothing can be refunded.\n", "{nothing}");
    assert_eq!(devnet.stop(Signal::TERM), Some(0));
}

#[test]
fn what_nobody_claims_comes_back() {
    let place = Place::new();
    let mut devnet = Devnet::start_with(&place, "6", FLAGS);
    let before = tokens(&place);
    let escrow = upload(&place);
    jump(&devnet, TO_THE_END);

    let dry = run(&place, &["refund", "--dry-run"]);
    assert_eq!((&dry["refundable"][0]["due"], &dry["tx_hashes"]), (&true.into(), &json!([])));
    assert_eq!(tokens(&place), before - escrow);
    let (session, _) = batch(&place, &[]);
    let name = session["upload_id"].as_str().unwrap();
    let refund = run(&place, &["refund", name]);
    assert_eq!(atto(&refund["refunded_atto"]), escrow);
    assert_eq!(refund["refunded"][0]["upload_id"], name);
    assert_eq!(refund["tx_hashes"].as_array().unwrap().len(), 1);
    assert_eq!(tokens(&place), before);

    let (session, over) = batch(&place, &[]);
    assert_eq!((atto(&session["refunded_atto"]), atto(&over["refunded_atto"])), (escrow, escrow));
    assert_eq!(atto(&session["refundable_atto"]), 0);
    let again = place.run(&["refund", "--devnet", "devnet.json"]);
    assert_eq!(again.stdout, "Nothing can be refunded.\n", "{again}");
    assert_eq!(devnet.stop(Signal::TERM), Some(0));
}

#[test]
fn settle_makes_a_missing_seed_known_itself() {
    let place = Place::new();
    let mut devnet = Devnet::start_with(&place, "6", FLAGS);
    let escrow = upload(&place);
    ruin_the_keeper(&devnet);
    jump(&devnet, TO_THE_SEED);

    // Nobody posts it.
    let dry = run(&place, &["settle", "--dry-run"]);
    let [missing] = dry["seeds"].as_array().unwrap().as_slice() else { panic!("{dry}") };
    assert_eq!((&dry["wins"], &missing["seed"]), (&0.into(), &Value::Null));
    assert_eq!(missing["drand_round"], Value::Null);
    let due = missing["due"].as_u64().unwrap();
    assert!(due % 3600 == 0 && due > missing["upload_by"].as_u64().unwrap() + 15 * 60);

    // Block hashes take two posts with blocks in between.
    ask(&devnet, "evm_setIntervalMining", &json!([1]));
    let posted = run(&place, &["settle"]);
    let [known] = posted["seeds"].as_array().unwrap().as_slice() else { panic!("{posted}") };
    assert_eq!(known["upload_by"], missing["upload_by"]);
    assert!(known["seed"].is_string(), "{posted}");
    assert_eq!((&posted["draws"], &known["due"]), (&0.into(), &Value::Null));
    assert_eq!(posted["tx_hashes"].as_array().unwrap().len(), 2);
    assert!(posted["seed_gas_used"].as_u64().unwrap() > 2 * 21_000);
    assert_eq!(posted["seed_gas_cost_wei"], posted["gas_cost_wei"]);

    wait_for_wins(&place, 1);
    let settled = run(&place, &["settle"]);
    assert_eq!((&settled["draws"], &settled["seeds"]), (&1.into(), &json!([])));
    assert_eq!(atto(&settled["prize_atto"]) + atto(&settled["tip_atto"]), escrow);
    assert_eq!(devnet.stop(Signal::TERM), Some(0));
}

/// The summary is the only one that knows of what was done, and it comes first.
#[test]
fn what_is_stopped_says_first_what_was_done() {
    let place = Place::new();
    // A token so dear that a batch may have one chunk.
    let flags = [&FLAGS[..4], &["--token-rate", "100000000"]].concat();
    let mut devnet = Devnet::start_with(&place, "6", &flags);
    // Two segments that do not shrink, and their data map.
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..5 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect();
    place.file("file", noise);
    let words = ["upload", "file", "--public", "--mode", "batch", "--batch-leaves", "1", "--yes"];
    assert_eq!(run(&place, &words)["chunks_stored"], 3);
    jump(&devnet, TO_THE_SEED);

    // The cap is for one settlement of three.
    let dry = wait_for_wins(&place, 3);
    let cap = (atto(&dry["gas_cost_wei"]) * 2 / 5).to_string();
    let over =
        place.run(&["settle", "--dry-run", "--max-gas-cost", &cap, "--devnet", "devnet.json"]);
    assert_ne!(over.code, Some(0), "{over}");
    assert!(over.stdout.contains("Would settle 1 draw of"), "{over}");
    let said = stopped(&place, &["settle", "--max-gas-cost", &cap]);
    let (done, why) = (said.find("Settled 1 draw of"), said.find("gas costs"));
    assert!(done.is_some() && done < why, "{said}");
    let said = stopped(&place, &["settle", "--max-gas-cost", "1", "--json"]);
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let types: Vec<&Value> = lines.iter().map(|line| &line["message_type"]).collect();
    assert_eq!(types[types.len() - 2..], ["summary", "exit_error"], "{said}");
    assert_eq!(lines[lines.len() - 2]["draws"], 0);

    // Coins for one refund of two.
    jump(&devnet, TO_THE_END);
    let address = run(&place, &["wallet", "address"])["address"].as_str().unwrap().to_owned();
    let price = number(&ask(&devnet, "eth_gasPrice", &json!([])));
    set_coins(&devnet, &address, 90_000 * price);
    let said = stopped(&place, &["refund"]);
    let (done, why) = (said.find("tokens came back of batch"), said.find("needed for gas"));
    assert!(done.is_some() && done < why, "{said}");
    assert_eq!(said.matches("tokens came back of batch").count(), 1, "{said}");
    set_coins(&devnet, &address, 1_000_000_000_000_000_000);
    assert_eq!(run(&place, &["refund"])["refunded"].as_array().unwrap().len(), 1);
    assert_eq!(devnet.stop(Signal::TERM), Some(0));
}
