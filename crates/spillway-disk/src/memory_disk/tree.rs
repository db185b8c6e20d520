use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    path::PathBuf,
    sync::Arc,
};

use super::{FileNode, Survival};
use crate::{EntryKind, FileStat};

pub(super) const ROOT: u64 = 0;

/// The device that all files of disks in memory are on.
const DEVICE: u64 = 1;

/// What a name in a directory stands for.
#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Arc<FileNode>),
    Dir(u64),
    Link { id: u64, target: PathBuf },
}

impl Node {
    pub(super) fn kind(&self) -> EntryKind {
        match self {
            Self::File(_) => EntryKind::File,
            Self::Dir(_) => EntryKind::Dir,
            Self::Link { .. } => EntryKind::Link,
        }
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(a), Self::File(b)) => a.id == b.id,
            (Self::Dir(a), Self::Dir(b)) | (Self::Link { id: a, .. }, Self::Link { id: b, .. }) => {
                a == b
            }
            _ => false,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Dir {
    pub(super) entries: BTreeMap<OsString, Node>,
    durable: BTreeMap<OsString, Node>,
    pub(super) mode: u32,
    pub(super) modified: (i64, u32),
}

/// One atomic change of directories that is not durable yet. A rename is one that removes and adds.
#[derive(Clone, Debug)]
struct Change {
    removes: Option<(u64, OsString)>,
    adds: Option<(u64, OsString, Node)>,
}

impl Change {
    fn dirs(&self) -> impl Iterator<Item = u64> {
        let removes = self.removes.as_ref().map(|(dir, _)| *dir);
        removes.into_iter().chain(self.adds.as_ref().map(|(dir, ..)| *dir))
    }
}

/// All directories, and what is on its way to being durable.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) dirs: BTreeMap<u64, Dir>,
    /// In the order in which they were made.
    pending: Vec<Change>,
    pub(super) locks: BTreeSet<u64>,
    pub(super) capacity: u64,
    /// Bytes in files that have a name.
    pub(super) used: u64,
    next_id: u64,
    /// Rises with every change: the time of files when there is no clock.
    pub(super) ticks: u32,
}

impl Tree {
    pub(super) fn new(capacity: u64) -> Self {
        let root = Dir { mode: 0o700, ..Dir::default() };
        Self {
            dirs: BTreeMap::from([(ROOT, root)]),
            pending: Vec::new(),
            locks: BTreeSet::new(),
            capacity,
            used: 0,
            next_id: ROOT + 1,
            ticks: 0,
        }
    }

