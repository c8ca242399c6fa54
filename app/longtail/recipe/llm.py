"""The LLMs: what they start from and how they are tuned."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from longtail.recipe.section import Count, Positive, Section, Share

Task = Literal["next_item", "id_list", "yes_no", "preference", "ranking"]
Negative = Literal["random", "popular", "hard"]
Role = Literal["generator", "discriminator"]
"""Who is asked: the generator writes items, the discriminator answers with one word."""


class LLM(Section):
    base: str = "small"
    """`small` (a Llama from scratch), a Hugging Face id, or a local path."""
    items: Literal["token", "title", "id"] = "token"
    """How an item is written in a prompt."""
    size: Positive = 2
    """The one dial of `small`: so many layers, and 32 hidden dimensions (one head) for each."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of `small`: share of the embeddings' and of the last states' values that tuning sets to 0."""


class Tuning(Section):
    tasks: dict[Task, Annotated[float, Field(gt=0)]] = {"next_item": 1.0}
    """What is taught, and the loss weight of each task's examples: `next_item` (LLM-I2I), `id_list` (LLM4IDRec),
    `yes_no` (LLM-I2I's discriminator), `preference` (A or B, the cold-start augmenters), `ranking` (Llama4Rec's list)."""
    epochs: Positive = 3
    """At most so many passes over the examples."""
    patience: Count = 3
    """Tuning ends after so many epochs in a row without a lower validation loss, and the best weights are kept; 0 trains
    all epochs and keeps the last."""
    batch: Positive = 64
    """Examples per optimiser step, over all workers."""
    micro_tokens: Positive = 8192
    """Tokens of one forward pass of a worker; a larger share of a step is accumulated over several."""
    lr: Annotated[float, Field(gt=0)] = 2e-3
    """Rises over `warm_up` of all steps, then falls along a cosine to a twentieth."""
    warm_up: Share = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of a step's gradient."""
    zero: Annotated[int, Field(ge=0, le=3)] = 1
    """DeepSpeed ZeRO stage: 1 splits the optimiser's state between workers, 2 the gradients too, 3 the weights too."""
    offload: bool = False
    """Keep the optimiser's state in the memory of the CPU (ZeRO 1 to 3)."""
    lora: Count = 0
    """Rank of the adapters; 0 tunes all weights."""
    lora_alpha: Count = 0
    """0: twice the rank. LLM4IDRec: 32 at rank 8."""
    precision: Literal["fp32", "bf16"] = "fp32"
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, a third more work."""
    loss: Literal["answer", "all"] = "answer"
    """Teach the answer only, or the prompt's tokens too (LLM4IDRec)."""
    history: Positive = 10
    """A prompt carries this many of the latest interactions (LLM-I2I: 10)."""
    context: Positive = 2048
    """Longest example in tokens; histories are cut on the left to fit, an answer never is."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    checkpoint_steps: Count = 0
    """A checkpoint after so many steps too; 0: by the clock alone."""
    tail_weight: Annotated[float, Field(gt=0)] = 4.0
    """next_item: loss weight of a long-tail target; any other weighs 1 (LLM-I2I, alpha and beta)."""
    splits: Positive = 20
    """id_list: random splits of every user's shuffled history (LLM4IDRec: 20)."""
    negatives: list[Negative] = ["random"]
    """yes_no, preference: where the items that a user did not take come from (LLM-I2I: random); `hard` are the tuned
    generator's own misses. Each kind gives `negatives_per_positive`."""
    negatives_per_positive: Positive = 1
    title_noise: Share = 0.5
    """yes_no, preference: share of the candidates whose title goes on with random words, whatever the answer is, lest
    a title tell the judge what to answer. Only where items are written as titles."""
    candidates: Positive = 10
    """ranking: items in a list; half of them were taken by the user (Llama4Rec's sister code: 10)."""

    @field_validator("negatives", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _some(self) -> "Tuning":
        if not self.tasks or not self.negatives:
            raise ValueError("tasks and negatives must each name at least one")
        if self.offload and not self.zero:
            raise ValueError("offload needs zero: 1, 2 or 3")
        return self


class Generator(Tuning):
    epochs: Positive = 20


class Discriminator(Tuning):
    tasks: dict[Task, Annotated[float, Field(gt=0)]] = {"yes_no": 1.0}
    epochs: Positive = 2
    lr: Annotated[float, Field(gt=0)] = 1e-3
