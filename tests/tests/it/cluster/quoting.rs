//! Prices and answers that cannot be relied on: each is dropped, and the upload goes on without.

use std::{collections::BTreeSet, time::Duration};

use spillway_client::{QuoteFailure, Remote, Spend, UploadError};
use spillway_disk::{Clock, MemoryDisk};
use spillway_net::{Fault, PeersError, RequestKind};
use spillway_tests::{Charged, Cluster, ClusterOptions, Member, Tricks, noise};
use spillway_types::{
    Atto, ChunkAddress, EvmAddress, Nonce, PaymentId, PeerKey, PeerSecret, QuoteAnswer, QuoteError,
    QuoteTerms, Receipt, ReceiptBody, RewardAddress, UnixTime,
};

/// A node that signs other terms than it was asked for.
fn lies(
    secret: PeerSecret,
    change: impl Fn(QuoteTerms) -> QuoteTerms + Send + Sync + 'static,
) -> Tricks {
    Tricks {
        quote: Some(Box::new(move |_, mut response| {
            for answer in response.answers.as_mut().unwrap() {
                if let QuoteAnswer::Offered { quote, .. } = answer {
                    *quote = change(quote.terms).sign(&secret);
                }
            }
            response
        })),
        ..Tricks::default()
    }
}

/// A node that says it has every chunk, with receipts made so from its key, the chunk and the nonce.
fn claims(
    receipt: impl Fn((ChunkAddress, u32), Nonce, QuoteTerms) -> Option<Receipt> + Send + Sync + 'static,
) -> Tricks {
    Tricks {
        quote: Some(Box::new(move |request, mut response| {
            let answers = response.answers.as_mut().unwrap();
            for (item, answer) in request.items.iter().zip(answers) {
                if let QuoteAnswer::Offered { quote, receipt: claimed } = answer {
                    *claimed = receipt((item.address, item.size), request.nonce, quote.terms);
                }
            }
            response
        })),
        ..Tricks::default()
    }
}

fn word((address, size): (ChunkAddress, u32), nonce: Nonce, terms: QuoteTerms) -> ReceiptBody {
    ReceiptBody {
        domain: terms.domain,
        payment: PaymentId([3; 32]),
        leaf: spillway_types::LeafHash([4; 32]),
        address,
        size,
        time: terms.issued,
        nonce,
    }
}

