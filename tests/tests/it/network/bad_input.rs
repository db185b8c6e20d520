//! What a user may get wrong and what may be missing, where it takes a network to find out: one line
//! that says what and what to do, the right exit code, nothing spent, nothing half-written.

use spillway_tests::{Network, Ran, noise};
use spillway_types::{Atto, Wei};

/// What the program said and how it ended, with what differs from run to run replaced.
fn shown(network: &Network, ran: &Ran) -> String {
    let manifest = network.testnet.manifest();
    let mut stderr = ran.stderr.replace(network.place().to_str().unwrap(), "[HERE]");
    for (value, name) in
        [(manifest.vault, "[VAULT]"), (manifest.token, "[TOKEN]"), (manifest.rpc_url, "[RPC]")]
    {
        stderr = stderr.replace(&value, name);
    }
    let stdout = String::from_utf8(ran.stdout.clone()).unwrap();
    format!("exit code: {:?}\nstdout: {stdout:?}\nstderr: {stderr}", ran.code.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_in_one_line_and_costs_nothing() {
    let network = Network::start(5).await;
    network.put("file", &noise(250, 10_000));
    network.key_file("poor", Atto::ZERO, Wei(1_000_000_000_000_000_000)).await;
    network.key_file("no-coins", Atto(1_000_000_000_000_000_000), Wei(0)).await;
    let before = network.balances().await;

    let nobody = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    let upload = ["upload", "file", "--yes"];
    let cases: [(&str, &[&str]); 9] = [
        ("no_tokens", &["--devnet", "devnet.json", "--private-key-file", "poor"]),
        ("no_coins", &["--devnet", "devnet.json", "--private-key-file", "no-coins"]),
        ("no_vault", &["--vault", "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]),
        ("token_for_vault", &["--vault", &network.testnet.manifest().token]),
        ("wrong_chain", &["--chain-id", "1"]),
        ("no_rpc", &["--rpc-url", "http://127.0.0.1:1"]),
        ("no_bootstrap", &["--bootstrap", nobody]),
        ("over_cost", &["--max-cost", "1"]),
        ("over_gas_cost", &["--max-gas-cost", "1"]),
    ];
    for (name, arguments) in cases {
        let ran = network.run(&[&upload, arguments].concat()).await;
        assert_eq!(ran.stderr.lines().count(), 1, "{name}: {ran:?}");
        insta::assert_snapshot!(name, masked(&shown(&network, &ran)));
        assert!(!network.place().join("file.datamap").exists(), "{name}");
    }

    let nowhere = "ab".repeat(32);
    let ran = network.run(&["download", &nowhere, "-o", "back"]).await;
    insta::assert_snapshot!("not_found", shown(&network, &ran));
    let ran = network.run(&["chunk", "get", &nowhere, "-o", "back"]).await;
    insta::assert_snapshot!("chunk_not_found", shown(&network, &ran));
    assert!(!network.place().join("back").exists());

    assert_eq!(network.balances().await, before, "nothing was spent");
    assert_eq!(network.chunk_files(), [].into(), "and nothing stored");
    network.shutdown().await;
}

/// Prices and gas differ from run to run: runs of more than seven digits are replaced.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        if digits.len() > 7 {
            masked.push_str("[AMOUNT]");
        } else {
            masked.push_str(&digits);
        }
        digits.clear();
        masked.push(c);
    }
    masked
}
