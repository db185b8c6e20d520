//! Bad input: one line that says what and what to do, the right exit code, as text and as JSON.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::Stdio,
    thread,
};

use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};
use spillway_client::Address;
use spillway_types::PeerSecret;

use crate::program::Place;

/// A key that nothing was ever sent to.
const KEY: &str = "0x0000000000000000000000000000000000000000000000000000000000000001";
const VAULT: &str = "0x2222222222222222222222222222222222222222";
const PEER: &str = "/ip4/127.0.0.1/tcp/1";
/// Nothing listens there: the port is reserved.
const NO_RPC: &str = "http://127.0.0.1:1";

/// The settings of a network that cannot be reached.
fn settings(rpc_url: &str) -> Vec<(&str, &str)> {
    vec![
        ("SPILLWAY_PRIVATE_KEY", KEY),
        ("SPILLWAY_VAULT", VAULT),
        ("SPILLWAY_BOOTSTRAP", PEER),
        ("SPILLWAY_RPC_URL", rpc_url),
    ]
}

/// Runs it for people and for programs.
fn both(place: &Place, words: &[&str], variables: &[(&str, &str)]) -> String {
    let text = place.run_with(words, variables);
    let json = place.run_with(&[words, &["--json"]].concat(), variables);
    assert_eq!(text.code, json.code);
    let last = json.stderr.lines().last().unwrap();
    let object: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(object["message_type"], "exit_error");
    assert_eq!(object["code"].as_i64(), json.code.map(i64::from));
    format!("{text}----- json -----\n{}", json.stderr)
}

#[test]
fn there_is_no_such_file() {
    let place = Place::new();
    assert_snapshot!("no_file_upload", both(&place, &["upload", "none", "--yes"], &[]));
    assert_snapshot!("no_file_cost", both(&place, &["cost", "none"], &[]));
    assert_snapshot!("no_file_chunk", both(&place, &["chunk", "put", "none", "--yes"], &[]));
    let words = ["download", "none.datamap", "-o", "out"];
    assert_snapshot!("no_file_download", both(&place, &words, &[]));
    let words = ["upload", "none", "--yes", "--devnet", "none.json"];
    assert_snapshot!("no_file_first", both(&place, &words, &[]));
}

#[test]
fn a_file_that_may_not_be_read() {
    let place = Place::new();
    let file = place.file("secret", "bytes");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let ran = place.run_unprivileged(&["upload", "secret", "--yes"]);
    assert_snapshot!("unreadable_file", ran);
    assert!(!place.path().join("secret.datamap").exists());
}

#[test]
fn a_directory_that_may_not_be_read() {
    let place = Place::new();
    let dir = place.path().join("locked");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o000)).unwrap();
    assert_snapshot!(
        "unreadable_directory",
        place.run_unprivileged(&["upload", "locked", "--yes"])
    );
    let file = place.file("file", "bytes");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let words = ["upload", "file", "--yes", "-o", "locked/file.datamap"];
    assert_snapshot!("unwritable_directory", place.run_unprivileged(&words));
}

#[test]
fn a_device_is_no_source() {
    let place = Place::new();
    assert_snapshot!("device", both(&place, &["upload", "/dev/null", "--yes"], &[]));
}

#[test]
fn an_address_that_is_not_hex() {
    let place = Place::new();
    let words = ["download", "spillway://hello", "-o", "out"];
    assert_snapshot!("address_not_hex_download", both(&place, &words, &[]));
    let words = ["chunk", "get", "hello", "-o", "out"];
    assert_snapshot!("address_not_hex_chunk", both(&place, &words, &[]));
    let vault = [("SPILLWAY_VAULT", "vault"), ("SPILLWAY_PRIVATE_KEY", KEY)];
    let words = ["wallet", "balance", "--rpc-url", NO_RPC];
    assert_snapshot!("address_not_hex_vault", both(&place, &words, &vault));
    let words = ["wallet", "address"];
    let key = [("SPILLWAY_PRIVATE_KEY", "0x1234")];
    assert_snapshot!("key_not_hex", both(&place, &words, &key));
    assert!(!place.path().join("out").exists());
}

