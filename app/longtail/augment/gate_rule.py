"""The rule of the gate: does an LLM know more of what users prefer than the texts of the items tell?"""

from dataclasses import dataclass

import numpy as np

SURE = 2.0
"""By how many standard errors the LLM must be ahead."""
LEAST = 100
"""With fewer pairs nothing is measured, and the gate stays shut."""
FOLDS = 10


@dataclass(frozen=True)
class Verdict:
    """Accuracies over validation pairs. An answer that is missing, and a tie, count as half right.

    pairs, users: how many there are. answered: the share of pairs that the LLM has answered. llm, text: the accuracy of the
    LLM, and of text vectors. over_text: llm - text. adds: the accuracy of both in one logistic blend, less that of text.
    `…_error`: standard errors over users.
    """

    pairs: int
    users: int
    answered: float
    llm: float
    text: float
    over_text: float
    over_text_error: float
    adds: float
    adds_error: float

    @property
    def passed(self) -> bool:
        """The rule: one of the two differences is larger than SURE of its standard errors, over at least LEAST pairs."""
        ahead = self.over_text > SURE * self.over_text_error or self.adds > SURE * self.adds_error
        return self.pairs >= LEAST and ahead


def verdict(llm: np.ndarray, text: np.ndarray, users: np.ndarray) -> Verdict:
    """The verdict about n pairs of an item that a user took and one that the user did not take.

    llm float64 [n]: the LLM's logit of the item taken, 0 without an answer. text float64 [n]: the similarity of the item
    taken to the user's history, less that of the other item. users int [n]: whose pair it is.
    """
    by_llm, by_text = right(llm), right(text)
    by_both = right(blended(np.column_stack([text, llm]), users)) if len(llm) >= LEAST else by_text
    (over, over_error), (adds, adds_error) = (_mean(one - by_text, users) for one in (by_llm, by_both))
    return Verdict(
        pairs=len(llm),
        users=len(np.unique(users)),
        answered=_share(llm != 0),
        llm=_share(by_llm),
        text=_share(by_text),
        over_text=over,
        over_text_error=over_error,
        adds=adds,
        adds_error=adds_error,
    )


def right(scores: np.ndarray) -> np.ndarray:
    """1 for each score above 0, 0.5 for 0, 0 below: float64 [n]."""
    return (1 + np.sign(scores)) / 2


def blended(features: np.ndarray, users: np.ndarray) -> np.ndarray:
    """The logit of a logistic regression for each pair, fitted on the pairs of other users: float64 [n].

    features float64 [n, k]: differences of the item taken and the other one. There is no intercept, because a pair has no
    first item: each pair is in the fit in both directions. FOLDS folds, all pairs of a user in one; each feature is divided
    by its root mean square; L2 with C = 1, scikit-learn's default. Fewer users than FOLDS: as many folds as users.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = min(FOLDS, len(np.unique(users)))
    if folds < 2:
        return np.zeros(len(features))
    model = make_pipeline(StandardScaler(with_mean=False), LogisticRegression(fit_intercept=False))
    both, taken = np.vstack([features, -features]), np.repeat([1, 0], len(features))
    found = cross_val_predict(
        model, both, taken, groups=np.tile(users, 2), cv=GroupKFold(folds), method="decision_function"
    )
    return found[: len(features)]


def _mean(values: np.ndarray, users: np.ndarray) -> tuple[float, float]:
    """The mean of values [n] and its standard error; the values of one user may depend on each other."""
    if not len(values):
        return 0.0, 0.0
    mean = float(values.mean())
    _, rows = np.unique(users, return_inverse=True)
    return mean, float(np.sqrt(np.sum(np.bincount(rows, values - mean) ** 2)) / len(values))


def _share(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
