use std::fs;

use zeroize::Zeroizing;

use super::*;

const KEY_1: &str = "0x0000000000000000000000000000000000000000000000000000000000000001";
const KEY_2: &str = "0x0000000000000000000000000000000000000000000000000000000000000002";
const ADDRESS_1: &str = "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf";
const ADDRESS_2: &str = "0x2b5ad5c4795c026514f8317c7a215e218dccd6cf";

fn settings(layers: Vec<Layer>) -> Settings {
    Settings::of(layers, Places::of_this_user())
}

/// A manifest with this key, in a file.
fn manifest(key: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("devnet.json");
    let json = serde_json::json!({
        "bootstrap": ["/ip4/127.0.0.1/tcp/1"],
        "rpc_url": "http://127.0.0.1:1",
        "chain_id": 31337,
        "token": "0x1111111111111111111111111111111111111111",
        "vault": "0x2222222222222222222222222222222222222222",
        "private_key": key,
    });
    fs::write(&path, json.to_string()).unwrap();
    (dir, path)
}

#[test]
fn the_flag_counts_more_than_the_environment_than_the_file() {
    let layer = |url: Option<&str>, chain_id, vault: Option<&str>| Layer {
        rpc_url: url.map(str::to_owned),
        chain_id,
        vault: vault.map(str::to_owned),
        ..Layer::default()
    };
    let vault = "0x2222222222222222222222222222222222222222";
    let settings = settings(vec![
        layer(Some("http://flag"), None, None),
        layer(Some("http://environment"), Some(2), None),
        layer(Some("http://file"), Some(3), Some(vault)),
    ]);
    assert_eq!(settings.rpc_url().unwrap(), "http://flag");
    assert_eq!(settings.chain_id(), Some(2));
    assert_eq!(settings.vault().unwrap(), EvmAddress([0x22; 20]));
    assert_eq!(settings.network(), NetworkId::named("spillway"));
}

#[test]
fn a_manifest_gives_all_that_its_level_does_not_say() {
    let (_dir, path) = manifest(KEY_1);
    let flags =
        Layer { devnet: Some(path), rpc_url: Some("http://flag".into()), ..Layer::default() };
    let environment = Layer {
        private_key: Some(Zeroizing::new(KEY_2.into())),
        chain_id: Some(2),
        ..Layer::default()
    };
    let settings = settings(vec![flags, environment]);
    assert_eq!(settings.rpc_url().unwrap(), "http://flag");
    assert_eq!(settings.chain_id(), Some(31337));
    assert_eq!(settings.vault().unwrap(), EvmAddress([0x22; 20]));
    assert_eq!(settings.wallet().unwrap().address().to_string(), ADDRESS_1);
    assert_eq!(settings.bootstrap().unwrap().len(), 1);
}

#[test]
fn a_manifest_that_is_gone_is_missed_only_where_it_is_needed() {
    let vault = "0x2222222222222222222222222222222222222222";
    let flags = Layer {
        rpc_url: Some("http://flag".into()),
        vault: Some(vault.into()),
        ..Layer::default()
    };
    let environment = Layer {
        devnet: Some("/nonexistent/devnet.json".into()),
        data_dir: Some("/data".into()),
        ..Layer::default()
    };
    let file = Layer { chain_id: Some(3), ..Layer::default() };
    let settings = settings(vec![flags, environment, file]);
    assert_eq!(settings.data_dir().unwrap(), Path::new("/data"));
    assert_eq!(settings.rpc_url().unwrap(), "http://flag");
    assert_eq!(settings.vault().unwrap(), EvmAddress([0x22; 20]));
    assert_eq!(settings.chain_id(), Some(3));
    assert_eq!(settings.network(), NetworkId::named("spillway"));
    assert_eq!(settings.max_cost(), None);
    let missed = "the manifest /nonexistent/devnet.json does not exist";
    assert_eq!(settings.bootstrap().unwrap_err().message, missed);
    assert_eq!(settings.wallet().unwrap_err().message, missed);
}

#[test]
fn a_key_of_a_higher_level_counts_more_than_a_manifest() {
    let (_dir, path) = manifest(KEY_1);
    let environment = Layer {
        private_key: Some(Zeroizing::new(KEY_2.into())),
        devnet: Some(path),
        ..Layer::default()
    };
    let wallet = settings(vec![Layer::default(), environment]).wallet().unwrap();
    assert_eq!(wallet.address().to_string(), ADDRESS_2);
}

#[test]
fn what_is_missing_is_named() {
    let settings = settings(vec![Layer::default()]);
    let failure = settings.rpc_url().unwrap_err();
    assert_eq!(failure.code, Code::Usage);
    assert_eq!(
        failure.to_string(),
        "--rpc-url is missing; say it, or set SPILLWAY_RPC_URL, or name a test network with --devnet"
    );
    assert_eq!(settings.bootstrap().unwrap_err().message, "--bootstrap is missing");
    assert_eq!(settings.vault().unwrap_err().message, "--vault is missing");
    assert_eq!(settings.wallet().unwrap_err().message, "no private key");
}

#[test]
fn what_is_wrong_is_named_but_no_key() {
    let flags = Layer {
        bootstrap: Some(vec!["nowhere".into()]),
        vault: Some("0x12".into()),
        private_key: Some(Zeroizing::new("hunter2".into())),
        ..Layer::default()
    };
    let settings = settings(vec![flags]);
    assert_eq!(settings.vault().unwrap_err().message, r#"--vault: "0x12" is not an address"#);
    let failure = settings.bootstrap().unwrap_err();
    assert!(failure.message.starts_with(r#"--bootstrap: "nowhere" is not"#), "{failure}");
    let failure = settings.wallet().unwrap_err();
    assert!(!failure.to_string().contains("hunter2"), "{failure}");
    assert_eq!(failure.code, Code::Usage);
}

#[test]
fn payments_have_names_where_chain_and_vault_are_known() {
    let (_dir, path) = manifest(KEY_1);
    let known = settings(vec![Layer { devnet: Some(path), ..Layer::default() }]);
    let domain = known.domain_if_any().unwrap().unwrap();
    assert_eq!((domain.chain_id, domain.vault), (31337, EvmAddress([0x22; 20])));
    let gone = Layer { devnet: Some("/nonexistent/devnet.json".into()), ..Layer::default() };
    assert_eq!(settings(vec![gone]).domain_if_any().unwrap(), None);
    let wrong = Layer { vault: Some("0x12".into()), chain_id: Some(1), ..Layer::default() };
    let failure = settings(vec![wrong]).domain_if_any().unwrap_err();
    assert_eq!(failure.message, r#"--vault: "0x12" is not an address"#);
}
