"""Which split an image goes to: whole groups only, so that no person is on both sides."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence


def split_by_group(
    labels: Sequence[str], groups: Sequence[str], shares: Mapping[str, float], seed: int, largest_first: bool = False
) -> list[str]:
    """Deal groups to splits so that every label comes as close to the shares as whole groups allow.

    Groups are dealt in random order, each to the split that still lacks most of the group's labels; with
    `largest_first` in order of their size, so that the small ones even out what the large ones left uneven.

    Args: `labels` and `groups`, one of each an image; `shares`, split -> share of the images, sums to 1.
    Returns: the split of each image; the same for the same arguments on every machine.
    """
    totals = Counter(labels)
    contents: dict[str, Counter] = defaultdict(Counter)
    for label, group in zip(labels, groups, strict=True):
        contents[group][label] += 1
    wanted = {split: {label: share * n for label, n in totals.items()} for split, share in shares.items()}

    order = sorted(contents)
    random.Random(seed).shuffle(order)
    if largest_first:
        order.sort(key=lambda group: -contents[group].total())
    split_of = {}
    for group in order:
        content = contents[group]
        lack = {
            split: sum(n * need[label] / totals[label] for label, n in content.items())
            for split, need in wanted.items()
        }
        split_of[group] = max(lack, key=lack.__getitem__)
        for label, n in content.items():
            wanted[split_of[group]][label] -= n
    return [split_of[group] for group in groups]


def folds_by_group(labels: Sequence[str], groups: Sequence[str], folds: int) -> list[int]:
    """The fold of each image, 0 to `folds` - 1: whole groups, shares of every label as even as these allow."""
    shares = {str(fold): 1 / folds for fold in range(folds)}
    return [int(fold) for fold in split_by_group(labels, groups, shares, seed=0, largest_first=True)]
