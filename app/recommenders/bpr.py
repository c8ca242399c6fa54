"""BPR-MF (Rendle et al., arXiv 1205.2618): matrix factorisation, pairwise; LightGCN without layers."""

from app.recipe import BPR as Section
from app.recommenders.factors import Factors, FactorsLearner


class BPR(Factors):
    name = "bpr"
    learner = FactorsLearner
    section: Section