#[test]
fn a_data_map_that_cannot_be_used() {
    let place = Place::new();
    place.file(
        "text.datamap",
        "this is no data map, and long enough to have all that one has at least",
    );
    // One of 16 entries and the length of 3, all zero: docs/formats.md has the layout.
    let mut truncated = b"SPILLMAP\x01\0".to_vec();
    truncated.resize(56, 0);
    truncated.extend_from_slice(&16u32.to_le_bytes());
    truncated.resize(60 + 3 * 68, 0);
    place.file("truncated.datamap", truncated);
    place.file("newer.datamap", [&b"SPILLMAP\x02\0"[..], &[7; 200]].concat());
    place.file("empty.datamap", "");
    place.file("large.datamap", vec![0; (4 << 20) + 1]);
    // Nothing else is said: it is looked at first.
    for name in ["text", "truncated", "newer", "empty", "large"] {
        let words = ["download", &format!("{name}.datamap"), "-o", "out"];
        assert_snapshot!(format!("data_map_{name}"), both(&place, &words, &[]));
    }
    assert!(!place.path().join("out").exists());
}

#[test]
fn an_rpc_that_cannot_be_reached() {
    let place = Place::new();
    place.file("file", "bytes");
    let words = ["upload", "file", "--yes"];
    assert_snapshot!("no_rpc_upload", both(&place, &words, &settings(NO_RPC)));
    assert_snapshot!("no_rpc_balance", both(&place, &["wallet", "balance"], &settings(NO_RPC)));
    assert_snapshot!("bad_rpc_url", both(&place, &["wallet", "balance"], &settings("file:///x")));
    assert!(!place.path().join("file.datamap").exists());
}

#[test]
fn another_chain_than_the_one_that_is_meant() {
    let place = Place::new();
    place.file("file", "bytes");
    let rpc_url = chain_one();
    let words = ["upload", "file", "--yes", "--chain-id", "31337"];
    assert_snapshot!("wrong_chain", both(&place, &words, &settings(&rpc_url)));
    assert!(!place.path().join("file.datamap").exists());
}

#[test]
fn nothing_is_replaced_unasked() {
    let place = Place::new();
    place.file("file", "bytes");
    let data_map = place.file("file.datamap", "old");
    assert_snapshot!("data_map_exists", both(&place, &["upload", "file", "--yes"], &[]));
    let words = ["download", "file.datamap", "-o", "file"];
    assert_snapshot!("target_exists", both(&place, &words, &[]));
    assert_eq!(fs::read_to_string(data_map).unwrap(), "old");
}

#[test]
fn a_source_is_not_replaced_by_its_result() {
    let place = Place::new();
    let file = place.file("file", "bytes");
    std::os::unix::fs::symlink("file", place.path().join("link")).unwrap();
    let words = ["upload", "file", "-o", "link", "--overwrite", "--yes"];
    assert_snapshot!("output_is_source", both(&place, &words, &settings(NO_RPC)));
    let words = ["download", "file", "-o", "./file", "--overwrite"];
    assert_snapshot!("output_is_data_map", both(&place, &words, &settings(NO_RPC)));
    let words = ["upload", "file", "-o", ".", "--yes"];
    assert_snapshot!("output_without_name", both(&place, &words, &settings(NO_RPC)));
    assert_eq!(fs::read_to_string(file).unwrap(), "bytes");
}

#[test]
fn a_manifest_that_is_gone_is_no_matter_where_it_is_not_needed() {
    let place = Place::new();
    place.file("key", KEY);
    let gone = [("SPILLWAY_DEVNET", "none.json")];
    assert_eq!(place.run_with(&["status"], &gone).code, Some(0));
    let words = ["wallet", "address", "--private-key-file", "key"];
    assert_eq!(place.run_with(&words, &gone).code, Some(0));
    assert_eq!(place.run_with(&["wallet", "address"], &gone).code, Some(10));
}

