"""Stage finetune: histories -> examples (Ray Data) -> a tuned generator and discriminator (Ray Train, DeepSpeed).

What comes out under `llm/<role>` is a plain Hugging Face folder: adapters merged, tokenizer beside it.
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from app.cluster import connect
from app.data import Prepared
from app.errors import InputError
from app.recipe import LLM, Discriminator, Generator, Recipe, Tuning
from app.workspace import Place, Workspace

log = logging.getLogger("longtail")
Role = Literal["generator", "discriminator"]


def finetune(recipe: Recipe, ws: Workspace) -> None:
    """Tune the generator on next items and, from its weights, the discriminator on Yes/No.

    The discriminator starts from the generator because a Yes/No token teaches little about items that it has never met.
    """
    _check_base(recipe.llm)
    for role, inputs in (("generator", ["data"]), ("discriminator", ["data", "llm/generator"])):
        section: Tuning = getattr(recipe, role)
        settings = {"llm": recipe.llm.model_dump(), "tuning": section.model_dump(), "seed": recipe.seed}
        stage = ws.stage(f"llm/{role}", settings, [ws / place for place in inputs])
        if stage.up_to_date:
            continue
        connect(recipe.resources)
        prepared = Prepared(ws)
        with stage.publishing() as draft:
            base = _base(recipe, ws, role, prepared.items, draft / "base")
            examples = draft / "examples"
            _write_examples(prepared, section, recipe, base, examples)
            stage.counts = _tune(recipe, section, role, base, prepared.items, examples, draft)
            examples.delete()
            base.delete()


def _check_base(llm: LLM) -> None:
    from transformers import AutoConfig

    if llm.base == "small":
        return
    try:
        AutoConfig.from_pretrained(llm.base)
    except (OSError, ValueError) as error:
        raise InputError(
            f"llm.base = {llm.base!r}: no such model folder or Hugging Face id ({str(error).splitlines()[0]})."
        ) from None


def _base(recipe: Recipe, ws: Workspace, role: Role, items: pa.Table, place: Place) -> Place:
    """The folder that tuning starts from, with tokenizer; for `small` and the generator there is a tokenizer only."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from app.llm.items import item_texts
    from app.llm.small import build_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        if role == "discriminator":
            with ws.require("llm/generator").local() as generator:
                place.upload(generator)
            return place
        if recipe.llm.base == "small":
            build_tokenizer(items, recipe.llm.items).save_pretrained(folder)
        else:
            tokenizer = AutoTokenizer.from_pretrained(recipe.llm.base)
            model = AutoModelForCausalLM.from_pretrained(recipe.llm.base)
            if tokenizer.pad_token_id is None:
                tokenizer.pad_token = tokenizer.eos_token
            if recipe.llm.items == "token":
                _add_item_tokens(model, tokenizer, item_texts(items, "token"), item_texts(items, "title"))
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        place.upload(folder)
    return place


def _add_item_tokens(model: Any, tokenizer: Any, tokens: list[str], titles: list[str]) -> None:
    """One new token an item, starting as the mean of its title's embeddings."""
    import torch

    pieces = tokenizer(titles, add_special_tokens=False)["input_ids"]
    tokenizer.add_tokens(tokens)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for matrix in {model.get_input_embeddings().weight, model.get_output_embeddings().weight}:
            means = torch.stack([matrix[piece].mean(0) if piece else matrix.mean(0) for piece in pieces])
            matrix[tokenizer.convert_tokens_to_ids(tokens)] = means


def _write_examples(prepared: Prepared, section: Tuning, recipe: Recipe, base: Place, target: Place) -> None:
    """Examples of every user's training history, tokenised in Ray Data tasks and written as Parquet."""
    write = partial(
        _examples,
        items=prepared.items,
        base=base,
        rendering=recipe.llm.items,
        section=section,
        seed=recipe.seed,
    )
    prepared.histories().map_batches(write, batch_format="pyarrow", batch_size=512).write_parquet(
        target.make_folder().path, filesystem=target.fs
    )


def _examples(
    batch: pa.Table, *, items: pa.Table, base: Place, rendering: str, section: Tuning, seed: int
) -> pa.Table:
    """Rows of histories -> rows (tokens list<int32>, weights list<float32>)."""
    from app.llm.prompts import Prompts

    prompts = Prompts.open(base, items, rendering, section.history)
    slices = np.asarray(items["slice"].to_pylist())
    counts = items["train_count"].to_numpy().astype(np.float64)
    examples = []
    for user, taken, end in zip(
        batch["user"].to_pylist(), batch["items"].to_pylist(), batch["train_end"].to_pylist(), strict=True
    ):
        history = np.asarray(taken[:end], np.int32)
        if isinstance(section, Generator):
            weights = np.where(slices[history] == "tail", section.tail_weight, 1.0) if end else np.empty(0)
            examples.extend(prompts.next_item_examples(history, weights.astype(np.float32)))
        elif isinstance(section, Discriminator):
            rng = np.random.default_rng((seed, user))
            for step in range(1, end):
                examples.append(prompts.yes_no_example(history[:step], history[step], taken=True))
                for item in _negatives(rng, history, counts, section):
                    examples.append(prompts.yes_no_example(history[:step], item, taken=False))
    return pa.table(
        {
            "tokens": pa.array([example.tokens for example in examples], pa.list_(pa.int32())),
            "weights": pa.array([example.weights for example in examples], pa.list_(pa.float32())),
        }
    )


