"""The test items ranked with every kind of fusion, each with the numbers that validation chose for it.

Both lists of a user are made once, and then fused in each kind.
"""

from contextlib import ExitStack

from longtail.aggregation.fused import Fused, Ranking
from longtail.aggregation.kinds import Fusion
from longtail.evaluation.ranks import Protocol, rank_targets, ranks_table, ranks_writer
from longtail.evaluation.targets import Part, read_targets
from longtail.workspace.place import Place


def kind_place(evaluation: Place, kind: str) -> Place:
    """Where the `ranks/` of a kind are, in the evaluation of a served run."""
    return evaluation / f"kinds/{kind}"


def rank_kinds(fused: Fused, kinds: dict[str, Fusion], part: Part, to: Place, protocol: Protocol) -> None:
    """Write rows of RANKS for the users of `part`, as `ranks.rank_part` does, to the `kind_place` of each kind in `to`."""
    with ExitStack() as stack:
        writers = {kind: stack.enter_context(ranks_writer(part, kind_place(to, kind))) for kind in kinds}
        for users, rows, targets in read_targets(part, protocol.held_out):
            union, asked = fused.union(users, None), fused.interactions(users, None)
            for kind, fusion in kinds.items():
                alpha = fusion.alpha(asked, fused.sparsity)
                lists = Ranking.of(union, fusion, alpha, protocol.depth, asked).items
                table = ranks_table(users[rows], targets, rank_targets(lists, rows, targets))
                writers[kind].write_table(table)
