"""Words for the titles of the simulated store: a title shows the tastes of its item, its last word names the item."""

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
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def taste_names(tastes: int) -> list[str]:
    """One name per taste. If there are more tastes than themes, names repeat with a number."""
    themes = list(_THEMES)
    return [themes[taste % len(themes)] + _series(taste) for taste in range(tastes)]


def item_titles(main: np.ndarray, second: np.ndarray, tastes: int, rng: np.random.Generator) -> list[str]:
    """A distinct title of five words per item: style, three words of its tastes, its own word.

    main, second: int [n] tastes of the items. If they differ, one word of three is of the second taste.
    """
    words = [
        [word + _series(taste) for word in vocabulary.split()]
        for taste, vocabulary in zip(range(tastes), _cycle(list(_THEMES.values()), tastes), strict=True)
    ]
    styles = rng.choice(_STYLES, len(main))
    order = np.argsort(rng.random((len(main), len(words[0]))), axis=1)[:, :3]
    return [
        f"{style} {words[a][x]} {words[a][y]} {words[b][z]} {_own_word(item)}".title()
        for item, (style, a, b, (x, y, z)) in enumerate(zip(styles, main, second, order, strict=True))
    ]


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
