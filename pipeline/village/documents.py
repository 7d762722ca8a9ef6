"""The documents of the village: any number, one after the other, each a pure function of the seed and what came before.

A longer run begins with the shorter one. No two documents are alike: one that has been written before is drawn again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import blake2b

from pipeline.village.document import Document, written
from pipeline.village.facts import LANGUAGES
from pipeline.village.planting import Planting
from pipeline.village.world import world_of

PLANTED_SHARE = 0.06  # of the documents, those that carry or are something planted


def documents(
    count: int, seed: int = 0, languages: tuple[str, ...] = LANGUAGES, planted: float = PLANTED_SHARE
) -> Iterator[Document]:
    """`count` documents in the languages by turns.

    planted: share of the documents that carry something for curation to find (`planting.py`); 0: none does.
    """
    world = world_of(seed)
    planting = Planting(world)
    seen: set[bytes] = set()
    for number in range(count):
        lang = languages[number % len(languages)]
        dice = random.Random(f"{seed} {lang} {number // len(languages)}")
        plant = dice.random() < planted
        while True:
            drawn = written(dice, lang, world, f"{lang}-{number:06d}")
            if plant:
                drawn = planting.plant(dice, drawn)
            key = blake2b(drawn.text.encode(), digest_size=12).digest()
            if key not in seen:
                break
        seen.add(key)
        planting.remember(drawn)
        yield drawn
