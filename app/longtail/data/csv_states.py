"""The loop over every byte of a CSV with quotes. It has the states of Arrow's parser, but accepts no faults."""

import numba
import numpy as np

NEWLINE, RETURN = 10, 13
FINE, GOES_ON, TOO_LONG = 0, 1, 2


@numba.njit(nogil=True, cache=True)
def walk(
    data: np.ndarray, delimiter: int, quote: int, escape: int, width: int, longest: int, is_last: bool
) -> tuple[int, int, int, int, int, list[tuple[int, int, int]]]:
    """Find the whole rows in `data` uint8 [n], which begins with a row and may end in the middle of one.

    `width` is the number of delimiters in a row. If it is -1, the loop ends after the first row that is not empty.
    `quote` and `escape` are -1 if the file has none. Returns
    - the position after the last whole row,
    - the number of delimiters of that row outside of quotes,
    - the position of the quote that opens a value which is not closed, or which has the fault; -1 if there is none,
    - the fault: GOES_ON (text after a closing quote), TOO_LONG (a value of more than `longest` bytes) or FINE,
    - the position of the fault,
    - for each value with several lines, if each of these has `width` delimiters: the positions where the value opens,
      where it closes, and where its last line ends.
    """
    n = len(data)
    values = [(0, 0, 0)]
    end, delimiters, ended_with = 0, 0, 0
    opened, inside, starts, row = -1, False, True, 0
    several, alike, in_line = False, True, 0
    last_open, last_close = -1, -1
    i = 0
    while i < n:
        byte = data[i]
        if byte == escape:
            if i + 1 == n and not is_last:
                break
            if i + 1 < n and (data[i + 1] == NEWLINE or data[i + 1] == RETURN):
                several, alike, in_line, last_open = True, False, 0, -1
            starts = False
            i += 2
            continue
        if byte in (NEWLINE, RETURN):
            pair = byte == RETURN and i + 1 < n and data[i + 1] == NEWLINE
            if byte == RETURN and i + 1 == n and not is_last:
                break
            if last_open >= 0 and in_line == width:
                values.append((last_open, last_close, i))
            last_open = -1
            after = i + 2 if pair else i + 1
            if inside:
                several, alike = True, alike and in_line == width
            else:
                end, ended_with, starts = after, delimiters, True
                if width < 0 and i > row:
                    break
                row, delimiters = after, 0
            in_line = 0
            i = after
            continue
        if byte == delimiter:
            in_line += 1
            if not inside:
                delimiters += 1
                starts = True
        elif inside and byte == quote:
            if i + 1 < n and data[i + 1] == quote:
                i += 2
                continue
            if i + 1 == n and not is_last:
                break
            if i + 1 < n and data[i + 1] != delimiter and data[i + 1] != NEWLINE and data[i + 1] != RETURN:
                return end, ended_with, opened, GOES_ON, i + 1, values[1:]
            if i - opened > longest:
                return end, ended_with, opened, TOO_LONG, opened, values[1:]
            if several and alike:
                last_open, last_close = opened, i
            inside = False
        elif not inside and starts and byte == quote:
            opened, inside, starts = i, True, False
            several, alike = False, True
        else:
            starts = False
        i += 1
    if is_last and i >= n and not inside:
        if last_open >= 0 and in_line == width:
            values.append((last_open, last_close, n))
        if end < n:
            end, ended_with = n, delimiters
    return end, ended_with, opened if inside else -1, FINE, 0, values[1:]
