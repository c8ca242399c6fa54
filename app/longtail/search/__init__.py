"""Search of settings on validation: those of a recommender (`tune`) and those of the judge (`sweep`)."""