/// Reading a pipe that nobody writes to can be left.
#[test]
fn a_pipe_can_be_left() {
    let place = Place::new();
    let mut command = place.command(&["chunk", "put", "-", "--yes"]);
    let (stdin, stderr) = (Stdio::piped(), Stdio::piped());
    let mut child = command.stdin(stdin).stderr(stderr).spawn().unwrap();
    // It reads when the byte is gone from the pipe, and waits for more.
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"x").unwrap();
    while rustix::io::ioctl_fionread(&pipe).unwrap() > 0 {
        thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "Stopping; once more to stop at once.\nerror: interrupted\n");
    drop(pipe);
}

#[test]
fn what_is_not_said_is_asked_for() {
    let place = Place::new();
    place.file("file", "bytes");
    assert_snapshot!("nobody_to_ask", both(&place, &["upload", "file"], &settings(NO_RPC)));
    let words = ["upload", "-", "--yes"];
    assert_snapshot!("stdin_without_output", both(&place, &words, &settings(NO_RPC)));
    let words = ["upload", "file", "--yes"];
    assert_snapshot!("no_key", both(&place, &words, &settings(NO_RPC)[1..]));
    assert_snapshot!("no_bootstrap", both(&place, &words, &settings(NO_RPC)[..2]));
    let words = ["chunk", "put"];
    assert_snapshot!("no_argument", both(&place, &words, &[]));
    let digits = "ab".repeat(32);
    let words = ["download", &digits, "-o", "-", "--json"];
    assert_snapshot!("two_things_for_stdout", place.run(&words));
}

#[test]
fn a_command_line_that_is_not_understood() {
    let place = Place::new();
    assert_snapshot!("unknown_command", both(&place, &["uplaod"], &[]));
    assert_snapshot!("unknown_flag", both(&place, &["status", "--frobnicate"], &[]));
    assert_snapshot!("bad_cap", both(&place, &["upload", "file", "--max-cost", "much"], &[]));
}

#[test]
fn a_way_to_pay_that_is_not_understood() {
    let place = Place::new();
    place.file("file", "bytes");
    let said = |flag: &str, value: &str| {
        let words = ["upload", "file", "--yes", flag, value];
        let all = both(&place, &words, &settings(NO_RPC));
        // The chain is not asked.
        assert!(all.starts_with("exit code: 2\n"), "{all}");
        all
    };
    assert_snapshot!("bad_mode", said("--mode", "tree"));
    assert_snapshot!("bad_commit", said("--commit", "never"));
    assert_snapshot!("bad_batch_leaves", said("--batch-leaves", "65537"));
    assert_snapshot!("no_batch_leaves", said("--batch-leaves", "0"));
    assert_snapshot!("bad_token_rate", said("--token-rate", "cheap"));
    assert_snapshot!("no_token_rate", said("--token-rate", "0.0"));
    let rate = [("SPILLWAY_TOKEN_RATE", "cheap")];
    assert_snapshot!("bad_token_rate_variable", both(&place, &["status"], &rate));
    place.file("config.toml", "token_rate = -1.5\n");
    let words = ["status", "--config", "config.toml"];
    assert_snapshot!("bad_token_rate_setting", both(&place, &words, &[]));
}

/// Each way to pay is understood, and asks the same chain.
#[test]
fn every_way_to_pay_needs_the_chain() {
    let place = Place::new();
    place.file("file", "bytes");
    for way in [
        &["--mode", "batch"][..],
        &["--mode", "direct"],
        &["--mode", "auto", "--token-rate", "0.0004"],
        &["--batch-leaves", "65536", "--commit", "one-by-one"],
        &["--batch-leaves", "1", "--commit", "together"],
    ] {
        for words in [&["upload", "file", "--yes"][..], &["cost", "file"]] {
            let ran = place.run_with(&[words, way].concat(), &settings(NO_RPC));
            assert_eq!(ran.code, Some(5), "{ran}");
        }
        let put = [&["chunk", "put", "file", "--yes"], way].concat();
        let ran = place.run_with(&put, &settings(NO_RPC));
        assert_eq!(ran.code, Some(5), "{ran}");
    }
}

