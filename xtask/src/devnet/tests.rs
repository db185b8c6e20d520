//! A shell stands in for the program: it takes the verb for the name of a script in the working directory.

use std::thread;

use tempfile::TempDir;

use super::*;
use crate::interrupt::Interrupted;

/// Reads the arguments as the program would.
const ARGUMENTS: &str = r#"
while [ $# -gt 0 ]; do
  case $1 in
    --data-dir) data=$2; shift 2 ;;
    --manifest) manifest=$2; shift 2 ;;
    *) shift ;;
  esac
done
mkdir "$data"
"#;
const READY: &str = r#"echo {} > "$manifest.new"; mv "$manifest.new" "$manifest"
"#;
const WAIT: &str = "while :; do sleep 0.02; done\n";

fn directory_with(script: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("devnet"), format!("{ARGUMENTS}{script}")).unwrap();
    directory
}

fn start(script: &str) -> (TempDir, Result<Devnet>) {
    let directory = directory_with(script);
    let path = directory.path();
    let network = Devnet::start(Path::new("sh"), 3, path, path, &Interrupt::fixed(false));
    (directory, network)
}

#[test]
fn a_network_that_cleans_up_stops_well() {
    let script = format!("trap 'rmdir \"$data\"; exit 0' INT\n{READY}{WAIT}");
    let (directory, network) = start(&script);
    let network = network.unwrap();
    assert_eq!(fs::read_to_string(network.manifest()).unwrap(), "{}\n");
    network.stop().unwrap();
    assert!(!directory.path().join("network").exists());
}

#[test]
fn what_a_network_leaves_is_told() {
    let script = format!("trap 'exit 0' INT\necho 1 > \"$data/left\"\n{READY}{WAIT}");
    let (_directory, network) = start(&script);
    assert_eq!(
        network.unwrap().stop().unwrap_err().to_string(),
        "the network left 1 entries in its data directory"
    );
}

#[test]
fn a_network_that_fails_at_the_end_is_told() {
    let script = format!("trap 'echo no >&2; exit 4' INT\n{READY}{WAIT}");
    let (_directory, network) = start(&script);
    assert_eq!(
        network.unwrap().stop().unwrap_err().to_string(),
        "the network ended with exit status: 4\nno"
    );
}

#[test]
fn a_network_that_never_gets_ready_shows_its_log() {
    let (_directory, network) = start("echo 'no Anvil' >&2; exit 1");
    assert_eq!(
        network.unwrap_err().to_string(),
        "the network ended with exit status: 1 before it was ready\nno Anvil"
    );
}

#[test]
fn an_interrupt_while_it_starts_ends_it() {
    let interrupt = Interrupt::fixed(false);
    let script =
        format!("trap 'touch \"$data.ended\"; exit 0' INT\ntouch \"$data.trapped\"\n{WAIT}");
    let directory = directory_with(&script);
    let file = |name: &str| directory.path().join(name).exists();
    let network = thread::scope(|scope| {
        scope.spawn(|| {
            while !file("network.trapped") {
                Interrupt::pause();
            }
            interrupt.raise();
        });
        Devnet::start(Path::new("sh"), 3, directory.path(), directory.path(), &interrupt)
    });
    assert!(network.unwrap_err().is::<Interrupted>());
    assert!(file("network.ended"));
}

#[test]
fn a_dropped_network_is_ended() {
    let script = format!("trap 'touch \"$data.ended\"; exit 0' INT\n{READY}{WAIT}");
    let (directory, network) = start(&script);
    drop(network.unwrap());
    assert!(directory.path().join("network.ended").exists());
}
