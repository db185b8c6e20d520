//! Uploads that are killed, stopped, handed over, forgotten and verified, by the program alone. Needs
//! the pinned tools: `cargo xtask setup`.

mod missing;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    network::{Devnet, summary},
    program::{Place, Ran},
};

/// Bytes of a large file: six segments that do not shrink. Storing them takes long enough to be
/// caught at it.
const LARGE: usize = 24 << 20;

/// Bytes that do not shrink, others for each seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(
            &(state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9).to_le_bytes(),
        );
    }
    noise.truncate(bytes);
    noise
}

/// Runs a command of the network.
fn ran(place: &Place, words: &[&str]) -> Ran {
    place.run(&[words, &["--devnet", "devnet.json", "--json"]].concat())
}

/// And returns its summary.
fn run(place: &Place, words: &[&str]) -> Value {
    summary(&ran(place, words))
}

/// Runs one that fails: its exit code and what it says last.
fn failed(ran: &Ran) -> (i32, Value) {
    let last = ran.stderr.lines().last().unwrap_or_else(|| panic!("it did not fail: {ran}"));
    (ran.code.unwrap(), serde_json::from_str(last).unwrap())
}

fn atto(value: &Value) -> u128 {
    value.as_str().unwrap().parse().unwrap()
}

fn tokens(place: &Place) -> u128 {
    atto(&run(place, &["wallet", "balance"])["tokens_atto"])
}

/// The only session of this source.
fn session(place: &Place, source: &str) -> Value {
    let status = summary(&place.run(&["status", "--json"]));
    let sessions = status["sessions"].as_array().unwrap();
    let mut found = sessions.iter().filter(|it| it["source"].as_str().unwrap().ends_with(source));
    let one = found.next().unwrap_or_else(|| panic!("no {source}: {status}")).clone();
    assert!(found.next().is_none(), "{status}");
    one
}

fn id(session: &Value) -> &str {
    session["upload_id"].as_str().unwrap()
}

/// A command that runs.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(place: &Place, words: &[&str]) -> Self {
        let mut command = place.command(&[words, &["--devnet", "devnet.json", "--json"]].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Until it says that this stage has begun.
    fn wait_for(&mut self, stage: &str) {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            let said: Value = serde_json::from_str(&line).unwrap();
            if said["stage"] == stage {
                return;
            }
            line.clear();
        }
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        panic!("it never came to {stage}: {said}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What it has said when it ends.
    fn end(mut self) -> Ran {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        drop(self.child.stdin.take());
        self.lines.read_to_string(&mut stdout).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ran { code: self.child.wait().unwrap().code(), stdout, stderr }
    }
}

/// A test that fails leaves nothing that runs, or that is stopped.
impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::KILL);
            self.child.wait().unwrap();
        }
    }
}

#[test]
fn uploads_survive_what_happens_to_them() {
    let place = Place::new();
    let mut devnet = Devnet::start_with(&place, "6", &[]);
    a_killed_upload_goes_on_elsewhere(&place);
    a_stopped_upload_says_how_to_go_on(&place);
    what_has_no_place_for_its_data_map_goes_on(&place);
    what_runs_is_seen(&place);
    whatever_is_stopped_ends_with_130(&place);
    what_is_verified_is_said_to_a_command(&place);
    missing::what_is_missing_is_found_and_stored_again(&place);
    assert_eq!(devnet.stop(Signal::TERM), Some(0));
}