#[test]
fn settling_needs_a_key_a_chain_and_nodes() {
    let place = Place::new();
    let words = ["settle"];
    assert_snapshot!("settle_no_key", both(&place, &words, &settings(NO_RPC)[1..]));
    assert_snapshot!("settle_no_nodes", both(&place, &words, &settings(NO_RPC)[..2]));
    let peer = PeerSecret::from_seed(&[1; 32]).peer();
    let node = PEER.parse::<Address>().unwrap().with_peer(peer).to_string();
    let words = ["settle", node.as_str()];
    assert_snapshot!("settle_no_rpc", both(&place, &words, &settings(NO_RPC)));
    let words = ["settle", "--dry-run", node.as_str()];
    assert_eq!(place.run_with(&words, &settings(NO_RPC)[1..]).code, Some(5));
    let words = ["settle", "node-1"];
    assert_snapshot!("settle_bad_node", both(&place, &words, &settings(NO_RPC)));
    let words = ["settle", PEER];
    assert_snapshot!("settle_node_without_id", both(&place, &words, &settings(NO_RPC)));
    // With a node's directory none is asked.
    let words = ["settle", "--from-dir", "node"];
    assert_snapshot!("settle_no_dir", both(&place, &words, &settings(NO_RPC)));
    fs::create_dir(place.path().join("node")).unwrap();
    let alone = [("SPILLWAY_PRIVATE_KEY", KEY), ("SPILLWAY_VAULT", VAULT), settings(NO_RPC)[3]];
    let ran = place.run_with(&words, &alone);
    assert_eq!(ran.code, Some(5), "{ran}");
    assert!(ran.stderr.contains("the RPC"), "{ran}");
    for (name, proof) in [("odd", "0x123"), ("not_hex", "signature"), ("empty", "0x")] {
        let words = ["settle", "--seed-proof", proof];
        let said = both(&place, &words, &settings(NO_RPC));
        assert_snapshot!(format!("settle_proof_{name}"), said);
    }
}

#[test]
fn refunds_need_uploads_a_key_and_a_chain() {
    let place = Place::new();
    let ran = place.run(&["refund"]);
    assert_eq!(ran.to_string(), "exit code: 0\n----- stdout -----\nNothing can be refunded.\n");
    assert_snapshot!("refund_unknown", both(&place, &["refund", "none"], &[]));
    let json = place.run(&["refund", "--dry-run", "--json"]);
    assert_snapshot!("refund_nothing", json);
    assert!(!place.path().join("user").exists());
    // Something was uploaded from here once.
    fs::create_dir_all(place.path().join("data/sessions")).unwrap();
    let words = ["refund", "--data-dir", "data"];
    assert_snapshot!("refund_no_key", both(&place, &words, &settings(NO_RPC)[1..]));
    assert_snapshot!("refund_no_rpc", both(&place, &words, &settings(NO_RPC)));
    let words = ["status", "--chain", "--data-dir", "data"];
    assert_snapshot!("status_no_rpc", both(&place, &words, &settings(NO_RPC)));
    assert_snapshot!("status_no_vault", both(&place, &words, &[("SPILLWAY_RPC_URL", NO_RPC)]));
    assert_eq!(place.run_with(&words[..1], &settings(NO_RPC)).code, Some(0));
}

#[test]
fn settings_that_are_not_understood() {
    let place = Place::new();
    place.file("config.toml", "vault = '0x00'\nfrobnicate = 1\n");
    let words = ["wallet", "address", "--config", "config.toml"];
    assert_snapshot!("bad_settings_file", both(&place, &words, &[]));
    let words = ["wallet", "address", "--config", "none.toml"];
    assert_snapshot!("no_settings_file", both(&place, &words, &[]));
    let words = ["wallet", "address", "--devnet", "config.toml"];
    assert_snapshot!("bad_manifest", both(&place, &words, &[]));
    let words = ["wallet", "address", "--devnet", "none.json"];
    assert_snapshot!("no_manifest", both(&place, &words, &[]));
    let words = ["status"];
    assert_snapshot!("bad_variable", both(&place, &words, &[("SPILLWAY_CHAIN_ID", "one")]));
}

