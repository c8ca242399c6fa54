"""The log of what happens at the endpoint: interactions that clients post, and recommendations that were served.

It is a folder (or a bucket by its URI) of JSON lines. Every process writes files of its own, so no two writers ever
meet, and a file that was begun by a killed process is left as it is:

    interactions/2026-11-30T14/01795962000000000000-5f0c21ab.jsonl
    recommendations/2026-11-30T14/…
    arms/01795962000000000000-77d1b0c4e2a90f35.json

`serving` writes it, `data` reads it as a data set, `ab` compares arms with it.
"""
