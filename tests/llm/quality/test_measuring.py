"""What an LLM is worth: batches, shared keys and Ray tasks change no figure of one user and one item at a time."""

import shutil
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from transformers import LlamaConfig, LlamaForCausalLM

from longtail.data import Prepared
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.item_text import MAX_TITLE, ItemTokens, item_texts
from longtail.llm.quality import answers, likelihood
from longtail.llm.quality import measuring as worth
from longtail.llm.quality.likelihood import Likelihood
from longtail.llm.quality.llm_metrics import RANKED_AT_LEAST, auc, figures, reliability
from longtail.llm.quality.measuring import measure_worth
from longtail.llm.small_llama import build_tokenizer
from longtail.recipe import Discriminator, Generator
from longtail.schema import HISTORIES
from longtail.workspace import Workspace

USERS, HISTORY, SEED = 45, 6, 3


def random_llama(tokenizer, vocabulary: int) -> LlamaForCausalLM:
    """Weights far from zero, so that its answers differ much from item to item."""
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
        initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def store(tmp_path_factory, catalogue) -> SimpleNamespace:
    """A published `data/` in two files, some users without a training or a validation item, and an LLM per rendering."""
    ws = Workspace(str(tmp_path_factory.mktemp("store")))
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS + 8):
        items = rng.permutation(40)[: rng.integers(4, 14)].tolist()
        train_end, valid_end = len(items) - 2, len(items) - 1
        if user == 0:  # took everything: there is nothing to draw a negative from
            items, train_end, valid_end = list(range(40)), 39, 40
        elif user >= USERS + 4:
            train_end, valid_end = 0, 1  # no training item
        elif user >= USERS:
            valid_end = train_end  # no validation item
        rows.append(
            {
                "user": user,
                "user_id": f"u{user}",
                "items": items,
                "timestamps": list(range(len(items))),
                "train_end": train_end,
                "valid_end": valid_end,
                "slice": "regular",
            }
        )
    table = pa.Table.from_pylist(rows, HISTORIES)
    stage = ws.stage("data", {})
    stage.counts = {"users": len(rows), "items": catalogue.num_rows}
    with stage.publishing() as draft:
        (draft / "items.parquet").write_table(catalogue)
        (draft / "histories" / "0.parquet").write_table(table.slice(20))
        (draft / "histories" / "1.parquet").write_table(table.slice(0, 20))
    for rendering in ("token", "title"):
        tokenizer = build_tokenizer(catalogue, rendering)
        folder = (ws / f"llm/{rendering}").make_folder().path
        tokenizer.save_pretrained(folder)
        random_llama(tokenizer, len(tokenizer)).save_pretrained(folder)
    return SimpleNamespace(ws=ws, rows=rows[:USERS], prepared=Prepared(ws))


def opened(store, rendering) -> tuple[Prompts, LlamaForCausalLM]:
    place = store.ws / f"llm/{rendering}"
    prompts = Prompts.open(place, store.prepared.items, rendering, HISTORY)
    return prompts, LlamaForCausalLM.from_pretrained(place.path, dtype=torch.float32).eval()


@torch.no_grad()
def logprob(model, prompt, text) -> float:
    """log P(text | prompt), with one pass and no batch."""
    said = model(torch.from_numpy(np.append(prompt, text).astype(np.int64))[None]).logits[0].log_softmax(-1)
    return sum(float(said[len(prompt) - 1 + step, token]) for step, token in enumerate(text))


@pytest.mark.parametrize("rendering", ["token", "title"])
def test_the_generators_figures_equal_one_user_and_one_item_at_a_time(ray_here, store, catalogue, rendering):
    prompts, model = opened(store, rendering)
    hits, gains, tail, surprise, tokens = [], [], [], 0.0, 0
    for row in store.rows:
        past, target = np.array(row["items"][: row["train_end"]]), row["items"][row["train_end"]]
        prompt = prompts.next_item(past)
        scores = {
            item: logprob(model, prompt, prompts.items.of(item))
            for item in range(40)
            if item == target or item not in past
        }
        # Items 5 and 6 have the same title; batches may round the same number otherwise.
        rank = sum(score >= scores[target] - 1e-5 for score in scores.values())
        hits.append(rank <= 10)
        gains.append(1 / np.log2(rank + 1) if rank <= 10 else 0)
        tail.append(catalogue["slice"][target].as_py() == "tail")
        surprise -= scores[target]
        tokens += len(prompts.items.of(target))
    tail = np.array(tail)

    found = measure_worth(
        "generator",
        store.ws / f"llm/{rendering}",
        store.prepared,
        Generator(history=HISTORY),
        rendering,
        SEED,
    )
    assert found["users"] == USERS and set(found) == {"users", "next_item"}
    answer = found["next_item"]
    assert answer["items"] == 40 and answer["k"] == 10 and answer["tokens"] == tokens
    assert answer["perplexity"]["value"] == pytest.approx(np.exp(surprise / tokens), rel=1e-4)
    for name, chosen in (("all", np.ones(USERS, bool)), ("tail", tail)):
        assert answer[name]["n"] == chosen.sum() > 0
        assert answer[name]["hit"]["value"] == pytest.approx(np.mean(np.array(hits)[chosen]))
        assert answer[name]["ndcg"]["value"] == pytest.approx(np.mean(np.array(gains)[chosen]))
        assert answer[name]["hit"]["ci_low"] < answer[name]["hit"]["value"] < answer[name]["hit"]["ci_high"]
    assert 0 < answer["all"]["hit"]["value"] < 1


