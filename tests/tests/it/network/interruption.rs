//! The program killed, stopped and run twice: charged once, and finished by running it again.

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use spillway_tests::{Admit, Network, Ran, Tricks, noise};
use spillway_types::{Refusal, limits::SEGMENT_BYTES};

use super::atto;

const UPLOAD: [&str; 4] = ["upload", "file", "--yes", "--json"];

/// Ten and a half segments.
fn contents(seed: u64) -> Vec<u8> {
    noise(seed, 10 * SEGMENT_BYTES + 77)
}

/// The failure that it ends with, after whatever was logged.
fn exit_error(ran: &Ran) -> Value {
    let last = ran.stderr.lines().last().unwrap_or_else(|| panic!("silent: {ran:?}"));
    let said: Value = serde_json::from_str(last).unwrap();
    assert_eq!(said["message_type"], "exit_error", "{ran:?}");
    assert_eq!(said["code"], ran.code.unwrap(), "{ran:?}");
    said
}

fn is_storing(line: &Value) -> bool {
    line["message_type"] == "status" && line["stage"] == "store"
}

/// The upload has come to its end: charged what it says, since `before`, and nothing is left over.
async fn assert_finished(
    network: &Network,
    ran: &Ran,
    before: &spillway_tests::Balances,
    file: &[u8],
) {
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let summary = ran.summary();
    assert_eq!(summary["chunks_total"], 11);
    assert_eq!(
        (&summary["chunks_failed"], &summary["payment_mode"]),
        (&0.into(), &"direct".into())
    );
    let cost = atto(&summary, "storage_cost_atto");
    assert_eq!(network.balances().await, before.after(cost, 2), "charged once");
    assert_eq!(network.spills(), Vec::<PathBuf>::new());
    let back = network.run(&["download", "file.datamap", "-o", "-", "-q"]).await;
    assert_eq!((back.code, back.stderr.as_str()), (Some(0), ""));
    assert!(back.stdout == file, "it came back otherwise");
    let status = network.run(&["status", "--json"]).await.summary();
    for session in status["sessions"].as_array().unwrap() {
        assert_eq!(session["state"], "finished", "{status}");
    }
    std::fs::remove_file(network.place().join("file.datamap")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_run_again_it_is_charged_once() {
    let network = Network::start(6).await;
    // After paying: nothing gets stored. After half: five chunks of eleven.
    for (seed, chunks) in [(220, 0), (221, 5)] {
        let file = contents(seed);
        network.put("file", &file);
        let before = network.balances().await;
        let stored_before = network.chunk_files().len();
        network.book.let_through(chunks);
        network.book.forget_hanging();
        let mut running = network.spawn(&UPLOAD);
        running.wait_for(is_storing).await;
        // All six workers of the client hang: what could be stored is stored and written down.
        network.book.wait_for_hanging(6 * 5).await;
        running.signal(Signal::KILL);
        let killed = running.end().await;
        assert_eq!((killed.code, killed.stderr.as_str()), (None, ""));
        assert!(!network.place().join("file.datamap").exists(), "nothing half-written");
        assert_eq!(network.chunk_files().len(), stored_before + chunks);

        let paid = network.balances().await;
        assert_eq!(paid.transactions, before.transactions + 2);
        assert_ne!(paid.vault, before.vault, "it was paid");
        assert_eq!(network.spills().len(), 1, "and what was paid is kept");
        let status = network.run(&["status", "--json"]).await.summary();
        let session = &status["sessions"][0];
        assert_eq!(
            (&session["state"], &session["chunks_paid"]),
            (&"interrupted".into(), &11.into())
        );
        assert_eq!(session["chunks_stored"], chunks);

        network.book.behave();
        let ran = network.run(&UPLOAD).await;
        assert_eq!(network.balances().await, paid, "nothing more was paid");
        assert_eq!(ran.summary()["chunks_stored"], 11);
        assert_finished(&network, &ran, &before, &file).await;
    }
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_it_says_so_and_another_at_the_same_time_is_refused() {
    let network = Network::start(6).await;
    for signal in [Signal::INT, Signal::TERM] {
        let file = contents(230 + u64::from(signal == Signal::INT));
        network.put("file", &file);
        let before = network.balances().await;
        network.book.let_through(5);
        network.book.forget_hanging();
        let mut running = network.spawn(&UPLOAD);
        running.wait_for(is_storing).await;
        network.book.wait_for_hanging(6 * 5).await;

        let second = network.run(&UPLOAD).await;
        assert_eq!(second.code, Some(11), "{second:?}");
        let said = exit_error(&second);
        assert!(said["message"].as_str().unwrap().starts_with("another process works"), "{said}");

        running.signal(signal);
        let ran = running.end().await;
        assert_eq!(ran.code, Some(130), "{ran:?}");
        assert_eq!(exit_error(&ran)["message"], "interrupted");
        assert!(!network.place().join("file.datamap").exists());

        network.book.behave();
        let ran = network.run(&UPLOAD).await;
        assert_finished(&network, &ran, &before, &file).await;
    }
    network.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_than_a_quorum_is_exit_code_3_and_goes_on_without_paying() {
    let network = Network::start(5).await;
    let file = contents(240);
    network.put("file", &file);
    // Two of five take everything, three refuse what begins with an odd byte.
    for index in 2..5 {
        let admit = |put: &spillway_types::PutRequest| match put.leaf.address.0[0] % 2 {
            0 => Admit::Serve,
            _ => Admit::Refuse(Refusal::StorageFailed),
        };
        network.book.play(index, Tricks { admit: Some(Box::new(admit)), ..Tricks::default() });
    }
    let before = network.balances().await;
    let ran = network.run(&UPLOAD).await;
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let files = network.chunk_files();
    assert_eq!(files.len(), 11);
    let odd: Vec<String> =
        files.keys().filter(|a| a.0[0] % 2 == 1).map(ToString::to_string).collect();
    assert!(!odd.is_empty() && odd.len() < 11, "{odd:?}");
    assert!(files.iter().all(|(a, &copies)| (a.0[0] % 2 == 1) == (copies == 2)), "{files:?}");

    let summary = ran.summary();
    assert_eq!(
        (&summary["chunks_total"], &summary["chunks_failed"]),
        (&11.into(), &odd.len().into())
    );
    assert_eq!(summary["chunks_stored"], 11 - odd.len());
    assert_eq!(sorted(&summary["paid_unstored"]), odd);
    let cost = atto(&summary, "storage_cost_atto");
    let paid = before.after(cost, 2);
    assert_eq!(network.balances().await, paid);
    let said = exit_error(&ran);
    assert_eq!(said["message"], format!("{} of 11 chunks could not be stored", odd.len()));
    assert_eq!(sorted(&said["paid_unstored"]), odd);
    assert!(!network.place().join("file.datamap").exists());

    network.book.behave();
    let ran = network.run(&UPLOAD).await;
    assert_eq!(network.balances().await, paid, "nothing more was paid");
    assert_finished(&network, &ran, &before, &file).await;
    network.shutdown().await;
}

fn sorted(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    let mut list: Vec<String> = list.map(|item| item.as_str().unwrap().to_owned()).collect();
    list.sort_unstable();
    list
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_download_is_gone_on_with() {
    const DOWNLOAD: [&str; 5] = ["download", "file.datamap", "-o", "copy", "--json"];
    let network = Network::start(6).await;
    let file = contents(240);
    network.put("file", &file);
    assert_eq!(network.run(&UPLOAD).await.code, Some(0));
    for signal in [Signal::INT, Signal::KILL] {
        network.book.give_only(5);
        let mut running = network.spawn(&DOWNLOAD);
        running.wait_for(|line| line["chunks_done"] == 5).await;
        let second = network.run(&DOWNLOAD).await;
        assert_eq!(second.code, Some(11), "{second:?}");
        running.signal(signal);
        let ran = running.end().await;
        if signal == Signal::INT {
            assert_eq!(ran.code, Some(130), "{ran:?}");
            let said = exit_error(&ran);
            assert_eq!(
                (&said["message"], &said["bytes_kept"]),
                (&"interrupted".into(), &(5 * SEGMENT_BYTES).into())
            );
            let hint = said["hint"].as_str().unwrap();
            assert!(hint.ends_with("; run the same command again to go on"), "{said}");
        } else {
            assert_eq!(ran.code, None, "{ran:?}");
        }
        assert!(!network.place().join("copy").exists(), "whole or not at all");

        network.book.behave();
        let done = network.run(&DOWNLOAD).await;
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
        let done = done.summary();
        assert_eq!((&done["chunks_fetched"], &done["chunks_resumed"]), (&6.into(), &5.into()));
        assert_eq!(done["bytes_resumed"], 5 * SEGMENT_BYTES);
        assert!(network.read("copy") == file, "it came back otherwise");
        std::fs::remove_file(network.place().join("copy")).unwrap();
    }
    let hidden = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().to_string_lossy().contains(".spillway-")
    };
    assert!(!std::fs::read_dir(network.place()).unwrap().any(hidden), "nothing is left over");
    network.shutdown().await;
}