def _negatives(
    rng: np.random.Generator, taken: np.ndarray, counts: np.ndarray, section: Discriminator
) -> np.ndarray:
    """Items outside the training history. A held-out item may be drawn like any other: leaving it out would tell of it."""
    wanted = section.negatives_per_positive
    shares = counts / counts.sum() if section.negatives == "popular" else None
    drawn = rng.choice(len(counts), size=wanted + 8, p=shares)
    return drawn[~np.isin(drawn, taken)][:wanted]


def _tune(
    recipe: Recipe, section: Tuning, role: Role, base: Place, items: pa.Table, examples: Place, draft: Place
) -> dict[str, Any]:
    """Launch the workers; worker 0 writes the checkpoint into `draft`. Returns the counts of the manifest."""
    import ray.data
    from ray.train import DataConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    dataset = ray.data.read_parquet(examples.path, filesystem=examples.fs)
    rows = dataset.count()
    if rows == 0:
        raise InputError(
            f"{role}: no user has two training interactions, so there is nothing to tune on. Loosen dataset's filters."
        )
    workers, gpu = recipe.resources.llm_workers, recipe.resources.accelerator == "gpu"
    with tempfile.TemporaryDirectory() as storage:
        result = TorchTrainer(
            _worker,
            train_loop_config={
                "section": section,
                "llm": recipe.llm,
                "role": role,
                "base": base,
                "items": items,
                "rows": rows,
                "seed": recipe.seed,
                "draft": draft,
                "driver": os.getpid(),
            },
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=gpu, resources_per_worker={"GPU": 1} if gpu else {"CPU": 1}
            ),
            run_config=RunConfig(name=draft.name, storage_path=storage),
            datasets={"train": dataset},
            dataset_config=DataConfig(datasets_to_split="all"),
        ).fit()
    counts = {"examples": rows, "workers": workers} | result.return_value
    log.info(
        "%s: loss %.3f → %.3f, %s tokens/s",
        role,
        counts["losses"][0],
        counts["losses"][-1],
        f"{counts['tokens'] / counts['seconds']:,.0f}",
    )
    return counts


def _worker(config: dict[str, Any]) -> dict[str, Any]:
    """What every Ray Train worker runs: the shard's batches into the loop, the result into a Hugging Face folder."""
    import ray.train
    import torch
    from transformers import AutoTokenizer

    from app.llm.tuning import collate, gathered, tune

    section: Tuning = config["section"]
    context = ray.train.get_context()
    torch.manual_seed(config["seed"])
    with config["base"].local() as folder:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = _load_model(config, folder, tokenizer)
    shard = ray.train.get_dataset_shard("train")
    size = max(1, section.batch // context.get_world_size())
    per_worker = config["rows"] // context.get_world_size()

    def batches(epoch: int) -> Iterator[dict[str, np.ndarray]]:
        rows = shard.iter_batches(
            batch_size=size,
            local_shuffle_buffer_size=max(4096, 16 * size),
            local_shuffle_seed=config["seed"] + epoch,
            drop_last=per_worker >= size,
        )
        for batch in rows:
            yield collate(list(batch["tokens"]), list(batch["weights"]), tokenizer.pad_token_id)

    steps = section.epochs * max(1, per_worker // size)
    progress = log.info if context.get_world_rank() == 0 else (lambda message: None)
    outcome = tune(model, section, batches, steps, progress)
    with gathered(model, section.zero):
        if context.get_world_rank() == 0:
            _save(model, tokenizer, config["draft"])
    return outcome


def _load_model(config: dict[str, Any], folder: Path, tokenizer: Any) -> Any:
    from transformers import AutoModelForCausalLM

    from app.llm.small import SmallLlama, text_vectors

    llm: LLM = config["llm"]
    if config["role"] == "generator" and llm.base == "small":
        text = (
            text_vectors(config["items"], tokenizer, config["seed"])
            if llm.items == "token"
            else np.zeros((len(tokenizer), 1), np.float32)
        )
        return SmallLlama(tokenizer, llm.hidden, llm.layers, text)
    model = AutoModelForCausalLM.from_pretrained(folder)
    if config["section"].lora:
        from peft import LoraConfig, get_peft_model

        added = ["embed_tokens", "lm_head"] if llm.items == "token" else None
        model = get_peft_model(
            model,
            LoraConfig(
                r=config["section"].lora,
                lora_alpha=2 * config["section"].lora,
                target_modules="all-linear",
                modules_to_save=added,
                task_type="CAUSAL_LM",
            ),
        )
    return model


def _save(model: Any, tokenizer: Any, place: Place) -> None:
    """A plain Hugging Face folder: the text part folded, adapters merged."""
    from app.llm.small import SmallLlama

    if isinstance(model, SmallLlama):
        model = model.export()
    elif hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        place.upload(folder)
