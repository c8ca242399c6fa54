"""LightGCN (He et al., arXiv 2002.02126): embeddings averaged over the layers of a linear graph convolution."""

from app.recipe import LightGCN as Section
from app.recommenders.factors import Factors


class LightGCN(Factors):
    name = "lightgcn"
    section: Section
