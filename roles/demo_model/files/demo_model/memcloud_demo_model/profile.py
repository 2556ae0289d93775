# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sentence says about a person, found by patterns ("I like …", "my name is …")."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from memcloud_demo_model.embedding import embed, similarity
from memcloud_demo_model.words import COMMON_STEMS, STOP_WORDS, stem, tokens

MAX_FACTS = 12
MAX_VALUE = 300
MAX_FEATURE_WORDS = 3

SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|\n+|;\s+")
QUESTION_START = re.compile(
    r"(?i)(who|whom|whose|what|when|where|why|which|how|do|does|did|is|are|can|could|would|will|"
    r"should|please|tell me|give me|show me|list|remind me|search|find)\b"
)
WHO = r"(?P<who>(?i:i|we|(?:the )?user)|[A-Z][\w'-]+(?: [A-Z][\w'-]+)?)"


@dataclass(frozen=True)
class Fact:
    """One feature of a profile; `single` ones replace what the profile held before."""

    tag: str
    feature: str
    value: str
    single: bool = False


@dataclass(frozen=True)
class Rule:
    """A pattern, the tag it belongs to, and how feature and value are put together."""

    pattern: re.Pattern[str]
    tag: str
    feature: str
    value: str
    single: bool = False


def _rule(pattern: str, tag: str, feature: str, value: str, single: bool = False) -> Rule:
    compiled = re.compile(pattern.replace("WHO", WHO).replace("REST", "(?P<x>[^.!?]+)"))
    return Rule(compiled, tag, feature, value, single)


RULES = (
    _rule(
        r"(?i:\bmy name is|\bi am called|\bi'm called|\bcall me) (?P<x>[^\s,.;!?]+(?: [A-Z]\w+)?)",
        "Demographic Information",
        "name",
        "{x}",
        single=True,
    ),
    _rule(
        r"(?i)\bi(?: am|'m) (?P<x>\d{1,3}|[a-z]+(?:-[a-z]+)?) years old",
        "Demographic Information",
        "age",
        "{x} years old",
        single=True,
    ),
    _rule(
        r"\bWHO (?i:lives?|am living|is living|moved|resides?) (?i:in|to|near|at) REST",
        "Geographic & Cultural Context",
        "location",
        "{who} lives in {x}",
        single=True,
    ),
    _rule(
        r"\bWHO (?i:am from|is from|comes? from|grew up in|was born in) REST",
        "Geographic & Cultural Context",
        "origin",
        "{who} comes from {x}",
        single=True,
    ),
    _rule(
        r"\bWHO (?i:works? as|works? for|works? at|am working as|is working as) REST",
        "Career & Work Preferences",
        "occupation",
        "{who} works: {x}",
        single=True,
    ),
    _rule(
        r"\bWHO (?i:do not like|don't like|does not like|doesn't like|dislikes?|hates?) REST",
        "Political Views, Likes and Dislikes",
        "dislikes_{slug}",
        "{who} dislikes {x}",
    ),
    _rule(
        r"\bWHO (?i:really |also )?(?i:likes?|loves?|enjoys?|adores?) REST",
        "Political Views, Likes and Dislikes",
        "likes_{slug}",
        "{who} likes {x}",
    ),
    _rule(
        r"\bWHO (?i:usually |always )?(?i:prefers?|would rather) REST",
        "Political Views, Likes and Dislikes",
        "prefers_{slug}",
        "{who} prefers {x}",
    ),
    _rule(
        r"(?i)\bmy favou?rite (?P<kind>[\w-]+(?: [\w-]+)?) is REST",
        "Political Views, Likes and Dislikes",
        "favourite_{kind}",
        "{x}",
        single=True,
    ),
    _rule(
        r"\bWHO (?i:am allergic to|is allergic to|has an allergy to) REST",
        "Health & Wellness",
        "allergy_{slug}",
        "{who} is allergic to {x}",
    ),
    _rule(
        r"(?i)\b(?:my|our) (?P<kind>wife|husband|partner|son|daughter|mother|father|sister|brother|"
        r"child|children|dog|cat)(?:'s name)?,?(?: is(?: called| named)?|'s)? REST",
        "Relationship & Family Context",
        "{kind}",
        "{kind}: {x}",
    ),
    _rule(
        r"\bWHO (?i:uses?|codes? in|programs? in|writes? code in) REST",
        "Tech Proficiency",
        "uses_{slug}",
        "{who} uses {x}",
    ),
    _rule(
        r"\bWHO (?i:plays?|collects?|practi[sc]es?) REST",
        "Hobbies & Interests",
        "{slug}",
        "{who} spends time on {x}",
    ),
    _rule(
        r"\bWHO (?i:wants? to|plans? to|am planning|is planning|hopes? to) REST",
        "Life Goals & Milestones",
        "goal_{slug}",
        "{who} wants to {x}",
    ),
)


