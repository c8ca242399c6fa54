"""The typed recipe: one YAML file describes one run.

Unknown keys are rejected with the nearest known key named; `--set a.b=c` changes one value; the resolved recipe is
saved with the results.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.errors import InputError

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Simulation(Section):
    """The simulated store; its true preferences are kept apart for evaluation."""

    users: Positive = 2000
    items: Positive = 800
    tastes: Positive = 16
    mean_history: Annotated[float, Field(ge=4)] = 12.0
    zipf: Annotated[float, Field(ge=0)] = 1.0
    """Exponent of the items' popularity."""
    new_items: Share = 0.05
    """Share of the items that nobody has met yet."""
    noise: Share = 0.1
    """Share of interactions that are accidental clicks."""


class Columns(Section):
    """Which column of a Parquet or CSV table holds what; null where the table has none."""

    user: str = "user_id"
    item: str = "item_id"
    time: str | None = "timestamp"
    rating: str | None = None
    title: str | None = "title"
    attributes: list[str] = []


class Dataset(Section):
    source: Literal["simulated", "movielens", "parquet", "csv"] = "simulated"
    path: str | None = None
    """Folder with the raw files; for `simulated` there is none."""
    interactions: str | None = None
    """File name of the interactions inside `path`; by default interactions.parquet or interactions.csv."""
    items: str | None = None
    """File name of the catalogue; by default items.parquet or items.csv if it is there."""
    columns: Columns = Columns()
    simulation: Simulation = Simulation()
    min_rating: float | None = None
    """Interactions rated lower are not positives and are dropped, counted."""
    k_core: Count = 0
    """Keep only users and items with at least this many interactions, repeated until nothing changes."""
    split: Literal["leave-one-out", "temporal"] = "leave-one-out"
    valid_share: Share = 0.1
    test_share: Share = 0.1
    """Temporal split: the last shares of all interactions by time."""
    tail_max: Count = 5
    """An item with 1..tail_max training interactions is long-tail (LLM-I2I: 5 on Amazon)."""
    head_share: Share = 0.2
    """This share of the warm items, the most popular, is the head."""
    sparse_max: Count = 5
    """A user with at most this many training interactions is sparse."""
    active_min: Count = 20
    """A user with at least this many is active."""


class LLM(Section):
    base: str = "small"
    """`small` (a Llama from scratch), a Hugging Face id, or a local path."""
    items: Literal["token", "title", "id"] = "token"
    """How an item is written in a prompt."""
    hidden: Positive = 64
    layers: Positive = 2
    """Size of `small`."""


class Tuning(Section):
    epochs: Positive = 3
    batch: Positive = 64
    """Examples per optimiser step, over all workers."""
    lr: Annotated[float, Field(gt=0)] = 2e-3
    zero: Annotated[int, Field(ge=0, le=3)] = 1
    """DeepSpeed ZeRO stage."""
    lora: Count = 0
    """Rank of the adapters; 0 tunes all weights."""
    precision: Literal["fp32", "bf16"] = "fp32"
    history: Positive = 10
    """A prompt carries this many of the latest interactions (LLM-I2I: 10)."""


class Generator(Tuning):
    epochs: Positive = 20
    tail_weight: Annotated[float, Field(gt=0)] = 4.0
    """Loss weight of a long-tail target; any other weighs 1 (LLM-I2I, alpha and beta)."""


class Discriminator(Tuning):
    epochs: Positive = 2
    lr: Annotated[float, Field(gt=0)] = 1e-3
    negatives: Literal["random", "popular"] = "random"
    """Where the items that a user did not take come from (LLM-I2I: random)."""
    negatives_per_positive: Positive = 1


class NextItem(Section):
    """LLM-I2I: the items that a user would take next."""

    strategy: Literal["next_item"] = "next_item"
    proposals: Positive = 10
    tail_share: Share = 0.0
    """This share of a user's proposals, and of those the judge keeps, is reserved for long-tail and cold items."""


