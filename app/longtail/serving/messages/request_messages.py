"""Requests to the HTTP endpoint, with the bounds and examples of its OpenAPI page.

Every bound is in the schema. So a request that fits the schema is answered, or refused with 404 or 409 for what only the
served version knows: an item, or an attribute of the catalogue.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_K = 10
MAX_K = 100
MAX_HISTORY = 5000
MAX_EXCLUDED = 5000
MAX_FILTERS = 8
MAX_VALUES = 100
MAX_BATCH = 100
MAX_EVENTS = 1000
MAX_TITLES = 50
MAX_ID = 512
"""Characters of an id, of an attribute and of its value."""
MAX_DEADLINE_MS = 60_000
LATEST_TIMESTAMP = 4_102_444_800
"""Unix seconds of the year 2100: a larger number is in another unit."""
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID)]
ListLength = Annotated[int, Field(ge=1, le=MAX_K)]


class Message(BaseModel):
    """The base of all requests: a key that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class RecommendRequest(Message):
    """Who asks: a user of the workspace, a history, or both.

    `user_id` alone: this user with the whole history in the workspace and all later events. `history` alone: somebody
    with this history. Both: this user with exactly this history.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "u42", "k": 10},
                {"history": ["i7", "i19"], "k": 5, "exclude": ["i3"], "filter": {"genres": ["Drama"]}},
                {"user_id": "u42", "history": ["i7"], "deadline_ms": 50, "explain": True},
            ],
            "anyOf": [
                {"required": ["user_id"], "properties": {"user_id": {"type": "string"}}},
                {"required": ["history"], "properties": {"history": {"type": "array"}}},
            ],
        },
    )

    user_id: Id | None = Field(
        None,
        description="Id of a user in the raw log. An unknown user without history gets the popular items.",
    )
    history: Annotated[list[Id], Field(max_length=MAX_HISTORY)] | None = Field(
        None,
        description="Item ids, oldest first. Ids that the catalogue lacks are ignored, and `degraded` says so.",
    )
    k: ListLength = Field(
        DEFAULT_K, description="How many items. There are fewer if both lists together have fewer candidates."
    )
    exclude: Annotated[list[Id], Field(max_length=MAX_EXCLUDED)] = Field(
        [], description="Item ids that must not be recommended, in addition to those of the history."
    )
    filter: Annotated[
        dict[Id, Annotated[list[Id], Field(min_length=1, max_length=MAX_VALUES)]],
        Field(max_length=MAX_FILTERS),
    ] = Field(
        {},
        description="From an attribute of the catalogue to the values that are allowed. An item must have one of the"
        " values of every attribute that is named here.",
    )
    deadline_ms: Annotated[int, Field(ge=1, le=MAX_DEADLINE_MS)] | None = Field(
        None,
        description="Milliseconds until the answer. It can only shorten the `serving.deadline_ms` of the recipe.",
    )
    explain: bool = Field(False, description="Whether each item gets a `why`.")

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.user_id is None and self.history is None:
            raise ValueError("give user_id, history or both")
        return self


class BatchRequest(Message):
    """Several requests at once. The deadline of each counts from the arrival of all."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"requests": [{"user_id": "u42", "k": 3}]}]})

    requests: Annotated[list[RecommendRequest], Field(min_length=1, max_length=MAX_BATCH)]


class Event(Message):
    """A user took an item."""

    event_id: Id = Field(
        description="An id of yours that no other event has: it makes it safe to send an event again if no answer came."
        " However often it is sent, it counts once."
    )
    user_id: Id
    item_id: Id = Field(description="It may be an item that the catalogue lacks: the log keeps it.")
    timestamp: Annotated[float, Field(ge=0, le=LATEST_TIMESTAMP)] | None = Field(
        None,
        description="When it happened, in Unix seconds, with a fraction if you have it. By default, and if it is later,"
        " the time of arrival.",
    )
    kind: Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,32}$")] = Field(
        "interaction", description="What the user did, in a word of yours, such as click or purchase."
    )
    weight: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        None, description="How strong it is, such as a rating."
    )
    recommendation_id: Id | None = Field(None, description="That of the answer which showed the item.")


class EventsRequest(Message):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "events": [
                        {
                            "event_id": "order-91-1",
                            "user_id": "u42",
                            "item_id": "i19",
                            "kind": "purchase",
                            "recommendation_id": "0192f1c0b7c87d3a8e5f0f4f6a1b2c3d",
                        }
                    ]
                }
            ]
        },
    )

    events: Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS)]
