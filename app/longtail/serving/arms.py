"""A/B: which arm answers a user."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from math import log

from longtail.recipe import DEFAULT_ARM, Serving


@dataclass(frozen=True)
class Arms:
    """The arms that are compared, each with its share of the users; the first one is the baseline.

    Weighted rendezvous hashing (Thaler and Ravishankar, IEEE/ACM Transactions on Networking 1998; weights as in
    Schindelhauer and Schomaker, SPAA 2005): every arm draws an exponential time for the user, with its share as the rate,
    from a hash of salt, arm and user. The earliest one answers, which is each arm with the probability of its share.

    A user moves only to an arm whose share grew in proportion to that of the user's old arm. So if an arm is added and the
    others keep their proportions, users move to the new arm only, and as many as it needs.
    """

    shares: Mapping[str, float]
    salt: str = ""

    @classmethod
    def of_serving(cls, serving: Serving) -> "Arms":
        """Those of the recipe; one arm if it has none."""
        shares = {name: arm.share for name, arm in serving.arms.items()}
        return cls(shares or {DEFAULT_ARM: 1.0}, serving.salt)

    def of(self, user_id: str | None) -> str:
        """The arm of a user. Somebody without an id cannot be recognised, gets the baseline, and is no part of the test."""
        if user_id is None or len(self.shares) == 1:
            return next(iter(self.shares))
        return min(self.shares, key=lambda arm: self._time(arm, user_id))

    def _time(self, arm: str, user_id: str) -> float:
        # Lengths stand before the texts, so no two (salt, arm, user) give one text.
        text = f"{len(self.salt)}:{self.salt}{len(arm)}:{arm}{user_id}"
        drawn = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
        return -log((drawn + 0.5) / 2**64) / self.shares[arm]
