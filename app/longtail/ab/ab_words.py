"""A comparison of arms in plain words."""

from longtail.ab.comparison import UNEVEN, Compared, Comparison


def sentences(found: Comparison) -> list[str]:
    """What the comparison says, the verdict of each arm first."""
    said = [_verdict(one, found) for one in found.compared]
    if not found.compared:
        said.append("There is one arm only, so there is nothing to compare.")
    if found.split_p < UNEVEN:
        said.append(
            f"The users are not split as the shares say (p = {found.split_p:.1g} by the chi-squared test), so some were"
            " lost or counted twice in one arm. Do not use these figures before you know why."
        )
    if found.moved:
        said.append(
            f"{found.moved:,} users were served by more than one arm and are left out. Shares, salt or the log changed"
            " during the test."
        )
    if found.without:
        said.append(
            f"{found.without:,} recommendations for no user id are left out: they have no arm of their own."
        )
    return said


def _verdict(one: Compared, found: Comparison) -> str:
    base, what = found.baseline.arm, f"of {found.of} with an attributed event"
    if one.difference is None:
        return f"{one.arm} or {base} has not served a user yet."
    side = "above" if one.difference >= 0 else "below"
    difference = f"its share {what} is {100 * abs(one.difference):.2f} points {side} that of {base}"
    interval = f"95 % interval {_signed(one.low)} to {_signed(one.high)} points"
    measured = f"{difference} ({interval})"
    if one.verdict == "uneven split":
        return f"{one.arm}: no verdict, because the users are not split as the shares say; {measured}."
    if one.verdict == "too early":
        return f"{one.arm}: too early for a verdict; so far {measured}. {_missing(one, found)}"
    if one.verdict == "no difference":
        return (
            f"{one.arm} neither wins nor loses: {measured}. The sample is complete, so a difference of"
            f" {found.smallest:.0%} would have been found in four cases of five."
        )
    return f"{one.arm} {one.verdict} against {base}: {measured}."


def _missing(one: Compared, found: Comparison) -> str:
    if one.needed is None:
        return f"{found.baseline.arm} has no attributed event, so nothing can be said of the sample that is needed."
    lack = {one.arm: one.missing, found.baseline.arm: one.baseline_missing}
    users = " and ".join(f"{missing:,} users in {arm}" for arm, missing in lack.items() if missing)
    return f"To find a difference of {found.smallest:.0%}, {users} are still missing."


def _signed(share: float) -> str:
    return f"{100 * share:+.2f}".replace("-", "−")
