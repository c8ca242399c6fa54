"""SASRec compared with a straightforward PyTorch implementation: positions per second, and NDCG on validation."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from jobs.benchmarks.plain_sasrec import PlainSASRec, plain_batch, plain_step
from jobs.benchmarks.timing import paired
from longtail.arrays import offsets_of
from longtail.recommenders.interactions import Histories, Interactions, Preferences, Targets
from longtail.recommenders.models.sasrec import SASRecSection as Section
from longtail.recommenders.models.sasrec_model import SASRec, SASRecLearner
from longtail.recommenders.scoring.candidate_items import Candidates
from longtail.recommenders.training.validation import Validation

LEARNT = {"users": 1500, "epochs": 12, "seeds": 2, "max_length": 50}
"""The size of the comparison on validation, which trains four models to the end."""


def measure(data: Path | None = None, quick: bool = False) -> dict[str, float]:
    """Ratios of ours over plain.

    `sasrec_over_plain`: positions per second at the published settings for MovieLens 1M (SASRec, arXiv 1808.09781: dim
    50, 2 layers, 200 positions, batch 128). It is the best of three turns with the same steps and users; drawing
    negatives is included. `sasrec_ndcg_over_plain`: NDCG@10 on validation by full ranking after the same epochs, mean
    over seeds.
    """
    sequences, n_items = _sequences(data, 800 if quick else 6040)
    section = Section(loss="bce", dim=50, max_length=200, dropout=0.2, validate_every=0)
    steps = 2 if quick else 6
    users = np.random.default_rng(0).permutation(len(sequences))[: steps * section.batch]
    train = _interactions([sequences[user] for user in users], n_items)
    learner = SASRecLearner(_arrays(train), _settings(section, train, 0), torch.device("cpu"))
    plain = _Plain(train, section, 0)
    learner.epoch(np.random.default_rng(0)), plain.epoch(np.random.default_rng(0))
    ours, theirs = paired(
        lambda: learner.epoch(np.random.default_rng(1)), lambda: plain.epoch(np.random.default_rng(1))
    )
    found = {"sasrec_over_plain": theirs / ours}
    return found | {"sasrec_ndcg_over_plain": _quality(sequences, n_items, 2 if quick else LEARNT["epochs"])}


class _Plain:
    """The plain implementation on a training set, run epoch by epoch."""

    def __init__(self, train: Interactions, section: Section, seed: int) -> None:
        torch.manual_seed(seed)
        self.section, self.n_items = section, train.n_items
        rows = [(row + 1).tolist() for row in np.split(train.items, train.indptr[1:-1])]
        self.sequences = [row for row in rows if len(row) > 1]
        self.taken = [set(row) for row in self.sequences]
        self.model = PlainSASRec(
            train.n_items, section.dim, section.layers, section.max_length, section.dropout
        )
        self.adam = torch.optim.Adam(self.model.parameters(), lr=section.lr, betas=(0.9, 0.98))

    def epoch(self, rng: np.random.Generator) -> None:
        order = rng.permutation(len(self.sequences))
        for start in range(0, len(order), self.section.batch):
            users = order[start : start + self.section.batch]
            chosen = ([self.sequences[u] for u in users], [self.taken[u] for u in users])
            batch = plain_batch(*chosen, self.n_items, self.section.max_length, rng)
            plain_step(self.model, self.adam, *batch)

    def weights(self) -> dict[str, np.ndarray]:
        """The weights with the names of our recommender, so that both are validated by the same ranking."""
        names = {"attention.in_proj_": "inward.", "attention.out_proj.": "outward."}
        found = {}
        for name, tensor in self.model.state_dict().items():
            for old, new in names.items():
                name = name.replace(old, new)
            found[name] = tensor.numpy()
        return found | {"items.weight": found["items.weight"][1:]}


def _quality(sequences: list[np.ndarray], n_items: int, epochs: int) -> float:
    """NDCG@10 of ours over that of the plain one."""
    chosen = [row for row in sequences if len(row) > 2][: LEARNT["users"]]
    train = _interactions([row[:-1] for row in chosen], n_items)
    targets = Targets(np.arange(len(chosen)), np.array([row[-1] for row in chosen]))
    section = Section(loss="bce", dim=50, max_length=LEARNT["max_length"], dropout=0.2, validate_every=0)
    scores = []
    for seed in range(LEARNT["seeds"]):
        learner = SASRecLearner(_arrays(train), _settings(section, train, seed), torch.device("cpu"))
        plain = _Plain(train, section, seed)
        for epoch in range(epochs):
            learner.epoch(np.random.default_rng([seed, epoch]))
            plain.epoch(np.random.default_rng([seed, epoch]))
        model = SASRec("sasrec", section, seed)
        model.n_items, model.seen = n_items, Histories.observed(train)
        model.candidates = Candidates(np.bincount(train.items, minlength=n_items) > 0)
        validate = Validation.of(model, targets, seed)
        scores.append([validate(learner.weights()), validate(plain.weights())])
    ours, theirs = np.mean(scores, axis=0)
    return float(ours / theirs)


def _sequences(data: Path | None, users: int) -> tuple[list[np.ndarray], int]:
    """MovieLens 1M if `data` has it, else random sequences of similar lengths, with items by a Zipf law."""
    file = data / "ml-1m-5core-sequence/interactions.parquet" if data else None
    if file and file.exists():
        table = pq.read_table(file).sort_by([("user_id", "ascending"), ("pos", "ascending")])
        _, items = np.unique(table["item_id"].to_numpy(), return_inverse=True)
        _, starts = np.unique(table["user_id"].to_numpy(), return_index=True)
        return np.split(items.astype(np.int32), starts[1:])[:users], int(items.max()) + 1
    rng = np.random.default_rng(0)
    chances = 1 / np.arange(1, 3417)
    lengths = np.clip(rng.lognormal(4.6, 1.0, users), 18, 2000).astype(int)
    rows = [rng.choice(3416, min(n, 3000), p=chances / chances.sum()).astype(np.int32) for n in lengths]
    return rows, 3416


def _interactions(rows: list[np.ndarray], n_items: int) -> Interactions:
    lengths = np.array([len(row) for row in rows])
    items = np.concatenate(rows)
    return Interactions(offsets_of(lengths), items, np.ones(len(items), np.float32), lengths, n_items)


def _arrays(train: Interactions) -> dict[str, np.ndarray]:
    return SASRec("sasrec", Section()).prepared(train, Preferences.none())


def _settings(section: Section, train: Interactions, seed: int) -> dict[str, object]:
    return section.model_dump() | {"seed": seed, "shape": (train.n_users, train.n_items)}
