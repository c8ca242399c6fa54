"""Logits of a tuned LLM after prompts, and log-probabilities of texts that follow prompts."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from longtail.llm.prompts.item_text import ItemTokens
from longtail.llm.quality.text_tree import ROOT, TextTree, text_trees
from longtail.workspace.place import Place

TOKENS_AT_ONCE = 2**13
"""Most tokens of one forward pass, padding included."""
LOGITS_AT_ONCE = 2**25
"""Most logits of one forward pass: 128 MiB in fp32."""


class Likelihood:
    """A causal language model from a Hugging Face folder, on the GPU if the process has one.

    It computes in the precision that it was saved in. Logits are always fp32.
    """

    def __init__(self, model: Any) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device).eval()
        head = self.model.get_output_embeddings()
        self.vocabulary = head.weight.shape[0]
        self.parameters = sum(part.numel() for part in self.model.parameters())
        if head.weight.dtype != torch.float32:
            # Logits in bf16 are so coarse that many items would tie. A copy, because embeddings may share the matrix.
            head.weight = torch.nn.Parameter(head.weight.detach().float())
            head.register_forward_pre_hook(lambda _, states: states[0].float())

    @classmethod
    def open(cls, llm: Place) -> Self:
        with llm.local() as folder:
            return cls(AutoModelForCausalLM.from_pretrained(folder, dtype="auto"))

    def next_logits(self, prompts: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Logits of the token after each prompt, in blocks: rows int [n] of `prompts`, and float32 [n, vocabulary]."""
        last = np.array([len(prompt) - 1 for prompt in prompts], np.int64)
        for rows, first, logits in self._logits(prompts, last):
            yield rows, logits[np.arange(len(rows)), last[rows] - first]

    def texts(self, prompts: Sequence[np.ndarray], texts: Sequence[np.ndarray]) -> np.ndarray:
        """log P(text | prompt) of each pair, summed over the text's tokens: float64 [pairs]."""
        found = np.zeros(len(prompts))
        starts = np.array([len(prompt) - 1 for prompt in prompts], np.int64)
        # The last token is not an input: it is only predicted.
        pairs = [np.append(prompt, text[:-1]) for prompt, text in zip(prompts, texts, strict=True)]
        for rows, first, logits in self._logits(pairs, starts):
            for place, row in enumerate(rows):
                start = starts[row] - first
                said = torch.log_softmax(logits[place, start : start + len(texts[row])], -1)
                wanted = torch.from_numpy(texts[row].astype(np.int64)).to(self.device)
                found[row] = float(said.gather(1, wanted[:, None]).double().sum())
        return found

    @torch.inference_mode()
    def catalogue(self, prompt: np.ndarray, trees: Sequence[TextTree]) -> np.ndarray:
        """log P(text | prompt) of every item's text: float64 [items]. trees: of all items, see `trees`.

        All texts share the keys and values of the prompt. Texts are read as trees (Miao et al. 2024, SpecInfer, section
        4.2): a token sees the prompt and its own text's tokens before it, so each shared start is read once.
        """
        read = self.model(input_ids=self._ids([prompt]), use_cache=True, logits_to_keep=1)
        after_prompt = torch.log_softmax(read.logits[0, -1].float(), -1)
        found = np.empty(sum(len(tree.items) for tree in trees))
        for tree in trees:
            tokens = torch.from_numpy(tree.tokens).to(self.device)
            said = after_prompt[None]
            if len(tree.inner):
                sees = tree.sees()
                places = torch.from_numpy(sees.sum(1) - 1 + len(prompt))
                logits = self.model(
                    input_ids=tokens[tree.inner][None],
                    position_ids=places[None].to(self.device),
                    attention_mask=self._hidden(sees, len(prompt)),
                    past_key_values=copy.deepcopy(read.past_key_values),
                ).logits
                said = torch.cat([said, torch.log_softmax(logits[0].float(), -1)])
            rows = torch.from_numpy(np.where(tree.parents == ROOT, 0, tree.rows_of(tree.parents) + 1))
            found[tree.items] = tree.add_up(said[rows.to(self.device), tokens].cpu().numpy())
        return found

    def trees(self, items: ItemTokens) -> list[TextTree]:
        """The catalogue's texts as trees that fit in one pass each."""
        most = max(1, min(TOKENS_AT_ONCE // 4, LOGITS_AT_ONCE // self.vocabulary))
        return [*text_trees(items, most)]

    def _hidden(self, sees: np.ndarray, before: int) -> torch.Tensor:
        """What is added to the attention scores of a tree: [1, 1, inner, before + inner], 0 for the `before` tokens of the
        prompt and for what a token `sees`, very low for the others.
        """
        hidden = torch.zeros((len(sees), before + len(sees)), dtype=self.model.dtype)
        hidden[:, before:].masked_fill_(torch.from_numpy(~sees), torch.finfo(hidden.dtype).min)
        return hidden[None, None].to(self.device)

    @torch.inference_mode()
    def _logits(
        self, sequences: Sequence[np.ndarray], starts: np.ndarray
    ) -> Iterator[tuple[np.ndarray, int, torch.Tensor]]:
        """Blocks (rows, first, logits [rows, positions, vocabulary]); positions start at `first` <= min(starts[rows])."""
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        for rows, first, longest in self._batches(lengths, starts):
            mask = np.arange(longest) < lengths[rows][:, None]
            logits = self.model(
                input_ids=self._ids([sequences[row] for row in rows]),
                attention_mask=torch.from_numpy(mask.astype(np.int64)).to(self.device),
                use_cache=False,
                logits_to_keep=longest - first,
            ).logits
            yield rows, first, logits.float()

    def _batches(self, lengths: np.ndarray, starts: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
        """Rows of similar length that fit in one pass, the first position whose logits are kept, and the longest length.

        starts: the first position to keep of each row.
        """
        chosen: list[int] = []
        first = longest = 0
        for row in np.lexsort((starts, lengths)):
            head = min(first, int(starts[row])) if chosen else int(starts[row])
            rows, length = len(chosen) + 1, int(lengths[row])  # ascending: this one is the longest
            logits = rows * (length - head) * self.vocabulary
            if chosen and (rows * length > TOKENS_AT_ONCE or logits > LOGITS_AT_ONCE):
                yield np.array(chosen), first, longest
                chosen, head = [], int(starts[row])
            chosen.append(int(row))
            first, longest = head, length
        if chosen:
            yield np.array(chosen), first, longest

    def _ids(self, sequences: Sequence[np.ndarray]) -> torch.Tensor:
        """int64 [sequences, longest], padded on the right with token 0. The mask or the caller ignores the padding."""
        ids = np.zeros((len(sequences), max(map(len, sequences))), np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
        return torch.from_numpy(ids).to(self.device)