def test_the_discriminators_figures_equal_one_question_at_a_time(ray_here, store):
    """The negatives are those that the tasks drew; that they are fair is tested below. Lists are taught beside the
    answers, and a discriminator is not asked for any."""
    section = Discriminator(history=HISTORY, tasks={"yes_no": 1.0, "next_item": 0.1})
    found = measure_worth("discriminator", store.ws / "llm/title", store.prepared, section, "title", SEED)
    prompts, model = opened(store, "title")
    taken = [np.array(row["items"][: row["train_end"] + 1]) for row in store.rows]
    setting = worth.Setting(
        store.ws / "llm/title", store.prepared.items, "title", section, SEED, "discriminator"
    )
    random, popular = worth._not_taken(taken, [row["user"] for row in store.rows], setting)
    assert set(found) == {"users", "yes_no", "injection"}

    def yes(row, item):
        prompt = prompts.yes_no(taken[row][:-1], item)
        one, other = (logprob(model, prompt, [token]) for token in (prompts.yes, prompts.no))
        return np.exp(one) / (np.exp(one) + np.exp(other))

    answer = found["yes_no"]
    asked = [row for row in range(USERS) if random[row] != answers.NO_ITEM]
    assert 0 not in asked and answer["n"] == len(asked) == USERS - 1
    positive = [yes(row, taken[row][-1]) for row in asked]
    labels = [1] * len(asked) + [0] * len(asked)
    for name, drawn in (("auc_random", random), ("auc_popular", popular)):
        negative = [yes(row, drawn[row]) for row in asked]
        area = roc_auc_score(labels, positive + negative)
        assert answer[name]["value"] == pytest.approx(area)
        assert answer[name]["ci_low"] < area < answer[name]["ci_high"]
    said = np.array(positive + [yes(row, random[row]) for row in asked])
    assert answer["accuracy"]["value"] == pytest.approx(accuracy_score(labels, said > 0.5))
    assert answer["log_loss"]["value"] == pytest.approx(log_loss(labels, said), rel=1e-4)
    assert sum(one["count"] for one in answer["bins"]) == 2 * len(asked)


@torch.no_grad()
def let_choose(model, prompts, a, b):
    """A random model says one letter whatever it is asked: let its two letters stand on both sides of its mean state."""
    states = torch.stack([model.model(torch.tensor(one)[None]).last_hidden_state[0, -1] for one in prompts])
    mean = states.mean(0)
    _, _, directions = torch.linalg.svd(states - mean, full_matrices=False)
    across = directions[0] - (directions[0] @ mean) / (mean @ mean) * mean
    model.lm_head.weight[a], model.lm_head.weight[b] = across, -across
    return model


def test_preference_is_asked_in_both_orders(ray_here, store):
    prompts, model = opened(store, "token")
    section = Generator(history=HISTORY, tasks={"preference": 1.0})
    setting = worth.Setting(
        store.ws / "llm/token", store.prepared.items, "token", section, SEED, "discriminator"
    )
    taken = [np.array(row["items"][: row["train_end"] + 1]) for row in store.rows]
    random, _ = worth._not_taken(taken, [row["user"] for row in store.rows], setting)
    choosing = store.ws / "llm/choosing"
    shutil.copytree((store.ws / "llm/token").path, choosing.path)
    asked = [prompts.preference(one[:-1], one[-1], b) for one, b in zip(taken[1:], random[1:], strict=True)]
    let_choose(model, asked, prompts.a, prompts.b).save_pretrained(choosing.path)
    found = measure_worth("generator", choosing, store.prepared, section, "token", SEED)

    def says_a(past, a, b):
        prompt = prompts.preference(past, a, b)
        return logprob(model, prompt, [prompts.a]) > logprob(model, prompt, [prompts.b])

    right, agreed = [], []
    for items, other in zip(taken[1:], random[1:], strict=True):
        first, second = says_a(items[:-1], items[-1], other), not says_a(items[:-1], other, items[-1])
        agreed.append(first == second)
        if first == second:
            right.append(first)
    assert 0 < np.mean(agreed) < 1 and 0 < np.mean(right) < 1
    assert set(found) == {"users", "preference"}
    assert found["preference"]["n"] == USERS - 1
    assert found["preference"]["disagreement"]["value"] == pytest.approx(1 - np.mean(agreed))
    assert found["preference"]["accuracy"]["value"] == pytest.approx(np.mean(right))


