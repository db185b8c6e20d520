use super::*;

fn file(path: &str) -> TreeEntry {
    let place = Place { segment: 0, offset: 0 };
    let node = Node::File { mode: 0o644, modified: (1, 2), len: 0, place };
    TreeEntry { path: path.into(), node }
}

fn dir(path: &str) -> TreeEntry {
    TreeEntry { path: path.into(), node: Node::Dir { mode: 0o755, modified: (1, 2) } }
}

fn link(path: &str, target: &str) -> TreeEntry {
    TreeEntry { path: path.into(), node: Node::Link { target: target.into() } }
}

fn decode(entries: Vec<TreeEntry>) -> Result<Tree, TreeError> {
    Tree::decode(&Tree { entries }.encode().unwrap())
}

#[test]
fn a_tree_round_trips() {
    let entries =
        vec![dir(""), dir("a"), file("a/b"), dir("a/c"), link("a/c/d", "../../e"), file("a-b")];
    assert_eq!(decode(entries.clone()).unwrap().entries, entries);
}

#[test]
fn hostile_paths_are_refused() {
    for path in ["/etc/passwd", "../up", "a/../../up", "./here", "a//b", "a/", "nul\0", ""] {
        let result = decode(vec![dir(""), dir("a"), file(path)]);
        assert!(
            matches!(&result, Err(TreeError::Path { path: found }) if found == path),
            "{path:?}: {result:?}"
        );
    }
    // Not even where the manifest itself calls them directories.
    for name in ["..", "."] {
        let result = decode(vec![dir(""), dir(name), file(&format!("{name}/f"))]);
        assert!(
            matches!(&result, Err(TreeError::Path { path: found }) if found == name),
            "{name:?}: {result:?}"
        );
    }
}

#[test]
fn a_parent_must_be_a_directory_of_the_manifest() {
    for entries in [
        vec![dir(""), file("a/b")],
        vec![dir(""), file("a"), file("a/b")],
        vec![dir(""), link("a", "/etc"), file("a/passwd")],
        vec![dir(""), dir("a"), dir("b"), file("a/late")],
    ] {
        assert!(matches!(decode(entries), Err(TreeError::Path { .. })));
    }
}

#[test]
fn nothing_stands_twice_and_links_say_something() {
    for entries in [
        vec![dir(""), file("a"), file("a")],
        vec![dir(""), file("b"), file("a")],
        vec![dir(""), link("a", "")],
        vec![dir(""), link("a", "b\0c")],
    ] {
        assert!(matches!(decode(entries), Err(TreeError::Path { .. })));
    }
    assert!(matches!(decode(vec![]), Err(TreeError::NotATree)));
    assert!(matches!(decode(vec![file("a")]), Err(TreeError::NotATree)));
}

#[test]
fn cut_short_newer_and_huge_manifests_are_refused() {
    let bytes = Tree { entries: vec![dir(""), file("a")] }.encode().unwrap();
    for cut in 0..bytes.len() {
        assert!(matches!(Tree::decode(&bytes[..cut]), Err(TreeError::NotATree)), "{cut}");
    }
    let mut newer = bytes.clone();
    newer[4] = 2;
    assert!(matches!(Tree::decode(&newer), Err(TreeError::Version { found: 2 })));
    let mut huge = bytes;
    huge[5..13].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(Tree::decode(&huge), Err(TreeError::TooLong { found: u64::MAX })));
    // The number of entries is looked at before any is read.
    let body = postcard::to_stdvec(&(MAX_TREE_ENTRIES + 1)).unwrap();
    let mut many = [&MAGIC[..], &[VERSION]].concat();
    many.extend_from_slice(&(body.len() as u64).to_le_bytes());
    many.extend_from_slice(&body);
    let decoded = Tree::decode(&many);
    assert!(
        matches!(decoded, Err(TreeError::TooMany { found }) if found == MAX_TREE_ENTRIES + 1),
        "{decoded:?}"
    );
}

#[test]
fn large_files_start_their_own_segments_and_small_ones_share() {
    let mut packing = Packing::new(10);
    let places: Vec<Place> = [4, 25, 5, 0, 2, 10, 9]
        .into_iter()
        .enumerate()
        .map(|(i, len)| packing.add(i, len))
        .collect();
    let at = |segment, offset| Place { segment, offset };
    assert_eq!(places, [at(0, 0), at(1, 0), at(0, 4), at(0, 9), at(4, 0), at(5, 0), at(6, 0)]);
    let piece = |file, offset, len| Piece { file, offset, len };
    assert_eq!(
        packing.finish(),
        [
            vec![piece(0, 0, 4), piece(2, 0, 5)],
            vec![piece(1, 0, 10)],
            vec![piece(1, 10, 10)],
            vec![piece(1, 20, 5)],
            vec![piece(4, 0, 2)],
            vec![piece(5, 0, 10)],
            vec![piece(6, 0, 9)],
        ]
    );
}
