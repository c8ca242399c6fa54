"""A simulated store and LLMs with random weights, for the measurements of augmentation."""

import tempfile
from dataclasses import replace

from jobs.benchmarks.random_llama import Shape, random_llama
from longtail.data import Prepared
from longtail.llm.small_llama import build_tokenizer
from longtail.recipe import Recipe
from longtail.workspace import Workspace

ITEMS = 2_000


def recipe_of(users: int, rendering: str = "token", yes_no: float = 0.0) -> Recipe:
    """The recipe of a simulated store. yes_no: its weight in the judge; at 0 the discriminator is not asked."""
    return Recipe.model_validate(
        {
            "name": "benchmark",
            "dataset": {"simulation": {"users": users, "items": ITEMS, "mean_history": 8}},
            "llm": {"items": rendering},
            "generator": {"context": 512},
            "discriminator": {"context": 512},
            "judge": {"likelihood": 1.0, "agreement": 0.0, "yes_no": yes_no},
            "recommenders": {"itemcf": {}},
        }
    )


def write_llms(recipe: Recipe, ws: Workspace, shape: Shape) -> None:
    """Publish a random Llama and its tokenizer as generator and discriminator. The vocabulary of `shape` is ignored."""
    tokenizer = build_tokenizer(Prepared(ws).items, recipe.llm.items)
    model = random_llama(replace(shape, vocabulary=len(tokenizer)), packed=False)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for role in ("generator", "discriminator"):
            with ws.stage(f"llm/{role}", {}, [ws / "data"]).publishing() as draft:
                draft.upload(folder)