    pub(super) fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.used)
    }

    /// The id that [`Tree::new_id`] gives next.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    pub(super) fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    pub(super) fn get(&self, dir: u64, name: &OsStr) -> Option<&Node> {
        self.dirs.get(&dir)?.entries.get(name)
    }

    /// What is known about a node.
    pub(super) fn stat(&self, node: &Node) -> FileStat {
        let (len, modified, id, mode) = match node {
            Node::File(file) => {
                let contents = file.contents();
                (contents.data.len() as u64, contents.modified, file.id, contents.mode)
            }
            Node::Dir(id) => {
                let (modified, mode) =
                    self.dirs.get(id).map_or(((0, 0), 0), |dir| (dir.modified, dir.mode));
                (0, modified, *id, mode)
            }
            Node::Link { id, target } => (target.as_os_str().len() as u64, (0, 0), *id, 0o777),
        };
        FileStat { kind: node.kind(), len, modified, identity: (DEVICE, id), mode }
    }

    pub(super) fn add(&mut self, dir: u64, name: &OsStr, node: Node) {
        self.change(Change { removes: None, adds: Some((dir, name.to_owned(), node)) });
    }

    pub(super) fn add_dir(&mut self, parent: u64, name: &OsStr, modified: (i64, u32)) -> u64 {
        let id = self.new_id();
        self.dirs.insert(id, Dir { mode: 0o700, modified, ..Dir::default() });
        self.add(parent, name, Node::Dir(id));
        id
    }

    pub(super) fn remove(&mut self, dir: u64, name: &OsStr) {
        self.change(Change { removes: Some((dir, name.to_owned())), adds: None });
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) {
        let Some(node) = self.get(from.0, from.1).cloned() else {
            return;
        };
        if from == to {
            return;
        }
        self.change(Change {
            removes: Some((from.0, from.1.to_owned())),
            adds: Some((to.0, to.1.to_owned(), node)),
        });
    }

    /// Whether `inner` is `outer` or lies somewhere in it.
    pub(super) fn contains(&self, outer: u64, inner: u64) -> bool {
        outer == inner
            || self.dirs.get(&outer).is_some_and(|dir| {
                dir.entries
                    .values()
                    .any(|node| matches!(node, Node::Dir(id) if self.contains(*id, inner)))
            })
    }

    fn change(&mut self, change: Change) {
        let mut gone = Vec::new();
        if let Some((dir, name)) = &change.removes
            && let Some(dir) = self.dirs.get_mut(dir)
        {
            gone.extend(dir.entries.remove(name));
        }
        if let Some((dir, name, node)) = &change.adds
            && let Some(dir) = self.dirs.get_mut(dir)
        {
            gone.extend(dir.entries.insert(name.clone(), node.clone()));
            gone.retain(|old| !old.same(node));
        }
        for node in gone {
            if let Node::File(file) = node {
                let mut contents = file.contents();
                contents.linked = false;
                self.used = self.used.saturating_sub(contents.data.len() as u64);
            }
        }
        self.pending.push(change);
    }

    /// Makes the entries of a directory durable, with every change that those rest on.
    pub(super) fn sync_dir(&mut self, dir: u64) {
        let cuts = BTreeMap::from([(dir, self.pending.len())]);
        let survives = self.survivors(&cuts);
        let pending = std::mem::take(&mut self.pending);
        for (change, survives) in pending.into_iter().zip(survives) {
            if survives {
                self.commit(change);
            } else {
                self.pending.push(change);
            }
        }
    }

    /// Which pending changes become durable when of each directory those before its cut do. A
    /// change in two directories takes all earlier ones of both along, as a journal does.
    fn survivors(&self, cuts: &BTreeMap<u64, usize>) -> Vec<bool> {
        let mut forced = BTreeSet::new();
        let mut survives = vec![false; self.pending.len()];
        for (index, change) in self.pending.iter().enumerate().rev() {
            let cut = |dir| cuts.get(&dir).is_some_and(|cut| index < *cut);
            if change.dirs().any(|dir| forced.contains(&dir) || cut(dir)) {
                survives[index] = true;
                forced.extend(change.dirs());
            }
        }
        survives
    }

    fn commit(&mut self, change: Change) {
        let mut gone = Vec::new();
        if let Some((dir, name)) = &change.removes
            && let Some(dir) = self.dirs.get_mut(dir)
        {
            gone.extend(dir.durable.remove(name));
        }
        if let Some((dir, name, node)) = change.adds {
            if let Some(dir) = self.dirs.get_mut(&dir) {
                gone.extend(dir.durable.insert(name, node.clone()));
            }
            gone.retain(|old| !old.same(&node));
        }
        // A directory whose removal is durable is gone, with whatever was durable in it.
        for node in gone {
            if let Node::Dir(id) = node {
                self.dirs.remove(&id);
                self.pending.retain(|change| change.dirs().all(|dir| dir != id));
            }
        }
    }

    /// The tree as it is found after a power cut.
    pub(super) fn crash(&self, survival: Survival) -> Self {
        let mut random = match survival {
            Survival::Seeded(seed) => Some(fastrand::Rng::with_seed(seed)),
            Survival::Nothing | Survival::Everything => None,
        };
        let all = survival == Survival::Everything;
        let mut cuts = BTreeMap::new();
        for dir in self.dirs.keys() {
            let cut = match &mut random {
                _ if all => self.pending.len(),
                Some(random) => random.usize(..=self.pending.len()),
                None => 0,
            };
            cuts.insert(*dir, cut);
        }
        let mut platter = self.durable_copy();
        for (change, survives) in self.pending.iter().zip(self.survivors(&cuts)) {
            if survives {
                platter.commit(change.clone());
            }
        }
        platter.restart(random, all)
    }

    fn durable_copy(&self) -> Self {
        let dirs = self.dirs.iter().map(|(id, dir)| {
            let durable = dir.durable.clone();
            let (mode, modified) = (dir.mode, dir.modified);
            (*id, Dir { entries: BTreeMap::new(), durable, mode, modified })
        });
        Self { dirs: dirs.collect(), pending: Vec::new(), locks: BTreeSet::new(), used: 0, ..*self }
    }

    /// Takes what is durable as what is there, file by file.
    fn restart(mut self, mut random: Option<fastrand::Rng>, all: bool) -> Self {
        let mut used = 0;
        let mut reachable = BTreeSet::new();
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            reachable.insert(id);
            let Some(dir) = self.dirs.get_mut(&id) else {
                continue;
            };
            for node in dir.durable.values_mut() {
                match node {
                    Node::Dir(id) => open.push(*id),
                    Node::Link { .. } => {}
                    Node::File(file) => {
                        let contents = file.contents();
                        let data = contents.survivor(random.as_mut(), all);
                        used += data.len() as u64;
                        let (mode, modified) = (contents.mode, contents.modified);
                        drop(contents);
                        *file = Arc::new(FileNode::new(file.id, mode, modified, data));
                    }
                }
            }
            dir.entries = dir.durable.clone();
        }
        self.dirs.retain(|id, _| reachable.contains(id));
        self.used = used;
        self
    }
}