def test_figures_do_not_depend_on_the_number_of_tasks(ray_here, store, monkeypatch):
    ask = ("generator", store.ws / "llm/token", store.prepared, Generator(history=HISTORY), "token", SEED)
    whole = measure_worth(*ask)
    monkeypatch.setattr(worth, "USERS_PER_TASK", 20)
    parts = measure_worth(*ask)
    assert parts["next_item"]["all"] == whole["next_item"]["all"]
    assert parts["next_item"]["perplexity"]["value"] == pytest.approx(
        whole["next_item"]["perplexity"]["value"]
    )


def test_what_is_not_taught_is_not_measured(ray_here, store):
    section = Generator(tasks={"ranking": 1.0})
    assert measure_worth("generator", store.ws / "llm/none", store.prepared, section, "id", SEED) == {}


@pytest.mark.parametrize("tokens,logits", [(1, 1), (150, 10**9), (10**6, 40_000)])
def test_batches_of_any_size_say_the_same(store, monkeypatch, tokens, logits):
    prompts, model = opened(store, "title")
    llm = Likelihood(model)
    asked = [prompts.next_item(np.array(row["items"][: row["train_end"]])) for row in store.rows[:8]]
    texts = [prompts.items.of(row["items"][row["train_end"]]) for row in store.rows[:8]]
    expected = [logprob(model, prompt, text) for prompt, text in zip(asked, texts, strict=True)]
    catalogue = [logprob(model, asked[0], prompts.items.of(item)) for item in range(40)]
    monkeypatch.setattr(likelihood, "TOKENS_AT_ONCE", tokens)
    monkeypatch.setattr(likelihood, "LOGITS_AT_ONCE", logits)
    np.testing.assert_allclose(llm.texts(asked, texts), expected, rtol=1e-4)
    np.testing.assert_allclose(llm.catalogue(asked[0], llm.trees(prompts.items)), catalogue, rtol=1e-4)
    met = []
    for rows, found in llm.next_logits(asked):
        met += rows.tolist()
        for row, one in zip(rows, found, strict=True):
            alone = model(torch.from_numpy(asked[row].astype(np.int64))[None]).logits[0, -1]
            torch.testing.assert_close(one, alone.detach(), rtol=1e-3, atol=1e-3)
    assert sorted(met) == list(range(8))


def test_a_model_in_bf16_gives_logits_finer_than_bf16(store):
    """Else items of a large catalogue would tie, and a tie counts against the model."""
    prompts, model = opened(store, "token")
    llm = Likelihood(model.to(torch.bfloat16))
    ((_, logits),) = llm.next_logits([prompts.next_item(np.array([8, 9]))])
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


def test_the_longest_item_still_fits_behind_a_prompt(store):
    prompts, _ = opened(store, "title")
    prompts.context = 120
    asked = []

    class Asked:
        def texts(self, prompts, texts):
            asked.extend(map(len, prompts))
            return np.zeros(len(texts))

    taken = [np.array(row["items"][: row["train_end"] + 1]) for row in store.rows]
    answers.ranks(Asked(), prompts, "next_item", taken, np.zeros(len(taken), bool))
    longest = np.diff(prompts.items.indptr).max()
    assert max(asked) + longest <= 121 and prompts.context == 120


def test_users_are_drawn_by_seed_whatever_the_files(store, monkeypatch):
    monkeypatch.setattr(worth, "MOST_USERS", 20)
    files = (store.prepared.place / "histories").files()

    def first(files, seed):
        return worth._first(*(worth._draw(file, 1.0, seed) for file in files))["user"].to_pylist()

    assert first(files, 0) == first(files[::-1], 0) != first(files, 1)
    assert len(set(first(files, 0))) == 20
    assert set(first(files, 0)) <= set(range(USERS)), "only those with a training and a validation item"


