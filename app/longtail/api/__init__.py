"""The Python face: runs of a recipe as objects, recommenders that fit tables of raw ids, and results as files.

`import longtail` names what is public here and imports it when it is first used.
"""
