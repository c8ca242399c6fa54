"""Arrow schemas of the tables that one stage writes and another one reads.

`prepare` gives every user and every item a dense int32 code, and later stages use these codes. The ids of the raw files
stay in the columns `user_id` and `item_id`.
"""

import pyarrow as pa

INTERACTIONS = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("timestamp", pa.int64()),  # ns since 1970 in UTC, or any number that orders a user's interactions
        ("rating", pa.float32()),
    ]
)
"""The interactions that a source reads: one row per observed interaction, with the ids of the raw files."""

ITEMS = pa.schema(
    [
        ("item", pa.int32()),
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("attributes", pa.map_(pa.string(), pa.string())),
        ("train_count", pa.int32()),
        ("slice", pa.string()),  # head | mid | tail | cold, by train_count
    ]
)
"""The catalogue, sorted by `item`; row number == item code."""

FINAL = "final/"
"""The folder in a workspace with all that is made with the validation items known; see `longtail.rounds`."""

PRODUCTION = "production/"
"""The folder in a workspace with all that `refit` makes with the whole log known."""

NOTHING = -1
"""Stands for "no item" in an array of item codes."""

HISTORIES = pa.schema(
    [
        ("user", pa.int32()),
        ("user_id", pa.string()),
        ("items", pa.list_(pa.int32())),  # oldest first
        ("timestamps", pa.list_(pa.int64())),
        # Only the train part may have an item twice (dataset.repeats: all).
        # items[:train_end] train, [train_end:valid_end] validation, [valid_end:] test
        ("train_end", pa.int32()),
        ("valid_end", pa.int32()),
        ("slice", pa.string()),  # sparse | regular | active, by train_end
    ]
)
"""One row per user. The split is two positions in the list: train comes first, then validation, then test."""

STRENGTHS = pa.field("strengths", pa.list_(pa.int32()))
"""An extra column of HISTORIES if `dataset.repeats` is `weight`: how often the user interacted with each of `items` in the
train part. It is the weight of the observed interaction. A held-out item has 1."""

FUSED = pa.schema(
    [
        ("user", pa.int32()),
        ("items", pa.list_(pa.int32())),  # the observed training items, oldest first, then the generated ones
        # observed: 1 or its strength, 0 if it was screened out; generated: as the recipe says
        ("weights", pa.list_(pa.float32())),
        ("observed", pa.int32()),  # the first `observed` entries were observed
        ("sequence", pa.list_(pa.int32())),  # positions of the entries in order of time; null: as in `items`
    ]
)
"""A variant of the training set, one row per user."""

PREFERENCES = pa.schema(
    [
        ("user", pa.int32()),
        ("preferred", pa.int32()),
        ("rejected", pa.int32()),
        ("strategy", pa.string()),
        ("confidence", pa.float32()),  # weight of the pair in the auxiliary loss
    ]
)
"""Which of two items a user prefers. A variant may have such pairs in addition to its interactions."""

REQUESTS = pa.schema(
    [
        ("request_id", pa.string()),  # 16 hexadecimal digits: a hash of all that the answer depends on
        ("user", pa.int32()),
        ("user_id", pa.string()),
        ("history", pa.list_(pa.int32())),  # the training items, oldest first
        # the items that the prompts are about, in the order that the strategy gives them
        ("shown", pa.list_(pa.int32())),
        ("prompts", pa.list_(pa.list_(pa.int32()))),  # token ids, one prompt a question
        # tokens whose log-probability is wanted; empty: the LLM generates text
        ("options", pa.list_(pa.int32())),
    ]
)
"""One request to an LLM about one user. It is one row in every step, whatever the number of its prompts.

Held-out items are not in it, so nothing that is asked or read can depend on them."""

ANSWER = pa.struct(
    [
        ("written", pa.list_(pa.int32())),
        ("written_logprobs", pa.list_(pa.float32())),
        ("options", pa.list_(pa.int32())),
        ("option_logprobs", pa.list_(pa.float32())),
    ]
)
"""The answer to one prompt: the generated tokens, and the alternatives to the first one with their log-probabilities. If the
question was how likely the end of the prompt is, `written` is that end.

The alternatives are in the order of the request's `options`; if it has none, the likeliest comes first."""