/// SIGKILL while it stores, then: listed, kept, handed over, gone on with, and charged once.
fn a_killed_upload_goes_on_elsewhere(place: &Place) {
    let before = tokens(place);
    place.file("large", noise(1, LARGE));
    let mut upload = Running::start(place, &["upload", "large", "--mode", "direct", "--yes"]);
    upload.wait_for("store");
    upload.signal(Signal::KILL);
    assert_eq!(upload.end().code, None);
    assert!(!place.path().join("large.datamap").exists());

    let open = session(place, "large");
    let name = id(&open);
    assert_eq!((&open["state"], &open["stage"]), (&"interrupted".into(), &"storing".into()));
    assert_eq!(open["chunks_paid"], open["chunks_total"]);
    assert_eq!(open["next"], json!([format!("spillway resume {name}")]));
    let said = place.run(&["status"]).stdout;
    assert!(said.contains(&format!("`spillway resume {name}`")), "{said}");

    // What is paid and not stored is not forgotten by mistake.
    let (code, kept) = failed(&place.run(&["forget", &name[..6], "--json"]));
    assert_eq!((code, &kept["upload_id"]), (1, &open["upload_id"]));
    assert!(kept["unstored_chunks"].as_u64().unwrap() > 0 && atto(&kept["unstored_atto"]) > 0);
    assert!(kept["hint"].as_str().unwrap().contains(&format!("spillway resume {name}")), "{kept}");

    // To another data directory, as to another machine.
    let exported = summary(&place.run(&["session", "export", name, "-o", "box", "--json"]));
    assert!(exported["chunks"].as_u64().unwrap() > 0);
    assert_eq!(session(place, "large")["state"], "handed_over");
    let (code, said) = failed(&ran(place, &["resume", name, "--yes"]));
    assert_eq!(code, 1, "{said}");
    assert!(said["hint"].as_str().unwrap().contains("session import"), "{said}");
    an_unpaid_upload_makes_room_for_a_paid_one(place);
    let import = ["session", "import", "box", "--data-dir", "other", "--json"];
    assert_eq!(summary(&place.run(&import))["upload_id"], open["upload_id"]);
    // What is paid needs nobody who says yes.
    let done = run(place, &["resume", "--data-dir", "other"]);
    assert_eq!((&done["chunks_failed"], &done["data_map"]), (&0.into(), &"large.datamap".into()));
    let paid = atto(&done["storage_cost_atto"]) + atto(&done["tip_atto"]);
    assert_eq!((before - tokens(place), paid > 0), (paid, true));
    let down = ["download", "large.datamap", "-o", "copy"];
    run(place, &down);
    assert!(fs::read(place.path().join("copy")).unwrap() == noise(1, LARGE));

    finished_and_forgotten(place, name);
}

/// Going on with what is here would pay for what the archive has paid.
fn an_unpaid_upload_makes_room_for_a_paid_one(place: &Place) {
    let words = ["upload", "-", "-o", "third.datamap", "--data-dir", "third", "--yes"];
    let mut upload = Running::start(place, &[&words[..], &["--max-cost", "1"]].concat());
    upload.child.stdin.take().unwrap().write_all(&noise(1, LARGE)).unwrap();
    let (code, said) = failed(&upload.end());
    assert_eq!(code, 14, "{said}");
    // Nothing but the session has what came through the pipe.
    assert!(said["hint"].as_str().unwrap().contains("its sealed chunks stay"), "{said}");
    let import = ["session", "import", "box", "--data-dir", "third", "--json"];
    let (code, said) = failed(&place.run(&import));
    let hint = said["hint"].as_str().unwrap();
    assert_eq!(code, 1, "{said}");
    assert!(hint.contains("nothing would be lost here: `spillway forget "), "{said}");

    // Nobody says yes to a price where nobody can be asked.
    let before = tokens(place);
    let resume = ["resume", "--data-dir", "third", "-o", "third.datamap"];
    let (code, said) = failed(&ran(place, &resume));
    assert_eq!((code, tokens(place)), (2, before), "{said}");
    assert!(said["hint"].as_str().unwrap().starts_with("say --yes "), "{said}");
}

/// A session that is over is said again, gives its data map again, and goes.
fn finished_and_forgotten(place: &Place, name: &str) {
    let (code, _) = failed(&ran(place, &["resume", "--data-dir", "other", "--yes"]));
    assert_eq!(code, 10);
    let before = tokens(place);
    let again = ["resume", name, "--data-dir", "other", "--yes", "-o", "again.datamap"];
    let again = run(place, &again);
    assert_eq!((&again["data_map"], tokens(place)), (&"again.datamap".into(), before));
    let words = ["session", "data-map", name, "-o", "third.datamap", "--data-dir", "other"];
    assert_eq!(place.run(&words).code, Some(0));
    let read = |name: &str| fs::read(place.path().join(name)).unwrap();
    assert_eq!(read("large.datamap"), read("again.datamap"));
    assert_eq!(read("large.datamap"), read("third.datamap"));
    assert_eq!(place.run(&words).code, Some(1));

    // The copy that was handed over has nothing to lose.
    let gone = summary(&place.run(&["forget", name, "--json"]));
    assert_eq!(gone["forgotten"][0]["unstored_chunks"], 0);
    // While nodes take its proofs, they may be needed to repair it; its name says that they are not.
    let all = ["forget", "--finished", "--data-dir", "other", "--json"];
    let kept = summary(&place.run(&all));
    assert_eq!((&kept["forgotten"], &kept["kept"]), (&json!([]), &json!([name])));
    let one = ["forget", name, "--data-dir", "other", "--json"];
    assert_eq!(summary(&place.run(&one))["forgotten"][0]["upload_id"], name);
    assert_eq!(summary(&place.run(&all))["kept"], json!([]));
}

