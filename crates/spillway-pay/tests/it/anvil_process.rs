//! Anvil as a child: it answers when it is started, and is gone when it is dropped.

use std::path::PathBuf;

use rustix::process::{Pid, test_kill_process};
use spillway_pay::{Anvil, AnvilError, AnvilOptions, Chain, FindOptions};
use spillway_types::Wei;

use crate::support::{rpc, start_anvil, wallet};

fn is_running(id: u32) -> bool {
    // Signal 0: fails when there is no such process. A zombie still counts, so this is also false
    // only when it was reaped.
    test_kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap()).is_ok()
}

#[tokio::test]
async fn it_answers_at_once_and_is_gone_after_a_shutdown() {
    let anvil = start_anvil().await;
    let chain = rpc(anvil.rpc_url());
    assert_eq!(chain.chain_id().await.unwrap(), AnvilOptions::CHAIN_ID);
    assert!(anvil.rpc_url().starts_with("http://127.0.0.1:"));
    let id = anvil.process_id();
    assert!(is_running(id));
    anvil.shutdown().await.unwrap();
    assert!(!is_running(id));
}

#[tokio::test]
async fn it_is_gone_after_a_drop() {
    let anvil = start_anvil().await;
    let id = anvil.process_id();
    drop(anvil);
    assert!(!is_running(id));
}

#[tokio::test]
async fn it_survives_more_requests_than_a_pipe_holds_lines() {
    let anvil = start_anvil().await;
    let chain = rpc(anvil.rpc_url());
    let account = wallet(9).address();
    // Each is a line of output; a pipe that nobody reads holds 64 KiB.
    for coins in 1..=3_000 {
        anvil.set_coins(account, Wei(coins)).await.unwrap();
    }
    assert_eq!(chain.coins(account).await.unwrap(), Wei(3_000));
    anvil.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let first = start_anvil().await;
    let port = first.rpc_url().rsplit(':').next().unwrap().parse().unwrap();
    let found = Anvil::find(&FindOptions {
        start_dir: Some(env!("CARGO_MANIFEST_DIR").into()),
        ..FindOptions::default()
    });
    let options = AnvilOptions { port: Some(port), ..AnvilOptions::new(found.unwrap()) };
    match Anvil::start(options).await {
        Err(AnvilError::Ended { .. }) => {}
        other => panic!("{other:?}"),
    }
    // The first one is as before.
    assert_eq!(rpc(first.rpc_url()).chain_id().await.unwrap(), AnvilOptions::CHAIN_ID);
    first.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_program_that_is_not_there_or_no_anvil() {
    let missing = PathBuf::from("/nonexistent/anvil");
    match Anvil::start(AnvilOptions::new(missing.clone())).await {
        Err(AnvilError::Start { program, source }) => {
            assert_eq!(program, missing);
            assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
    match Anvil::start(AnvilOptions::new("/bin/echo".into())).await {
        Err(AnvilError::Ended { said }) => assert!(said.starts_with("--host"), "{said}"),
        other => panic!("{other:?}"),
    }
}