WORDS = pa.schema(
    [
        ("request_id", pa.string()),
        ("answers", pa.list_(ANSWER)),  # one per prompt; empty if there is an error
        ("prompt_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("seconds", pa.float32()),  # engine time: that of a batch, shared out by tokens
        ("error", pa.string()),
    ]
)
"""The ledger: the answers of a strategy's LLM, one row per request. Every run interprets them again."""

YES_NO = pa.schema(
    [
        ("question", pa.uint64()),  # a hash of all that the answer depends on
        # log-probabilities of the two answers; null if the engine rejected the question
        ("yes", pa.float32()),
        ("no", pa.float32()),
        ("tokens", pa.int32()),  # prompt and answer
        ("seconds", pa.float32()),
    ]
)
"""The ledger of the discriminator: its answers about proposals, one row per question."""

PROPOSAL = pa.struct(
    [
        (
            "text",
            pa.string(),
        ),  # what the LLM generated; null if it answered with one token that stands for an item
        ("item", pa.int32()),  # null if the text names no item of the catalogue
        ("against", pa.int32()),  # for a preference: the item that the user likes less
        ("outcome", pa.string()),  # one of OUTCOMES
        ("likelihood", pa.float32()),  # probability of this item by the LLM that proposed it
        ("yes_no", pa.float32()),  # P(Yes) / (P(Yes) + P(No)) of the discriminator
        ("agreement", pa.float32()),  # an independent collaborative score
        ("confidence", pa.float32()),  # weighted blend of the three, as the recipe's judge says
    ]
)

ANSWERS = pa.schema(
    [
        ("request_id", pa.string()),
        ("user", pa.int32()),
        ("strategy", pa.string()),
        ("questions", pa.int32()),  # prompts asked of the strategy's LLM
        ("prompt_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("seconds", pa.float32()),  # engine time: that of a batch, shared out by tokens
        ("judge_questions", pa.int32()),  # prompts asked of the discriminator about the proposals
        ("judge_tokens", pa.int32()),
        ("judge_seconds", pa.float32()),
        ("error", pa.string()),
        ("proposals", pa.list_(PROPOSAL)),
    ]
)
"""The ledger after the recipe's judge has decided: one row per request, every proposal with its outcome."""

ACCEPTED = "accepted"
NOT_IN_CATALOGUE = "not_in_catalogue"
ALREADY_SEEN = "already_seen"
DUPLICATE = "duplicate"
REJECTED = "rejected_by_discriminator"
UNPARSABLE = "unparsable"
NOT_CHOSEN = "not_chosen"
"""More than the number that was asked for, or a candidate that the LLM did not choose."""
UNDECIDED = "undecided"
"""A pair of items that was asked about in both orders and got different answers."""
OUTCOMES = (
    *(ACCEPTED, NOT_IN_CATALOGUE, ALREADY_SEEN, DUPLICATE, REJECTED, UNPARSABLE),
    *(NOT_CHOSEN, UNDECIDED),
)
"""Every proposal has exactly one outcome, so the counts always add up.

No outcome says that an item is held out: a proposal is made from the known history alone, so one that equals a held-out item
is a right guess and is judged like any other."""

RANKINGS = pa.schema(
    [
        ("user", pa.int32()),
        ("items", pa.list_(pa.int32())),  # best first, none of them in the user's history
        ("scores", pa.list_(pa.float32())),  # descending, 0..1
    ]
)
"""The LLM's ranking for each user. Serving fuses it with a recommender's ranking, or injects its items there."""

RANKS = pa.schema(
    [
        ("user", pa.int32()),
        ("item", pa.int32()),  # the held-out target
        # 1-based rank of the target in the full ranking; 0 if it is larger than the largest k
        ("rank", pa.int32()),
        ("targets", pa.int32()),  # how many targets this user has
        ("sampled_rank", pa.int32()),  # its rank among random items; null if none were drawn
    ]
)
"""The result of an evaluation: one row per user and target, from which any metric of any slice can be computed."""
