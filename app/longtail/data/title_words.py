"""What the catalogue of the simulated store says of an item: a title, and a category that several tastes share.

How much both tell of the item's tastes is a dial, the signal. docs/methods/simulated-store.md has what it comes to.
"""

import numpy as np

_THEMES: dict[str, str] = {
    "camping": "tent stove lantern hammock tarp canteen campfire trail sleeping backpack",
    "coffee": "espresso grinder kettle roast brew filter crema moka portafilter barista",
    "garden": "seed trowel compost pruner planter greenhouse mulch hose rose soil",
    "music": "guitar strings amplifier pedal drum cymbal microphone capo ukulele piano",
    "running": "sneaker pace sprint marathon shorts hydration cadence sole jogging track",
    "baking": "flour dough oven whisk yeast cake rolling cookie pastry muffin",
    "photography": "lens tripod shutter camera flash aperture film zoom darkroom portrait",
    "cycling": "bicycle saddle pedals helmet chain derailleur tyre handlebar spokes jersey",
    "fishing": "rod reel lure bait tackle angler trout line waders hook",
    "astronomy": "telescope eyepiece stargazer nebula planet comet orbit lunar galaxy finder",
    "knitting": "yarn needles wool crochet stitch skein sweater pattern cable merino",
    "aquarium": "fish tank coral reef gravel pump algae tetra snail driftwood",
    "painting": "acrylic canvas brush easel watercolor palette pigment gouache sketch varnish",
    "swimming": "goggles pool snorkel fins swimsuit lane kickboard diving towel float",
    "chess": "board bishop knight opening gambit clock rook endgame pawn castle",
    "woodwork": "chisel plane saw lathe clamp dowel oak sander workbench mallet",
}
_STYLES = (
    "classic",
    "compact",
    "deluxe",
    "everyday",
    "light",
    "modern",
    "original",
    "premium",
    "simple",
    "studio",
)
_TASTES_OF_CATEGORY = 4
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def taste_names(tastes: int) -> list[str]:
    """One name per taste. If there are more tastes than themes, names repeat with a number."""
    themes = list(_THEMES)
    return [themes[taste % len(themes)] + _series(taste) for taste in range(tastes)]


def item_titles(
    main: np.ndarray, second: np.ndarray, tastes: int, signal: float, rng: np.random.Generator
) -> list[str]:
    """A distinct title of five words per item: style, two words of its main taste, one of its second, its own word.

    main, second: int [n] tastes of the items, equal if there is one only. signal: with this probability each of the three
    words is of the taste's vocabulary; if not, it is any word of the store. So 0 gives titles that tell nothing.
    """
    vocabulary = np.array(
        [
            [word + _series(taste) for word in words.split()]
            for taste, words in zip(range(tastes), _cycle(list(_THEMES.values()), tastes), strict=True)
        ]
    )
    styles = rng.choice(_STYLES, len(main))
    places = np.argsort(rng.random((len(main), vocabulary.shape[1])), axis=1)[:, :3]
    words = vocabulary[blurred(np.stack([main, main, second], axis=1), tastes, signal, rng), places]
    return [
        f"{style} {x} {y} {z} {_own_word(item)}".title()
        for item, (style, (x, y, z)) in enumerate(zip(styles, words, strict=True))
    ]


def item_categories(main: np.ndarray, tastes: int, signal: float, rng: np.random.Generator) -> list[str]:
    """The category of each item, such as "camping to music": that of its main taste with the probability `signal`; if
    not, that of a taste drawn at random.

    Each category is of four tastes or more, and of all if there are fewer than eight. So it is never the taste itself.
    """
    parts = np.array_split(taste_names(tastes), max(1, tastes // _TASTES_OF_CATEGORY))
    names = [f"{part[0]} to {part[-1]}" for part in parts for _ in part]
    return [names[taste] for taste in blurred(main, tastes, signal, rng)]


def blurred(taste: np.ndarray, tastes: int, signal: float, rng: np.random.Generator) -> np.ndarray:
    """`taste`, int of any shape: each entry stays with the probability `signal`; if not, it is any of all `tastes`.

    For equal states of `rng`, whatever stays at one signal stays at every higher one.
    """
    stays = rng.random(taste.shape) < signal
    return np.where(stays, taste, rng.integers(0, tastes, taste.shape))


def _series(taste: int) -> str:
    return str(taste // len(_THEMES) + 1) if taste >= len(_THEMES) else ""


def _cycle(values: list[str], n: int) -> list[str]:
    return [values[place % len(values)] for place in range(n)]


def _own_word(item: int) -> str:
    """Two or more syllables that spell the item's number."""
    base = len(_SYLLABLES)
    word = _SYLLABLES[item % base]
    item //= base
    while True:
        word, item = _SYLLABLES[item % base] + word, item // base
        if not item:
            return word
