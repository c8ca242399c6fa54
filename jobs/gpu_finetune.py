"""Speed of fine-tuning on one GPU: tokens per second, model FLOPs utilisation and peak memory, in full and with LoRA.

python -m jobs.gpu_finetune --json figures.json

It needs torch, transformers and peft, but neither Ray nor DeepSpeed: the loop runs in one process, on a Llama with
random weights and on random examples with the length of ten titles and their instructions. Weights, gradients and
Adam's two moments are bf16: 8 bytes per tuned parameter. DeepSpeed's bf16 needs 16, because its copy of the weights
and its moments are fp32. Weights that are rounded to bf16 after every step learn less well: this measures a machine,
not a model.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn

from jobs.benchmarks.random_llama import Lengths, Shape, random_examples, random_llama
from longtail.llm.base_model import with_adapters
from longtail.llm.finetune.batches import Batches
from longtail.llm.finetune.tensor_checkpoints import Checkpoints
from longtail.llm.finetune.tuning_loop import Job, tune
from longtail.recipe import LLM, Tuning
from longtail.workspace import Workspace

PEAKS = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
"""Peak dense bf16 TFLOP/s by a part of the device's name, from the makers' data sheets (SXM)."""

LENGTHS = Lengths(shortest=100, longest=500, taught=12)


def gpu_finetune(
    hidden: Annotated[int, typer.Option(help="Dimensions of a token, a multiple of 64.")] = 1536,
    layers: int = 16,
    vocabulary: int = 32_000,
    batch: Annotated[int, typer.Option(help="Examples a step.")] = 64,
    micro_tokens: Annotated[int, typer.Option(help="Tokens of a forward pass.")] = 16_384,
    steps: Annotated[int, typer.Option(help="Number of timed steps, after the same number to warm up.")] = 10,
    lora: Annotated[int, typer.Option(help="Rank of the adapters in the second run.")] = 16,
    gradient_checkpointing: bool = False,
    peak_tflops: Annotated[
        float | None, typer.Option(help=f"The device's bf16 peak; known for {', '.join(PEAKS)}.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Tune a Llama with random weights (by default 0.54 billion), in full and with LoRA. Prints the figures as JSON."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    peak = peak_tflops or next((tflops for part, tflops in PEAKS.items() if part in name), None)
    if device.type == "cuda" and peak is None:
        raise typer.BadParameter(f"the peak of {name} is not known: give it with --peak-tflops")
    found: dict[str, Any] = {"device": name, "torch": torch.__version__, "peak_tflops": peak}
    shape = Shape(hidden, layers, vocabulary)
    settings = Tuning(
        epochs=2,
        batch=batch,
        micro_tokens=micro_tokens,
        precision="bf16",
        gradient_checkpointing=gradient_checkpointing,
        patience=0,
        lr=1e-4,
        checkpoint_minutes=1e6,
    )
    for way, rank in (("full", 0), ("lora", lora)):
        found[way] = run(shape, settings.model_copy(update={"lora": rank}), steps, device, peak)
    text = json.dumps(found, indent=1)
    if to:
        to.write_text(text)
    typer.echo(text)


def run(
    shape: Shape, settings: Tuning, steps: int, device: torch.device, peak: float | None
) -> dict[str, float | None]:
    """Tune for two epochs of `steps` steps each, one to warm up and one that is timed.

    Returns {parameters, tuned, tokens_per_second, mfu (a share; None if peak, in TFLOP/s, is None), peak_memory_gib
    (None on a CPU), loss_first, loss_last}.
    """
    model = adapted(shape, settings)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    times: list[float] = []

    def look(row: dict[str, Any]) -> None:
        if row["step"] in (
            steps,
            2 * steps,
        ):  # the losses have just been read, so the device has finished its work
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        examples = random_examples(
            Workspace(folder) / "examples", steps * settings.batch, LENGTHS, shape.vocabulary
        )
        job = Job("benchmark", settings, examples, 0, Checkpoints(Workspace(folder) / "kept"), look=look)
        _, progress = tune(model, job, device)
        batches = list(Batches(examples / "train", settings.batch, 0).epoch(1))
    lengths = [len(one.tokens) for batch in batches for one in batch.examples]
    passed = times[1] - times[0]
    work = flops(model, shape, lengths, LENGTHS.taught)
    return {
        "parameters": sum(part.numel() for part in model.parameters()),
        "tuned": sum(part.numel() for part in model.parameters() if part.requires_grad),
        "tokens_per_second": sum(lengths) / passed,
        "mfu": work / passed / (peak * 1e12) if peak else None,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None,
        "loss_first": progress.curve[0]["loss"],
        "loss_last": progress.curve[-1]["loss"],
    }


def adapted(shape: Shape, settings: Tuning) -> nn.Module:
    """The model in bf16, with adapters on every linear layer if the settings have a rank."""
    model = random_llama(shape, dtype=torch.bfloat16)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    return with_adapters(model, LLM(), settings, "discriminator") if settings.lora else model


def flops(model: nn.Module, shape: Shape, lengths: list[int], taught: int) -> float:
    """The floating-point operations that a step over examples of `lengths` needs. Recomputed work is not counted.

    A tuned weight needs 6 per token: 2 forward, 2 for the gradient of its input, 2 for its own gradient. A weight that
    is not tuned needs 4. The head works only at `taught` positions of an example. The look-up of an embedding needs
    none. Causal attention needs 6 · hidden · length per token and layer. This is half of the 12 in PaLM (arXiv
    2204.02311, appendix B), which does not subtract what the causal mask hides.
    """
    tokens, places = sum(lengths), taught * len(lengths)
    head = model.get_output_embeddings().weight
    work = 0.0
    for part in model.parameters():
        if part.ndim == 2:
            work += (6 if part.requires_grad else 4) * part.numel() * (places if part is head else tokens)
    return work + 6 * shape.hidden * shape.layers * sum(length**2 for length in lengths)


if __name__ == "__main__":
    typer.run(gpu_finetune)
