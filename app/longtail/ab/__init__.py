"""A/B: what the event log says about the arms that were served side by side."""

from typing import Literal

Rate = Literal["users", "recommendations"]
"""What is counted: the share of users, or of recommendations, with an attributed event."""
