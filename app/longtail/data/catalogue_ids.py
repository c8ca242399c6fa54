"""Whether the ids of the catalogue are those of the log: joined where that is sure, and said where it is not."""

import logging

import pyarrow as pa
import pyarrow.compute as pc

from longtail.data.catalogue import NULL_SHARE

_WHOLE = r"^-?\d+$"
_WHOLE_AS_FLOAT = r"^-?\d+\.0$"
log = logging.getLogger("longtail")


def join(listed: pa.Table, met: pa.Array, name: str) -> tuple[pa.Table, int, int]:
    """The catalogue `name` with ids as the log writes them, how many were rewritten, and how many are met.

    If one of the two wrote all its whole numbers as 1.0 and the other did not, the catalogue follows the log. Other ids
    that never meet stay apart; a warning says so, with an example of both.
    """
    ids = listed["item_id"].combine_chunks()
    rewritten = _as_the_log_writes(ids, met)
    if rewritten is not ids:
        place = listed.schema.get_field_index("item_id")
        listed = listed.set_column(place, "item_id", rewritten)
    found = pc.is_in(rewritten, met)
    if len(ids):
        _warn(
            rewritten.filter(pc.invert(found)),
            met.filter(pc.invert(pc.is_in(met, rewritten))),
            len(met),
            name,
        )
    return listed, 0 if rewritten is ids else len(ids), pc.sum(found).as_py() or 0


def _as_the_log_writes(ids: pa.Array, met: pa.Array) -> pa.Array:
    if _all_match(ids, _WHOLE_AS_FLOAT) and _all_match(met, _WHOLE):
        return pc.utf8_slice_codeunits(ids, 0, -2)
    if _all_match(ids, _WHOLE) and _all_match(met, _WHOLE_AS_FLOAT):
        return pc.binary_join_element_wise(ids, ".0", "")
    return ids


def _all_match(ids: pa.Array, pattern: str) -> bool:
    return len(ids) > 0 and pc.all(pc.match_substring_regex(ids, pattern)).as_py()


def _warn(only_listed: pa.Array, only_met: pa.Array, n_met: int, name: str) -> None:
    """Say which ids of the log the catalogue seems to write in another way."""
    alike = pc.is_in(_levelled(only_met), _levelled(only_listed))
    pairs = pc.sum(alike).as_py() or 0
    if pairs > NULL_SHARE * n_met:
        own = only_met.filter(alike)[0].as_py()
        place = pc.index(_levelled(only_listed), _levelled(pa.array([own]))[0]).as_py()
        log.warning(
            "prepare: %s: %d items of the log are not listed, but seem to be in another spelling: the log has %r, the "
            "catalogue %r. Write both alike, or these items have no title.",
            name,
            pairs,
            own,
            only_listed[place].as_py(),
        )
    elif len(only_met) == n_met:
        log.warning(
            "prepare: %s: no listed item is ever met in the log: the log has %r, the catalogue %r. "
            "Set dataset.columns.item, or write both alike, or no item of the log has a title.",
            name,
            only_met[0].as_py(),
            only_listed[0].as_py(),
        )


def _levelled(ids: pa.Array) -> pa.Array:
    """Without case, `.0`, leading zeros and all that is no letter or digit."""
    plain = pc.replace_substring_regex(pc.utf8_lower(ids), r"\.0$", "")
    plain = pc.utf8_ltrim(pc.replace_substring_regex(plain, r"[^\pL\pN]+", ""), "0")
    return pc.if_else(pc.equal(plain, ""), ids, plain)
