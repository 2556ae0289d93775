# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to the prompts that MemMachine's server sends, in the form in which it reads them.

The prompts are told apart by sentences that have been in them since server 0.2: see the names of
the functions here in memmachine_server's semantic_llm, short_term_memory and retrieval_agent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from memcloud_demo_model.profile import commands, facts, is_question, sentences
from memcloud_demo_model.words import COMMON_STEMS, STOP_WORDS, stem, tokens

TAG_LINE = re.compile(r"^\s*- ([^:\n]{1,80}): (.+)$", re.MULTILINE)
TAGS_START = re.compile(r"tags (?:you are looking for include|for this category are):")
TAGS_END = re.compile(r"To update the profile|You MUST only use these tags")
EPISODE = re.compile(r'^\[(?P<when>[^\]]+ at [^\]]+)\] (?P<who>[^:]+): (?P<what>".*")$')
DOCUMENT = re.compile(r"^\[(\d+)\] (.*)$")
DEPENDENT = re.compile(
    r"(?i)\b(then|after that|using that|based on that|which of those|once you find)\b|'s \w+'s "
    r"|\b\w+ of the \w+ (?:who|that|of)\b"
)
INDEPENDENT = re.compile(r"(?i)\b(and|each of|separately|compare)\b|\?.+\?")
DEFAULT_SUMMARY_WORDS = 150
NOTE = "This is the demo model: it repeats and sorts words, it does not reason."


def feature_update(system: str, user: str) -> dict[str, Any]:
    """Answer the semantic memory's question for changes of a profile."""
    profile = _json_between(user, "<OLD_PROFILE>", "</OLD_PROFILE>")
    history = _between(user, "<HISTORY>", "</HISTORY>")
    found = facts(history if history is not None else user, _tags(system))
    return {"commands": commands(found, _profile(profile))}


def consolidation(user: str) -> dict[str, Any]:
    """Answer the question which memories to keep: of equal ones the last, and all others.

    The server deletes what is not kept; a null makes it leave everything as it is.
    """
    try:
        last = {
            (memory["feature"], " ".join(tokens(memory["value"]))): str(memory["metadata"]["id"])
            for memory in json.loads(user)
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {"consolidated_memories": [], "keep_memories": None}
    return {"consolidated_memories": [], "keep_memories": list(last.values())}


def plain_answer(system: str, user: str) -> str:
    """Answer a prompt whose reply is plain text or JSON in plain text."""
    if '"is_sufficient"' in user and '"evidence_indices"' in user:
        return _sufficiency(user)
    if "tool router" in user and "select exactly ONE tool name" in user:
        return _tool(user)
    if "Transform the input query into either" in user:
        return _sub_queries(user)
    if "<episodes>" in user or "summar" in system.lower():
        return _summary(user)
    if "<OLD_PROFILE>" in user:
        return json.dumps(feature_update(system, user)["commands"], ensure_ascii=False)
    return _small_talk(user)


def _sufficiency(user: str) -> str:
    query = _after(user, "**Original Query**\n", "\n\n**Rewritten Queries Tried**")
    documents = _after(user, "**Retrieved Documents**\n", "\n\nOutput the JSON object only")
    wanted = _telling(query)
    evidence = []
    for line in documents.splitlines():
        match = DOCUMENT.match(line)
        if match is not None and wanted & _telling(match.group(2)):
            evidence.append(int(match.group(1)))
    answer = {
        "is_sufficient": bool(evidence),
        "evidence_indices": evidence,
        "new_query": query,
        "confidence_score": 0.9,
    }
    return json.dumps(answer, ensure_ascii=False)


def _tool(user: str) -> str:
    query = _after(user, "INPUTS\nQuery:\n", "\n\nOUTPUT FORMAT")
    kind = "SINGLE-HOP / DIRECT"
    if DEPENDENT.search(query):
        kind = "MULTI-HOP"
    elif INDEPENDENT.search(query):
        kind = "SINGLE-HOP WITH MULTIPLE ENTITIES/KEYWORDS"
    match = re.search(rf"[Ii]f {re.escape(kind)} -> output (\S+)", user)
    return match.group(1) if match is not None else "NONE"


def _sub_queries(user: str) -> str:
    query = " ".join(_after(user, "\nQuery\n", "\n\nMechanism").split())
    parts = [part.strip() + "?" for part in query.split("?") if tokens(part)]
    return "\n".join(parts[:6]) or query


def _summary(user: str) -> str:
    """Keep the earlier summary and what was said since, the oldest going first."""
    limit = re.search(r"under (\d+) words", user)
    words = max(20, int(limit.group(1)) if limit is not None else DEFAULT_SUMMARY_WORDS)
    earlier = _between(user, "<summary>", "</summary>") or ""
    episodes = _between(user, "<episodes>", "</episodes>")
    lines = sentences(earlier)
    for line in (episodes if episodes is not None else user).splitlines():
        lines += _said(line.strip())
    kept: list[str] = []
    for sentence in reversed(list(dict.fromkeys(lines))):
        words -= len(sentence.split())
        if words < 0:
            break
        kept.append(sentence)
    return " ".join(reversed(kept)) or earlier or "Nothing was said."


def _said(line: str) -> list[str]:
    match = EPISODE.match(line)
    if match is None:
        text = _unquote(line)
        return sentences(text) if text else []
    told = [part for part in sentences(_unquote(match["what"])) if not is_question(part)]
    if not told:
        return []
    return [f"{match['who']} ({match['when'].split(' at ')[0]}): {' '.join(told)}"]


def _small_talk(user: str) -> str:
    said = " ".join(user.split())
    return f"{NOTE} You said: {said[:400]}" if said else NOTE


def _telling(text: str) -> set[str]:
    stems = {stem(word) for word in tokens(text) if word not in STOP_WORDS}
    return (stems - COMMON_STEMS) or stems


def _tags(system: str) -> dict[str, str]:
    start = TAGS_START.search(system)
    if start is None:
        return {}
    end = TAGS_END.search(system, start.end())
    section = system[start.end() : end.start() if end is not None else len(system)]
    return {name.strip(): text.strip() for name, text in TAG_LINE.findall(section)}


def _profile(data: object) -> Mapping[str, Mapping[str, object]]:
    if not isinstance(data, dict):
        return {}
    return {tag: features for tag, features in data.items() if isinstance(features, dict)}


def _json_between(text: str, start: str, end: str) -> object:
    try:
        return json.loads(_between(text, start, end) or "null")
    except ValueError:
        return None


def _between(text: str, start: str, end: str) -> str | None:
    """Return what stands between the first start mark and the last end mark."""
    begin = text.find(start)
    stop = text.rfind(end)
    if begin < 0 or stop < begin:
        return None
    return text[begin + len(start) : stop].strip()


def _after(text: str, start: str, end: str) -> str:
    rest = text.rpartition(start)[2]
    return rest.partition(end)[0].strip()


def _unquote(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text