/// Uploads, reads back, and says whom the vault credits; the five who are not `bad` get all of it.
async fn assert_only_the_good_are_paid(cluster: &Cluster, bad: &BTreeSet<usize>, seed: u64) {
    let before = cluster.charged().await;
    let source = noise(seed, 3_500);
    let client = cluster.client(&MemoryDisk::new());
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    assert_eq!((uploaded.chunks_stored, uploaded.chunks_already_stored), (4, 0));
    let charged = cluster.charged().await;
    let cost = uploaded.spend.storage_cost;
    assert_eq!(charged.paid, before.paid.saturating_add(cost));
    assert_eq!((charged.vault, charged.credited()), (charged.paid, charged.paid));
    for (index, member) in cluster.members.iter().enumerate() {
        let credit = charged.credits.get(&member.reward).copied().unwrap_or_default();
        let share = Atto(cost.0 / 5);
        let expected = if bad.contains(&index) { Atto::ZERO } else { share };
        let had = before.credits.get(&member.reward).copied().unwrap_or_default();
        assert_eq!(credit, had.saturating_add(expected), "node {index}");
        let stored = member.store.chunks();
        assert_eq!(stored > 0, !bad.contains(&index), "node {index}");
    }
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

#[tokio::test]
async fn five_of_ten_that_cannot_be_reached_are_done_without() {
    for fault in [Fault::Unreachable, Fault::BreakBefore, Fault::BreakAfter] {
        let cluster = Cluster::new();
        let bad: BTreeSet<usize> = (0..5).collect();
        let dead: BTreeSet<PeerKey> = bad.iter().map(|&i| cluster.members[i].peer()).collect();
        cluster.set_faults(move |to, kind| match kind {
            RequestKind::Quote if dead.contains(&to) => fault,
            _ => Fault::Deliver,
        });
        assert_only_the_good_are_paid(&cluster, &bad, 20).await;
    }
}

#[tokio::test]
async fn six_of_ten_that_fail_end_it_before_anything_is_paid() {
    let cluster = Cluster::new();
    let dead: BTreeSet<PeerKey> = (0..6).map(|i| cluster.members[i].peer()).collect();
    cluster.set_faults(move |to, kind| match kind {
        RequestKind::Quote if dead.contains(&to) => Fault::Unreachable,
        _ => Fault::Deliver,
    });
    let data = MemoryDisk::new();
    let source = noise(21, 1_500);
    let error = {
        let client = cluster.client(&data);
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await
    };
    let UploadError::TooFewQuotes { good, asked, dropped, last, .. } = error.unwrap_err() else {
        panic!("too few prices");
    };
    assert_eq!((good, asked, dropped), (4, 10, 6));
    assert!(matches!(last, Some(QuoteFailure::Peer(PeersError::Unreachable { .. }))), "{last:?}");
    assert_eq!(cluster.charged().await, Charged::nothing());
    assert_eq!((cluster.transactions().await, cluster.stored()), (0, [].into()));

    // They come back, and the same upload goes on.
    cluster.heal();
    let client = cluster.client(&data);
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    assert_eq!(client.sessions().await.unwrap().len(), 1, "it was the same session");
    assert_eq!(uploaded.spend.storage_cost, cluster.price_of_all());
}

#[tokio::test]
async fn five_liars_each_in_an_own_way_are_dropped() {
    let cluster = Cluster::new();
    let secret = |index: usize| cluster.members[index].secret.clone();
    let foreign = PeerSecret::from_seed(&[0xf0; 32]);
    let vault = EvmAddress([0xf1; 20]);
    cluster.members[0].play(lies(secret(0), |terms| QuoteTerms { size: terms.size + 1, ..terms }));
    cluster.members[1].play(lies(foreign, |terms| terms));
    cluster.members[2].play(lies(secret(2), move |terms| QuoteTerms {
        domain: spillway_types::Domain { vault, ..terms.domain },
        ..terms
    }));
    cluster.members[3].play(lies(secret(3), |terms| QuoteTerms { expires: terms.issued, ..terms }));
    cluster.members[4].play(lies(secret(4), |terms| QuoteTerms {
        price: terms.price.saturating_mul(1_000),
        ..terms
    }));
    assert_only_the_good_are_paid(&cluster, &(0..5).collect(), 22).await;
}

#[tokio::test]
async fn five_more_liars_are_dropped() {
    let cluster = Cluster::new();
    let secret = |index: usize| cluster.members[index].secret.clone();
    cluster.members[0]
        .play(lies(secret(0), |terms| QuoteTerms { address: ChunkAddress([1; 32]), ..terms }));
    cluster.members[1].play(lies(secret(1), |terms| QuoteTerms {
        issued: terms.issued.saturating_add(Duration::from_hours(2)),
        expires: terms.expires.saturating_add(Duration::from_hours(2)),
        ..terms
    }));
    cluster.members[2]
        .play(lies(secret(2), |terms| QuoteTerms { reward: RewardAddress::ZERO, ..terms }));
    cluster.members[3].play(lies(secret(3), |terms| QuoteTerms { price: Atto(1 << 97), ..terms }));
    // A signature of its own, over something else.
    cluster.members[4].play(Tricks {
        quote: Some(Box::new(move |_, mut response| {
            for answer in response.answers.as_mut().unwrap() {
                if let QuoteAnswer::Offered { quote, .. } = answer {
                    quote.terms.price = Atto(1);
                }
            }
            response
        })),
        ..Tricks::default()
    });
    assert_only_the_good_are_paid(&cluster, &(0..5).collect(), 23).await;
}

#[tokio::test]
async fn too_few_or_too_many_answers_are_none() {
    let cluster = Cluster::new();
    for (index, member) in cluster.members[..5].iter().enumerate() {
        member.play(Tricks {
            quote: Some(Box::new(move |_, mut response| {
                let answers = response.answers.as_mut().unwrap();
                match answers.first().cloned().filter(|_| index < 3) {
                    Some(first) => answers.push(first),
                    None => drop(answers.pop()),
                }
                response
            })),
            ..Tricks::default()
        });
    }
    assert_only_the_good_are_paid(&cluster, &(0..5).collect(), 24).await;
}

#[tokio::test]
async fn six_liars_end_it_before_anything_is_paid() {
    let cluster = Cluster::new();
    for member in &cluster.members[..6] {
        let change = |terms| QuoteTerms { expires: UnixTime(1), ..terms };
        member.play(lies(member.secret.clone(), change));
    }
    let client = cluster.client(&MemoryDisk::new());
    let source = Cluster::file(&noise(25, 10));
    let error = client.upload(source, &cluster.payer, Cluster::options()).await.unwrap_err();
    let UploadError::TooFewQuotes { good, asked, dropped, .. } = error else {
        panic!("too few prices: {error:?}");
    };
    assert_eq!((good, asked, dropped), (4, 10, 6));
    assert_eq!(cluster.charged().await, Charged::nothing());
    assert_eq!(cluster.stored(), [].into());
}

#[tokio::test]
async fn distant_peers_have_no_say_in_what_is_stored() {
    // Twenty nodes, of which ten are asked: those from the sixth on say that they have it.
    let cluster = Cluster::with(ClusterOptions { nodes: 20, ..ClusterOptions::default() });
    let all: Vec<PeerKey> = cluster.members.iter().map(Member::peer).collect();
    for member in &cluster.members {
        let (all, me, secret) = (all.clone(), member.peer(), member.secret.clone());
        member.play(claims(move |chunk, nonce, terms| {
            let mine = me.distance(&chunk.0);
            let nearer = all.iter().filter(|peer| peer.distance(&chunk.0) < mine).count();
            (nearer >= 5).then(|| word(chunk, nonce, terms).sign(&secret))
        }));
    }
    let source = noise(26, 8_000);
    let client = cluster.client(&MemoryDisk::new());
    let uploaded =
        client.upload(Cluster::file(&source), &cluster.payer, Cluster::options()).await.unwrap();
    assert_eq!((uploaded.chunks_stored, uploaded.chunks_already_stored), (8, 0));
    assert_eq!(uploaded.spend.storage_cost, cluster.price_of_all());
    assert!(cluster.stored().values().all(|&(_, copies)| copies == 5));
    let map = Remote::DataMap(uploaded.data_map.unwrap());
    assert_eq!(cluster.read_back(map).await.unwrap(), source);
}

#[tokio::test]
async fn two_of_the_five_closest_are_no_quorum_and_three_are() {
    for (liars, stored) in [(2, 2), (3, 0)] {
        let cluster = Cluster::new();
        let all: Vec<PeerKey> = cluster.members.iter().map(Member::peer).collect();
        for member in &cluster.members {
            let (all, me, secret) = (all.clone(), member.peer(), member.secret.clone());
            member.play(claims(move |chunk, nonce, terms| {
                let mine = me.distance(&chunk.0);
                let nearer = all.iter().filter(|peer| peer.distance(&chunk.0) < mine).count();
                (nearer < liars).then(|| word(chunk, nonce, terms).sign(&secret))
            }));
        }
        let client = cluster.client(&MemoryDisk::new());
        let source = Cluster::file(&noise(27, 1_500));
        let uploaded = client.upload(source, &cluster.payer, Cluster::options()).await.unwrap();
        assert_eq!(uploaded.chunks_stored, stored, "{liars} of the five closest");
        assert_eq!(uploaded.chunks_already_stored, 2 - stored);
        assert_eq!(uploaded.spend.storage_cost, cluster.price_of_all());
    }
}

#[tokio::test]
async fn a_receipt_that_is_old_or_of_something_else_does_not_count() {
    type Change = fn(ReceiptBody) -> ReceiptBody;
    let changes: [(&str, Change); 4] = [
        ("a nonce of another request", |body| ReceiptBody { nonce: Nonce([5; 16]), ..body }),
        ("another chunk", |body| ReceiptBody { address: ChunkAddress([5; 32]), ..body }),
        ("another size", |body| ReceiptBody { size: body.size + 1, ..body }),
        ("another vault", |body| ReceiptBody {
            domain: spillway_types::Domain { vault: EvmAddress([5; 20]), ..body.domain },
            ..body
        }),
    ];
    for (what, change) in changes {
        let cluster = Cluster::new();
        for member in &cluster.members {
            let secret = member.secret.clone();
            member.play(claims(move |chunk, nonce, terms| {
                Some(change(word(chunk, nonce, terms)).sign(&secret))
            }));
        }
        assert_paid_in_full(&cluster, what).await;
    }
    // The word of somebody who was not asked.
    let cluster = Cluster::new();
    let stranger = PeerSecret::from_seed(&[0xf2; 32]);
    for member in &cluster.members {
        let stranger = stranger.clone();
        member.play(claims(move |chunk, nonce, terms| {
            Some(word(chunk, nonce, terms).sign(&stranger))
        }));
    }
    assert_paid_in_full(&cluster, "a foreign key").await;
}

async fn assert_paid_in_full(cluster: &Cluster, what: &str) {
    let client = cluster.client(&MemoryDisk::new());
    let source = Cluster::file(&noise(28, 2_500));
    let uploaded = client.upload(source, &cluster.payer, Cluster::options()).await.unwrap();
    assert_eq!((uploaded.chunks_stored, uploaded.chunks_already_stored), (3, 0), "{what}");
    assert_ne!(uploaded.spend, Spend::default(), "{what}");
    assert_eq!(cluster.charged().await.paid, cluster.price_of_all(), "{what}");
    assert!(cluster.stored().values().all(|&(_, copies)| copies == 5), "{what}");
}

#[tokio::test]
async fn quotes_that_end_before_they_can_be_paid_are_none() {
    let cluster = Cluster::new();
    for member in &cluster.members {
        let change = |terms: QuoteTerms| QuoteTerms {
            expires: terms.issued.saturating_add(Duration::from_mins(2)),
            ..terms
        };
        member.play(lies(member.secret.clone(), change));
    }
    let client = cluster.client(&MemoryDisk::new());
    let source = Cluster::file(&noise(29, 10));
    let error = client.upload(source, &cluster.payer, Cluster::options()).await.unwrap_err();
    let UploadError::TooFewQuotes { good, dropped, last, .. } = error else {
        panic!("too few prices: {error:?}");
    };
    assert_eq!((good, dropped), (0, 10));
    let expires = match last {
        Some(QuoteFailure::Quote(QuoteError::Expired { expires })) => expires,
        other => panic!("{other:?}"),
    };
    assert!(expires > cluster.clock.now().saturating_sub(Duration::from_mins(1)), "{expires}");
    assert_eq!(cluster.charged().await, Charged::nothing());
}

#[tokio::test]
async fn terms_that_would_spoil_the_whole_payment_are_dropped() {
    let cluster = Cluster::new();
    for (index, member) in cluster.members[..5].iter().enumerate() {
        member.play(lies(member.secret.clone(), move |terms| match index {
            // The others ask for none.
            0 | 1 => QuoteTerms { min_tip: Atto(1), ..terms },
            _ => QuoteTerms { max_window_secs: 2 * 3_600, ..terms },
        }));
    }
    assert_only_the_good_are_paid(&cluster, &(0..5).collect(), 28).await;
}

#[tokio::test]
async fn one_node_alone_sets_neither_the_tip_nor_the_prizes_of_a_batch() {
    type Change = fn(QuoteTerms) -> QuoteTerms;
    let changes: [Change; 2] = [
        |terms| QuoteTerms { min_tip: Atto(1_000 * terms.min_tip.0), ..terms },
        // Nothing can be drawn for so little.
        |terms| QuoteTerms { max_prize: Atto(1), ..terms },
    ];
    for change in changes {
        let cluster = Cluster::with(ClusterOptions::batches(10));
        for member in &cluster.members[..5] {
            member.play(lies(member.secret.clone(), change));
        }
        let options = Cluster::batch_options(4_096, spillway_client::CommitChoice::Together);
        let source = noise(29, 6_000);
        let client = cluster.client(&MemoryDisk::new());
        let uploaded =
            client.upload(Cluster::file(&source), &cluster.payer, options).await.unwrap();
        assert_eq!(uploaded.spend.tips, Cluster::TIP);
        for (index, member) in cluster.members.iter().enumerate() {
            assert_eq!(member.store.chunks() > 0, index >= 5, "node {index}");
        }
    }
}