/// SIGINT while it stores: 130, and the command that goes on.
fn a_stopped_upload_says_how_to_go_on(place: &Place) {
    let before = tokens(place);
    place.file("stopped", noise(2, LARGE));
    let mut upload = Running::start(place, &["upload", "stopped", "--mode", "direct", "--yes"]);
    upload.wait_for("store");
    upload.signal(Signal::INT);
    let (code, said) = failed(&upload.end());
    assert_eq!(code, 130, "{said}");
    let open = session(place, "stopped");
    assert_eq!(said["upload_id"], open["upload_id"]);
    let go_on = format!("`spillway resume {} --devnet devnet.json` goes on", id(&open));
    assert!(said["hint"].as_str().unwrap().starts_with(&go_on), "{said}");

    // All of them: each says what its own command would, and the summary comes last.
    // A data map under that name may be that of a newer file.
    place.file("stopped.datamap", "newer");
    let (code, said) = failed(&ran(place, &["resume"]));
    assert_eq!(code, 1, "{said}");
    assert!(!said["hint"].as_str().unwrap().contains("--overwrite"), "{said}");
    assert_eq!(fs::read(place.path().join("stopped.datamap")).unwrap(), b"newer");
    fs::remove_file(place.path().join("stopped.datamap")).unwrap();
    // The same one will do.
    let map = ["session", "data-map", id(&open), "-o", "stopped.datamap"];
    assert_eq!(place.run(&map).code, Some(0));
    let all = ran(place, &["resume", "--all", "--yes"]);
    let lines: Vec<Value> =
        all.stdout.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let done = lines.iter().find(|line| line["message_type"] == "upload").unwrap();
    assert_eq!((&done["upload_id"], &done["chunks_failed"]), (&open["upload_id"], &0.into()));
    assert_eq!(done["data_map"], "stopped.datamap");
    assert_eq!(
        (summary(&all)["uploads"].clone(), summary(&all)["finished"].clone()),
        (1.into(), 1.into())
    );
    assert_eq!(before - tokens(place), atto(&done["storage_cost_atto"]));
    assert_eq!(run(place, &["resume", "--all", "--yes"])["uploads"], 0);
}

/// One from a pipe and one in whose way another data map lies, in a directory that needs quotes.
fn what_has_no_place_for_its_data_map_goes_on(place: &Place) {
    let at = ["--data-dir", "my data"];
    let bytes = noise(8, LARGE);
    let words = ["upload", "-", "-o", "pipe.datamap", "--mode", "direct", "--yes"];
    let mut upload = Running::start(place, &[&words[..], &at].concat());
    upload.child.stdin.take().unwrap().write_all(&bytes).unwrap();
    upload.wait_for("store");
    upload.signal(Signal::INT);
    let (code, said) = failed(&upload.end());
    let (name, flags) = (id(&said), "--data-dir 'my data' --devnet devnet.json");
    let go_on = format!("`spillway resume {name} -o FILE {flags}` goes on");
    assert_eq!(code, 130, "{said}");
    assert!(said["hint"].as_str().unwrap().starts_with(&go_on), "{said}");
    let listed = summary(&place.run(&[&["status", "--json"][..], &at].concat()));
    let next = format!("spillway resume {name} -o FILE --data-dir 'my data'");
    assert_eq!(listed["sessions"][0]["next"], json!([next]));
    what_is_lost_is_said_to_people(place, name);

    // Another one, whose data map may not go where something is.
    place.file("way", noise(9, LARGE));
    let words = ["upload", "way", "--mode", "direct", "--yes"];
    let mut upload = Running::start(place, &[&words[..], &at].concat());
    upload.wait_for("store");
    upload.signal(Signal::KILL);
    assert_eq!(upload.end().code, None);
    place.file("way.datamap", "newer");
    let all = ran(place, &[&["resume", "--all", "--yes"][..], &at].concat());
    assert_eq!(summary(&all)["finished"], 2, "{all}");
    let lines = all.stdout.lines().map(|it| serde_json::from_str(it).unwrap());
    let done: Vec<Value> = lines.filter(|it: &Value| it["message_type"] == "upload").collect();
    assert_eq!(done.len(), 2);
    for done in &done {
        let write = format!("spillway session data-map {} -o FILE --data-dir 'my data'", id(done));
        assert_eq!((&done["data_map"], &done["next"]), (&Value::Null, &json!([write])), "{all}");
        let copy = place.path().join("my data").join(id(done)).with_extension("datamap");
        assert!(copy.is_file(), "{}", copy.display());
    }
    assert_eq!(fs::read(place.path().join("way.datamap")).unwrap(), b"newer");
    let write = ["session", "data-map", name, "-o", "pipe.datamap"];
    assert_eq!(place.run(&[&write[..], &at].concat()).code, Some(0));
    run(place, &["download", "pipe.datamap", "-o", "unpiped"]);
    assert!(fs::read(place.path().join("unpiped")).unwrap() == bytes);
}

