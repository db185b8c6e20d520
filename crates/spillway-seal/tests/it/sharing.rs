use std::collections::BTreeSet;

use proptest::{prop_assert, prop_assert_eq, proptest};
use spillway_seal::SealOptions;

use crate::support::{Sealed, cases, files, random, seal_file, small, with_secret};

const SEGMENT: usize = 40;

fn changed(before: &Sealed, after: &Sealed) -> Vec<usize> {
    let before = before.addresses();
    let after = after.addresses();
    (0..after.len()).filter(|index| before.get(*index) != after.get(*index)).collect()
}

#[test]
fn one_changed_byte_changes_three_chunks() {
    for count in 1..=8_usize {
        let file = random(SEGMENT * count, 1);
        let before = seal_file(&file, &small(SEGMENT));
        for touched in 0..count {
            let mut edited = file.clone();
            edited[touched * SEGMENT + 17] ^= 1;
            let after = seal_file(&edited, &small(SEGMENT));
            let expected: BTreeSet<usize> =
                (0..3.min(count)).map(|step| (touched + step) % count).collect();
            assert_eq!(changed(&before, &after), Vec::from_iter(expected), "{touched} of {count}");
        }
    }
}

#[test]
fn an_append_changes_the_last_and_the_first_two() {
    let mut file = random(SEGMENT * 7 + 3, 2);
    let before = seal_file(&file, &small(SEGMENT));
    file.push(9);
    assert_eq!(changed(&before, &seal_file(&file, &small(SEGMENT))), [0, 1, 7]);
    file.extend_from_slice(&random(SEGMENT, 3));
    assert_eq!(changed(&before, &seal_file(&file, &small(SEGMENT))), [0, 1, 7, 8]);
}

#[test]
fn an_insertion_changes_all_that_follows() {
    let mut file = random(SEGMENT * 8, 4);
    let before = seal_file(&file, &small(SEGMENT));
    file.insert(SEGMENT * 4 + 1, 9);
    assert_eq!(changed(&before, &seal_file(&file, &small(SEGMENT))), [0, 1, 4, 5, 6, 7, 8]);
}

#[test]
fn equal_segments_at_different_places_are_different_chunks() {
    let sealed = seal_file(&[7; SEGMENT * 6], &small(SEGMENT));
    assert_eq!(BTreeSet::from_iter(sealed.addresses()).len(), 6);
}

#[test]
fn a_secret_is_bound_to_the_content() {
    let options = with_secret(SealOptions::default(), "secret");
    let one = seal_file(b"one", &options);
    let other = seal_file(b"other", &options);
    assert_ne!(one.map.secret(), other.map.secret());
    assert!(!one.map.secret().is_public());
    let encoded = one.map.encode();
    assert!(!encoded.windows(6).any(|window| window == b"secret"));
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn files_that_differ_in_one_segment_share_all_but_three(
        (segment, file) in files(), at: usize, flip in 1_u8..,
    ) {
        if file.is_empty() {
            return Ok(());
        }
        let mut edited = file.clone();
        let at = at % file.len();
        edited[at] ^= flip;
        let before = seal_file(&file, &small(segment));
        let after = seal_file(&edited, &small(segment));
        let expected = after.chunks.len().min(3);
        prop_assert_eq!(changed(&before, &after).len(), expected);
    }

    #[test]
    fn a_secret_changes_everything_and_two_secrets_differ((segment, file) in files()) {
        let public = BTreeSet::from_iter(seal_file(&file, &small(segment)).addresses());
        let options = |secret| with_secret(small(segment), secret);
        let first = BTreeSet::from_iter(seal_file(&file, &options("first")).addresses());
        let second = BTreeSet::from_iter(seal_file(&file, &options("second")).addresses());
        prop_assert!(public.is_disjoint(&first));
        prop_assert!(public.is_disjoint(&second));
        prop_assert!(first.is_disjoint(&second));
    }
}
