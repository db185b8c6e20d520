//! A node's own bad input.

use insta::assert_snapshot;

use crate::program::Place;

const REWARD: &str = "0x1111111111111111111111111111111111111111";

/// `node run` with these settings, otherwise complete.
fn run(place: &Place, listen: &str, reward: &str, capacity: &str) -> String {
    let words = [
        "node",
        "run",
        "--listen",
        listen,
        "--reward-address",
        reward,
        "--capacity",
        capacity,
        "--rpc-url",
        "http://127.0.0.1:1",
        "--vault",
        "0x2222222222222222222222222222222222222222",
        "--data-dir",
        "node",
    ];
    place.run(&words).to_string()
}

#[test]
fn bad_settings_are_named() {
    let place = Place::new();
    let tcp = "/ip4/127.0.0.1/tcp/0";
    assert_snapshot!("node_bad_listen", run(&place, "localhost:4001", REWARD, "10GiB"));
    assert_snapshot!("node_bad_reward", run(&place, tcp, "me", "10GiB"));
    assert_snapshot!("node_bad_capacity", run(&place, tcp, REWARD, "a lot"));
    assert!(!place.path().join("node").exists());
    assert_snapshot!("node_no_rpc", run(&place, tcp, REWARD, "10GiB"));
    assert_snapshot!("node_nothing", place.run(&["node", "run"]));
}

#[test]
fn bad_terms_of_batches_are_named() {
    let place = Place::new();
    let said = |words: &[&str]| {
        let run = ["node", "run", "--listen", "/ip4/127.0.0.1/tcp/0", "--capacity", "1GiB"];
        let ran = place.run(&[&run[..], &["--reward-address", REWARD], words].concat());
        assert_eq!(ran.code, Some(2), "{ran}");
        ran.to_string()
    };
    assert_snapshot!("node_bad_rate", said(&["--token-rate", "-1"]));
    assert_snapshot!("node_bad_prize", said(&["--max-prize", "1.5"]));
}

#[test]
fn a_node_without_wins_has_none() {
    let place = Place::new();
    let words = ["node", "wins", "--data-dir", "node"];
    assert_snapshot!("wins_no_node", place.run(&words));
    std::fs::create_dir(place.path().join("node")).unwrap();
    assert_snapshot!("wins_none", place.run(&words));
    let words = [&words[..], &["--json"]].concat();
    assert_snapshot!("wins_none_json", place.run(&words));
    let words = [&words[..], &["--reward-address", "me"]].concat();
    assert_snapshot!("wins_bad_reward", place.run(&words));
}