/// Going on cannot store what is lost: people read what there is for the money, and what helps.
fn what_is_lost_is_said_to_people(place: &Place, name: &str) {
    let spills = place.path().join("my data/spill");
    let spill = fs::read_dir(&spills).unwrap().next().unwrap().unwrap().path();
    let chunks = fs::read_dir(&spill).unwrap().map(|entry| entry.unwrap().path());
    let chunks: Vec<PathBuf> =
        chunks.filter(|path| path.file_name().unwrap().len() == 64).collect();
    let aside = place.path().join("aside");
    fs::create_dir(&aside).unwrap();
    for chunk in &chunks {
        fs::rename(chunk, aside.join(chunk.file_name().unwrap())).unwrap();
    }
    let words = ["resume", name, "-o", "pipe.datamap", "--yes", "--devnet", "devnet.json"];
    let said = place.run(&[&words[..], &["--data-dir", "my data"]].concat());
    assert_eq!(said.code, Some(3), "{said}");
    let lines: Vec<&str> = said.stdout.lines().collect();
    let [stored, unstored, paid, _mode, why] = lines.as_slice() else { panic!("{said}") };
    assert!(stored.starts_with("Stored ") && stored.contains(" chunks, 0 of them "), "{said}");
    assert!(unstored.starts_with("Paid for and not stored: "), "{said}");
    assert!(paid.starts_with("Paid ") && paid.contains(" coins for gas, in "), "{said}");
    assert!(why.ends_with(" × its sealed bytes are lost, and not in the source, if one was given"));
    let run =
        "; run `spillway upload --data-dir 'my data' --devnet devnet.json` of the same contents";
    assert!(said.stderr.contains(run) && !said.stderr.contains("spillway resume"), "{said}");
    for chunk in &chunks {
        fs::rename(aside.join(chunk.file_name().unwrap()), chunk).unwrap();
    }
}

/// A running upload tells `status` what it does; one that is stopped is seen without figures, and its
/// session is locked.
fn what_runs_is_seen(place: &Place) {
    let words = ["upload", "-", "-o", "piped.datamap", "--mode", "direct", "--yes"];
    let mut upload = Running::start(place, &words);
    let pipe = upload.child.stdin.as_mut().unwrap();
    pipe.write_all(&noise(3, LARGE)).unwrap();
    upload.wait_for("seal");
    let processes = |place: &Place| summary(&place.run(&["status", "--json"]))["processes"].clone();
    let seen = processes(place);
    let pid = upload.child.id();
    assert_eq!((&seen[0]["pid"], &seen[0]["command"]), (&pid.into(), &"upload".into()), "{seen}");
    assert_eq!((&seen[0]["stage"], &seen[0]["upload_id"]), (&"seal".into(), &Value::Null));
    let gauges = &seen[0]["gauges"];
    assert!(gauges["stores"]["budget"].as_u64().unwrap() > 0, "{seen}");
    assert!(gauges["memory"]["budget_bytes"].as_u64().unwrap() > 0, "{seen}");
    let text = place.run(&["status"]).stdout;
    assert!(text.contains(&format!("process {pid} runs `spillway upload`: seal, ")), "{text}");

    drop(upload.child.stdin.take());
    upload.wait_for("store");
    upload.signal(Signal::STOP);
    let open = session(place, "-");
    assert_eq!(open["state"], "running");
    assert_eq!(processes(place), json!([{"pid": pid}]));
    let other = ["resume", id(&open), "--yes", "-o", "other.datamap"];
    let (code, said) = failed(&ran(place, &other));
    assert_eq!(code, 11, "{said}");
    upload.signal(Signal::CONT);
    assert_eq!(upload.end().code, Some(0));
    assert_eq!(processes(place), json!([]));
    assert_eq!(fs::read_dir(data_dir(place).join("run")).unwrap().count(), 0);
}

