"""BPR-MF (Rendle et al., arXiv 1205.2618): matrix factorisation, pairwise; LightGCN without layers."""

from longtail.recipe import BPR as Section
from longtail.recommenders.models.factors import Factors, FactorsLearner


class BPR(Factors):
    name = "bpr"
    learner = FactorsLearner
    section: Section
