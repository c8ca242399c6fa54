"""The recommenders of a recipe: each named one is fitted on each variant of the training set."""

from typing import Annotated, Any, ClassVar, Self

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

OF_TRAINING_SETS = ("variants", "judge", "controls")
"""The fields of a section that choose and make training sets. They are no settings of the recommender itself."""


class RecommenderSection(Section):
    """The fields that all recommenders have. Each recommender adds its own in a subclass, beside its code."""

    meaning: ClassVar[int] = 1
    """The version of the code that fits. A recommender raises it in its own section when a fit changes although the settings
    do not."""
    variants: list[TrainedVariant] | None = None
    """The variants of the training set that this recommender is fitted on; by default all of the recipe."""
    judge: dict[str, Any] = {}
    """Values of the recipe's `judge` that are different for this recommender. `longtail sweep` finds them on validation."""
    controls: dict[str, dict[str, Any]] = {}
    """From a control that is judged to its own values: it copies the amounts of the LLM under this judge, and has this
    weight. By default it has those of `judge`. `longtail sweep` finds them with the same search."""

    @property
    def reads_texts(self) -> bool:
        """Whether a fit reads the texts of items."""
        return False

    def alone(self) -> Self:
        """The settings of the recommender, with the defaults of OF_TRAINING_SETS."""
        return self.model_copy(update={"variants": None, "judge": {}, "controls": {}})

    def of_fit(self) -> dict[str, Any]:
        """Everything that a fit depends on, except its data and its seed, as JSON."""
        return self.model_dump(mode="json", exclude={*OF_TRAINING_SETS}) | {"meaning": self.meaning}


def _sections(given: Any) -> Any:
    """Check each section with its recommender's class, in the order of the registry. A null section is left out."""
    if not isinstance(given, dict):
        return given
    named = {name: own for name, own in given.items() if own is not None}
    known = {name: (recommender_spec(name).settings, ...) for name in recommenders() if name in named}
    return dict(create_model("Recommenders", __base__=Section, **known).model_validate(named))


def _with_unnamed(chosen: Any, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
    """Always list all built-in recommenders, null if not named, because the fingerprint depends on it."""
    return dict.fromkeys(RECOMMENDERS) | dump(chosen)


Recommenders = Annotated[
    dict[str, SerializeAsAny[RecommenderSection]], BeforeValidator(_sections), WrapSerializer(_with_unnamed)
]
"""From the name of a recommender to its section."""
