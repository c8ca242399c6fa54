"""LightGCN (He et al., arXiv 2002.02126): embeddings averaged over linear graph convolutions."""

from app.recipe import LightGCN as Section
from app.recommenders.factors import Factors, FactorsLearner


class LightGCN(Factors):
    name = "lightgcn"
    learner = FactorsLearner
    section: Section
