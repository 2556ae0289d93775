# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deterministic embeddings: hashed words, synonyms, word pairs and character trigrams.

Each feature adds its weight to eight signed positions that follow from its hash (a sparse random
projection), so texts that share rare words, or words of one meaning, point the same way. Frequent
words weigh little. The same text gives the same vector on every machine and in every run.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from hashlib import blake2b

from memcloud_demo_model.words import COMMON_STEMS, CONCEPTS, STOP_WORDS, stem, tokens

DIMENSIONS = 384
POSITIONS_FORMAT = struct.Struct("<8H")

STOP_WEIGHT = 0.05
COMMON_WEIGHT = 0.5
RARE_WEIGHT = 1.0
CONCEPT_SHARE = 0.8
PAIR_SHARE = 0.3
TRIGRAM_SHARE = 0.6
QUESTION_WORDS = frozenset(("where", "when", "who", "why"))


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Return the unit vector of a text; also an empty one has a direction of its own."""
    vector = [0.0] * dimensions
    weights: dict[str, float] = {}
    for feature, weight in _features(text):
        # A feature that occurs again counts, but less each time.
        known = weights.get(feature, 0.0)
        weights[feature] = math.sqrt(known * known + weight * weight)
    for feature, weight in (weights or {"empty": 1.0}).items():
        digest = blake2b(feature.encode(), digest_size=17).digest()
        signs = digest[16]
        for index, position in enumerate(POSITIONS_FORMAT.unpack_from(digest)):
            vector[position % dimensions] += weight if signs >> index & 1 else -weight
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0.0:
        vector[0] = length = 1.0
    return [round(value / length, 7) for value in vector]


def similarity(one: list[float], other: list[float]) -> float:
    """Return the cosine of two unit vectors."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def _features(text: str) -> Iterator[tuple[str, float]]:
    before: tuple[str, float] | None = None
    for word in tokens(text):
        if word in STOP_WORDS:
            yield f"w:{word}", STOP_WEIGHT
            if word in QUESTION_WORDS:
                yield from _concepts(word, COMMON_WEIGHT)
            continue
        root = stem(word)
        weight = COMMON_WEIGHT if root in COMMON_STEMS else RARE_WEIGHT
        yield f"w:{root}", weight
        yield from _concepts(root, weight)
        yield from _trigrams(root, weight)
        if before is not None:
            yield f"p:{before[0]} {root}", PAIR_SHARE * math.sqrt(weight * before[1])
        before = root, weight


def _concepts(root: str, weight: float) -> Iterator[tuple[str, float]]:
    numbers = CONCEPTS.get(root, ())
    for number in numbers:
        yield f"c:{number}", CONCEPT_SHARE * weight / math.sqrt(len(numbers))


def _trigrams(root: str, weight: float) -> Iterator[tuple[str, float]]:
    if len(root) < 4:
        return
    framed = f"^{root}$"
    count = len(framed) - 2
    for index in range(count):
        yield f"t:{framed[index : index + 3]}", TRIGRAM_SHARE * weight / math.sqrt(count)