#[test]
fn a_chunk_has_a_size() {
    let place = Place::new();
    place.file("empty", "");
    place.file("large", vec![0; (4 << 20) + 1]);
    let words = |name| ["chunk", "put", name, "--yes"];
    assert_snapshot!("chunk_empty", both(&place, &words("empty"), &settings(NO_RPC)));
    assert_snapshot!("chunk_large", both(&place, &words("large"), &settings(NO_RPC)));
}

#[test]
fn no_uploads_are_no_error() {
    let place = Place::new();
    let ran = place.run(&["status"]);
    assert_eq!(ran.to_string(), "exit code: 0\n----- stdout -----\nNo uploads.\n");
    let ran = place.run(&["status", "--json"]);
    assert_eq!(ran.stdout, "{\"message_type\":\"summary\",\"sessions\":[],\"processes\":[]}\n");
    // Looking makes nothing.
    assert!(!place.path().join("user").exists());
}

#[test]
fn sessions_that_are_not_there() {
    let place = Place::new();
    let snapshot = |name: &str, words: &[&str]| {
        assert_snapshot!(format!("session_{name}"), both(&place, words, &[]));
    };
    // Nothing was ever uploaded from here.
    snapshot("none_to_resume", &["resume", "--yes"]);
    snapshot("unknown_resume", &["resume", "abc", "--yes"]);
    snapshot("unknown_forget", &["forget", "abc"]);
    snapshot("unknown_several", &["forget", "abc", "def"]);
    snapshot("unknown_export", &["session", "export", "abc", "-o", "box"]);
    snapshot("unknown_data_map", &["session", "data-map", "abc", "-o", "map"]);
    place.file("box", "this is no archive of a session, and long enough to be one");
    snapshot("bad_archive", &["session", "import", "box", "--data-dir", "data"]);
    snapshot("no_archive", &["session", "import", "none", "--data-dir", "data"]);
    snapshot("forget_what", &["forget"]);
    snapshot("resume_which", &["resume", "abc", "--all"]);
    snapshot("verify_percent", &["verify", "none.datamap", "--read-data-subset", "5"]);
    snapshot("verify_none", &["verify", "none.datamap"]);
    let all = place.run(&["resume", "--all", "--json"]);
    assert_eq!(
        (all.code, all.stdout.as_str()),
        (Some(0), "{\"message_type\":\"summary\",\"uploads\":0,\"finished\":0}\n")
    );
    let over = place.run(&["forget", "--finished"]);
    assert_eq!(over.to_string(), "exit code: 0\n----- stdout -----\nNothing to forget.\n");
    // A command that is named finds what this one was told to look for.
    let elsewhere = place.run(&["forget", "abc", "--data-dir", "my data"]);
    let named = "`spillway status --data-dir 'my data'` lists the names";
    assert_eq!(elsewhere.stderr, format!("error: there is no session abc; {named}\n"));
}

/// An RPC that says of everything that it is 1. It ends with the test.
fn chain_one() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer_all(stream.unwrap()));
        }
    });
    url
}

/// Answers requests of one connection until it ends.
fn answer_all(mut stream: TcpStream) {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let Ok(length @ 1..) = stream.read(&mut buffer) else { return };
        read.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&read).into_owned();
        let Some((_, body)) = text.split_once("\r\n\r\n") else { continue };
        let Ok(request) = serde_json::from_str::<serde_json::Value>(body) else { continue };
        read.clear();
        let answer = serde_json::json!({"jsonrpc": "2.0", "id": request["id"], "result": "0x1"});
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        if stream.write_all((head + &answer).as_bytes()).is_err() {
            return;
        }
    }
}