/// The first signal asks, the second does not: a pipe that never ends holds nobody.
fn whatever_is_stopped_ends_with_130(place: &Place) {
    let go_on = "run the same command again";
    for (words, stage, hint) in [
        (&["verify", "large.datamap", "--read-data"][..], "verify", go_on),
        (&["download", "large.datamap", "-o", "part"][..], "fetch", go_on),
    ] {
        let mut running = Running::start(place, words);
        running.wait_for(stage);
        running.signal(Signal::INT);
        let (code, said) = failed(&running.end());
        assert_eq!(code, 130, "{said}");
        assert!(said["hint"].as_str().unwrap().contains(hint), "{said}");
    }
    let words = ["upload", "-", "-o", "endless.datamap", "--yes"];
    let mut endless = Running::start(place, &words);
    endless.child.stdin.as_mut().unwrap().write_all(&noise(6, LARGE / 2)).unwrap();
    endless.wait_for("seal");
    endless.signal(Signal::HUP);
    endless.signal(Signal::INT);
    assert_eq!(endless.child.wait().unwrap().code(), Some(130));
    assert!(!place.path().join("endless.datamap").exists());
}

/// The user's, below a home that is empty at first.
fn data_dir(place: &Place) -> PathBuf {
    place.path().join("user/.local/share/spillway")
}

/// The command runs once, after the verification, and its failure is not the upload's.
fn what_is_verified_is_said_to_a_command(place: &Place) {
    place.file("small", noise(4, 5 << 20));
    let command = "echo \"$SPILLWAY_UPLOAD_ID $SPILLWAY_DATA_MAP [$SPILLWAY_ADDRESS]\" >> said";
    let upload = ["upload", "small", "--yes", "--mode", "direct", "--after-verified"];
    let done = run(place, &[&upload[..], &[command]].concat());
    assert_eq!(done["verified"], true);
    let expected = format!("{} small.datamap []\n", id(&done));
    assert_eq!(fs::read_to_string(place.path().join("said")).unwrap(), expected);

    // What is not verified runs nothing.
    place.file("dear", noise(5, 5 << 20));
    let dear = ["upload", "dear", "--yes", "--max-cost", "1", "--after-verified", command];
    assert_eq!(ran(place, &dear).code, Some(14));
    assert_eq!(fs::read_to_string(place.path().join("said")).unwrap(), expected);

    // One that is finished and was not verified is verified first.
    place.file("plain", noise(7, 5 << 20));
    let plain = run(place, &["upload", "plain", "--yes", "--mode", "direct"]);
    assert_eq!(plain["verified"], false);
    let later = ["resume", id(&plain), "--yes", "--after-verified"];
    let later = run(place, &[&later[..], &["echo \"$SPILLWAY_UPLOAD_ID\" > later"]].concat());
    assert_eq!((&later["verified"], &later["chunks_failed"]), (&true.into(), &0.into()));
    let said = fs::read_to_string(place.path().join("later")).unwrap();
    assert_eq!(said, format!("{}\n", id(&plain)));

    let link = ["upload", "small", "--yes", "--public", "--overwrite", "--after-verified"];
    let fails = ran(place, &[&link[..], &["echo noise; test -z \"$SPILLWAY_ADDRESS\""]].concat());
    let (code, said) = failed(&fails);
    assert_eq!(code, 1, "{fails}");
    assert!(said["message"].as_str().unwrap().ends_with("its command failed: exit status: 1"));
    let last: Value = serde_json::from_str(fails.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["message_type"], &last["verified"]), (&"summary".into(), &true.into()));
    assert!(fails.stderr.starts_with("noise\n"), "{fails}");
}
