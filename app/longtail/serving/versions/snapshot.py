"""A snapshot: everything of one version, immutable. A request keeps the snapshot that it began with."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from longtail.aggregation.fused import Ranking, without
from longtail.aggregation.llm_lists import LLMLists
from longtail.errors import InputError
from longtail.recommenders import assemble
from longtail.serving.versions.evidence import Evidence
from longtail.serving.versions.mapped_arrays import Array, below, map_arrays
from longtail.serving.versions.node_files import META, NodeFiles
from longtail.serving.versions.retriever import Asked, Retriever
from longtail.serving.versions.served_arm import NO_LIST, Arm
from longtail.serving.versions.served_items import ServedItems
from longtail.serving.versions.served_users import ServedUsers
from longtail.serving.versions.version_arrays import Sources, check_unchanged, fit_meta, read_arrays
from longtail.workspace import Workspace


@dataclass(frozen=True)
class Snapshot:
    """users and items: those of the data of all arms. files: what the arrays are mapped from, if they are."""

    version: str
    sources: Sources
    users: ServedUsers
    items: ServedItems
    arms: dict[str, Arm]
    files: NodeFiles | None = None

    @classmethod
    def load(cls, ws: Workspace, sources: Sources) -> "Snapshot":
        """With all look-ups, memory-mapped from files on this node. The first process that asks for them makes them.

        Raises InputError if the workspace is not complete, or is rewritten meanwhile.
        """
        files = NodeFiles.of(ws, sources)
        metas = json.loads((files.folder / META).read_text())
        return cls.of(sources, metas, map_arrays(files.folder), files)

    @classmethod
    def read(cls, ws: Workspace, sources: Sources) -> "Snapshot":
        """In the memory of this process and without look-ups: for few users, or for all of them once."""
        arrays = dict(read_arrays(ws, sources))
        check_unchanged(ws, sources)
        return cls.of(sources, fit_meta(ws, sources), arrays)

    @classmethod
    def of(
        cls,
        sources: Sources,
        metas: list[dict[str, Any]],
        arrays: Mapping[str, Array],
        files: NodeFiles | None = None,
    ) -> "Snapshot":
        """From the arrays of `read_arrays` and the metas of the fits; look-ups are in rows/<n>/."""
        models, look_ups, evidence = {}, {}, {}
        for number, (fit, meta) in enumerate(zip(sources.fits, metas, strict=True)):
            rows = below(arrays, f"rows/{number}")
            models[fit] = assemble(meta, below(arrays, f"fits/{number}"))
            look_ups[fit] = (rows["items"], rows["scores"]) if rows else None
            training = below(arrays, f"training/{number}")
            evidence[fit] = Evidence.of(training) if training else None
        users, items = ServedUsers.of(below(arrays, "users")), ServedItems.of(below(arrays, "items"))
        lists = {
            answers: LLMLists(**below(arrays, f"lists/{number}"))
            for number, answers in enumerate(sources.answers)
        }
        arms = {
            name: Arm(
                name,
                one,
                Retriever(models[one.fit], one.candidates, look_ups[one.fit]),
                lists[one.answers] if one.answers else None,
                evidence[one.fit],
                len(items) - sources.n_added,
            )
            for name, one in sources.arms.items()
        }
        return cls(sources.version, sources, users, items, arms, files)

    def check(self) -> None:
        """Raise an exception if its parts do not fit together, or if it cannot answer a question."""
        n_users, n_items = len(self.users), len(self.items)
        for arm in self.arms.values():
            model = arm.retriever.model
            sizes = {(len(model.seen), model.n_items)}
            sizes |= {(len(arm.lists.lengths), n_items)} if arm.lists else set()
            if sizes != {(n_users, n_items)}:
                raise InputError(f"{arm.chosen.fit}: it is not of {n_users} users and {n_items} items.")
            self.of_users(np.arange(min(n_users, 1)), arm)
            first = np.arange(min(n_items, 1), dtype=np.int32)
            arm.retriever.rank([Asked(None, first, first, None), Asked(None, first, first[:0], None)])

    @cached_property
    def default(self) -> Arm:
        """The arm that is served if no test is running: the first one."""
        return next(iter(self.arms.values()))

    def of_users(self, users: np.ndarray, arm: Arm | None = None) -> Ranking:
        """What the users int [n] are answered, from their whole histories in the workspace. Of a user whom neither
        list can say anything about, it has the popular items.
        """
        arm = arm or self.default
        since = self.users.since(users)
        own = arm.retriever.of_users(users, since)
        llm = NO_LIST[0][None].repeat(len(users), 0), NO_LIST[1][None].repeat(len(users), 0)
        if arm.lists is not None:
            items, scores = arm.lists.of(users)
            llm = without(items, since, len(self.items)), scores
        nobody = np.flatnonzero((own[0] < 0).all(axis=1) & (llm[0] < 0).all(axis=1))
        if len(nobody):
            own = tuple(part.copy() for part in own)
            for row in nobody:
                taken = self.users.history(users[row])
                items = self.items.most_popular(own[0].shape[1], taken, None)
                own[0][row, : len(items)] = items
                own[1][row, : len(items)] = self.items.train_count[items]
        return arm.fuse(own, llm, self.users.histories.lengths[users])
