"""The whole recipe of a run."""

from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from longtail.recipe.arm_section import Arm, ArmName
from longtail.recipe.constraint import Constraint
from longtail.recipe.dataset import Dataset
from longtail.recipe.event_settings import ServedEvents
from longtail.recipe.judging import Judge, Sweep
from longtail.recipe.llm import LLM, Discriminator, Generator, Role, Task
from longtail.recipe.prices import Prices
from longtail.recipe.recommender_section import Recommenders, RecommenderSection
from longtail.recipe.section import Count, Positive, Section, Share
from longtail.recipe.strategy_section import Strategies, StrategySection
from longtail.recipe.text_section import Text
from longtail.recipe.tuning import Tune
from longtail.registry import recommender_spec, strategies, strategy_spec
from longtail.variants import CONTROLS, VARIANTS, TrainedVariant


class Evaluation(Section):
    protocol: Literal["standard", "train-only"] = "standard"
    """`standard`: everything is chosen on the validation items. After that the LLMs are asked again and the recommenders are
    fitted again, with the validation items as part of the history; so all that a user took is known and masked at the test.
    `train-only`: at the test the validation items are neither known nor masked, as with Llama4Rec (arXiv 2401.13870)."""
    retune: bool = False
    """Protocol `standard`: also tune the LLMs again, from the start, with the validation items as part of the history."""
    seeds: Positive = 1
    """How many times everything random is repeated, each time with the next seed: an LLM is tuned and asked, and each
    recommender is fitted on its answers. Intervals then carry the variance of the LLM too, from 3 on with some precision."""
    ks: list[Positive] = [3, 5, 10, 20, 50]
    bootstrap: Positive = 1000
    sampled_negatives: Count = 0
    """Besides the full ranking, also rank each held-out item among this many random items. Use it only to compare with
    published tables that were made in this way."""
    served: bool = True
    """If a strategy gives each user a list of the LLM, evaluate also every recommender fused with this list, and fused with
    ItemCF's list as a control. The weight of the list is chosen on validation. Both lists are evaluated alone too. The list
    of `ranking` is fused only with the recommender whose items it ranks again; its control has the same items in the order
    of that recommender."""
    kinds: bool = False
    """Rank the test with every kind of fusion too (`serving.kind`), each with the numbers that validation chose for it. The
    report then compares them with one another, and with the recommender and the list alone."""


FusionKind = Literal["paper", "uniform", "bucketed", "inject"]
NO_LIST = "none"
"""The value of `serving.list` that serves the recommender alone."""


