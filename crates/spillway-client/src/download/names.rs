use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use spillway_types::ChunkAddress;

/// Longest name that file systems take, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// Hexadecimal digits of the data map in a name: 64 bits, so that those of two data maps differ.
const ID_DIGITS: usize = 16;

/// Hexadecimal digits that stand for what was cut off a long name.
const CUT_DIGITS: usize = 8;

/// What downloads through one data map call what is not finished: hidden, beside its target, and
/// the same in every run. Another data map has other names.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The first digits of the address that the data map has when it is public.
    id: String,
}

impl Names {
    /// Those of the data map with these bytes.
    pub(super) fn of(root: &[u8]) -> Self {
        let mut id = ChunkAddress::of(root).to_string();
        id.truncate(ID_DIGITS);
        Self { id }
    }

    /// `.NAME.<16 digits>.spillway-part`: what a file is called, or the manifest of a directory.
    pub(super) fn part(&self, path: &Path) -> OsString {
        self.name(path, "part")
    }

    /// `.NAME.<16 digits>.spillway-tree`: what a directory is called.
    pub(super) fn tree(&self, path: &Path) -> PathBuf {
        path.with_file_name(self.name(path, "tree"))
    }

    fn name(&self, path: &Path, what: &str) -> OsString {
        let name = path.file_name().unwrap_or_else(|| OsStr::new("")).as_bytes();
        let rest = format!(".{}.spillway-{what}", self.id);
        let mut hidden = vec![b'.'];
        let room = MAX_NAME_BYTES - hidden.len() - rest.len();
        if name.len() <= room {
            hidden.extend_from_slice(name);
        } else {
            let mut end = room - CUT_DIGITS - 1;
            // Not within a character: some file systems take only whole ones.
            while end > 0 && name[end] & 0xc0 == 0x80 {
                end -= 1;
            }
            hidden.extend_from_slice(&name[..end]);
            hidden.push(b'~');
            let whole = ChunkAddress::of(name).to_string();
            hidden.extend_from_slice(&whole.as_bytes()[..CUT_DIGITS]);
        }
        hidden.extend_from_slice(rest.as_bytes());
        OsString::from_vec(hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_target_and_data_map() {
        let id = &ChunkAddress::of(b"map").to_string()[..16];
        let names = Names::of(b"map");
        assert_eq!(names.part(Path::new("d/a.raw")), format!(".a.raw.{id}.spillway-part").as_str());
        let tree = format!("d/.a.raw.{id}.spillway-tree");
        assert_eq!(names.tree(Path::new("d/a.raw")), Path::new(&tree));
        assert_ne!(names.part(Path::new("a")), Names::of(b"other").part(Path::new("a")));
    }

    #[test]
    fn long_names_are_cut_and_still_differ() {
        let names = Names::of(b"map");
        for letter in ["x", "é", "漢"] {
            let long = |last: &str| letter.repeat(254 / letter.len() - 1) + last;
            let [one, two] = ["1", "2"].map(|last| names.part(Path::new(&long(last))));
            assert_ne!(one, two);
            for name in [one, two] {
                assert!(name.len() <= MAX_NAME_BYTES && name.len() > MAX_NAME_BYTES - 4);
                name.into_string().unwrap();
            }
        }
        let fits = "x".repeat(MAX_NAME_BYTES - 32);
        let hidden = names.part(Path::new(&fits)).into_string().unwrap();
        assert_eq!((hidden.len(), &hidden[1..=fits.len()]), (MAX_NAME_BYTES, fits.as_str()));
    }
}
