"""Joining the ids of the catalogue with those of the log: rewritten if that is safe, else a warning."""

import logging

import pyarrow as pa
import pyarrow.compute as pc

from longtail.data.catalogue import NULL_SHARE

_WHOLE = r"^-?\d+$"
_WHOLE_AS_FLOAT = r"^-?\d+\.0$"
log = logging.getLogger("longtail")


def join(listed: pa.Table, met: pa.Array, name: str) -> tuple[pa.Table, int, int]:
    """The catalogue `name` with ids as the log writes them, how many were rewritten, and how many are in the log.

    met: the item ids of the log. If only one of the two writes whole numbers as 1.0, the catalogue is rewritten like the
    log. Other ids that do not match are not changed; a warning shows one of each.
    """
    ids = listed["item_id"].combine_chunks()
    rewritten = as_the_log_writes(ids, met)
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


def as_the_log_writes(ids: pa.Array, met: pa.Array) -> pa.Array:
    """The ids of a catalogue; whole numbers are written as 1 or as 1.0, whichever all of `met`, the ids of the log, are."""
    if _all_match(ids, _WHOLE_AS_FLOAT) and _all_match(met, _WHOLE):
        return pc.utf8_slice_codeunits(ids, 0, -2)
    if _all_match(ids, _WHOLE) and _all_match(met, _WHOLE_AS_FLOAT):
        return pc.binary_join_element_wise(ids, ".0", "")
    return ids


def _all_match(ids: pa.Array, pattern: str) -> bool:
    return len(ids) > 0 and pc.all(pc.match_substring_regex(ids, pattern)).as_py()


def _warn(only_listed: pa.Array, only_met: pa.Array, n_met: int, name: str) -> None:
    """Warn about ids of the log that the catalogue seems to write in another way."""
    alike = pc.is_in(_normalised(only_met), _normalised(only_listed))
    pairs = pc.sum(alike).as_py() or 0
    if pairs > NULL_SHARE * n_met:
        own = only_met.filter(alike)[0].as_py()
        place = pc.index(_normalised(only_listed), _normalised(pa.array([own]))[0]).as_py()
        log.warning(
            "prepare: %s: %d items of the log are not in the catalogue, but seem to be there in another spelling: the log "
            "has %r, the catalogue %r. Write both in the same way. Without this these items have no title.",
            name,
            pairs,
            own,
            only_listed[place].as_py(),
        )
    elif len(only_met) == n_met:
        log.warning(
            "prepare: %s: no item of the catalogue is in the log: the log has %r, the catalogue %r. "
            "Set dataset.columns.item, or write both in the same way. Without this no item of the log has a title.",
            name,
            only_met[0].as_py(),
            only_listed[0].as_py(),
        )


def _normalised(ids: pa.Array) -> pa.Array:
    """Ids in lower case, without `.0`, leading zeros, and characters that are not letters or digits."""
    plain = pc.replace_substring_regex(pc.utf8_lower(ids), r"\.0$", "")
    plain = pc.utf8_ltrim(pc.replace_substring_regex(plain, r"[^\pL\pN]+", ""), "0")
    return pc.if_else(pc.equal(plain, ""), ids, plain)
