"""The recipe: what is misspelt is named with its neighbour, what is set is set, what is saved loads again."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from longtail.errors import InputError
from longtail.recipe import Recipe, dump_recipe, load_recipe

SHIPPED = sorted((Path(__file__).resolve().parents[1] / "app/longtail/recipes").glob("*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_recipe_loads_and_survives_a_round_trip(path, tmp_path):
    recipe = load_recipe(path)
    assert load_recipe(write(tmp_path, dump_recipe(recipe))) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nrecommenders: {swig: {}}", "unknown key 'recommenders.swig': did you mean 'swing'"),
        ("name: x\ndataset: {columms: {}}", "unknown key 'dataset.columms': did you mean 'columns'"),
        ("name: x\naugment: [{strategy: next_item, propsals: 3}]", "did you mean 'proposals'"),
        (
            "name: x\naugment: [{strategy: id_list, lenth: 3}]",
            "unknown key 'augment.0.id_list.lenth': did you mean 'length'",
        ),
        ("name: x\naugment: [{strategy: insertions}]", "no strategy 'insertions': did you mean 'insertion'?"),
        ("name: x\naugment: [{strategy: 7}]", "no strategy 7: known: next_item, id_list, insertion"),
        (
            "name: x\naugment: [{proposals: 3}]",
            "augment.0 = {'proposals': 3}: Value error, no strategy None: known",
        ),
        ("name: x\naugment: [3]", "augment.0 = 3: Input should be a valid dictionary"),
        (
            "name: x\naugment: [{strategy: ranking, recommender: bpr}]",
            "augment.0.ranking.recommender = 'bpr'",
        ),
        ("name: x\njudge: {weight: 0}", "judge.weight = 0"),
        ("name: x\njudge: {likelihood: 0, agreement: 0, yes_no: 0}", "at least one of"),
        ("name: x\njudge: llm-i3i", "known: llm-i2i"),
        (
            "name: x\naugment: [{strategy: next_item, tail_share: 0.4}]\njudge: {tail_share: 0}",
            "judge.tail_share = 0 throws away what augment.next_item.tail_share = 0.4 reserves",
        ),
        ("name: x\nsweep: {slice: tall}", "sweep.slice"),
        ("name: x\nconstraint: {slices: [tial]}", "constraint.slices.0 = 'tial'"),
        ("name: x\nconstraint: {slices: [tail, tail]}", "each slice at most once, got tail more often"),
        ("name: x\nconstraint: {within_se: -1}", "constraint.within_se = -1"),
        ("name: x\nconstraint: {within_se: .inf}", "constraint.within_se"),
        ("name: x\nconstraint: {slice: [tail]}", "unknown key 'constraint.slice': did you mean 'slices'"),
        (
            "name: x\nserving: {arms: {a: {share: 0.5}}}",
            "the shares of arms add up to 0.5: let them add up to 1",
        ),
        ("name: x\nserving: {arms: {a: {share: 1, serving: {knd: paper}}}}", "arms.a.serving.knd = 'paper'"),
        ("name: x\nserving: {arms: {a: {share: 1, serving: {salt: x}}}}", "all arms have the same"),
        (
            "name: x\nserving: {arms: {a: {share: 1, serving: {recommender: bpr}}}}",
            "serving.arms.a: serving.recommender = 'bpr': the recipe trains itemcf, swing",
        ),
        ("name: x\nserving: {arms: {a b: {share: 1}}}", "serving.arms"),
        ("name: x\nserving: {events: {kinds: [Big Sale]}}", "serving.events.kinds.0 = 'Big Sale'"),
        ("name: x\ndataset: {events: {until: soon}}", "dataset.events.until = 'soon'"),
        ("name: x\naugment: [{strategy: ranking, candidates: 65}]", "augment.0"),
        (
            "name: x\naugment: [{strategy: ranking, recommender: bpr}]",
            "neighbours of items: itemcf, bm25, swing",
        ),
        ("name: x\naugment: [{strategy: next_item}, {strategy: next_item}]", "each strategy at most once"),
        (
            "name: x\nvariants: [observed, id_list]",
            "'id_list' is made of ['id_list'], which augment does not have",
        ),
        (
            "name: x\naugment: [{strategy: next_item}, {strategy: id_list}]",
            "augment.id_list asks the generator what generator.tasks does not teach it: add 'id_list' there",
        ),
        (
            "name: x\nprices: {models: {qwen: {hour: 2}}}",
            "prices.models has no 'small', the llm.base of this recipe; it has ['qwen']",
        ),
        ("name: x\nprices: {models: {small: {hour: -2}}}", "prices.models.small.hour"),
        ("name: x\nvariants: [generated]", "must contain 'observed'"),
        (
            "name: x\nvariants: [observed]\nrecommenders: {swing: {variants: [observed, random]}}",
            "recommenders.swing.variants",
        ),
        (
            "name: x\nevaluation: {protocol: train-only, retune: true}",
            "evaluation.retune: protocol train-only has no second round",
        ),
        (
            "name: x\nevaluation: {protocol: strict}",
            "evaluation.protocol = 'strict': Input should be 'standard' or 'train-only'",
        ),
        (
            "name: x\nserving: {recommender: bpr}",
            "serving.recommender = 'bpr': the recipe trains itemcf, swing",
        ),
        (
            "name: x\nrecommenders: {itemcf: {variants: [observed]}}\nserving: {recommender: itemcf, variant: popular}",
            "serving.variant = 'popular': itemcf is trained on observed",
        ),
        (
            "name: x\nvariants: [observed, without_hits]",
            "add 'discriminated', or leave 'without_hits' out",
        ),
        (
            "name: x\nvariants: [observed, discriminated, without_hits]\nserving: {variant: without_hits}",
            "serving.variant = 'without_hits': this variant uses the answer key, so it is never served",
        ),
        (
            "name: x\nserving: {list: ranking}",
            "serving.list = 'ranking': of the strategies in augment next_item ranks",
        ),
        (
            "name: x\nserving: {list: none, alpha_1: 0}",
            "serving.alpha_1: serving.list = 'none' fuses no list",
        ),
        ("name: x\nserving: {list: none, live: true}", "serving.live: serving.list = 'none' fuses no list"),
        ("name: x\nvariants: [observed]\nserving: {live: true}", "serving.live: no list is fused here"),
        (
            "name: x\nllm: {items: title}\nserving: {live: true}",
            "serving.live: with llm.items = 'title' the LLM writes a list word by word",
        ),
        (
            "name: x\naugment: [{strategy: next_item}, {strategy: ranking}]\ngenerator: {tasks: {next_item: 1, ranking: 1}}"
            "\nvariants: [observed, discriminated]\nserving: {list: ranking, live: true}",
            "serving.live: what ranking asks depends on more than one history",
        ),
        ("name: x\nprices: {hour: -1}", "prices.hour"),
        ("name: x\nvariants: [observed]\nserving: {alpha_1: 0}", "serving.alpha_1: no list is fused here"),
        (
            "name: x\nevaluation: {served: false}\nserving: {utility: rank}",
            "serving.utility: no list is fused here",
        ),
        ("name: ../x", "name = '../x'"),
        ("- a\n- b", "mapping of sections"),
        ("name: [", "not YAML"),
        ("name: x\nvalue: !!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_a_fault_names_the_key_and_the_fix(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        load_recipe(write(tmp_path, text))
    assert message in str(error.value) and "recipe.yaml" in str(error.value)


def test_changes_reach_sections_and_lists(tmp_path):
    path = write(tmp_path, "name: x\naugment: [{strategy: next_item, proposals: 3}]")
    recipe = load_recipe(
        path, ["dataset.simulation.users=50", "augment.0.proposals=4", "recommenders.bpr={}", "seed=9"]
    )
    assert recipe.dataset.simulation.users == 50 and recipe.augment[0].proposals == 4
    assert "bpr" in recipe.recommenders and recipe.seed == 9


@pytest.mark.parametrize("change", ["seed", "=3", "augment.proposals=3", "name.x=1", "seed=[", "sed=3"])
def test_a_change_that_cannot_be_made_says_so(tmp_path, change):
    with pytest.raises(InputError):
        load_recipe(write(tmp_path, "name: x\naugment: [{strategy: next_item}]"), [change])


def test_a_preset_is_a_judge_as_the_paper_has_it(tmp_path):
    path = write(tmp_path, "name: x\njudge: llm-i2i")
    judge = load_recipe(path).judge
    assert (judge.yes_no, judge.likelihood, judge.agreement, judge.threshold) == (1.0, 0.0, 0.0, 0.995)
    assert (judge.keep, judge.weight, judge.relative) == (10, 1.0, False)


@pytest.mark.parametrize(
    ("judge", "kept"),
    [
        ("{}", 0.4),
        ("{keep: 3}", 0.4),
        ("llm-i2i", 0.4),
        ("{tail_share: 0.2}", 0.2),
        ("{tail_share: 0.6}", 0.6),
    ],
)
def test_what_next_item_reserves_for_the_long_tail_the_judge_keeps(tmp_path, judge, kept):
    """README's own recipe says it once. Failed before: 40 % of the proposals were reserved, and none of what was kept."""
    text = f"name: x\naugment: [{{strategy: next_item, tail_share: 0.4}}]\njudge: {judge}\n"
    own = "recommenders: {swing: {judge: {keep: 2}}, itemcf: {judge: {tail_share: 0.0}}}"
    recipe = load_recipe(write(tmp_path, text + own))
    assert recipe.judge.tail_share == recipe.judge_of("swing").tail_share == kept
    assert recipe.judge_of("itemcf").tail_share == 0, "what helps one recommender may harm another"
    again = load_recipe(write(tmp_path, dump_recipe(recipe)))
    assert again == recipe


