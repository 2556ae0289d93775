# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo model knows about language: word frequency in classes, stems, and synonyms."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

VOCABULARY = Path(__file__).parent / "vocabulary"
TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
# Scripts written without spaces: single characters and pairs stand in for words.
UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+")
SUFFIXES = ("ations", "ation", "ities", "ments", "ment", "ness", "ings", "ing", "edly", "ed", "ly")


def tokens(text: str) -> list[str]:
    """Return the words of a text, lower case and without accents; numbers as digits."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in folded if not unicodedata.combining(c)).replace("’", "'")
    plain = unicodedata.normalize("NFC", plain)
    result: list[str] = []
    for match in TOKEN.finditer(plain):
        word = match.group()
        if UNSPACED.search(word):
            result += _characters(word)
        else:
            result.append(NUMBERS.get(word, word))
    return result


def stem(word: str) -> str:
    """Cut a word down to what its forms have in common."""
    word = word.removesuffix("'s").replace("'", "")
    word = IRREGULAR.get(word, word)
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 4 and word.endswith(("sses", "xes", "ches", "shes")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    word = IRREGULAR.get(word, word)
    for suffix in SUFFIXES:
        rest = word.removesuffix(suffix)
        if rest != word and len(rest) >= 3 and re.search("[aeiouy]", rest):
            word = rest[:-1] if rest[-1] == rest[-2] and rest[-1] not in "lsz" else rest
            break
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    if len(word) > 3 and word.endswith("y"):
        word = word[:-1] + "i"
    return word


def _characters(word: str) -> list[str]:
    return list(word) + [word[i : i + 2] for i in range(len(word) - 1)]


def _lines(name: str) -> list[str]:
    text = (VOCABULARY / f"{name}.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


def _words(name: str) -> list[str]:
    return " ".join(_lines(name)).split()


def _pairs(name: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in _words(name))


def _concepts() -> dict[str, tuple[int, ...]]:
    concepts: dict[str, tuple[int, ...]] = {}
    for number, line in enumerate(_lines("synonyms")):
        for word in line.split():
            key = stem(word)
            concepts[key] = (*concepts.get(key, ()), number)
    return concepts


STOP_WORDS = frozenset(_words("stop_words"))
IRREGULAR = _pairs("forms")
NUMBERS = _pairs("numbers")
COMMON_STEMS = frozenset(stem(word) for word in _words("common_words"))
CONCEPTS = _concepts()
