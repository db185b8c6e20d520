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