class Judge(Section):
    """Blend of three confidences. Agreement with an independent collaborative score filters best, Yes/No alone worst."""

    likelihood: Annotated[float, Field(ge=0)] = 0.3
    agreement: Annotated[float, Field(ge=0)] = 0.5
    yes_no: Annotated[float, Field(ge=0)] = 0.2
    threshold: Share = 0.0
    """A proposal whose blended confidence is lower is rejected."""
    keep: Positive = 5
    """At most this many proposals of a user are accepted."""
    weight: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Weight of a generated interaction; an observed one weighs 1."""

    @model_validator(mode="after")
    def _some_weight(self) -> "Judge":
        if self.likelihood + self.agreement + self.yes_no <= 0:
            raise ValueError("at least one of likelihood, agreement and yes_no must be above 0")
        return self


Variant = Literal["observed", "generated", "discriminated", "random", "popular", "itemcf"]
VARIANTS: tuple[Variant, ...] = ("observed", "generated", "discriminated", "random", "popular", "itemcf")


class RecommenderSection(Section):
    variants: list[Variant] | None = None
    """The training sets this recommender is fitted on; by default all of the recipe."""


class Popularity(RecommenderSection):
    pass


class ItemCF(RecommenderSection):
    neighbours: Positive = 100
    similarity: Literal["cosine", "bm25"] = "cosine"
    recency: Annotated[float, Field(gt=0, le=1)] = 1.0
    """A query item that lies k steps back weighs recency^k."""


class Swing(RecommenderSection):
    alpha: Annotated[float, Field(ge=0)] = 1.0
    neighbours: Positive = 100
    user_weight: Annotated[float, Field(ge=0)] = 0.5
    """w_u = |I_u|^-user_weight (papers 5.1: 0.5 is the weighted form, 0 the basic one)."""
    recency: Annotated[float, Field(gt=0, le=1)] = 1.0


class Trained(RecommenderSection):
    dim: Positive = 64
    epochs: Positive = 100
    batch: Positive = 2048
    lr: Annotated[float, Field(gt=0)] = 1e-3
    l2: Annotated[float, Field(ge=0)] = 1e-4


class BPR(Trained):
    pass


class LightGCN(Trained):
    layers: Positive = 2


class SASRec(Trained):
    dim: Positive = 50
    epochs: Positive = 30
    batch: Positive = 128
    l2: Annotated[float, Field(ge=0)] = 0.0
    layers: Positive = 2
    heads: Positive = 1
    max_length: Positive = 50
    dropout: Share = 0.2

    @model_validator(mode="after")
    def _heads_divide(self) -> "SASRec":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads, got {self.dim} and {self.heads}")
        return self


class Recommenders(Section):
    """Those that are named are trained."""

    popularity: Popularity | None = None
    itemcf: ItemCF | None = None
    swing: Swing | None = None
    bpr: BPR | None = None
    lightgcn: LightGCN | None = None
    sasrec: SASRec | None = None

    def chosen(self) -> dict[str, RecommenderSection]:
        return {name: section for name, section in self if section is not None}


class Evaluation(Section):
    seeds: Positive = 1
    """Trained recommenders are fitted this often; the interval averages over the seeds."""
    ks: list[Positive] = [3, 5, 10, 20, 50]
    bootstrap: Positive = 1000


class Serving(Section):
    """Llama4Rec's aggregator, papers 2.4."""

    recommender: str = "swing"
    variant: Variant = "discriminated"
    alpha_1: Share = 0.5
    alpha_2: Share = 0.3
    candidates: Positive = 50
    """k': how many of the recommender's items are ranked again."""


class Resources(Section):
    accelerator: Literal["cpu", "gpu"] = "cpu"
    pool: tuple[Positive, Positive] = (1, 1)
    """Smallest and largest number of vLLM engines of one pool."""
    llm_workers: Positive = 2
    """Ray Train workers that tune an LLM."""
    workers: Positive = 1
    """Ray Train workers that train one recommender."""
    parallel: Positive = 2
    """Recommenders trained at the same time."""

    @model_validator(mode="after")
    def _ordered(self) -> "Resources":
        if self.pool[0] > self.pool[1]:
            raise ValueError(f"pool is [smallest, largest], got {list(self.pool)}")
        return self


