"""Longtail: recommendation where data is thin. See `README.md` for the tour and `app/longtail/cli.py` for the entry."""

__version__ = "0.3.0"
