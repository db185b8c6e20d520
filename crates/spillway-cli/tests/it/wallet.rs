//! The account, without a chain.

use crate::program::Place;

const KEY: &str = "0x0000000000000000000000000000000000000000000000000000000000000001";
const ADDRESS: &str = "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf";

#[test]
fn the_address_is_printed_and_nothing_else() {
    let place = Place::new();
    let with_key = [("SPILLWAY_PRIVATE_KEY", KEY)];
    for words in [&["wallet", "address"][..], &["wallet", "address", "-q"]] {
        let ran = place.run_with(words, &with_key);
        assert_eq!(ran.to_string(), format!("exit code: 0\n----- stdout -----\n{ADDRESS}\n"));
    }
    let ran = place.run_with(&["wallet", "address", "--json"], &with_key);
    let line = format!(r#"{{"message_type":"summary","address":"{ADDRESS}"}}"#);
    assert_eq!(ran.stdout, format!("{line}\n"));
}

#[test]
fn a_key_may_be_in_a_file() {
    let place = Place::new();
    place.file("key", format!("{KEY}\n"));
    let ran = place.run(&["wallet", "address", "--private-key-file", "key"]);
    assert_eq!(ran.stdout, format!("{ADDRESS}\n"));
}

#[test]
fn a_key_is_never_shown() {
    let place = Place::new();
    let ran = place.run_with(
        &["wallet", "address", "-vvv"],
        &[("SPILLWAY_PRIVATE_KEY", "correct horse battery staple")],
    );
    assert_eq!(ran.code, Some(2));
    assert!(!ran.to_string().contains("horse"), "{ran}");
}
