//! Copies that nodes have lost or spoilt.

use super::*;

/// Copies are counted, rotten ones found, and what is short is stored again for nothing.
pub(super) fn what_is_missing_is_found_and_stored_again(place: &Place) {
    let verify = ["verify", "small.datamap"];
    let whole = run(place, &verify);
    let total = whole["chunks_total"].as_u64().unwrap();
    assert_eq!((&whole["copies"], total >= 2), (&json!([0, 0, 0, 0, 0, total]), true));

    let before = tokens(place);
    let chunk = a_chunk_of(place, "small");
    let copies = copies_of(place, &chunk);
    assert_eq!(copies.len(), 5);
    spoil(&copies[..3]);
    let short = ran(place, &["verify", "small.datamap", "--read-data"]);
    let found: Value = serde_json::from_str(short.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((short.code, &found["chunks_short"]), (Some(3), &1.into()), "{short}");
    assert_eq!(
        (&found["bad_copies"], &found["chunks_read"]),
        (&3.into(), &total.into()),
        "{short}"
    );
    let mended = run(place, &["verify", "small.datamap", "--read-data-subset", "0%", "--repair"]);
    assert_eq!((&mended["chunks_repaired"], &mended["copies_added"]), (&1.into(), &3.into()));
    assert_eq!(run(place, &verify)["copies"], json!([0, 0, 0, 0, 0, total]));
    assert_eq!(tokens(place), before);

    spoil(&copies_of(place, &chunk));
    let gone = ran(place, &["verify", "small.datamap", "--read-data", "--repair"]);
    let found: Value = serde_json::from_str(gone.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((gone.code, &found["lost"]), (Some(10), &json!([chunk])), "{gone}");

    // The hint is true: the source and the proof that is here store it again, for nothing.
    let (_, said) = failed(&gone);
    let first = "`spillway upload --wait-verified --devnet devnet.json` of ";
    assert!(said["hint"].as_str().unwrap().starts_with(first), "{said}");
    let before = tokens(place);
    let again = ["upload", "small", "--yes", "--overwrite", "--wait-verified"];
    assert_eq!(run(place, &again)["verified"], true);
    assert_eq!(tokens(place), before);
    let whole = run(place, &["verify", "small.datamap", "--read-data"]);
    assert_eq!((&whole["chunks_short"], &whole["lost"]), (&0.into(), &json!([])), "{whole}");
}

/// Where nodes keep a chunk.
fn copies_of(place: &Place, chunk: &str) -> Vec<PathBuf> {
    let network = fs::read_dir(place.path().join("network")).unwrap().next().unwrap().unwrap();
    let nodes = fs::read_dir(network.path()).unwrap().map(|node| node.unwrap().path());
    let mut copies: Vec<PathBuf> =
        nodes.map(|node| node.join("chunks").join(chunk)).filter(|path| path.exists()).collect();
    copies.sort();
    copies
}

/// The address of a chunk that the data map of a file names: whichever the nodes list first.
fn a_chunk_of(place: &Place, file: &str) -> String {
    let map = fs::read(place.path().join(format!("{file}.datamap"))).unwrap();
    let network = fs::read_dir(place.path().join("network")).unwrap().next().unwrap().unwrap();
    let nodes = fs::read_dir(network.path()).unwrap().map(|node| node.unwrap().path());
    let names = nodes.filter_map(|node| fs::read_dir(node.join("chunks")).ok()).flatten();
    let names = names.filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let addresses = names.filter(|name| name.len() == 64);
    let in_map = |name: &String| {
        let digits = (0..32).map(|at| u8::from_str_radix(&name[2 * at..2 * at + 2], 16).unwrap());
        let address: Vec<u8> = digits.collect();
        map.windows(32).any(|window| window == address)
    };
    addresses.into_iter().find(in_map).unwrap()
}

/// One bit of the chunk, which ends each file, flips.
fn spoil(copies: &[PathBuf]) {
    for copy in copies {
        let mut bytes = fs::read(copy).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(copy, bytes).unwrap();
    }
}
