//! Directories: the manifest that stands at the head of a directory upload.
//!
//! The segments of a directory are its manifest, cut at the segment size, and then its data: a file
//! of a segment or more starts its own segments, smaller ones are packed in path order and never
//! straddle two. Paths and link targets are bytes; setuid, setgid and sticky bits are dropped.
//!
//! A manifest that was read is hostile until [`Tree::decode`] has accepted it: paths are relative
//! and plain, each parent is a directory of the manifest itself, nothing stands twice.

mod error;
mod pack;
mod restore;
mod walk;

use serde::{Deserialize, Serialize};

pub use error::TreeError;
pub(crate) use pack::{Packing, Piece};
pub(crate) use restore::{Destination, RestoreError, prepare};
pub(crate) use walk::walk;

/// Largest manifest that is read or written, in bytes.
pub(crate) const MAX_TREE_BYTES: usize = 256 * 1024 * 1024;

/// Most entries of a directory. Decoded, one takes about 100 bytes and its path.
const MAX_TREE_ENTRIES: u64 = 1_000_000;

/// Longest path, in bytes, as on Linux.
const MAX_PATH_BYTES: usize = 4096;

/// Before the manifest: a label, a version and the length.
const MAGIC: &[u8; 4] = b"SPWT";
const VERSION: u8 = 1;
pub(crate) const HEADER_BYTES: usize = 4 + 1 + 8;

/// Seconds and nanoseconds since 1970.
pub(crate) type Modified = (i64, u32);

/// Where the bytes of a file are: from `offset` of data segment `segment` on, and if they do not
/// fit there, in the segments that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Counted from the first segment after the manifest.
    pub segment: u64,
    pub offset: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Node {
    Dir { mode: u32, modified: Modified },
    File { mode: u32, modified: Modified, len: u64, place: Place },
    Link { target: Vec<u8> },
}

/// One entry; the directory itself has the empty path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TreeEntry {
    pub path: Vec<u8>,
    pub node: Node,
}

/// A directory's manifest, in path order (component by component).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tree {
    pub entries: Vec<TreeEntry>,
}

/// Compares paths as a walk meets them: component by component.
pub(crate) fn path_order(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    a.split(|&byte| byte == b'/').cmp(b.split(|&byte| byte == b'/'))
}

impl Tree {
    /// The manifest's bytes, with their header.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, TreeError> {
        if self.entries.len() as u64 > MAX_TREE_ENTRIES {
            return Err(TreeError::TooMany { found: self.entries.len() as u64 });
        }
        let body = postcard::to_stdvec(self).map_err(TreeError::Encoding)?;
        if body.len() > MAX_TREE_BYTES {
            return Err(TreeError::TooLong { found: body.len() as u64 });
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// The length of the whole manifest, header included, from its first bytes.
    pub(crate) fn encoded_len(head: &[u8]) -> Result<usize, TreeError> {
        let head = head.first_chunk::<HEADER_BYTES>().ok_or(TreeError::NotATree)?;
        if !head.starts_with(MAGIC) {
            return Err(TreeError::NotATree);
        }
        if head[4] != VERSION {
            return Err(TreeError::Version { found: head[4] });
        }
        let len = u64::from_le_bytes(
            head[5..].try_into().expect("invariant: the header ends with 8 bytes of length"),
        );
        match usize::try_from(len) {
            Ok(len) if len <= MAX_TREE_BYTES => Ok(HEADER_BYTES + len),
            _ => Err(TreeError::TooLong { found: len }),
        }
    }

    /// Reads a manifest and refuses whatever could leave the directory that it is restored into.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        if Self::encoded_len(bytes)? != bytes.len() {
            return Err(TreeError::NotATree);
        }
        let body = &bytes[HEADER_BYTES..];
        // The list begins with its length: looked at before anything is decoded.
        let (count, _): (u64, _) = postcard::take_from_bytes(body).map_err(TreeError::Encoding)?;
        if count > MAX_TREE_ENTRIES {
            return Err(TreeError::TooMany { found: count });
        }
        let (tree, rest): (Self, _) =
            postcard::take_from_bytes(body).map_err(TreeError::Encoding)?;
        if !rest.is_empty() {
            return Err(TreeError::NotATree);
        }
        tree.check()?;
        Ok(tree)
    }

    fn check(&self) -> Result<(), TreeError> {
        let Some((root, rest)) = self.entries.split_first() else {
            return Err(TreeError::NotATree);
        };
        if !root.path.is_empty() || !matches!(root.node, Node::Dir { .. }) {
            return Err(TreeError::NotATree);
        }
        // In path order the open directories are a stack.
        let mut open: Vec<&[u8]> = vec![b""];
        let mut before: &[u8] = b"";
        for entry in rest {
            let path = entry.path.as_slice();
            let bad = || TreeError::Path { path: String::from_utf8_lossy(path).into_owned() };
            if !is_plain(path) || (!before.is_empty() && path_order(before, path).is_ge()) {
                return Err(bad());
            }
            let parent = path.iter().rposition(|&b| b == b'/').map_or(&b""[..], |at| &path[..at]);
            while open.last().is_some_and(|dir| *dir != parent) {
                open.pop();
            }
            if open.is_empty() {
                return Err(bad());
            }
            match &entry.node {
                Node::Dir { modified: (_, nanos), .. }
                | Node::File { modified: (_, nanos), .. }
                    if *nanos >= 1_000_000_000 =>
                {
                    return Err(bad());
                }
                Node::Dir { .. } => open.push(path),
                Node::File { .. } => {}
                Node::Link { target } => {
                    if target.is_empty() || target.len() > MAX_PATH_BYTES || target.contains(&0) {
                        return Err(bad());
                    }
                }
            }
            before = path;
        }
        Ok(())
    }
}

/// Relative, no empty component, no `.` or `..`, no NUL, not too long.
fn is_plain(path: &[u8]) -> bool {
    path.len() <= MAX_PATH_BYTES
        && !path.contains(&0)
        && path
            .split(|&byte| byte == b'/')
            .all(|part| !part.is_empty() && part != b"." && part != b".." && part.len() <= 255)
}

#[cfg(test)]
mod tests;
