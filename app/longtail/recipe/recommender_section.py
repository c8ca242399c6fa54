"""The recommenders: those that are named are fitted, on each variant of the training set."""

from typing import Annotated, Any, ClassVar

from pydantic import (
    BeforeValidator,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    create_model,
)

from longtail.recipe.section import Section
from longtail.registry import RECOMMENDERS, recommender_spec, recommenders
from longtail.variants import TrainedVariant


class RecommenderSection(Section):
    """What the sections of all recommenders have; each has its own beside its code."""

    meaning: ClassVar[int] = 1
    """The version of what a fit with equal settings gives: raised in the section of a recommender whenever that changes."""
    variants: list[TrainedVariant] | None = None
    """The training sets this recommender is fitted on; by default all of the recipe."""
    judge: dict[str, Any] = {}
    """What of the recipe's `judge` is otherwise for this recommender; `longtail sweep` finds it on validation."""

    def of_fit(self) -> dict[str, Any]:
        """All that a fit depends on besides its data and its seed, as JSON."""
        return self.model_dump(mode="json", exclude={"variants", "judge"}) | {"meaning": self.meaning}


def _sections(given: Any) -> Any:
    """Each by the section of the recommender of its name, in the order of the registry; one that is null is not named."""
    if not isinstance(given, dict):
        return given
    named = {name: own for name, own in given.items() if own is not None}
    known = {name: (recommender_spec(name).settings, ...) for name in recommenders() if name in named}
    return dict(create_model("Recommenders", __base__=Section, **known).model_validate(named))


def _with_unnamed(chosen: Any, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
    """Our own recommenders always, null if they are not named: a fingerprint depends on it."""
    return dict.fromkeys(RECOMMENDERS) | dump(chosen)


Recommenders = Annotated[
    dict[str, SerializeAsAny[RecommenderSection]], BeforeValidator(_sections), WrapSerializer(_with_unnamed)
]
"""Section by name."""
