//! Rows of a batch in the order of their keys: what a family collects is a list with shortcuts, and who goes along it finds each place near the last.

use super::load::head;

/// A key with its new value; none deletes.
type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// The same rows by key.
pub(super) fn in_order<'a>(rows: &[Change<'a>]) -> Vec<Change<'a>> {
    let Some(((first, _), rest)) = rows.split_first() else { return Vec::new() };
    // Behind what all keys begin with, eight bytes tell most of them apart.
    let shared = rest.iter().fold(first.len(), |shared, (key, _)| common(&first[..shared], key));
    let mut order: Vec<(u64, usize)> = rows.iter().enumerate().map(|(at, (key, _))| (head(&key[shared..]), at)).collect();
    order.sort_unstable_by(|(a, at), (b, bt)| a.cmp(b).then_with(|| rows[*at].0.cmp(rows[*bt].0)));
    order.into_iter().map(|(_, at)| rows[at]).collect()
}

/// How many bytes two keys have in common at their beginning.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_lengths_are_sorted_as_bytes_are() {
        let keys: [&[u8]; 9] =
            [b"seg-b", b"seg-", b"seg-a\0", b"seg-a", b"seg-abcdefgh2", b"seg-abcdefgh1", b"seg-abcdefgh", b"seg-\xff", b"seg-a\0\0"];
        let rows: Vec<Change<'_>> = keys.iter().map(|key| (*key, Some(&key[4..]))).collect();
        let mut expected = rows.clone();
        expected.sort();
        assert_eq!(in_order(&rows), expected);
        assert!(in_order(&[]).is_empty());
    }
}
