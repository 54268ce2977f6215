"""What the model learns: sentences that people rated, each with a question about it, as a chat."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "text"))
import corpus  # noqa: E402

KINDS = {
    "tweets": "tweet",
    "amazonReviewSnippets": "product",
    "movieReviewSnippets": "film",
    "nytEditorialSnippets": "politics",
}
TONE = "Is this positive, negative or neutral?"
STARS = "How many stars, 1 to 5?"
KIND = "Is this about a product, a film, politics or a tweet?"
WRITE = "Write a {tone} text about {kind}."
HELD_OUT_EVERY = 10
START, END = "<|im_start|>", "<|im_end|>"


def tone(valence):
    return "neutral" if abs(valence) < 0.5 else "positive" if valence > 0 else "negative"


def stars(valence):
    return str(1 + int(np.searchsorted([-1.5, -0.5, 0.5, 1.5], valence)))


def sentences(archive):
    """(kind, valence, text), in the source's order, held out apart."""
    every = [(KINDS[source], valence, " ".join(text.split())) for source, valence, text in corpus.rated(archive)]
    held_out = every[::HELD_OUT_EVERY]
    train = [entry for i, entry in enumerate(every) if i % HELD_OUT_EVERY]
    return train, held_out


def question(entry, task):
    """Prompt and answer of a task for a sentence."""
    kind, valence, text = entry
    if task == "write":
        return WRITE.format(tone=tone(valence), kind=kind), text
    asked, answer = {"tone": (TONE, tone(valence)), "stars": (STARS, stars(valence)), "kind": (KIND, kind)}[task]
    return f"{asked}\n{text}", answer


def chat(prompt, answer):
    """A conversation of one question as the chat template writes it, in two parts: before the answer, and the answer."""
    return f"{START}user\n{prompt}{END}\n{START}assistant\n", f"{answer}{END}"
