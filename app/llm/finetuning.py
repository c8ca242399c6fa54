"""Stage finetune: histories -> examples (Ray Data) -> a tuned generator and discriminator (Ray Train, DeepSpeed).

What comes out under `llm/<role>` is a plain Hugging Face folder: adapters merged, tokenizer beside it.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from app.cluster import connect, relay
from app.data import Prepared
from app.errors import InputError
from app.recipe import LLM, Recipe, Tuning
from app.workspace import Place, Workspace

Role = Literal["generator", "discriminator"]


def finetune(recipe: Recipe, ws: Workspace) -> None:
    """Tune the generator on next items and, from its weights, the discriminator on Yes/No.

    The discriminator starts from the generator because a Yes/No token teaches little about items that it has never met.
    Does nothing where no variant of the recipe needs an LLM.
    """
    if not recipe.augmented:
        return
    for role, inputs in (("generator", ["data"]), ("discriminator", ["data", "llm/generator"])):
        section: Tuning = getattr(recipe, role)
        settings = {"llm": recipe.llm.model_dump(), "tuning": section.model_dump(), "seed": recipe.seed}
        stage = ws.stage(f"llm/{role}", settings, [ws / place for place in inputs])
        if stage.up_to_date:
            continue
        _check_base(recipe.llm)
        from app.llm.examples import write_examples

        connect(recipe.resources)
        prepared = Prepared(ws)
        with stage.publishing() as draft:
            base = _base(recipe, ws, role, prepared.items, draft / "base")
            examples = draft / "examples"
            write_examples(prepared, section, recipe.llm.items, recipe.seed, base, examples)
            stage.counts = _tune(recipe, section, role, base, prepared.items, examples, draft)
            examples.delete()
            base.delete()


def _check_base(llm: LLM) -> None:
    if llm.base == "small":
        return
    from transformers import AutoConfig

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
    with tempfile.TemporaryDirectory() as storage, relay() as progress:
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
                "progress": progress,
            },
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=gpu, resources_per_worker={"GPU": 1} if gpu else {"CPU": 1}
            ),
            run_config=RunConfig(name=draft.name, storage_path=storage),
            datasets={"train": dataset},
            dataset_config=DataConfig(datasets_to_split="all"),
        ).fit()
    return {"examples": rows, "workers": workers} | result.return_value


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
    progress = config["progress"] if context.get_world_rank() == 0 else (lambda message: None)
    outcome = tune(model, section, batches, steps, lambda message: progress(f"{config['role']}: {message}"))
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

        new_tokens = config["role"] == "generator" and llm.items == "token"
        model = get_peft_model(
            model,
            LoraConfig(
                r=config["section"].lora,
                lora_alpha=2 * config["section"].lora,
                target_modules="all-linear",
                modules_to_save=["embed_tokens", "lm_head"] if new_tokens else None,
                ensure_weight_tying=new_tokens,
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
