"""Stage finetune: from histories to examples (Ray Data) to tuned LLMs (Ray Train, DeepSpeed).

The result, `llm/<role>`, is a plain Hugging Face folder with merged adapters and the tokenizer. It also holds the model
card, the training curve and the model's measured quality on validation items.
"""

from typing import Any

from longtail.data import Prepared
from longtail.llm.base_check import check_base
from longtail.llm.base_model import write_base
from longtail.llm.examples.writing import write_examples
from longtail.llm.model_card import write_card
from longtail.recipe import Recipe, Role, Section, Tuning
from longtail.rounds import FIRST_ROUND, Round, first_round, rounds
from longtail.runtime.cluster import connect
from longtail.text.pretrained import identity, is_gguf
from longtail.workspace import Stage, Workspace, read_manifest
from longtail.workspace.place import Place

MEANING = 1
"""Version of the tuned LLM and of its measurements. Raise it if equal examples and settings would give a different LLM or
different measurements."""
EXAMPLES_MEANING = 1
"""Version of the examples. Raise it if equal data and settings would give different examples."""
SHAPING = {
    *("tasks", "history", "context", "loss", "tail_weight", "splits", "candidates", "share"),
    *("negatives", "negatives_per_positive", "title_noise"),
    *("user_number", "similar_user", "prior_list"),
}
"""The settings that examples depend on. The other settings only affect how the model learns from them."""

LATER = {"text", "user_number", "similar_user", "prior_list", "share"}
"""Settings that came later. At their default they say nothing, so an LLM that was tuned before is not tuned again."""


def finetune(recipe: Recipe, ws: Workspace) -> None:
    """Tune the generator, then the discriminator from the generator's weights, if a strategy or the judge uses it.

    The discriminator starts from the generator because Yes/No answers alone teach little about the items. Does nothing if
    no variant of the recipe needs an LLM. A tuning that was interrupted continues from its last checkpoint.
    """
    if not recipe.augmented:
        return
    for round_ in rounds(recipe):
        if round_.retuned or not round_.final:
            for role in recipe.roles:
                finetune_role(round_.seeded(recipe), ws, role, round_)


def finetune_role(recipe: Recipe, ws: Workspace, role: Role, round_: Round = FIRST_ROUND) -> None:
    """Publish `examples/<role>` and `llm/<role>` of a round, if they are not up to date.

    A `retuned` LLM has no validation items; it is tuned for as many epochs as the LLM of the first round.
    """
    section: Tuning = getattr(recipe, role)
    if round_.retuned:
        section = section.model_copy(update={"epochs": _best_epochs(ws, first_round(round_), role, section)})
        recipe = recipe.model_copy(update={role: section})
    started_from = [] if role == "generator" else [ws / round_.llm("generator")]
    settings = {"llm": start_of(recipe), "tuning": told(section), "seed": recipe.seed}
    stage = ws.stage(round_.llm(role), settings, [ws / round_.data, *started_from], MEANING)
    if stage.up_to_date:
        return
    ws.claim()
    prepared = Prepared(ws, round_.data)
    check_base(recipe, role, prepared.n_items, recipe.resources.llm_workers)
    connect(recipe.resources)
    _tune(
        recipe, ws, role, round_, stage, prepared, _examples(recipe, ws, role, round_, prepared, started_from)
    )


def told(section: Section) -> dict[str, Any]:
    """The values of a section that a fingerprint depends on."""
    fields = type(section).model_fields
    return {
        name: value
        for name, value in section.model_dump().items()
        if name not in LATER or value != fields[name].default
    }


def start_of(recipe: Recipe) -> dict[str, Any]:
    """What `llm` adds to a fingerprint: of a pretrained base its content, so that it may be moved."""
    base = recipe.llm.base
    return told(recipe.llm) | ({} if base == "small" else {"base": identity(base)})


def _best_epochs(ws: Workspace, first: Round, role: Role, section: Tuning) -> int:
    """The number of epochs after which the LLM of the first round was best on validation; 0 if it is not tuned."""
    if not section.epochs:
        return 0
    counts = read_manifest(ws.require(first.llm(role)))["counts"]
    steps = -(-counts["examples"] // section.batch)
    return max(1, round((counts["best_step"] or counts["steps"]) / steps))


def _examples(
    recipe: Recipe, ws: Workspace, role: Role, round_: Round, prepared: Prepared, started_from: list[Place]
) -> Stage:
    """Publish `examples/<role>`, if it is not up to date: `train/`, `validation/` and, for the generator, `base/`."""
    section: Tuning = getattr(recipe, role)
    shaping = {name: value for name, value in told(section).items() if name in SHAPING}
    if role == "generator" and is_gguf(recipe.llm.base):
        shaping["precision"] = section.precision  # of the dequantised weights, which lie beside the examples
    settings = {"llm": start_of(recipe), "tuning": shaping, "seed": recipe.seed}
    stage = ws.stage(
        round_.at(f"examples/{role}"), settings, [prepared.place, *started_from], EXAMPLES_MEANING
    )
    if not stage.up_to_date:
        with stage.publishing() as draft:
            if role == "generator":
                write_base(recipe, prepared.items, draft / "base")
            stage.counts = write_examples(
                prepared,
                section,
                recipe.llm.items,
                recipe.seed,
                (started_from or [draft / "base"])[0],
                draft,
                generator=(started_from or [None])[0],
            )
    return stage


def _tune(
    recipe: Recipe,
    ws: Workspace,
    role: Role,
    round_: Round,
    stage: Stage,
    prepared: Prepared,
    examples: Stage,
) -> None:
    """Publish `llm/<role>`. Checkpoints are kept outside the published folder, so that they survive an interrupted run."""
    from longtail.llm.finetune.launch import Order, launch
    from longtail.llm.finetune.tensor_checkpoints import Checkpoints
    from longtail.llm.quality.measuring import measure_worth

    section: Tuning = getattr(recipe, role)
    checkpoints = Checkpoints(ws / f"checkpoints/llm-{role}-{stage.fingerprint}")
    with stage.publishing() as draft:
        stage.counts = launch(
            Order(
                recipe=recipe,
                role=role,
                base=examples.place / "base" if role == "generator" else ws / round_.llm("generator"),
                items=prepared.items,
                examples=examples.place,
                target=draft,
                checkpoints=checkpoints,
                events=ws / round_.at(f"tensorboard/{role}"),
            )
        )
        if not round_.retuned:  # a retuned LLM has learned from the validation items
            worth = measure_worth(role, draft, prepared, section, recipe.llm.items, recipe.seed)
            (draft / "worth.json").write_json(worth)
        workers, counted = recipe.resources.llm_workers, examples.counts or _counts(examples)
        write_card(draft, recipe, role, prepared, counted, workers)
        stage.counts |= {"examples": counted["examples"], "workers": workers}
    checkpoints.clear()


def _counts(stage: Stage) -> dict[str, int]:
    return read_manifest(stage.place)["counts"]
