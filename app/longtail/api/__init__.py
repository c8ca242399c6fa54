"""The Python API: runs of a recipe as objects, recommenders that fit tables of raw ids, and results as files.

`import longtail` gives the public names of this folder. Each is imported when it is first used.
"""
