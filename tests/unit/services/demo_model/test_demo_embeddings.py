# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo embeddings find the right sentence, and are the same everywhere."""

from __future__ import annotations

import math
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from memcloud_demo_model.embedding import embed, similarity
from memcloud_demo_model.words import stem, tokens

MEMORIES = yaml.safe_load((Path(__file__).parent / "memories.yml").read_text(encoding="utf-8"))


def ranks(distractors: list[str]) -> list[int]:
    """Return at which place the right sentence comes, for each question."""
    sentences = [*MEMORIES["sentences"], *distractors]
    vectors = [embed(sentence) for sentence in sentences]
    result = []
    for question in MEMORIES["questions"]:
        asked = embed(question["ask"])
        scores = [similarity(asked, vector) for vector in vectors]
        best = max(scores[index] for index in question["best"])
        result.append(sum(score > best for score in scores) + 1)
    return result


def test_a_search_finds_the_right_sentence_among_a_hundred_others() -> None:
    places = ranks([])
    assert len(MEMORIES["sentences"]) > 100
    assert sum(place == 1 for place in places) / len(places) >= 0.85
    assert sum(place <= 3 for place in places) / len(places) >= 0.93


def test_a_thousand_other_sentences_hardly_hide_it() -> None:
    words = sorted({word for text in MEMORIES["sentences"] for word in tokens(text)})
    noise = [
        " ".join(
            words[int(sha256(f"{n}/{k}".encode()).hexdigest(), 16) % len(words)] for k in range(9)
        )
        for n in range(1000)
    ]
    places = ranks(noise)
    assert sum(place <= 10 for place in places) / len(places) >= 0.8


@pytest.mark.parametrize("sentence", MEMORIES["sentences"][::10])
def test_a_sentence_finds_itself_in_any_case_and_with_a_typo(sentence: str) -> None:
    vector = embed(sentence)
    assert similarity(vector, embed(sentence.upper() + "!!")) > 0.99
    middle = len(sentence) // 2
    assert similarity(vector, embed(sentence[:middle] + sentence[middle + 1 :])) > 0.6


def test_the_numbers_are_the_same_on_every_machine() -> None:
    vector = embed("Katara keeps her boat in Lisbon")
    digest = sha256(",".join(f"{value:.5f}" for value in vector).encode()).hexdigest()
    assert digest == "4ffd2f4b1c9e79406caf107ef5098a9f91ab2fcdadddb831369ba29a6344ad49"


@pytest.mark.parametrize(
    "text", ["", " ", "?!", "a", "the of and", "ü", "日本語のテキスト", "x" * 5000]
)
@pytest.mark.parametrize("dimensions", [8, 384, 1536])
def test_every_text_has_a_unit_vector(text: str, dimensions: int) -> None:
    vector = embed(text, dimensions)
    assert len(vector) == dimensions
    assert math.isclose(sum(value * value for value in vector), 1.0, rel_tol=1e-4)


def test_texts_without_spaces_are_compared_by_characters() -> None:
    question = embed("コーヒーは好きですか")
    assert similarity(question, embed("私はコーヒーが好きです")) > 0.3
    assert similarity(question, embed("電車は三時に出発します")) < 0.3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("favourite", "favorite"),
        ("lives", "living"),
        ("running", "ran"),
        ("cities", "city"),
        ("boxes", "box"),
        ("stopped", "stop"),
        ("children", "child"),
        ("Anna's", "anna"),
        ("deployments", "deployment"),
    ],
)
def test_forms_of_a_word_have_one_stem(one: str, other: str) -> None:
    assert stem(one.lower()) == stem(other)


def test_accents_and_number_words_do_not_matter() -> None:
    assert tokens("Café Nº five, l'été") == tokens("cafe no 5 l'ete")
