"""Arrow schemas of every table that crosses a stage.

Outside `data/prepare` users and items are dense int32 codes; the ids that people know stay in the first two tables.
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
"""What a source yields: one row per observed interaction, ids as their publisher wrote them."""

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

NOTHING = -1
"""In an array of item codes: no item."""

HISTORIES = pa.schema(
    [
        ("user", pa.int32()),
        ("user_id", pa.string()),
        ("items", pa.list_(pa.int32())),  # oldest first
        ("timestamps", pa.list_(pa.int64())),
        # An item twice, if at all, in the train part alone (dataset.repeats: all).
        # items[:train_end] train, [train_end:valid_end] validation, [valid_end:] test
        ("train_end", pa.int32()),
        ("valid_end", pa.int32()),
        ("slice", pa.string()),  # sparse | regular | active, by train_end
    ]
)
"""One row per user. A split is two cuts in a time-ordered list, so a later item can never train for an earlier one."""

STRENGTHS = pa.field("strengths", pa.list_(pa.int32()))
"""A column more of HISTORIES with `dataset.repeats: weight`: how often the user took each of `items`, of the training part
up to what is held out. It is the weight of an observed interaction."""

FUSED = pa.schema(
    [
        ("user", pa.int32()),
        ("items", pa.list_(pa.int32())),  # the observed train part, oldest first, then the generated
        # observed 1 (or as often as it was), 0 if screened out; generated as the recipe says
        ("weights", pa.list_(pa.float32())),
        ("observed", pa.int32()),  # the first `observed` entries were observed
        ("sequence", pa.list_(pa.int32())),  # places of the entries in the order of time; null: as they stand
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
"""Which of two items a user prefers; a variant may have them beside its interactions."""

REQUESTS = pa.schema(
    [
        ("request_id", pa.string()),  # 16 hexadecimal digits: a hash of all that the answer depends on
        ("user", pa.int32()),
        ("user_id", pa.string()),
        ("history", pa.list_(pa.int32())),  # the training items, oldest first
        ("held_out", pa.list_(pa.int32())),
        # the items that the questions are about, as the strategy arranges them
        ("shown", pa.list_(pa.int32())),
        ("prompts", pa.list_(pa.list_(pa.int32()))),  # token ids, one prompt a question
        # tokens whose log-probability is asked for; empty: the engine writes
        ("options", pa.list_(pa.int32())),
    ]
)
"""What an LLM is asked about one user: one row from first to last, however many questions it holds."""

ANSWER = pa.struct(
    [
        ("written", pa.list_(pa.int32())),
        ("written_logprobs", pa.list_(pa.float32())),
        ("options", pa.list_(pa.int32())),
        ("option_logprobs", pa.list_(pa.float32())),
    ]
)
"""What the engine says to one prompt: the tokens it wrote, and of the first one the alternatives that were asked for,
likeliest first, or in the order of the request's `options`."""

WORDS = pa.schema(
    [
        ("request_id", pa.string()),
        ("answers", pa.list_(ANSWER)),  # one for each prompt; none where there is an error
        ("prompt_tokens", pa.int32()),
        ("output_tokens", pa.int32()),
        ("seconds", pa.float32()),  # engine time: that of a batch, shared out by tokens
        ("error", pa.string()),
    ]
)
"""The ledger: what the LLM of a strategy said, a row per request. What it means is read from it anew by every run."""

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
"""The ledger of the discriminator: what it said of proposals, a row per question."""

PROPOSAL = pa.struct(
    [
        ("text", pa.string()),  # what the LLM wrote; null where it answered by a token that is the item
        ("item", pa.int32()),  # null where the text names no item of the catalogue
        ("against", pa.int32()),  # of a preference: the item that it is preferred to
        ("outcome", pa.string()),  # one of OUTCOMES
        ("likelihood", pa.float32()),  # the asked LLM's own probability of this item
        ("yes_no", pa.float32()),  # P(Yes) / (P(Yes) + P(No)) of the discriminator
        ("agreement", pa.float32()),  # an independent collaborative score
        ("confidence", pa.float32()),  # the blend of the three, by the recipe's judge
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
"""What a recipe makes of the ledger: one row per request, every proposal with its outcome."""

ACCEPTED = "accepted"
NOT_IN_CATALOGUE = "not_in_catalogue"
ALREADY_SEEN = "already_seen"
HELD_OUT = "held_out"
DUPLICATE = "duplicate"
REJECTED = "rejected_by_discriminator"
UNPARSABLE = "unparsable"
NOT_CHOSEN = "not_chosen"
"""Beyond the number that was asked for, or a candidate that the LLM did not pick."""
UNDECIDED = "undecided"
"""A preference on which the two orders of asking disagree."""
OUTCOMES = (
    *(ACCEPTED, NOT_IN_CATALOGUE, ALREADY_SEEN, HELD_OUT, DUPLICATE, REJECTED, UNPARSABLE),
    *(NOT_CHOSEN, UNDECIDED),
)
"""Every proposal has exactly one outcome, so the counts always add up."""

RANKINGS = pa.schema(
    [
        ("user", pa.int32()),
        ("items", pa.list_(pa.int32())),  # best first, none of them in the user's history
        ("scores", pa.list_(pa.float32())),  # falling, 0..1
    ]
)
"""The LLM's list for each user: what serving fuses with a recommender's, or injects into it."""

RANKS = pa.schema(
    [
        ("user", pa.int32()),
        ("item", pa.int32()),  # the held-out target
        # 1-based place of the target in the full ranking; 0 where it is below the largest k
        ("rank", pa.int32()),
        ("targets", pa.int32()),  # how many targets this user has
        ("sampled_rank", pa.int32()),  # its place among random items; null where none were drawn
    ]
)
"""What an evaluation keeps: one row per user and target, so that any metric and slice can be computed afterwards."""
