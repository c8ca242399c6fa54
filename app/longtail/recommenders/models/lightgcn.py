"""LightGCN (He et al., arXiv 2002.02126): embeddings averaged over linear graph convolutions."""

from longtail.recipe import LightGCN as Section
from longtail.recommenders.models.factors import Factors, FactorsLearner


class LightGCN(Factors):
    name = "lightgcn"
    learner = FactorsLearner
    section: Section