def test_without_a_reserve_the_judge_keeps_none(tmp_path):
    assert load_recipe(write(tmp_path, "name: x")).judge.tail_share == 0
    text = "name: x\naugment: [{strategy: next_item}]\njudge: {tail_share: 0}"
    assert load_recipe(write(tmp_path, text)).judge.tail_share == 0


def test_an_llm_that_nobody_asks_is_not_tuned(tmp_path):
    """The discriminator where the judge does not weigh its word, both where no variant needs them."""
    assert load_recipe(write(tmp_path, "name: x")).roles == ("generator", "discriminator")
    assert load_recipe(write(tmp_path, "name: x\njudge: {yes_no: 0}")).roles == ("generator",)
    assert load_recipe(write(tmp_path, "name: x\nvariants: [observed]")).roles == ()
    assert load_recipe(write(tmp_path, "name: x\naugment: []\nvariants: [observed]")).roles == ()


def test_reading_a_recipe_needs_no_torch(tmp_path):
    """Nor does a process that is sent one: the demo names recommenders that PyTorch trains."""
    sent = tmp_path / "sent"
    asserted = "import sys; assert 'torch' not in sys.modules"
    for code in (
        f"import pathlib, pickle; from longtail.recipe import load_recipe; "
        f"pathlib.Path({str(sent)!r}).write_bytes(pickle.dumps(load_recipe('demo')))",
        f"import pathlib, pickle; recipe = pickle.loads(pathlib.Path({str(sent)!r}).read_bytes()); "
        "assert recipe.recommenders.keys() >= {'bpr', 'lightgcn', 'sasrec'}",
    ):
        subprocess.run([sys.executable, "-c", f"{code}; {asserted}"], check=True)


def test_a_missing_recipe_is_named():
    with pytest.raises(InputError, match="no such recipe"):
        load_recipe("nowhere.yaml")


def test_the_dump_holds_every_default():
    saved = yaml.safe_load(dump_recipe(Recipe(name="x")))
    assert saved["judge"]["weight"] == 0.3 and saved["generator"]["tail_weight"] == 4.0