def sentences(text: str) -> list[str]:
    """Split a text into sentences."""
    return [part.strip() for part in SENTENCE_END.split(text) if part.strip()]


def is_question(sentence: str) -> bool:
    """Tell whether a sentence asks for something rather than tells something."""
    return sentence.endswith("?") or QUESTION_START.match(sentence) is not None


def facts(text: str, tags: Mapping[str, str]) -> list[Fact]:
    """Return what the text says, each fact with one of the tags that are asked for."""
    found: dict[tuple[str, str, str], Fact] = {}
    for sentence in sentences(text):
        if is_question(sentence):
            continue
        for fact in _facts_of_sentence(sentence, tags):
            found.setdefault((fact.tag, fact.feature, fact.value), fact)
    return list(found.values())[:MAX_FACTS]


def slug(text: str, words: int = MAX_FEATURE_WORDS) -> str:
    """Return a feature name from the telling words of a text."""
    every = tokens(text)
    rare = [word for word in every if word not in STOP_WORDS and stem(word) not in COMMON_STEMS]
    return "_".join((rare or every)[:words]) or "detail"


def best_tag(sentence: str, tags: Mapping[str, str]) -> str:
    """Return the tag whose name and description are nearest to the sentence."""
    if not tags:
        return "General"
    vector = embed(sentence)
    return max(tags, key=lambda tag: similarity(vector, embed(f"{tag} {tag} {tags[tag]}")))


def commands(
    found: Iterable[Fact], profile: Mapping[str, Mapping[str, object]]
) -> list[dict[str, str]]:
    """Return the commands that bring a profile (tag → feature → value) up to date."""
    result: list[dict[str, str]] = []
    for fact in found:
        known = profile.get(fact.tag, {}).get(fact.feature)
        if known == fact.value:
            continue
        if known is not None and fact.single:
            result.append(_command("delete", fact))
        result.append(_command("add", fact))
    return result


def _command(word: str, fact: Fact) -> dict[str, Any]:
    value = fact.value if word == "add" else ""
    return {"command": word, "feature": fact.feature, "tag": fact.tag, "value": value}


def _facts_of_sentence(sentence: str, tags: Mapping[str, str]) -> list[Fact]:
    result = []
    for rule in RULES:
        match = rule.pattern.search(sentence)
        if match is None:
            continue
        groups = {name: text.strip(" ,.") for name, text in match.groupdict().items() if text}
        rest = groups.get("x", "")
        if not rest:
            continue
        names = {
            "x": rest,
            "slug": slug(rest),
            "kind": slug(groups.get("kind", "")),
            "who": _person(groups.get("who", "")),
        }
        tag = rule.tag if not tags or rule.tag in tags else best_tag(sentence, tags)
        feature = rule.feature.format(**names)
        if names["who"] not in ("", "User"):
            feature = f"{slug(names['who'])}_{feature}"
        value = rule.value.format(**names)[:MAX_VALUE]
        result.append(Fact(tag, feature, value, rule.single))
    if not result and len(tokens(sentence)) >= 3:
        value = sentence.rstrip(".!")[:MAX_VALUE]
        result.append(Fact(best_tag(sentence, tags), slug(sentence), value))
    return result


def _person(who: str) -> str:
    if who.lower() in ("i", "we", "user", "the user"):
        return "User"
    return who
