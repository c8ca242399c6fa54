"""MixGCF (Huang et al., KDD 2021, doi 10.1145/3447548.3467408): LightGCN with negatives mixed from several candidates."""

from longtail.recipe.section import Positive
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.models.lightgcn import GRAPH, LightGCNSection


class MixGCFSection(LightGCNSection):
    layers: Positive = 3
    negatives: Positive = 64
    """The number of candidates from which each layer chooses its negative."""


SPEC = RecommenderSpec(
    title="MixGCF",
    settings=MixGCFSection,
    model="longtail.recommenders.models.mixgcf_model.MixGCF",
    space=GRAPH | {"negatives": [16, 32, 64]},
    keeps_users=True,
)
