use spillway_disk::{MemoryDisk, Survival};

use super::{super::TreeEntry, *};

const ROOT: &str = "root";

/// Length of a segment, in bytes.
const SEGMENT: usize = 4;

fn part(path: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap());
    name.push(".part");
    name
}

fn part_of(file: &str) -> PathBuf {
    let path = Path::new(ROOT).join(file);
    path.with_file_name(part(&path))
}

/// Files of so many segments each, with whole segments to themselves.
fn restore(disk: &MemoryDisk, files: &[(&str, u64)]) -> Restore {
    let mut entries =
        vec![TreeEntry { path: vec![], node: Node::Dir { mode: 0o755, modified: (1, 2) } }];
    let mut segment = 0;
    for (path, segments) in files {
        let place = Place { segment, offset: 0 };
        let len = segments * SEGMENT as u64;
        let node = Node::File { mode: 0o644, modified: (3, 4), len, place };
        entries.push(TreeEntry { path: path.as_bytes().to_vec(), node });
        segment += segments;
    }
    let to = Destination { root: Path::new(ROOT), merge: false, part: &part };
    let lens = vec![u32::try_from(SEGMENT).unwrap(); usize::try_from(segment).unwrap()];
    prepare(disk, &to, Tree { entries }, &lens).unwrap()
}

/// What belongs into a segment.
fn bytes(segment: usize) -> [u8; SEGMENT] {
    [u8::try_from(segment + 1).unwrap(); SEGMENT]
}

/// The segments that are there and good.
fn verified(restore: &Restore, disk: &MemoryDisk) -> BTreeSet<usize> {
    let good = |segment: &usize| {
        let mut buffer = [0; SEGMENT];
        restore.may_have(*segment)
            && restore.read(disk, *segment, &mut buffer).is_ok()
            && buffer == bytes(*segment)
    };
    (0..restore.runs.len()).filter(good).collect()
}

#[test]
fn what_goes_after_it_was_verified_is_an_error_and_never_zeros() {
    let disk = MemoryDisk::new();
    let begun = restore(&disk, &[("a", 3)]);
    begun.fill(&disk, 0, &bytes(0)).unwrap();
    begun.fill(&disk, 1, &bytes(1)).unwrap();
    drop(begun);
    for last_first in [false, true] {
        let image = disk.crash(Survival::Everything);
        if last_first {
            // Then nothing is missing, and settling finishes it.
            let file = image.resume(Path::new("root/a"), &part(Path::new("a")), Mode::Private);
            file.unwrap().write_at(2 * SEGMENT as u64, &bytes(2)).unwrap();
        }
        let again = restore(&image, &[("a", 3)]);
        let mut here = verified(&again, &image);
        assert_eq!(here.len(), if last_first { 3 } else { 2 });
        image.remove_file(&part_of("a")).unwrap();
        let done = again.settle(&image, &mut here);
        let done = if last_first { done } else { again.fill(&image, 2, &bytes(2)) };
        assert!(matches!(done, Err(DiskError::NotFound { .. })), "{done:?}");
        assert!(image.stat(Path::new("root/a")).is_err(), "bytes that nobody verified");
    }
}

#[test]
fn a_file_is_private_while_it_comes() {
    let disk = MemoryDisk::new();
    let begun = restore(&disk, &[("a", 2)]);
    begun.fill(&disk, 0, &bytes(0)).unwrap();
    assert_eq!(disk.stat(&part_of("a")).unwrap().mode, 0o600);
    begun.fill(&disk, 1, &bytes(1)).unwrap();
    assert_eq!(disk.stat(Path::new("root/a")).unwrap().mode, 0o644);
}

#[test]
fn of_very_many_parts_some_are_begun_anew() {
    let disk = MemoryDisk::new();
    let names: Vec<String> = (0..HELD_PARTS + 6).map(|file| format!("f{file:02}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 2)).collect();
    let begun = restore(&disk, &files);
    for file in 0..files.len() {
        begun.fill(&disk, 2 * file, &bytes(2 * file)).unwrap();
    }
    drop(begun);
    let again = restore(&disk, &files);
    let mut here = verified(&again, &disk);
    assert_eq!(here.len(), HELD_PARTS);
    again.settle(&disk, &mut here).unwrap();
    for segment in (0..2 * files.len()).filter(|segment| !here.contains(segment)) {
        again.fill(&disk, segment, &bytes(segment)).unwrap();
    }
    again.finish(&disk).unwrap();
    for (file, name) in names.iter().enumerate() {
        let found = disk.read(&Path::new(ROOT).join(name), u64::MAX).unwrap();
        assert_eq!(found, [bytes(2 * file), bytes(2 * file + 1)].concat());
    }
    assert_eq!(disk.list(Path::new(ROOT)).unwrap().len(), files.len(), "nothing beside them");
}
