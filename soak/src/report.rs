//! What a run has found, as a table or as JSON.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use serde_json::{Value, json};

use crate::{
    found::Found,
    scenario::{Done, Scenario, Task},
};

/// All scenarios of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: BTreeMap<Scenario, Row>,
}

#[derive(Debug, Default)]
struct Row {
    planned: u64,
    done: u64,
    missed: u64,
    failed: u64,
    double: u64,
    lost: u64,
    resumes: u64,
    took: Duration,
    skipped: Option<String>,
    /// How often what was tried, where a scenario has several troubles.
    kinds: BTreeMap<&'static str, u64>,
}

impl Report {
    /// So many cycles of a scenario are to come.
    pub(crate) fn plan(&mut self, scenario: Scenario, cycles: u64) {
        self.rows.entry(scenario).or_default().planned += cycles;
    }

    /// A scenario cannot run here.
    pub(crate) fn skip(&mut self, scenario: Scenario, why: String) {
        self.rows.entry(scenario).or_default().skipped = Some(why);
    }

    /// A cycle has ended.
    pub(crate) fn note(&mut self, task: Task, done: &anyhow::Result<Done>, took: Duration) {
        let row = self.rows.entry(task.scenario).or_default();
        row.done += 1;
        row.took += took;
        match done {
            Ok(done) => {
                row.missed += u64::from(done.missed);
                row.resumes += done.resumes;
                if !done.what.is_empty() {
                    *row.kinds.entry(done.what).or_default() += 1;
                }
            }
            Err(error) => {
                row.failed += 1;
                match error.downcast_ref::<Found>() {
                    Some(Found::Double(count, _)) => row.double += count,
                    Some(Found::Lost(count, _)) => row.lost += count,
                    _ => {}
                }
            }
        }
    }

    /// Whether every cycle that ran found everything as promised.
    pub(crate) fn is_good(&self) -> bool {
        self.rows.values().all(|row| row.failed == 0)
    }

    /// What says too little: of kills or of the chain's troubles fewer than half of those that were
    /// asked for came to pass.
    pub(crate) fn too_little(&self) -> Option<String> {
        let short = [Scenario::Kills, Scenario::Chain].into_iter().filter_map(|scenario| {
            let row = self.rows.get(&scenario)?;
            let met = row.done.saturating_sub(row.missed);
            (2 * met < row.planned).then(|| format!("{} {met} of {}", scenario.name(), row.planned))
        });
        let short: Vec<String> = short.collect();
        (!short.is_empty()).then(|| short.join(", "))
    }

    /// One object a scenario and line.
    pub(crate) fn json(&self) -> String {
        let mut text = String::new();
        for (scenario, row) in &self.rows {
            let line: Value = json!({
                "message_type": "scenario",
                "scenario": scenario.name(),
                "planned": row.planned,
                "cycles": row.done,
                "missed": row.missed,
                "failed": row.failed,
                "skipped": row.skipped,
                "not_done": row.not_done(),
                "double_payments": row.double,
                "lost_paid_chunks": row.lost,
                "resumes": row.resumes,
                "seconds": row.took.as_secs_f64(),
                "kinds": row.kinds,
            });
            text.push_str(&line.to_string());
            text.push('\n');
        }
        text
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<11} {:>7} {:>7} {:>7} {:>7} {:>12} {:>10} {:>8} {:>9} {:>8}\n",
            "scenario",
            "asked",
            "cycles",
            "missed",
            "failed",
            "paid twice",
            "paid lost",
            "resumes",
            "seconds",
            "s/cycle"
        );
        for (scenario, row) in &self.rows {
            if row.planned > 0 {
                let seconds = row.took.as_secs_f64();
                #[expect(clippy::cast_precision_loss, reason = "a few thousand cycles")]
                let each = seconds / row.done.max(1) as f64;
                // Writing to a string does not fail.
                let _ = writeln!(
                    text,
                    "{:<11} {:>7} {:>7} {:>7} {:>7} {:>12} {:>10} {:>8} {:>9.1} {:>8.2}",
                    scenario.name(),
                    row.planned,
                    row.done,
                    row.missed,
                    row.failed,
                    row.double,
                    row.lost,
                    row.resumes,
                    seconds,
                    each,
                );
            }
        }
        for row in self.rows.values() {
            for (what, count) in &row.kinds {
                let _ = writeln!(text, "{count:>19} {what}");
            }
        }
        for (scenario, row) in &self.rows {
            let name = scenario.name().replace('-', " ");
            if let Some(why) = &row.skipped {
                let _ = writeln!(text, "skipped: {name} ({why})");
            }
            if row.not_done() > 0 {
                let (left, of) = (row.not_done(), row.planned);
                let _ = writeln!(text, "not done: {left} of {of} {name} (the run ended before)");
            }
        }
        text
    }
}

impl Row {
    fn not_done(&self) -> u64 {
        self.planned.saturating_sub(self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_is_skipped_and_never_passed() {
        let mut report = Report::default();
        let task = |scenario| Task { scenario, index: 0, of: 3 };
        report.plan(Scenario::Kills, 3);
        report.skip(Scenario::PowerCuts, "needs root".into());
        let done = Ok(Done { resumes: 2, missed: false, ..Done::default() });
        report.note(task(Scenario::Kills), &done, Duration::from_secs(3));
        assert!(report.is_good());
        let table = report.table();
        assert!(table.contains("skipped: power cuts (needs root)\n"), "{table}");
        assert!(table.contains("not done: 2 of 3 kills (the run ended before)\n"), "{table}");
        let failed = Err(Found::Double(4, "again".into()).into());
        report.note(task(Scenario::Kills), &failed, Duration::from_secs(1));
        assert!(!report.is_good());
        let json = report.json();
        let kills: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!((&kills["cycles"], &kills["double_payments"]), (&2.into(), &4.into()));
        assert_eq!((&kills["skipped"], &kills["not_done"]), (&Value::Null, &1.into()));
    }

    #[test]
    fn half_of_the_kills_and_of_the_chains_troubles_is_enough() {
        let mut report = Report::default();
        assert_eq!(report.too_little(), None);
        report.plan(Scenario::Kills, 3);
        report.plan(Scenario::Chain, 2);
        let mut note = |scenario, missed| {
            let done = Ok(Done { missed, ..Done::default() });
            report.note(Task { scenario, index: 0, of: 3 }, &done, Duration::ZERO);
            report.too_little()
        };
        note(Scenario::Kills, false);
        assert_eq!(note(Scenario::Chain, false).unwrap(), "kills 1 of 3");
        // What came too late kills nothing.
        assert_eq!(note(Scenario::Kills, true).unwrap(), "kills 1 of 3");
        assert_eq!(note(Scenario::Kills, false), None);
        report.plan(Scenario::Chain, 1);
        assert_eq!(report.too_little().unwrap(), "chain 1 of 3");
    }
}
