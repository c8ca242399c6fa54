"""BPR-MF (Rendle et al., arXiv 1205.2618): matrix factorisation with a pairwise loss, that is LightGCN without layers."""

from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.trained_section import LEARNING, TextSection


class BPRSection(TextSection):
    pass


SPEC = RecommenderSpec(
    title="BPR",
    settings=BPRSection,
    model="longtail.recommenders.models.factors.Factors",
    space=LEARNING,
    keeps_users=True,
)
