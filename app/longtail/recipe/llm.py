"""The LLMs: the base model and the settings of fine-tuning."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from longtail.recipe.section import Count, Positive, Section, Share

Task = Literal["next_item", "id_list", "yes_no", "preference", "ranking"]
Negative = Literal["random", "popular", "hard"]
Role = Literal["generator", "discriminator"]
"""The two LLMs of a run: the generator writes items, the discriminator answers with one word."""


class LLM(Section):
    base: str = "small"
    """`small` (a Llama from scratch), or a pretrained LLM: `smollm2` (SmolLM2-135M-Instruct), which comes with the extra
    `pretrained`; a Hugging Face id; a folder; or a .gguf file, which is dequantised once."""
    items: Literal["token", "title", "id", "renumbered", "string"] = "token"
    """How an item is written in a prompt: as one token of its own, by its title, or by an id. `id`: digits, numbered as in
    the catalogue. `renumbered`: digits, in a random order, so that near numbers say nothing. `string`: random letters."""
    text: bool = True
    """Whether `small` with item tokens knows the title and the attributes of an item."""
    size: Positive = 2
    """Size of `small`: the number of layers. Each layer adds one attention head and 32 hidden dimensions to the model."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout rate of `small` in tuning, on the embeddings and on the last hidden states."""


class Tuning(Section):
    tasks: dict[Task, Annotated[float, Field(gt=0)]] = {"next_item": 1.0}
    """The tasks that are taught, each with the loss weight of its examples: `next_item` (LLM-I2I, arXiv 2512.21595),
    `id_list` (LLM4IDRec, arXiv 2411.02041), `yes_no` (the discriminator of LLM-I2I), `preference` (A or B: cold-start
    augmenters, arXiv 2402.11724), `ranking` (the ranked list of Llama4Rec, arXiv 2401.13870)."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of the examples that is taught, drawn with the recipe's seed. A pretrained LLM on a CPU reads some hundred
    tokens per second, so a small share may be all that fits in an hour."""
    epochs: Count = 3
    """The largest number of passes over the examples. 0: the LLM is not tuned and answers as it is (zero-shot), which a
    pretrained `base` can that reads titles."""
    patience: Count = 3
    """Tuning ends after this many epochs in a row without a lower validation loss. The best weights are kept. If it is 0,
    all epochs are trained and the last weights are kept."""
    batch: Positive = 64
    """Examples per optimiser step, summed over all workers."""
    micro_tokens: Positive = 8192
    """The largest number of tokens in one forward pass of a worker. If its part of a step has more, gradients are
    accumulated over several passes."""
    lr: Annotated[float, Field(gt=0)] = 2e-3
    """Peak learning rate. It rises during the share `warm_up` of all steps, then falls along a cosine to a twentieth."""
    warm_up: Share = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient of a step; a larger gradient is scaled down."""
    zero: Annotated[int, Field(ge=0, le=3)] = 1
    """DeepSpeed ZeRO stage: 1 splits the optimiser state between workers, 2 also the gradients, 3 also the weights."""
    offload: bool = False
    """Keep the optimiser state in CPU memory (needs ZeRO 1 to 3)."""
    lora: Count = 0
    """Rank of the LoRA adapters; 0 tunes all weights."""
    lora_alpha: Count = 0
    """LoRA's alpha; 0 stands for twice the rank. LLM4IDRec uses 32 at rank 8."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the weights in tuning and in what is published. A CPU also answers in it (a GPU as vLLM chooses). A CPU with
    instructions for bf16 (`lscpu`: avx512_bf16, amx_bf16) is some three times as fast with it, others are slower."""
    gradient_checkpointing: bool = False
    """Compute the activations again in the backward pass instead of storing them: less memory, a third more work."""
    loss: Literal["answer", "all"] = "answer"
    """`answer`: the loss is over the tokens of the answer only. `all`: also over those of the prompt (LLM4IDRec)."""
    history: Positive = 10
    """How many of the latest interactions of a user a prompt contains (LLM-I2I: 10)."""
    context: Positive = 2048
    """Largest length of an example in tokens. The oldest part of a history is cut to fit, an answer is never cut."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    """Write a checkpoint each time this many minutes have passed."""
    checkpoint_steps: Count = 0
    """Also write a checkpoint after every this many steps; 0: by time only."""
    tail_weight: Annotated[float, Field(gt=0)] = 4.0
    """next_item: loss weight of a long-tail target. All other targets have weight 1 (LLM-I2I: alpha = 4, beta = 1)."""
    splits: Positive = 20
    """id_list: how many random splits are made of each user's shuffled history (LLM4IDRec: 20)."""
    negatives: list[Negative] = ["random"]
    """yes_no, preference: how negative items are drawn (LLM-I2I: random). `hard`: the likeliest items
    of the tuned generator that the user did not take. Each kind gives `negatives_per_positive` items."""
    negatives_per_positive: Positive = 1
    title_noise: Share = 0.5
    """yes_no, preference: share of the candidates whose title is followed by random words, with no regard to the answer.
    Then the end of a title does not tell the judge what to answer. Used only if items are written as titles."""
    user_number: bool = False
    """id_list: the prompt names the number of the user, such as `u17`, as LLM4IDRec does (arXiv 2411.02041)."""
    similar_user: Literal["overlap", "embedding", "none"] = "overlap"
    """ranking: whose history the prompt also has (Llama4Rec, arXiv 2401.13870). `overlap`: the user with the largest cosine
    of histories. `embedding`: the user with the nearest sum of item vectors, which are those of a BPR."""
    prior_list: bool = True
    """ranking: the prompt also has the order of the recommender (Llama4Rec)."""
    candidates: Positive = 10
    """ranking: items in a list (10 in RecRanker, by the authors of Llama4Rec). The user interacted with half of them."""

    @field_validator("negatives", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @model_validator(mode="after")
    def _some(self) -> "Tuning":
        if not self.tasks or not self.negatives:
            raise ValueError("tasks and negatives must each have at least one entry")
        if self.offload and not self.zero:
            raise ValueError("offload needs zero: 1, 2 or 3")
        return self


class Generator(Tuning):
    epochs: Count = 20


class Discriminator(Tuning):
    tasks: dict[Task, Annotated[float, Field(gt=0)]] = {"yes_no": 1.0}
    epochs: Count = 2
    lr: Annotated[float, Field(gt=0)] = 1e-3