class Recipe(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Count = 7
    dataset: Dataset = Dataset()
    llm: LLM = LLM()
    generator: Generator = Generator()
    discriminator: Discriminator = Discriminator()
    augment: Annotated[list[NextItem], Field(min_length=1, max_length=1)] = [NextItem()]
    judge: Judge = Judge()
    variants: list[Variant] = list(VARIANTS)
    recommenders: Recommenders = Recommenders(itemcf=ItemCF(), swing=Swing())
    evaluation: Evaluation = Evaluation()
    serving: Serving = Serving()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _whole(self) -> "Recipe":
        if "observed" not in self.variants:
            raise ValueError("variants must contain 'observed': every lift is measured against it")
        if self.llm.base == "small" and self.generator.lora:
            raise ValueError(
                "generator.lora needs a pretrained llm.base; 'small' is trained from scratch, set it to 0"
            )
        for name, section in self.recommenders.chosen().items():
            missing = set(section.variants or []) - set(self.variants)
            if missing:
                raise ValueError(
                    f"recommenders.{name}.variants names {sorted(missing)}, which variants does not have"
                )
            if section.variants is not None and "observed" not in section.variants:
                raise ValueError(f"recommenders.{name}.variants must contain 'observed'")
        return self


def load_recipe(path: str | Path, changes: list[str] | None = None) -> Recipe:
    """Read a YAML recipe and apply `a.b=c` changes (values are YAML too).

    Raises InputError naming file, key, value and, for an unknown key, the nearest known one.
    """
    path = Path(path)
    if not path.exists():
        shipped = sorted(file.name for file in Path("jobs/recipes").glob("*.yaml"))
        raise InputError(
            f"{path}: no such recipe. Shipped in jobs/recipes: {', '.join(shipped) or 'none here'}."
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a recipe is a mapping of sections, this is {type(values).__name__}.")
    for change in changes or []:
        _apply(values, change)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(f"{path}: {_explain(problem)}" for problem in error.errors())) from None


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML, every default written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def _apply(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise InputError(f"--set {change}: write it as section.key=value.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {change}: the value is not YAML: {error}") from error
    *parents, last = key.split(".")
    for parent in parents:
        if isinstance(values, list) and parent.isdigit() and int(parent) < len(values):
            values = values[int(parent)]
            continue
        values = values.setdefault(parent, {}) if isinstance(values, dict) else None
        if not isinstance(values, dict | list):
            raise InputError(f"--set {change}: {parent} is not a section of the recipe.")
    if isinstance(values, list):
        raise InputError(
            f"--set {change}: {parents[-1]} is a list, name the place in it: {parents[-1]}.0.{last}."
        )
    values[last] = value


def _explain(problem: dict[str, Any]) -> str:
    """One validation problem in a recipe user's words."""
    where = [part for part in problem["loc"]]
    key = ".".join(str(part) for part in where) or "recipe"
    if problem["type"] == "extra_forbidden":
        known = _known_keys(where[:-1])
        near = difflib.get_close_matches(str(where[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}."
        return f"unknown key '{key}': {hint}"
    return f"{key} = {problem.get('input')!r}: {problem['msg']}."


def _known_keys(where: list[str | int]) -> list[str]:
    """The field names of the section at `where`."""
    section: Any = Recipe
    for part in where:
        if isinstance(part, str) and part in getattr(section, "model_fields", {}):
            section = _section_of(section.model_fields[part].annotation)
    return list(getattr(section, "model_fields", {}))


def _section_of(annotation: Any) -> Any:
    """The Section inside an annotation such as `Swing | None` or `list[NextItem]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(
        (found for inner in getattr(annotation, "__args__", ()) if (found := _section_of(inner))), None
    )
