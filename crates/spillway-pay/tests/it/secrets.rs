//! Keys and credentials are in no text.

use std::{cell::RefCell, sync::Arc};

use spillway_pay::{ChainError, PayFailure, PayRequest, RpcChain, RpcOptions, Wallet, WalletError};

use crate::support::{Control, Stage, TestJournal, WatchedChain, wallet};

#[test]
fn a_wallet_shows_its_address_only() {
    let wallet = wallet(0x5a);
    let key = "5a".repeat(32);
    assert_eq!(format!("{wallet:?}"), format!("Wallet({})", wallet.address()));
    assert!(!format!("{wallet:#?}").contains(&key));
    assert_eq!(wallet.expose_hex().as_str(), format!("0x{key}"));
    assert_eq!(Wallet::from_hex(&wallet.expose_hex()).unwrap().address(), wallet.address());
    assert_eq!(Wallet::from_hex(&format!(" {key}\n")).unwrap().address(), wallet.address());
}

#[test]
fn the_address_of_a_known_key() {
    // The first account of the mnemonic "test test … junk", as every tool prints it.
    let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let address = Wallet::from_hex(key).unwrap().address().to_string();
    assert_eq!(address, "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
}

#[test]
fn what_is_no_key_is_not_repeated() {
    for (text, expected) in [
        ("hunter2".to_owned(), WalletError::NotHex),
        ("5a".repeat(31), WalletError::NotHex),
        ("zz".repeat(32), WalletError::NotHex),
        ("00".repeat(32), WalletError::NotAKey),
        ("ff".repeat(32), WalletError::NotAKey),
    ] {
        let error = Wallet::from_hex(&text).unwrap_err();
        assert_eq!(error, expected);
        assert!(!format!("{error} {error:?}").contains(&text));
    }
}

#[test]
fn two_random_wallets_differ() {
    let (one, two) = (Wallet::random().unwrap(), Wallet::random().unwrap());
    assert_ne!(one.address(), two.address());
}

#[tokio::test]
async fn nothing_that_is_printed_of_a_payment_holds_the_key() {
    let stage = Stage::memory().await;
    let key = stage.payer.expose_hex();
    let key = key.trim_start_matches("0x");
    let bytes: Vec<String> = [2_u8; 32].iter().map(ToString::to_string).collect();
    let plans = [stage.plan(1, 1).await];
    let request: PayRequest<'_> = stage.request(&plans, &[]);
    let payments = stage.payments();
    let mut journal = TestJournal::new(&stage.chain);
    let mut texts = vec![format!("{request:#?} {payments:#?} {:#?}", stage.options())];
    journal.fail_at = Some(1);
    let error = payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap_err();
    texts.push(format!("{error} {error:#?}"));
    journal.fail_at = None;
    let paid = payments.pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    texts.push(format!("{paid:#?} {:#?} {:#?}", journal.signed, stage.chain));
    for text in texts {
        assert!(!text.to_lowercase().contains(key));
        assert!(!text.replace([' ', '\n'], "").contains(&bytes.join(",")));
    }
    // What the journal keeps does not hold it either.
    let stored = serde_json::to_string(&journal.signed).unwrap();
    assert!(!stored.contains(key) && !stored.contains(&bytes.join(",")));
}

thread_local! {
    /// What is logged on this thread, once somebody wants to know.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Writes into [`LOG`]; other threads' tests log nowhere.
struct ThreadLog;

impl std::io::Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| {
            if let Some(log) = log {
                log.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_of_any_crate_holds_a_key_or_credentials() {
    // For the whole process: whether anybody listens is known process-wide.
    tracing_subscriber::fmt().with_env_filter("trace").with_writer(|| ThreadLog).init();
    LOG.set(Some(Vec::new()));

    let mut stage = Stage::anvil().await;
    let Control::Anvil(anvil) = &stage.control else { panic!("not Anvil") };
    let host = anvil.rpc_url().trim_start_matches("http://");
    let chain = RpcChain::new(RpcOptions::new(format!("http://user:hunter2@{host}/?k=APIKEY")));
    stage.chain = Arc::new(WatchedChain::new(Arc::new(chain.unwrap())));
    let plans = [stage.plan(1, 1).await];
    let mut journal = TestJournal::new(&stage.chain);
    stage.payments().pay(stage.request(&plans, &[]), &mut journal).await.unwrap();
    let lost = RpcChain::new(RpcOptions::new("http://user:hunter2@127.0.0.1:1/?k=APIKEY"));
    spillway_pay::Chain::chain_id(&lost.unwrap()).await.unwrap_err();

    let log = LOG.take().unwrap();
    let log = String::from_utf8_lossy(&log).to_lowercase();
    for crate_name in ["spillway_pay", "hyper_util"] {
        assert!(log.contains(crate_name), "nothing was logged by {crate_name}");
    }
    for secret in [&stage.payer.expose_hex()[2..], "hunter2", "apikey"] {
        let at = log.find(secret);
        assert_eq!(at, None, "{:?}", at.map(|at| &log[at.saturating_sub(200)..at]));
    }
}

#[tokio::test]
async fn credentials_of_a_server_are_not_shown() {
    let options = RpcOptions::new("http://user:hunter2@127.0.0.1:1/API-KEY?token=API-KEY");
    let shown = format!("{options:?}");
    let chain = RpcChain::new(options).unwrap();
    let error = spillway_pay::Chain::chain_id(&chain).await.unwrap_err();
    assert_eq!(error, ChainError::Unreachable { endpoint: "http://127.0.0.1:1".into() });
    let failure = PayFailure::from(error);
    for text in [shown, format!("{chain:?}"), format!("{failure} {failure:?}")] {
        assert!(!text.contains("hunter2") && !text.contains("API-KEY"), "{text}");
    }
}