class Serving(Section):
    """What is served: the recommender, the variant it was fitted on, and the list of the LLM that is fused in, if any.

    Validation chooses every value that is null, which is the default. A value that is given here is used instead.
    `longtail evaluate` and `longtail fit-aggregator` write down what was chosen; `longtail serve` reads that.
    """

    recommender: str | None = None
    variant: TrainedVariant | None = None
    list: str | None = None
    """The strategy whose list is fused in, or `none` for the recommender alone. A list of `ranking` has one recommender's
    items and is fused only with it."""
    kind: FusionKind | None = None
    """How the list is fused. `paper`: by the adaptive aggregation of Llama4Rec (arXiv 2401.13870, equations 5 to 7), with a
    weight that is the higher the shorter the user's history. `uniform`: with the same weight for every user. `bucketed`:
    with a weight for each of five groups of users with histories of about the same length. `inject`: the items of the list
    take fixed places. The numbers of a kind are chosen on validation."""
    alpha_1: Share | None = None
    """Of kind `paper`, as is alpha_2: the weight of the list is between alpha_1 * alpha_2 and alpha_1."""
    alpha_2: Share | None = None
    utility: Literal["rank", "score"] | None = None
    """Of kind `paper`: the utility of an item in a list. `rank`: minus its position, as in the paper. `score`: its score
    divided by the largest in the list."""
    candidates: Positive = 50
    """k' of the paper: how many of the recommender's best items are ranked again, when serving and in the evaluation."""
    deadline_ms: Annotated[int, Field(ge=1, le=60_000)] = 1000
    """Milliseconds in which a request is answered. What is not there by then is left out, and the answer says so. A request
    may set a shorter time."""
    live: bool = False
    """Whether an LLM makes the list of a history for which there is none, while the request waits. Needs llm.items: token
    and a list of `next_item`. It takes a vLLM engine per replica of its own: a GPU, or a CPU."""
    arms: dict[ArmName, Arm] = {}
    """An A/B test: settings that are live at the same time, by name. The first one is the baseline. Users are split by a
    hash; their shares add up to 1."""
    salt: str = ""
    """Part of the hash that splits users into arms. With another salt they are split anew."""
    events: ServedEvents = ServedEvents()

    def of_arm(self, name: str) -> "Serving":
        """The settings of one arm, without arms; a name that is not in `arms` stands for what all have in common.

        Raises ValidationError for a setting that is wrong.
        """
        common = self.model_dump(exclude={"arms", "salt", "events"}, exclude_unset=True)
        own = self.arms[name].serving if name in self.arms else {}
        return Serving.model_validate(common | own)

    @model_validator(mode="after")
    def _arms_are_whole(self) -> "Serving":
        for name, arm in self.arms.items():
            if kept := sorted({"arms", "salt", "events", "live"} & set(arm.serving)):
                raise ValueError(
                    f"arms.{name}.serving.{kept[0]}: all arms have the same. Set serving.{kept[0]}"
                )
            try:
                self.of_arm(name)
            except ValidationError as error:
                fault = error.errors()[0]
                key = ".".join(map(str, fault["loc"]))
                raise ValueError(f"arms.{name}.serving.{key} = {fault['input']!r}: {fault['msg']}") from None
        total = sum(arm.share for arm in self.arms.values())
        if self.arms and abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of arms add up to {total:g}: let them add up to 1")
        return self

    @property
    def numbers(self) -> dict[str, float | str]:
        """The numbers of kind `paper` that are given."""
        given = {"alpha_1": self.alpha_1, "alpha_2": self.alpha_2, "utility": self.utility}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def named(self) -> dict[str, float | str]:
        """Everything that is given and not left to validation."""
        given = {name: getattr(self, name) for name in ("recommender", "variant", "list", "kind")}
        return {name: value for name, value in given.items() if value is not None} | self.numbers

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Serving":
        if self.numbers and self.kind not in (None, "paper"):
            raise ValueError(
                f"{next(iter(self.numbers))} is a number of kind 'paper', but kind is {self.kind!r}. Leave one out"
            )
        return self


