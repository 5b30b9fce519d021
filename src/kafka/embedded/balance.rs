//! Which member shall have which task: a pure function.

use std::collections::BTreeMap;

use crate::record::TaskId;

/// Members by the order in which they joined.
pub(super) type MemberNumber = u64;

/// Gives every task to a member. `before` tells who was to have it last time; `members` are in the order of their numbers.
///
/// Each sub-topology is spread evenly by itself, so that heavy and light ones mix, and the whole is even as well. Within that, a task
/// stays where it was. Depends on its arguments only, and its own answer as `before` gives the same answer again.
pub(super) fn share_out(before: &BTreeMap<TaskId, Option<MemberNumber>>, members: &[MemberNumber]) -> BTreeMap<TaskId, MemberNumber> {
    let mut shares = BTreeMap::new();
    let mut totals: Vec<usize> = vec![0; members.len()];
    let tasks: Vec<_> = before.iter().map(|(task, member)| (*task, member.and_then(|m| members.binary_search(&m).ok()))).collect();
    if members.is_empty() {
        return shares;
    }
    for subtopology in tasks.chunk_by(|(a, _), (b, _)| a.subtopology == b.subtopology) {
        let mut quotas = quotas(subtopology, &mut totals);
        let (kept, open): (Vec<_>, Vec<_>) = subtopology.iter().partition(|(_, owner)| owner.is_some_and(|m| take(&mut quotas, m)));
        shares.extend(kept.iter().filter_map(|(task, owner)| Some((*task, members[(*owner)?]))));
        let mut free = quotas.iter().enumerate().flat_map(|(member, left)| std::iter::repeat_n(member, *left));
        shares.extend(open.iter().map(|(task, _)| (*task, members[free.next().expect("quotas add up to the tasks")])));
    }
    shares
}

/// How many tasks of one sub-topology each member gets. What does not divide goes to those with the least so far, then to those that
/// need give up less, then to the first.
fn quotas(tasks: &[(TaskId, Option<usize>)], totals: &mut [usize]) -> Vec<usize> {
    let each = tasks.len() / totals.len();
    let has = |member: usize| tasks.iter().filter(|(_, owner)| *owner == Some(member)).count();
    let mut order: Vec<usize> = (0..totals.len()).collect();
    order.sort_by_key(|&member| (totals[member], has(member) <= each, member));
    let mut quotas = vec![each; totals.len()];
    for &member in order.iter().take(tasks.len() % totals.len()) {
        quotas[member] += 1;
    }
    totals.iter_mut().zip(&quotas).for_each(|(total, quota)| *total += quota);
    quotas
}

fn take(quotas: &mut [usize], member: usize) -> bool {
    let left = quotas[member] > 0;
    quotas[member] -= usize::from(left);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(shape: &[i32]) -> BTreeMap<TaskId, Option<MemberNumber>> {
        let ids = shape.iter().zip(0..).flat_map(|(n, subtopology)| (0..*n).map(move |partition| TaskId { subtopology, partition }));
        ids.map(|id| (id, None)).collect()
    }

    fn again(shares: &BTreeMap<TaskId, MemberNumber>, members: &[MemberNumber]) -> BTreeMap<TaskId, MemberNumber> {
        share_out(&shares.iter().map(|(task, member)| (*task, Some(*member))).collect(), members)
    }

    fn spread(counts: impl Iterator<Item = usize> + Clone) -> usize {
        counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0)
    }

    #[test]
    fn every_sub_topology_and_the_whole_are_even() {
        for shape in [&[6][..], &[1, 1, 1], &[4, 2, 7], &[3, 3, 3, 3], &[0, 5]] {
            for count in 1..6 {
                let members: Vec<MemberNumber> = (0..count).collect();
                let alone = share_out(&tasks(shape), &members[..1]);
                let shares = again(&alone, &members);
                let of = |m, s| shares.iter().filter(|(t, o)| **o == m && (s == u32::MAX || t.subtopology == s)).count();
                assert_eq!(shares.len(), alone.len(), "{shape:?} over {count}: every task has an owner");
                for s in (0..shape.len() as u32).chain([u32::MAX]) {
                    assert!(spread(members.iter().map(|m| of(*m, s))) <= 1, "{shape:?} over {count}: {shares:?}");
                }
                assert_eq!(again(&shares, &members), shares, "{shape:?} over {count}: nothing moves without a cause");
            }
        }
    }

    #[test]
    fn only_what_must_move_moves() {
        let two = share_out(&tasks(&[6]), &[1, 2]);
        let three = again(&two, &[1, 2, 3]);
        assert_eq!(two.iter().filter(|(task, member)| three[*task] != **member).count(), 2, "a third member takes one of each");
        let uneven: BTreeMap<_, _> = tasks(&[3]).into_keys().zip([2, 1, 2]).collect();
        assert_eq!(again(&uneven, &[1, 2]), uneven, "who has the one more keeps it");
        let back = again(&three, &[1, 3]);
        assert!(three.iter().all(|(task, member)| *member == 2 || back[task] == *member), "who stays keeps everything");
    }

    #[test]
    fn without_members_nobody_owns_anything() {
        assert!(share_out(&tasks(&[2]), &[]).is_empty());
    }
}