def test_a_budget_too_small_for_ranking_leaves_perplexity(ray_here, store, monkeypatch):
    prompts, _ = opened(store, "title")
    monkeypatch.setattr(worth, "RANKING_TOKENS", 10 * len(prompts.items.tokens))
    setting = worth.Setting(
        store.ws / "llm/title", store.prepared.items, "title", Generator(history=HISTORY), SEED, "generator"
    )
    users = worth._first(
        *(worth._draw(file, 1.0, SEED) for file in (store.prepared.place / "histories").files())
    )
    found = figures(worth._measure(setting, users, 0, 1), 40, SEED)["next_item"]
    assert found["all"]["n"] == 10 and found["all"]["hit"]["value"] is None
    assert found["perplexity"]["value"] > 1


def test_the_larger_an_llm_the_fewer_users_a_cpu_ranks_the_catalogue_for(store):
    prompts, model = opened(store, "title")
    llm, tokens = Likelihood(model), len(prompts.items.tokens)
    llm.device = torch.device("cpu")

    def ranked(parameters: int) -> int:
        llm.parameters = parameters
        return worth._rankable(prompts, llm)

    assert llm.parameters == sum(part.numel() for part in model.parameters())
    assert ranked(10**5) == ranked(8 * 10**6) == worth.RANKING_TOKENS // tokens
    assert ranked(10**9) == pytest.approx(ranked(10**8) / 10, rel=0.01)
    # A catalogue of 20,000 tokens, as that of ML-100K: enough users for SmolLM2 to have figures.
    assert ranked(134_515_008) * tokens / 20_000 > RANKED_AT_LEAST
    llm.device = torch.device("cuda")
    assert ranked(10**9) == worth.RANKING_TOKENS // tokens


def test_a_large_llm_is_asked_about_the_first_of_the_same_users(store, monkeypatch):
    """Parts must not shift who is asked, and every figure of a user is what it was."""
    prompts, model = opened(store, "title")
    setting = worth.Setting(
        store.ws / "llm/title", store.prepared.items, "title", Generator(history=HISTORY), SEED, "generator"
    )
    users = worth._first(
        *(worth._draw(file, 1.0, SEED) for file in (store.prepared.place / "histories").files())
    )
    whole = worth._measure(setting, users, 0, 1).to_pylist()
    tokens = (HISTORY + 2) * len(prompts.items.tokens) / len(prompts.items)
    monkeypatch.setattr(worth, "ASKING_WORK", 10.5 * tokens * Likelihood(model).parameters)
    parts = [worth._measure(setting, users, part, 3).to_pylist() for part in range(3)]
    found = sorted((row for part in parts for row in part), key=lambda row: row["place"])
    assert len(whole) == USERS and [row["place"] for row in found] == list(range(10))
    for one, other in zip(found, whole, strict=False):
        assert one["rank"] == other["rank"] and one["logprob"] == pytest.approx(other["logprob"], rel=1e-4)


def test_the_larger_an_llm_the_fewer_users_a_cpu_asks_about(store):
    prompts, model = opened(store, "title")
    llm = Likelihood(model)
    llm.device = torch.device("cpu")

    def asked(parameters: int, task: str) -> int:
        llm.parameters = parameters
        section = Generator(history=HISTORY, tasks={task: 1.0})
        setting = worth.Setting(store.ws, store.prepared.items, "title", section, SEED, "generator")
        return worth._askable(setting, prompts, llm)

    assert asked(10**6, "next_item") == worth.MOST_USERS
    assert asked(10**11, "next_item") == pytest.approx(10 * asked(10**12, "next_item"), rel=0.5)
    assert asked(10**11, "yes_no") == pytest.approx(asked(10**11, "next_item") / 3, abs=1)
    llm.device = torch.device("cuda")
    assert asked(10**12, "yes_no") == worth.MOST_USERS


def test_what_is_not_a_number_ranks_last():
    scores = np.array([0.0, np.nan, 1.0, -1.0])
    assert answers.rank(scores, np.array([2])) == 2
    assert answers.rank(np.full(4, np.nan), np.array([0, 2])) == 3


