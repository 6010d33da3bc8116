"""Counts in the same proportions with another sum."""

from collections.abc import Mapping


def scale(stacks: Mapping[str, int], total: int) -> dict[str, int]:
    """The same proportions with exactly `total` samples, by the largest remainder; what rounds to 0 is left out.

    Equal remainders go to the earlier stack, so that the outcome is a function of the input.
    """
    seen = sum(stacks.values())
    if seen == 0 or total <= 0:
        return {}
    shares = {stack: divmod(count * total, seen) for stack, count in stacks.items()}
    left = total - sum(whole for whole, _ in shares.values())
    favoured = set(sorted(shares, key=lambda stack: -shares[stack][1])[:left])
    scaled = {stack: whole + (stack in favoured) for stack, (whole, _) in shares.items()}
    return {stack: count for stack, count in scaled.items() if count}
