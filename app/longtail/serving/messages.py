"""What goes over the wire, with the words of the OpenAPI page."""

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
        description="A user of the workspace, by the id of the raw logs, asked with all that the workspace knows of"
        " this user, validation and test items too. Anybody else gets the most popular items.",
    )
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
    user_known: bool | None = Field(
        description="Whether the workspace has this user; null for a history. Whoever it does not have gets the most"
        " popular items."
    )
    interactions: int = Field(description="N(u): length of the history that was asked with.")
    alpha: float = Field(description="Weight of the LLM's list; 0 where there is none.")
    llm: Literal["ranking", "none"] = Field(
        description="Whether the LLM ranked for this user. It did so beforehand, by the training items, so never for a"
        " history; what the user took since is left out of its list."
    )
    recommender: str = Field(
        description="The model that made the candidates; popularity where neither it nor the LLM has any."
    )
    unknown_items: list[str] = Field(
        [], description="Ids of the history that the catalogue lacks; they were ignored."
    )
    items: list[RecommendedItem]


class Health(BaseModel):
    """What is served: the fit, how a list is fused with it (null where none is), and who chose that."""

    status: Literal["ok"] = "ok"
    recommender: str
    variant: str = Field(description="The training set of the fit.")
    seed_index: int
    list: str | None = Field(description="The strategy whose list is fused in; null: the recommender alone.")
    alpha_1: float | None
    alpha_2: float | None
    utility: Literal["rank", "score"] | None
    validation_ndcg: float | None = Field(
        description="NDCG@10 on validation, as evaluated: with the fusion that validation chose, also if the recipe"
        " names another."
    )
    chosen_by: Literal["validation", "recipe"] = Field(
        description="recipe: it names some of this in `serving`."
    )
    history: Literal["asked", "masked"] = Field(
        description="What the whole history of a user is good for. asked: the recommender ranks from it. masked: the"
        " recommender keeps the user vector of its fit; later items are only left out of its ranking."
    )
    users: int
    items: int
    users_with_llm_ranking: int


class Fault(BaseModel):
    detail: str = Field(description="What is wrong with the request.")
