//! Nodes that fail while chunks are stored or fetched.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use spillway_client::{ChunkFailure, DownloadError, PutFailure, Remote, Spend, UploadError};
use spillway_disk::MemoryDisk;
use spillway_net::{Fault, RequestKind};
use spillway_tests::{Admit, Cluster, ClusterOptions, Member, Tricks, noise};
use spillway_types::{
    ChunkAddress, Nonce, PaymentId, PeerKey, ReceiptBody, ReceiptError, Refusal, UnixTime,
    limits::RETRY_DELAYS,
};

/// Five nodes, so that every chunk is on all of them.
fn five() -> Cluster {
    Cluster::with(ClusterOptions { nodes: 5, ..ClusterOptions::default() })
}

fn is_odd(address: ChunkAddress) -> bool {
    address.0[0] % 2 == 1
}

/// Refuses chunks with an odd address.
fn refuses_odd(refusal: Refusal) -> Tricks {
    Tricks {
        admit: Some(Box::new(move |put| {
            if is_odd(put.leaf.address) { Admit::Refuse(refusal.clone()) } else { Admit::Serve }
        })),
        ..Tricks::default()
    }
}

#[tokio::test]
async fn fewer_than_a_quorum_is_a_partial_upload_that_goes_on_without_paying() {
    let cluster = five();
    // Two are not enough for the odd ones.
    for member in &cluster.members[2..] {
        member.play(refuses_odd(Refusal::StorageFailed));
    }
    let data = MemoryDisk::new();
    let source = noise(40, 11_500);
    let client = cluster.client(&data);
    let error = client
        .upload(Cluster::file(&source), &cluster.payer, Cluster::options())
        .await
        .unwrap_err();
    let UploadError::PartialUpload { stored, failed, paid_unstored, total, spend, .. } = error
    else {
        panic!("{error:?}");
    };

    let held = cluster.stored();
    assert_eq!((total, held.len()), (12, 12), "two nodes have even the odd ones");
    let (odd, even): (BTreeSet<ChunkAddress>, BTreeSet<_>) =
        held.keys().copied().partition(|&address| is_odd(address));
    assert!(!odd.is_empty() && !even.is_empty());
    assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), even);
    assert_eq!(paid_unstored.into_iter().collect::<BTreeSet<_>>(), odd);
    let why = ChunkFailure::NoQuorum {
        receipts: 2,
        last: Some(PutFailure::Refused(Refusal::StorageFailed)),
    };
    let expected: BTreeMap<ChunkAddress, ChunkFailure> =
        odd.iter().map(|&address| (address, why.clone())).collect();
    assert_eq!(failed.len(), odd.len());
    assert_eq!(failed.into_iter().collect::<BTreeMap<_, _>>(), expected);

    // Paid is everything, and said so.
    let charged = cluster.charged().await;
    assert_eq!(spend.storage_cost, cluster.price_of_all());
    assert_eq!((charged.paid, charged.vault), (spend.storage_cost, spend.storage_cost));
    assert_eq!((spend.tx_hashes.len() as u64, cluster.transactions().await), (2, 2));

    // Each that failed was tried once and three times more, and only where it was missing.
    let puts = cluster.take_puts();
    for (address, count) in puts {
        let tries = if is_odd(address) { 2 + 3 * (1 + RETRY_DELAYS.len()) } else { 5 };
        assert_eq!(count, tries, "{address}");
    }

    // The spill holds what is not stored, and nothing else.
    let sessions = client.sessions().await.unwrap();
    assert_eq!(sessions.len(), 1);
    let session = &sessions[0];
    assert_eq!((session.chunks_paid, session.chunks_stored), (12, even.len() as u64));
    assert!(!session.finished && session.upload_by.is_some());
    assert_eq!(session.spend, spend);
    assert_eq!(spilled(&data), odd);

    // The nodes are well again: the same upload stores the rest, and nobody is paid.
    cluster.book().behave();
    let uploaded = cluster
        .client(&data)
        .upload(Cluster::file(&source), &cluster.payer, Cluster::options())
        .await
        .unwrap();
    assert_eq!(uploaded.upload_id, session.id);
    assert_eq!((uploaded.chunks_stored, uploaded.chunks_already_stored), (12, 0));
    assert_eq!(uploaded.spend, spend);
    assert_eq!((cluster.charged().await, cluster.transactions().await), (charged, 2));
    let puts = cluster.take_puts();
    assert_eq!(puts.into_keys().collect::<BTreeSet<_>>(), odd);
    assert!(cluster.stored().values().all(|&(_, copies)| copies == 5));
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
    assert!(cluster.client(&data).sessions().await.unwrap()[0].finished);
    assert_eq!(spillway_disk::Disk::list(&data, Path::new("spill")).unwrap(), []);
}

