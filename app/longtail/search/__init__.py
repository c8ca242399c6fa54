"""Search on validation: settings of a recommender (`tune`), and of the judge (`sweep`)."""
