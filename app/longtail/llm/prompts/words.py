"""The words of the prompts: everything in a prompt except the items. If a word changes, the question changes."""

from longtail.recipe import Task

NEXT_ITEM = "Items of a user, oldest first:\n"
YES_NO = "Would this user take the item?\nItems:\n"
CANDIDATE = "\nItem:\n"
ANSWER = "\nAnswer:"
ID_LIST = "Some items of a user:\n"
USER = " u{}:"
REST = "\nThe other items:\n"
PREFERENCE = "Which item would this user take next?\nItems:\n"
FIRST, SECOND = "\nA:\n", "\nB:\n"
RANKING = "Rank the candidates for this user.\nItems:\n"
SIMILAR = "\nItems of a similar user:\n"
HINT = "\nRanked by a recommender:\n"
CANDIDATES = "\nCandidates:\n"
RANKED = "\nRanked for this user:\n"
TEXTS = (
    *(NEXT_ITEM, YES_NO, CANDIDATE, ANSWER, ID_LIST, REST, PREFERENCE, FIRST, SECOND),
    *(RANKING, SIMILAR, HINT, CANDIDATES, RANKED),
)
"""Every text in a prompt that is not an item."""
YES, NO, A, B = WORDS = (" Yes", " No", " A", " B")
"""The answers that are one token."""

QUESTIONS: dict[Task, tuple[str, ...]] = {
    "next_item": (NEXT_ITEM,),
    "yes_no": (YES_NO, CANDIDATE, ANSWER),
    "id_list": (ID_LIST, REST),
    "preference": (PREFERENCE, FIRST, SECOND, ANSWER),
    "ranking": (RANKING, SIMILAR, HINT, CANDIDATES, RANKED),
}
