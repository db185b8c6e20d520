//! The test network's own bad input. A network that runs is tested end to end.

use insta::assert_snapshot;

use crate::program::Place;

/// A program that is no Anvil and ends at once.
const ENDS_AT_ONCE: &str = "/bin/true";

#[test]
fn without_anvil_it_says_where_to_get_it() {
    let place = Place::new();
    let words = ["devnet", "--nodes", "5", "--data-dir", "network", "--manifest", "devnet.json"];
    assert_snapshot!("no_anvil", place.run(&words));
    place.file("script", "#!/bin/sh\nexec anvil \"$@\"\n");
    let ran = place.run_with(&words, &[("SPILLWAY_ANVIL", "script")]);
    assert_snapshot!("no_anvil_there", ran);
    assert!(!place.path().join("devnet.json").exists());
    assert!(!place.path().join("network").exists());
}

#[test]
fn a_file_that_is_no_manifest_is_kept() {
    let place = Place::new();
    place.file("devnet.json", "precious");
    let words = ["devnet", "--data-dir", "network", "--manifest", "devnet.json"];
    let ran = place.run_with(&words, &[("SPILLWAY_ANVIL", ENDS_AT_ONCE)]);
    assert_snapshot!("manifest_exists", ran);
    let kept = std::fs::read_to_string(place.path().join("devnet.json")).unwrap();
    assert_eq!(kept, "precious");
}

#[test]
fn a_chain_that_does_not_start_leaves_nothing() {
    let place = Place::new();
    let words = ["devnet", "--data-dir", "network", "--manifest", "devnet.json", "--anvil"];
    let words = [&words[..], &[ENDS_AT_ONCE]].concat();
    assert_snapshot!("anvil_ends", place.run(&words));
    assert!(!place.path().join("devnet.json").exists());
    assert!(!place.path().join("network").exists());
}

#[test]
fn a_network_has_nodes() {
    let words = ["devnet", "--nodes", "0", "--data-dir", "network", "--manifest", "devnet.json"];
    assert_snapshot!("no_nodes", Place::new().run(&words));
}
