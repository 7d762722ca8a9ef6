"""The GPUs whose speed and memory are known, and how a name is matched to one.

A name is cut into words (`GeForce RTX 4070 Ti SUPER`, `3080ti`, `A100-SXM4-80GB`) and means a card only if every word
of it is accounted for: `L40` is not `L4`, and a `4090 Laptop GPU` is none of the cards here.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from pipeline.errors import UserError


@dataclass(frozen=True)
class Card:
    """One kind of GPU. `tflops`: peak rate by number format; `memory_gib`: approximately as the driver reports it.

    `capability`: compute capability, which decides what kernels run. `words`: what a name must hold to mean this card,
    besides words that every card may have.
    """

    name: str
    memory_gib: float
    tflops: dict[str, float]
    capability: tuple[int, int] = (8, 0)  # of a card that is given by its speed in bf16: at least this
    words: frozenset[str] = frozenset()

    @property
    def precision(self) -> str:
        """The number format that `auto` is on this card."""
        return "bf16" if "bf16" in self.tflops else "fp16"

    def rate(self, precision: str) -> float:
        """Peak in TFLOP/s; that of the card's fastest format for one that is not in its table."""
        return self.tflops.get(precision) or max(self.tflops.values())


def _card(name: str, memory_gib: float, fp32: float, half: float, words: str, capability: tuple[int, int]) -> Card:
    rates = {"fp16": half, "fp32": fp32} | ({"bf16": half} if capability >= (8, 0) else {})
    return Card(name, memory_gib, rates, capability, frozenset(words.split()))


# Compute capabilities: developer.nvidia.com/cuda-gpus. Rates:
# NVIDIA's data sheets and architecture white papers (Turing, Ampere GA102, Ada, Hopper, Blackwell), dense tensor-core
# rates with fp32 accumulation. GeForce cards reach half their fp16-accumulation rate here; the white papers list both.
CARDS = {
    "t4": _card("Tesla T4", 15.0, 8.1, 65.0, "t4", (7, 5)),
    "v100": _card("Tesla V100", 16.0, 15.7, 125.0, "v100", (7, 0)),
    "2080ti": _card("GeForce RTX 2080 Ti", 11.0, 13.4, 53.8, "2080 ti", (7, 5)),
    "3060": _card("GeForce RTX 3060", 12.0, 12.7, 25.5, "3060", (8, 6)),
    "3080": _card("GeForce RTX 3080", 10.0, 29.8, 59.5, "3080", (8, 6)),
    "3080ti": _card("GeForce RTX 3080 Ti", 12.0, 34.1, 68.2, "3080 ti", (8, 6)),
    "3090": _card("GeForce RTX 3090", 24.0, 35.6, 71.0, "3090", (8, 6)),
    "4060ti": _card("GeForce RTX 4060 Ti", 16.0, 22.1, 44.1, "4060 ti", (8, 9)),
    "4070": _card("GeForce RTX 4070", 12.0, 29.1, 58.3, "4070", (8, 9)),
    "4070ti": _card("GeForce RTX 4070 Ti", 12.0, 40.1, 80.2, "4070 ti", (8, 9)),
    "4070tisuper": _card("GeForce RTX 4070 Ti SUPER", 16.0, 44.1, 88.2, "4070 ti super", (8, 9)),
    "4080": _card("GeForce RTX 4080", 16.0, 48.7, 97.5, "4080", (8, 9)),
    "4080super": _card("GeForce RTX 4080 SUPER", 16.0, 52.2, 104.4, "4080 super", (8, 9)),
    "4090": _card("GeForce RTX 4090", 24.0, 82.6, 165.2, "4090", (8, 9)),
    "5070ti": _card("GeForce RTX 5070 Ti", 16.0, 43.9, 87.9, "5070 ti", (12, 0)),
    "5080": _card("GeForce RTX 5080", 16.0, 56.3, 112.6, "5080", (12, 0)),
    "5090": _card("GeForce RTX 5090", 31.8, 104.8, 209.5, "5090", (12, 0)),
    "a10": _card("A10", 23.0, 31.2, 125.0, "a10", (8, 6)),
    "a10g": _card("A10G", 22.5, 35.0, 70.0, "a10g", (8, 6)),
    "a100": _card("A100", 40.0, 19.5, 312.0, "a100", (8, 0)),
    "a100-80": _card("A100 80GB", 80.0, 19.5, 312.0, "a100 80gb", (8, 0)),
    "l4": _card("L4", 22.5, 30.3, 121.0, "l4", (8, 9)),
    "l40": _card("L40", 45.0, 90.5, 181.0, "l40", (8, 9)),
    "l40s": _card("L40S", 45.0, 91.6, 362.0, "l40s", (8, 9)),
    "h100-pcie": _card("H100 PCIe", 80.0, 51.0, 756.0, "h100 pcie", (9, 0)),
    "h100": _card("H100", 80.0, 67.0, 989.0, "h100", (9, 0)),
    "h200": _card("H200", 140.0, 67.0, 989.0, "h200", (9, 0)),
    "b200": _card("B200", 179.0, 75.0, 2250.0, "b200", (10, 0)),
}  # fmt: skip
# Words that say nothing about speed. A size of memory is passed over only if it is the card's own.
COMMON = {"nvidia", "geforce", "rtx", "tesla", "gpu", "pcie", "hbm2", "hbm2e", "hbm3", "hbm3e"}
NOMINAL = (0.93, 1.1)  # a driver reports 22.5 GiB for "24GB", and a "80GB" card may be listed with 80


def find_card(name: str, tflops: float = 0.0, memory_gib: float = 0.0) -> Card:
    """The card called `name` (`3090`, `rtx 3090`, `A100-80`), or one of the given speed and memory.

    tflops: peak in its fastest number format for training. Raises UserError for a card that is not known and not given.
    """
    known = match(name)
    if known is None and not (tflops and memory_gib):
        near = difflib.get_close_matches(name.lower().replace(" ", ""), CARDS, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(
            f"The card `{name}` is not in the table: {hint}the known cards are {', '.join(CARDS)}; for any other, give"
            " its peak in bf16 (dense, from its data sheet) with --tflops and its memory in GB with --memory."
        )
    if known is None:
        return Card(name, memory_gib, {"bf16": tflops})
    rates = {known.precision: tflops} if tflops else known.tflops
    return Card(known.name, memory_gib or known.memory_gib, rates, known.capability)


def match(name: str) -> Card | None:
    """The card that a name means, as a person or the driver writes it; None if any word of it is unknown."""
    found = words_of(name)
    fitting = [card for card in CARDS.values() if card.words <= found and _accounted(found - card.words, card)]
    return max(fitting, key=lambda card: len(card.words), default=None)


def words_of(name: str) -> set[str]:
    """The words of a card's name, lower case: `3080Ti` is two, `A10G` is one, `A100-80` ends in `80gb`."""
    plain = re.sub(r"(\d{4})(?=ti|super)|(?<=\dti)(?=super)", r"\1 ", name.lower())
    words = [word for word in re.split(r"[^a-z0-9]+", plain) if word]
    joined = re.sub(r"\b(\d+) gb\b", r"\1gb", " ".join(words)).split()
    return {f"{word}gb" if word.isdigit() and len(word) < 4 else word for word in joined}


def _accounted(words: set[str], card: Card) -> bool:
    """Whether none of the further words of a name makes it another card."""
    for word in words - COMMON:
        size = re.fullmatch(r"(\d+)gb", word)
        if size and NOMINAL[0] <= int(size[1]) / card.memory_gib <= NOMINAL[1]:
            continue
        if not re.fullmatch(r"sxm\d?", word):
            return False
    return True
