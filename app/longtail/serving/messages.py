"""Requests and responses of the HTTP endpoint, with the descriptions on its OpenAPI page."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_HISTORY = 1000
MAX_ID = 4096
DEFAULT_K = 10


class RecommendRequest(BaseModel):
    """Either a known user or an ad-hoc history, oldest item first."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"user_id": "u42", "k": 10}, {"history": ["i7", "i19"], "k": 5}]},
    )

    user_id: Annotated[str, Field(min_length=1, max_length=MAX_ID)] | None = Field(
        None,
        description="Id of a user in the raw logs. The ranking uses the whole history of this user in the workspace,"
        " validation and test items included. An unknown user gets the most popular items.",
    )
    history: Annotated[list[str], Field(min_length=1, max_length=MAX_HISTORY)] | None = Field(
        None, description="Item ids of a user who is not in the workspace, oldest first."
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
    """One item of the ranking. The score and rank of a list are null if the list does not have the item."""

    item_id: str
    title: str | None
    score: float = Field(
        description="U = alpha * U_LLM + (1 - alpha) * U_Rec. U of a list is minus the rank; if serving.utility is score,"
        " it is the score divided by the largest score of the list."
    )
    recommender_score: float | None = Field(description="The recommender's own score.")
    llm_score: float | None = Field(description="The score in the LLM's list, 0..1.")
    recommender_rank: int | None = Field(description="Place in the recommender's list, from 1.")
    llm_rank: int | None = Field(description="Place in the LLM's list, from 1.")


class Recommendation(BaseModel):
    """Items by descending score; fewer than k if there are not enough candidates."""

    user: str | None = Field(description="The user_id of the request; null for a history.")
    user_known: bool | None = Field(
        description="Whether the workspace has this user; null for a history. An unknown user gets the most"
        " popular items."
    )
    interactions: int = Field(description="N(u): length of the history that the ranking used.")
    alpha: float = Field(description="Weight of the LLM's list; 0 if there is none.")
    llm: Literal["ranking", "none"] = Field(
        description="Whether the LLM ranked items for this user. It did so before serving, from the training items, so never"
        " for a history. Items that the user interacted with later are left out of its list."
    )
    recommender: str = Field(
        description="The recommender that made the candidates; popularity if neither it nor the LLM has any."
    )
    unknown_items: list[str] = Field(
        [], description="Ids of the history that are not in the catalogue; they were ignored."
    )
    items: list[RecommendedItem]


class Health(BaseModel):
    """What is served: the trained recommender, how a list is fused with it (null if none is), and what chose that."""

    status: Literal["ok"] = "ok"
    recommender: str
    variant: str = Field(description="The training set of the recommender.")
    seed_index: int
    list: str | None = Field(description="The strategy whose list is fused in; null: the recommender alone.")
    alpha_1: float | None
    alpha_2: float | None
    utility: Literal["rank", "score"] | None
    validation_ndcg: float | None = Field(
        description="NDCG@10 on validation, from the evaluation: with the fusion that validation chose, even if the"
        " recipe names another one."
    )
    chosen_by: Literal["validation", "recipe"] = Field(
        description="recipe: its `serving` names some of these values."
    )
    history: Literal["asked", "masked"] = Field(
        description="How the whole history of a user is used. asked: the recommender ranks from it. masked: the"
        " recommender keeps the user vector of its training; later items are only left out of its ranking."
    )
    users: int
    items: int
    users_with_llm_ranking: int


class Fault(BaseModel):
    detail: str = Field(description="What is wrong with the request.")