/// The chunks in the only spill.
fn spilled(data: &MemoryDisk) -> BTreeSet<ChunkAddress> {
    use spillway_disk::Disk;
    let spills = data.list(Path::new("spill")).unwrap();
    assert_eq!(spills.len(), 1, "{spills:?}");
    let dir = Path::new("spill").join(&spills[0].name);
    let names = data.list(&dir).unwrap().into_iter().map(|entry| entry.name);
    let names = names.filter(|name| name != Path::new("lock"));
    names.map(|name| name.to_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn two_dead_nodes_of_five_are_enough_to_be_done() {
    let cluster = five();
    let dead: BTreeSet<PeerKey> = cluster.members[..2].iter().map(Member::peer).collect();
    cluster.set_faults(move |to, kind| match kind {
        RequestKind::Put if dead.contains(&to) => Fault::Unreachable,
        _ => Fault::Deliver,
    });
    let client = cluster.client(&MemoryDisk::new());
    let source = noise(41, 2_500);
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    assert_eq!(uploaded.chunks_stored, 3);
    assert!(cluster.stored().values().all(|&(_, copies)| copies == 3));
    assert_eq!(uploaded.spend.storage_cost, cluster.price_of_all(), "all five are paid");
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

#[tokio::test]
async fn answers_to_puts_that_get_lost_are_asked_for_again() {
    let cluster = five();
    // The first two answers of every node are lost after the chunk is stored.
    let lost = AtomicUsize::new(0);
    cluster.set_faults(move |_, kind| match kind {
        RequestKind::Put if lost.fetch_add(1, Ordering::SeqCst) < 10 => Fault::BreakAfter,
        _ => Fault::Deliver,
    });
    let client = cluster.client(&MemoryDisk::new());
    let source = noise(42, 900);
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    assert_eq!(uploaded.chunks_stored, 1);
    assert_eq!(cluster.take_puts().into_values().collect::<Vec<_>>(), [15]);
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all());
}

#[tokio::test]
async fn receipts_for_puts_that_do_not_hold_do_not_count() {
    type Change = fn(ReceiptBody) -> ReceiptBody;
    let never = UnixTime(u64::MAX);
    let changes: [(Change, ReceiptError); 4] = [
        (|body| ReceiptBody { nonce: Nonce([5; 16]), ..body }, ReceiptError::WrongNonce),
        (|body| ReceiptBody { payment: PaymentId([5; 32]), ..body }, ReceiptError::WrongPayment),
        (|body| ReceiptBody { size: body.size + 1, ..body }, ReceiptError::WrongSubject),
        // Worth nothing when the chunk is offered to others.
        (
            |body| ReceiptBody { time: UnixTime(u64::MAX), ..body },
            ReceiptError::WrongTime { time: never },
        ),
    ];
    for (change, error) in changes {
        let cluster = five();
        for member in &cluster.members[..3] {
            let secret = member.secret.clone();
            member.play(Tricks {
                receipt: Some(Box::new(move |receipt| change(receipt.body).sign(&secret))),
                ..Tricks::default()
            });
        }
        let client = cluster.client(&MemoryDisk::new());
        let source = Cluster::file(&noise(43, 500));
        let result = client.upload(source, &cluster.payer, Cluster::options()).await;
        let UploadError::PartialUpload { stored, failed, total, .. } = result.unwrap_err() else {
            panic!("a partial upload");
        };
        assert_eq!((stored, total), (vec![], 1));
        let why = ChunkFailure::NoQuorum { receipts: 2, last: Some(PutFailure::Receipt(error)) };
        assert_eq!(failed[0].1, why);
    }
}

#[tokio::test]
async fn wrong_bytes_on_get_are_asked_for_at_the_next_peer() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let source = noise(44, 3_500);
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    let wrong = Arc::new(AtomicUsize::new(0));
    // Of the five that have a chunk, the four nearest send a flipped bit.
    for (index, member) in cluster.members.iter().enumerate() {
        let honest: BTreeSet<ChunkAddress> = cluster
            .stored()
            .into_keys()
            .filter(|&address| cluster.nearest(address)[4] == index)
            .collect();
        let wrong = Arc::clone(&wrong);
        member.play(Tricks {
            get: Some(Box::new(move |address, chunk| match chunk {
                Some(chunk) if !honest.contains(&address) => {
                    wrong.fetch_add(1, Ordering::SeqCst);
                    let mut bytes = chunk.to_vec();
                    bytes[7] ^= 1;
                    Some(Bytes::from(bytes))
                }
                other => other,
            })),
            ..Tricks::default()
        });
    }
    // Peers of the close group are asked in any order: often enough, some are wrong.
    for _ in 0..10 {
        assert_eq!(cluster.read_back(map.clone()).await.unwrap(), source);
    }
    assert!(wrong.load(Ordering::SeqCst) > 0, "no peer was ever wrong");
}

#[tokio::test]
async fn silent_peers_are_not_waited_for_alone() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let source = noise(46, 900);
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    let address = *cluster.stored().keys().next().unwrap();
    let silent: BTreeSet<_> =
        cluster.nearest(address)[..2].iter().map(|&at| cluster.members[at].peer()).collect();
    cluster.set_faults(move |peer, kind| match kind {
        RequestKind::Get if silent.contains(&peer) => Fault::Silence,
        _ => Fault::Deliver,
    });
    // Peers of the close group are asked in any order: often enough, a silent one comes first.
    for _ in 0..10 {
        assert_eq!(cluster.read_back(map.clone()).await.unwrap(), source);
    }
}

