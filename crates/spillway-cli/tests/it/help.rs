//! Help of every command.

use insta::assert_snapshot;

use crate::program::Place;

/// Every command with its words.
const COMMANDS: &[(&str, &[&str])] = &[
    ("spillway", &[]),
    ("upload", &["upload"]),
    ("download", &["download"]),
    ("cost", &["cost"]),
    ("chunk", &["chunk"]),
    ("chunk_put", &["chunk", "put"]),
    ("chunk_get", &["chunk", "get"]),
    ("status", &["status"]),
    ("resume", &["resume"]),
    ("verify", &["verify"]),
    ("forget", &["forget"]),
    ("session", &["session"]),
    ("session_export", &["session", "export"]),
    ("session_import", &["session", "import"]),
    ("session_data_map", &["session", "data-map"]),
    ("settle", &["settle"]),
    ("refund", &["refund"]),
    ("wallet", &["wallet"]),
    ("wallet_address", &["wallet", "address"]),
    ("wallet_balance", &["wallet", "balance"]),
    ("wallet_withdraw", &["wallet", "withdraw"]),
    ("node", &["node"]),
    ("node_run", &["node", "run"]),
    ("node_wins", &["node", "wins"]),
    ("completions", &["completions"]),
    ("devnet", &["devnet"]),
];

#[test]
fn every_command_explains_itself() {
    let place = Place::new();
    for (name, words) in COMMANDS {
        let words = [*words, &["--help"]].concat();
        assert_snapshot!(format!("help_{name}"), place.run(&words));
    }
}

#[test]
fn every_exit_code_is_in_the_help() {
    let help = Place::new().run(&["--help"]).stdout;
    for code in [0, 1, 2, 3, 5, 10, 11, 12, 13, 14, 130] {
        let line = format!("  {code:<4} ");
        assert!(help.lines().any(|it| it.starts_with(&line)), "{code} is not explained");
    }
}

#[test]
fn the_version_is_one_line() {
    let ran = Place::new().run(&["--version"]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(ran.stdout, format!("spillway {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_for_the_shell_that_was_asked_for() {
    let ran = Place::new().run(&["completions", "bash"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.contains("complete -F _spillway"), "{}", ran.stdout);
    assert_eq!(Place::new().run(&["completions", "tcl"]).code, Some(2));
}
