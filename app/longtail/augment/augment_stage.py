"""Stage augment: histories -> requests -> LLM -> ledger -> proposals -> discriminator -> ledger, in one streaming pipeline.

The ledger holds the words of the LLMs, and every rerun reuses it. A second pipeline reads these words with the settings of
this recipe and writes `augmentation/<strategy>`: `answers` with an outcome for every proposal, and `rankings`, the list of
each user. `asking.Asking` has both pipelines. A strategy that prefers is asked only if its LLM passes the gate.
"""

from longtail.augment.asking import Asking
from longtail.augment.gate import gate
from longtail.augment.ledger import find_ledger
from longtail.augment.outcomes import publish_nothing
from longtail.data import Prepared
from longtail.recipe import Recipe, StrategySection
from longtail.registry import strategy_spec
from longtail.rounds import Round, rounds
from longtail.runtime.cluster import connect
from longtail.text.text_source import TextSource
from longtail.workspace import Workspace

MEANING = 3
"""Version of how words are grounded, settled and judged. A new version reads the ledger again; it asks no LLM again."""


def augment(recipe: Recipe, ws: Workspace) -> None:
    """Ask the LLMs about every user that has no answer yet, for every strategy of the recipe; then judge all answers.

    Does nothing if no variant of the recipe needs an LLM.
    """
    if not recipe.augmented:
        return
    for round_ in rounds(recipe):
        for section in recipe.augment:
            augment_strategy(round_.seeded(recipe), ws, round_, section)


def augment_strategy(recipe: Recipe, ws: Workspace, round_: Round, section: StrategySection) -> None:
    """As `augment`, for one strategy in one round. recipe: see `Round.seeded`."""
    roles = {role: ws / round_.llm(role) for role in recipe.roles}
    tunings = {role: getattr(recipe, role) for role in roles}
    settings = {
        "strategy": section.model_dump() | {"meaning": section.meaning},
        "judge": recipe.judge.model_dump(exclude={"weight"}),
        "items": recipe.llm.items,
        "history": [tuning.history for tuning in tunings.values()],
        "context": [tuning.context for tuning in tunings.values()],
        "itemcf": recipe.itemcf.of_fit(),
        "seed": recipe.seed,
    }
    inputs = [ws / round_.data, *roles.values()]
    gated = getattr(section, "gate", False) and gate(recipe, ws, round_, section)
    if gated:
        inputs.append(gated.place)
    texts = None
    if strategy_spec(section.strategy).reads_texts:
        texts = TextSource.whole(recipe.text, ws, ws / round_.data)
        settings |= texts.told
        inputs += texts.vectors
    stage = ws.stage(round_.at(f"augmentation/{section.strategy}"), settings, inputs, MEANING)
    if stage.up_to_date:
        return
    ws.claim()
    for role in roles:
        ws.require(round_.llm(role))
    find_ledger(recipe, ws)
    prepared = Prepared(ws, round_.data)
    if gated and not gated.passed:
        with stage.publishing() as draft:
            stage.counts = publish_nothing(draft)
        return
    connect(recipe.resources)
    asking = Asking(recipe, ws, section, prepared, round_, texts)
    with stage.publishing() as draft:
        stage.counts = asking.publish(draft)