@settings(max_examples=60)
@given(st.data())
def test_auc_under_weights_is_that_of_repeated_users(data):
    n = data.draw(st.integers(2, 12))
    scores = st.lists(st.integers(0, 4), min_size=n, max_size=n)
    positive, negative = np.array(data.draw(scores)) / 4, np.array(data.draw(scores)) / 4
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    if not weights.any():
        weights[0] = 1
    repeated = np.append(np.repeat(positive, weights), np.repeat(negative, weights))
    labels = np.repeat([1, 0], weights.sum())
    found = auc(positive, negative)(weights.astype(float))
    assert found == pytest.approx(roc_auc_score(labels, repeated))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_reliability_equals_a_loop_over_the_bins(answers):
    confidence, taken = (np.array(column) for column in zip(*answers, strict=True))
    bins, error = reliability(confidence, taken)
    expected = 0.0
    for number, one in enumerate(bins):
        inside = [a for a in answers if min(int(a[0] * 10), 9) == number]
        assert one["count"] == len(inside)
        if inside:
            mean, share = np.mean([p for p, _ in inside]), np.mean([t for _, t in inside])
            assert (one["mean"], one["share"]) == (pytest.approx(mean), pytest.approx(share))
            expected += len(inside) * abs(mean - share) / len(answers)
        else:
            assert one["mean"] is one["share"] is None
    assert error == pytest.approx(expected)


def test_negatives_are_what_the_user_did_not_take(store):
    taken = [np.array(row["items"][: row["train_end"] + 1]) for row in store.rows[1:]]
    setting = worth.Setting(
        store.ws / "llm/token", store.prepared.items, "token", Discriminator(), SEED, "discriminator"
    )
    drawn = [worth._not_taken(taken, list(range(n, n + len(taken))), setting) for n in range(0, 4000, 50)]
    random, popular = (np.concatenate([pair[kind] for pair in drawn]) for kind in (0, 1))
    for n, pair in enumerate(drawn):
        assert all(
            not np.isin(kind, items).any() for kind, items in zip(np.array(pair).T, taken, strict=True)
        ), n
    # train_count of item i is i: popular items stand near 26, any item near 20.
    assert abs(random.mean() - 19.5) < 1 and popular.mean() > 24
    assert (popular != 0).all(), "an item that nobody took is not popular"


def test_a_title_that_gives_orders_is_measured_on_the_candidate_alone(ray_here, store, catalogue):
    """The figure equals one question at a time, with the words in the candidate's title and nowhere else."""
    prompts, model = opened(store, "title")
    section = Discriminator(history=HISTORY)
    found = measure_worth("discriminator", store.ws / "llm/title", store.prepared, section, "title", SEED)
    taken = [np.array(row["items"][: row["train_end"] + 1], np.int32) for row in store.rows]
    users = [row["user"] for row in store.rows]
    setting = worth.Setting(store.ws / "llm/title", catalogue, "title", section, SEED, "discriminator")
    random, _ = worth._not_taken(taken, users, setting)

    def p_yes(past, candidate) -> float:
        tokens = prompts.yes_no(past, candidate)
        return float(
            1 / (1 + np.exp(logprob(model, tokens, [prompts.no]) - logprob(model, tokens, [prompts.yes])))
        )

    # Items that share a title carry their ids; all is cut so that the words find room within MAX_TITLE.
    room = MAX_TITLE - 1 - len(answers.INJECTION)
    texts = [text[:room].rstrip() + " " + answers.INJECTION + "\n" for text in item_texts(catalogue, "title")]
    own = [prompts.items.of(item) for item in range(len(prompts.items))]

    def change(row: int, item: int) -> float:
        """Of P(Yes), the words standing in the title of this item alone."""
        hostile = list(own)
        hostile[item] = np.array(prompts.tokenizer(texts[item], add_special_tokens=False)["input_ids"])
        found = []
        for written in (own, hostile):
            prompts.items = ItemTokens(np.concatenate(written), np.cumsum([0, *map(len, written)]))
            found.append(p_yes(taken[row][:-1], item))
        return found[1] - found[0]

    rows = np.flatnonzero(random != answers.NO_ITEM)
    changes = [change(row, int(random[row])) for row in rows]
    of_taken = [change(row, int(taken[row][-1])) for row in rows]
    figure = found["injection"]
    assert figure["n"] == len(changes) > 10
    assert figure["change"]["value"] == pytest.approx(np.mean(changes), abs=1e-4)
    assert figure["absolute"]["value"] == pytest.approx(np.mean(np.abs(changes)), abs=1e-4)
    assert figure["change_taken"]["value"] == pytest.approx(np.mean(of_taken), abs=1e-4)


def test_where_prompts_carry_no_titles_there_is_nothing_to_inject(ray_here, store):
    found = measure_worth(
        "discriminator", store.ws / "llm/token", store.prepared, Discriminator(history=HISTORY), "token", SEED
    )
    assert "injection" not in found
