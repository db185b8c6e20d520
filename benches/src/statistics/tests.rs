use super::*;

const COMMITTED: &str = include_str!("../../../docs/batch-statistics.md");

fn small() -> StatisticsOptions {
    StatisticsOptions { nodes: 24, uploads: 30, rounds: 8, samples: 2_048, ..Default::default() }
}

fn failed(statistics: &Statistics) -> Vec<&'static str> {
    statistics.checks().iter().filter(|check| !check.passed).map(|check| check.name).collect()
}

#[test]
fn the_committed_page_is_what_the_code_gives() {
    let statistics = Statistics::run(StatisticsOptions::default());
    assert_eq!(failed(&statistics), Vec::<&str>::new());
    let page = statistics.page();
    let differs = page.lines().zip(COMMITTED.lines()).find(|(now, committed)| now != committed);
    assert!(page == COMMITTED, "`cargo xtask bench statistics --write` changes it: {differs:?}");
}

#[test]
fn the_same_options_give_the_same_page() {
    let page = Statistics::run(small()).page();
    assert_eq!(Statistics::run(small()).page(), page);
    let other = Statistics::run(StatisticsOptions { seed: 1, ..small() });
    assert_ne!(other.page(), page);
}

/// Each check sees the fault that it is for.
#[test]
fn a_fault_fails_its_check() {
    type Fault = fn(&mut Statistics);
    let faults: [(Fault, &str); 8] = [
        (|found| found.enumerated[0].exact = false, "Small batches"),
        (|found| found.most_off = 4.1, "Every batch"),
        (|found| found.chi_square = 118.0, "Random seeds: the first"),
        (|found| found.nodes[3].pay.paid *= 20, "Random seeds: every"),
        (|found| found.clients[0].stored *= 3, "No kind of client"),
        (
            |found| {
                for node in &mut found.nodes {
                    node.pay.paid %= 1_000;
                }
            },
            "Over all rounds, pay follows what is owed",
        ),
        (
            // As if those that keep half had kept a tenth.
            |found| {
                for node in &mut found.nodes {
                    node.kept /= if node.conduct == Conduct::Reliable { 1 } else { 5 };
                }
            },
            "Over all rounds, pay follows what nodes have kept",
        ),
        (
            |found| {
                for node in &mut found.nodes {
                    node.kept %= 1_000;
                }
            },
            "Over all rounds, pay of reliable nodes",
        ),
    ];
    let sound = Statistics::run(small());
    assert_eq!(failed(&sound), Vec::<&str>::new());
    for (fault, name) in faults {
        let mut statistics = sound.clone();
        fault(&mut statistics);
        let failed = failed(&statistics);
        assert!(failed.iter().any(|check| check.starts_with(name)), "{name}: {failed:?}");
    }
}
