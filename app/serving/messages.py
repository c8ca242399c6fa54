"""What goes over the wire, with the words of the OpenAPI page."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_HISTORY = 1000
DEFAULT_K = 10


class RecommendRequest(BaseModel):
    """Either a known user or an ad-hoc history, oldest item first."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"user_id": "u42", "k": 10}, {"history": ["i7", "i19"], "k": 5}]},
    )

    user_id: str | None = Field(None, description="A user of the workspace, by the id of the raw logs.")
    history: Annotated[list[str], Field(min_length=1, max_length=MAX_HISTORY)] | None = Field(
        None, description="Item ids of somebody who is not in the workspace, oldest first."
    )
    k: Annotated[int, Field(ge=1)] | None = Field(
        None, description=f"How many items; at most the recipe's serving.candidates, by default {DEFAULT_K}."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.user_id is None) == (self.history is None):
            raise ValueError("give either user_id or history")
        return self


class RecommendedItem(BaseModel):
    """One item of the ranking; null where a list lacks the item."""

    item_id: str
    title: str | None
    score: float = Field(
        description="U = alpha * U_LLM + (1 - alpha) * U_Rec, where U of a list is minus the place, or with"
        " serving.utility: score the share of the list's largest score."
    )
    recommender_score: float | None = Field(description="The recommender's own score.")
    llm_score: float | None = Field(description="The score in the LLM's list, 0..1.")
    recommender_rank: int | None = Field(description="Place in the recommender's list, from 1.")
    llm_rank: int | None = Field(description="Place in the LLM's list, from 1.")


class Recommendation(BaseModel):
    """Items by falling score; fewer than k where there are no more candidates."""

    user: str | None = Field(description="The user_id of the request; null for a history.")
    interactions: int = Field(
        description="N(u): training interactions of the user, or the length of the known history."
    )
    alpha: float = Field(description="Weight of the LLM's list; 0 where there is none.")
    llm: Literal["ranking", "none"] = Field(
        description="Whether the LLM ranked for this user. It did so beforehand, so never for a history."
    )
    recommender: str = Field(
        description="The model that made the candidates; popularity where it knows too little."
    )
    unknown_items: list[str] = Field(
        [], description="Ids of the history that the catalogue lacks; they were ignored."
    )
    items: list[RecommendedItem]


class Health(BaseModel):
    status: Literal["ok"] = "ok"
    recommender: str
    users: int
    items: int
    users_with_llm_ranking: int


class Fault(BaseModel):
    detail: str = Field(description="What is wrong with the request.")