#[tokio::test]
async fn a_chunk_that_nobody_sends_right_is_named_and_nothing_is_written() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let uploaded = client
        .upload(Cluster::file(&noise(45, 100)), &cluster.payer, Cluster::options())
        .await
        .unwrap();
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    let address = *cluster.stored().keys().next().unwrap();
    for member in &cluster.members {
        member.play(Tricks {
            get: Some(Box::new(|_, chunk| chunk.map(|_| Bytes::from_static(b"something else")))),
            ..Tricks::default()
        });
    }
    match cluster.read_back(map.clone()).await.unwrap_err() {
        DownloadError::Unavailable { address: said, bad, failed, last } => {
            assert_eq!((said, bad, failed, last), (address, 5, 0, None));
        }
        other => panic!("{other:?}"),
    }
    // And when they cannot be reached at all.
    cluster.set_faults(|_, kind| match kind {
        RequestKind::Get => Fault::Unreachable,
        _ => Fault::Deliver,
    });
    match cluster.read_back(map).await.unwrap_err() {
        DownloadError::Unavailable { address: said, bad, failed, .. } => {
            assert_eq!((said, bad, failed), (address, 0, 10));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nodes_that_are_gone_for_good_leave_the_file_readable_from_the_others() {
    let cluster = Cluster::new();
    let client = cluster.client(&MemoryDisk::new());
    let source = noise(46, 5_500);
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    // The four nearest of the first chunk.
    let first = *cluster.stored().keys().next().unwrap();
    let gone: BTreeSet<PeerKey> =
        cluster.nearest(first)[..4].iter().map(|&i| cluster.members[i].peer()).collect();
    cluster.set_faults(
        move |to, _| {
            if gone.contains(&to) { Fault::Unreachable } else { Fault::Deliver }
        },
    );
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

#[tokio::test]
async fn a_node_that_restarts_honours_what_it_quoted_and_keeps_what_it_has() {
    let cluster = five();
    for member in &cluster.members {
        member.play(Tricks {
            admit: Some(Box::new(|_| Admit::Refuse(Refusal::StorageFailed))),
            ..Tricks::default()
        });
    }
    let data = MemoryDisk::new();
    let source = noise(47, 1_500);
    let upload = async || {
        let client = cluster.client(&data);
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await
    };
    let UploadError::PartialUpload { spend, .. } = upload().await.unwrap_err() else {
        panic!("a partial upload");
    };
    for member in &cluster.members {
        member.behave();
        cluster.start_member(member);
    }
    let uploaded = upload().await.unwrap();
    assert_eq!(uploaded.spend, spend);
    for member in &cluster.members {
        cluster.start_member(member);
    }
    let again = upload().await.unwrap();
    assert_eq!((again.chunks_already_stored, again.spend), (2, Spend::default()));
}
