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

#[test]
fn times_that_no_vault_takes_are_named() {
    let place = Place::new();
    let said = |times: &[&str]| {
        let words = ["devnet", "--data-dir", "network", "--manifest", "devnet.json"];
        let ran = place.run(&[&words[..], times].concat());
        assert_eq!(ran.code, Some(2), "{ran}");
        assert!(!place.path().join("network").exists());
        ran.to_string()
    };
    assert_snapshot!("bad_epoch", said(&["--epoch", "0s"]));
    assert_snapshot!("bad_draw_delay", said(&["--draw-delay", "15"]));
    assert_snapshot!("claim_below_epoch", said(&["--epoch", "1h", "--claim-window", "60m"]));
    assert_snapshot!("window_below_twice", said(&["--min-window", "61s", "--max-window", "2m"]));
    assert_snapshot!("devnet_token_rate", said(&["--token-rate", "0"]));
}