class Resources(Section):
    accelerator: Literal["cpu", "gpu"] = "cpu"
    pool: tuple[Positive, Positive] = (1, 1)
    """Smallest and largest number of vLLM engines of one pool."""
    llm_workers: Positive = 2
    """Ray Train workers that tune an LLM."""
    workers: Positive = 1
    """How many workers train one recommender: several are Ray Train's, one is the Ray task of the fit itself."""
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
    text: Text = Text()
    llm: LLM = LLM()
    generator: Generator = Generator()
    discriminator: Discriminator = Discriminator()
    augment: Strategies = Field([{"strategy": "next_item"}], validate_default=True)
    """The strategies, each at most once."""
    ledger: str | None = None
    """Folder or URI of the ledger, which keeps the answers of the LLMs. Recipes with the same ledger never ask the same
    question twice. By default `ledger` in the workspace."""
    judge: Judge = Judge()
    """Decides which proposals are accepted. It may be the name of a preset: `llm-i2i`."""
    sweep: Sweep = Sweep()
    prices: Prices = Prices()
    variants: list[TrainedVariant] = ["observed", "generated", "discriminated", "random", "popular", "itemcf"]
    recommenders: Recommenders = Field({"itemcf": {}, "swing": {}}, validate_default=True)
    tune: Tune = Tune()
    constraint: Constraint = Constraint()
    evaluation: Evaluation = Evaluation()
    serving: Serving = Serving()
    resources: Resources = Resources()

    @property
    def strategies(self) -> dict[str, StrategySection]:
        return {section.strategy: section for section in self.augment}

    @property
    def roles(self) -> tuple[Role, ...]:
        """The LLMs that a strategy or the judge asks."""
        if not self.augmented:
            return ()
        asked = {role for _, role, _ in self._tasks_needed()}
        if not asked:
            return ()
        # The discriminator starts from the weights of the generator, so the generator is always tuned.
        return ("generator", "discriminator") if "discriminator" in asked else ("generator",)

    @property
    def augmented(self) -> bool:
        """Whether anything is added to the log or a list: there is a strategy, and a variant that is not `observed`."""
        return set(self.variants) != {"observed"} and bool(self.augment)

    @property
    def ranking_strategies(self) -> tuple[str, ...]:
        """The strategies of this recipe that give every user a list, in the order of preference."""
        return tuple(name for name in strategies() if name in self.strategies and strategy_spec(name).ranks)

    @property
    def served(self) -> bool:
        """Whether recommenders are also evaluated fused with a list, as they may be served."""
        return self.evaluation.served and self.augmented and bool(self.ranking_strategies)

    def training_set_of(self, recommender: str, variant: TrainedVariant) -> str:
        """The name of the training set of a recommender: that of the variant, or `variant-recommender` if the
        variant is judged and the recommender has its own judge for it.
        """
        section = self.recommenders.get(recommender)
        own = section and _judged(variant) and (section.judge or section.controls.get(variant))
        return f"{variant}-{recommender}" if own else variant

    @property
    def training_sets(self) -> dict[str, tuple[TrainedVariant, Judge]]:
        """All training sets: from the name to the variant and the judge."""
        found: dict[str, tuple[TrainedVariant, Judge]] = {}
        for name, section in self.recommenders.items():
            for variant in section.variants or self.variants:
                own = self.training_set_of(name, variant)
                found[own] = variant, self.judge if own == variant else self.judge_of(name, variant)
        return found

    @property
    def itemcf(self) -> RecommenderSection:
        """The ItemCF that controls, hints and the judge use."""
        return self.stand_in("itemcf")

    def stand_in(self, recommender: str) -> RecommenderSection:
        """The settings of a recommender that does the work of an LLM in a control: those of the recipe's own one, or the
        defaults if the recipe does not name it.
        """
        own = self.recommenders.get(recommender) or recommender_spec(recommender).settings()
        return own.alone()

    def judge_of(self, recommender: str, variant: str = "discriminated") -> Judge:
        """The judge of the proposals in this recommender's training set, or in that of a control."""
        section = self.recommenders[recommender]
        own = section.controls.get(variant, {})
        return Judge.model_validate(self.judge.model_dump() | section.judge | own)

    def not_live(self, strategy: str) -> str | None:
        """Why an LLM cannot make the list of this strategy while a request waits; None if it can."""
        if not strategy_spec(strategy).on_demand:
            return f"what {strategy} asks depends on more than one history, so its lists are made by augment alone"
        if self.llm.items != "token":
            return (
                f"with llm.items = {self.llm.items!r} the LLM writes a list word by word, which takes too long while a"
                " request waits; llm.items = 'token' needs one step"
            )
        return None

    def _tasks_needed(self) -> list[tuple[str, Role, Task]]:
        """Rows of strategy, LLM and task: the strategy asks this LLM, which must have learned this task."""
        needed: list[tuple[str, Role, Task]] = []
        for name, section in self.strategies.items():
            spec = strategy_spec(name)
            if role := spec.role_of(section):
                needed.append((name, role, spec.task_of(section)))
            if spec.judged and self.judge.yes_no > 0:
                needed.append((name, "discriminator", "yes_no"))
        return needed

    @model_validator(mode="after")
    def _one_share(self) -> "Recipe":
        """Give the judge the `tail_share` of next_item, if the recipe does not set the judge's own."""
        proposing = self.strategies.get("next_item")
        if proposing is None or not proposing.tail_share or self.judge.tail_share:
            return self
        if "tail_share" in self.judge.model_fields_set:
            raise ValueError(
                f"judge.tail_share = {self.judge.tail_share:g} throws away what augment.next_item.tail_share ="
                f" {proposing.tail_share:g} reserves for the long tail. Leave judge.tail_share out, then the judge uses the"
                " share of next_item; or set both to 0"
            )
        judge = self.judge.model_copy(update={"tail_share": proposing.tail_share})
        object.__setattr__(self, "judge", judge)  # Section is frozen, so this is the only way to set a field
        return self

    def _check_tuning(self) -> None:
        """Raise ValueError if an LLM cannot be taught as `generator` and `discriminator` say."""
        if "hard" in self.generator.negatives:
            raise ValueError(
                "generator.negatives: 'hard' needs a tuned generator, so only the discriminator can have it"
            )
        if not self.generator.epochs and (self.llm.base == "small" or self.llm.items != "title"):
            raise ValueError(
                f"generator.epochs = 0 leaves the LLM as it is, but llm.base = {self.llm.base!r} with llm.items ="
                f" {self.llm.items!r} knows nothing of items before it is tuned. Set llm.base to a pretrained LLM and"
                " llm.items: title, or raise generator.epochs"
            )
        if "hard" in self.discriminator.negatives and self.llm.items != "token":
            raise ValueError("discriminator.negatives: 'hard' needs llm.items: token")
        if self.llm.base == "small" and self.generator.lora:
            raise ValueError(
                "generator.lora needs a pretrained llm.base, but 'small' is trained from scratch: set generator.lora to 0"
            )

    @model_validator(mode="after")
    def _whole(self) -> "Recipe":
        if "observed" not in self.variants:
            raise ValueError("variants must contain 'observed': every lift is measured against it")
        if len(self.strategies) < len(self.augment):
            raise ValueError("augment: each strategy at most once")
        for variant in self.variants:
            missing = set(VARIANTS[variant].sources) - set(self.strategies)
            if missing:
                raise ValueError(
                    f"variants: '{variant}' is made of {sorted(missing)}, which augment does not have"
                )
            if VARIANTS[variant].hits_removed and "discriminated" not in self.variants:
                raise ValueError(
                    f"variants: '{variant}' is there to be compared with 'discriminated', which variants does not have:"
                    f" add 'discriminated', or leave '{variant}' out"
                )
        ranked = self.strategies.get("ranking")
        if ranked and ranked.recommender not in self.recommenders:
            raise ValueError(
                f"augment.ranking ranks the best items of {ranked.recommender} again, which recommenders does not have:"
                f" add {ranked.recommender} there, or set augment.ranking.recommender to another one"
            )
        for strategy, role, task in self._tasks_needed():
            if role in self.roles and task not in getattr(self, role).tasks:
                raise ValueError(
                    f"augment.{strategy} asks the {role} what {role}.tasks does not teach it: add '{task}' there"
                )
        if self.prices.models and self.llm.base not in self.prices.models:
            raise ValueError(
                f"prices.models has no '{self.llm.base}', the llm.base of this recipe; it has"
                f" {sorted(self.prices.models)}"
            )
        self._check_tuning()
        for name, section in self.recommenders.items():
            known = [control for control in CONTROLS if not VARIANTS[control].fitted_on and _judged(control)]
            if strange := sorted(set(section.controls) - set(known)):
                raise ValueError(
                    f"recommenders.{name}.controls has {strange}, but only the controls of what is judged can have their"
                    f" own values: {', '.join(known)}"
                )
            for key, variant in (
                ("judge", "discriminated"),
                *((f"controls.{one}", one) for one in section.controls),
            ):
                try:
                    self.judge_of(name, variant)
                except ValidationError as error:
                    fault = error.errors()[0]
                    raise ValueError(
                        f"recommenders.{name}.{key}.{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
                    ) from None
            missing = set(section.variants or []) - set(self.variants)
            if missing:
                raise ValueError(
                    f"recommenders.{name}.variants names {sorted(missing)}, which variants does not have"
                )
            if section.variants is not None and "observed" not in section.variants:
                raise ValueError(f"recommenders.{name}.variants must contain 'observed'")
        self._check_serving(self.serving)
        for name in self.serving.arms:
            try:
                self._check_serving(self.serving.of_arm(name))
            except ValueError as error:
                raise ValueError(f"serving.arms.{name}: {error}") from None
        if self.evaluation.retune and self.evaluation.protocol == "train-only":
            raise ValueError(
                "evaluation.retune: protocol train-only has no second round. Set evaluation.protocol to standard, or leave"
                " retune out"
            )
        return self

    def _check_serving(self, asked: Serving) -> None:
        """Raise ValueError if `serving`, or one of its arms, names something that this recipe does not make."""
        trained = {name: own.variants or self.variants for name, own in self.recommenders.items()}
        if asked.recommender and asked.recommender not in trained:
            raise ValueError(
                f"serving.recommender = {asked.recommender!r}: the recipe trains {', '.join(trained)}"
            )
        variants = trained[asked.recommender] if asked.recommender else self.variants
        if asked.variant and asked.variant not in variants:
            raise ValueError(
                f"serving.variant = {asked.variant!r}: {asked.recommender or 'the recipe'} is trained on"
                f" {', '.join(variants)}"
            )
        if asked.variant and VARIANTS[asked.variant].hits_removed:
            raise ValueError(
                f"serving.variant = {asked.variant!r}: this variant uses the answer key, so it is never served. Name"
                " 'discriminated', or leave serving.variant out"
            )
        if asked.list not in (None, NO_LIST) and asked.list not in self.ranking_strategies:
            raise ValueError(
                f"serving.list = {asked.list!r}: of the strategies in augment"
                f" {', '.join(self.ranking_strategies) or 'none'} ranks for users"
            )
        ranked = self.strategies.get("ranking")
        if ranked and asked.list == "ranking" and asked.recommender not in (None, ranked.recommender):
            raise ValueError(
                f"serving.list: ranking holds the best items of {ranked.recommender}, serving.recommender is"
                f" {asked.recommender}: serve {ranked.recommender}, or name another list"
            )
        fusion = [name for name in ("kind", *asked.numbers) if getattr(asked, name) is not None]
        fusion += ["live"] if asked.live else []
        if asked.list == NO_LIST and fusion:
            raise ValueError(
                f"serving.{fusion[0]}: serving.list = 'none' fuses no list. Leave one of the two out"
            )
        named = [*(["list"] if asked.list not in (None, NO_LIST) else []), *fusion]
        if named and not self.served:
            raise ValueError(
                f"serving.{named[0]}: no list is fused here. That needs evaluation.served, a strategy that ranks for"
                f" users, and a variant that is not 'observed'. Add these, or leave serving.{named[0]} out"
            )
        lists = [asked.list] if asked.list else self.ranking_strategies
        if asked.live and all(reasons := [self.not_live(name) for name in lists]):
            raise ValueError(
                f"serving.live: {reasons[0]}. Leave serving.live out: the lists made by augment are served"
            )


def _judged(variant: str) -> bool:
    """Whether the recipe's judge decides what is added to the log in a variant."""
    return any(strategy_spec(name).judged for name in VARIANTS[variant].sources)
