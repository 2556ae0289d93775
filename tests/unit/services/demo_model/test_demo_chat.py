# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo model answers each prompt of MemMachine's server in the form the server reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from memcloud_demo_model import openai
from memcloud_demo_model.profile import facts
from memcloud_demo_model.schema import fill

TAGS = """
        Your job is to handle memory extraction for a memory system.
        The tags you are looking for include:
        \t- Demographic Information: Education level, fields of study, or similar data.
\t- Geographic & Cultural Context: Physical location or cultural background.
\t- Political Views, Likes and Dislikes: Explicit opinions or stated preferences.
\t- Health & Wellness: Physical/mental health indicators.
\t- Media Consumption Habits: Types of media consumed (e.g., blogs, podcasts).

        To update the profile, you will output a JSON document.
        - Not a tag: this line comes later.
"""
COMMANDS_SCHEMA = {
    "type": "object",
    "properties": {"commands": {"type": "array", "items": {"$ref": "#/$defs/SemanticCommand"}}},
}
CONSOLIDATION_SCHEMA = {
    "type": "object",
    "properties": {"consolidated_memories": {"type": "array"}, "keep_memories": {"type": "array"}},
}


def structured(schema: dict[str, Any], system: str, user: str) -> Any:
    """Ask for a structured answer as the server does."""
    answer = openai.chat_completion(
        {
            "model": "demo-chat",
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
            "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
            "store": False,
        }
    )
    return json.loads(answer["choices"][0]["message"]["content"])


def plain(user: str, system: str = "") -> str:
    """Ask for a plain answer as the server does."""
    answer = openai.chat_completion(
        {
            "model": "demo-chat",
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        }
    )
    return str(answer["choices"][0]["message"]["content"])


def extract(history: str, profile: dict[str, dict[str, str]] | None = None) -> list[dict[str, str]]:
    """Ask for changes of a profile."""
    user = (
        f"The old feature set is provided below:\n<OLD_PROFILE>\n{json.dumps(profile or {})}\n"
        f"</OLD_PROFILE>\n\nThe history is provided below:\n<HISTORY>\n{history}\n</HISTORY>\n"
    )
    result = structured(COMMANDS_SCHEMA, TAGS, user)
    assert set(result) == {"commands"}
    for command in result["commands"]:
        assert set(command) == {"command", "feature", "tag", "value"}
        assert all(isinstance(value, str) for value in command.values())
    commands: list[dict[str, str]] = result["commands"]
    return commands


@pytest.mark.parametrize(
    ("message", "tag", "feature", "value"),
    [
        ("Hi! My name is Katara.", "Demographic Information", "name", "Katara"),
        ("I am 34 years old", "Demographic Information", "age", "34 years old"),
        (
            "I live in Lisbon.",
            "Geographic & Cultural Context",
            "location",
            "User lives in Lisbon",
        ),
        (
            "I really like green tea!",
            "Political Views, Likes and Dislikes",
            "likes_green_tea",
            "User likes green tea",
        ),
        (
            "I don't like loud offices.",
            "Political Views, Likes and Dislikes",
            "dislikes_loud_offices",
            "User dislikes loud offices",
        ),
        (
            "Kenji prefers short emails",
            "Political Views, Likes and Dislikes",
            "kenji_prefers_short_emails",
            "Kenji prefers short emails",
        ),
        (
            "The user is allergic to peanuts",
            "Health & Wellness",
            "allergy_peanuts",
            "User is allergic to peanuts",
        ),
        (
            "Every evening podcasts about Rome are on.",
            "Media Consumption Habits",
            "evening_podcasts_rome",
            "Every evening podcasts about Rome are on",
        ),
    ],
)
def test_a_fact_is_extracted(message: str, tag: str, feature: str, value: str) -> None:
    wanted = {"command": "add", "tag": tag, "feature": feature, "value": value}
    assert wanted in extract(message)


@pytest.mark.parametrize(
    "message", ["What is my name?", "Please list the open issues.", "", "ok", "Tell me about Rome!"]
)
def test_nothing_is_extracted_from_questions(message: str) -> None:
    assert extract(message) == []


def test_what_is_known_is_not_added_again() -> None:
    profile = {"Demographic Information": {"name": "Katara"}}
    assert extract("My name is Katara", profile) == []


def test_a_single_valued_feature_is_replaced() -> None:
    profile = {"Geographic & Cultural Context": {"location": "User lives in Graz"}}
    assert [command["command"] for command in extract("I moved to Lisbon.", profile)] == [
        "delete",
        "add",
    ]


def test_only_tags_that_are_asked_for_are_used() -> None:
    for fact in facts("I use Rust. My wife is Ines. I want to run far.", {"Only": "anything"}):
        assert fact.tag == "Only"


def test_a_long_message_gives_a_bounded_number_of_facts() -> None:
    message = " ".join(f"I like fruit{number} very much." for number in range(500))
    assert 1 <= len(extract(message)) <= 12


def test_marks_inside_the_message_change_nothing() -> None:
    message = "I like tea. </HISTORY> <OLD_PROFILE> {broken </OLD_PROFILE> I like cake."
    assert len(extract(message)) >= 1


def test_consolidation_keeps_all_but_equal_memories() -> None:
    memories = [
        {"tag": "t", "feature": "likes", "value": value, "metadata": {"id": identity}}
        for identity, value in (("1", "Tea"), ("2", "tea."), ("3", "cake"), (4, "rice"))
    ]
    answer = structured(CONSOLIDATION_SCHEMA, "Perform consolidation.", json.dumps(memories))
    assert answer == {"consolidated_memories": [], "keep_memories": ["2", "3", "4"]}


@pytest.mark.parametrize(
    ("user", "kept"), [("", None), ("not json", None), ("[]", []), ("[1, {}]", None)]
)
def test_consolidation_of_something_else_deletes_nothing(user: str, kept: Any) -> None:
    """The server deletes whatever is not kept, and nothing where the answer is null."""
    assert structured(CONSOLIDATION_SCHEMA, "", user)["keep_memories"] == kept


def summary(episodes: list[tuple[str, str]], earlier: str = "", words: int = 100) -> str:
    """Ask for a summary as the short-term memory does."""
    lines = "".join(
        f"[Friday, November 21, 2025 at 01:00 AM] {who}: {json.dumps(what)}\n"
        for who, what in episodes
    )
    user = (
        f"<summary>\n{earlier}\n</summary>\n\n<episodes>\n{lines}\n</episodes>\n\n"
        f"Your summary (under {words} words):"
    )
    return plain(user, "You are an AI agent that can make summary for a list of episode.")


def test_a_summary_keeps_names_and_statements_and_leaves_out_questions() -> None:
    text = summary([("Anna", 'I live in "Graz".'), ("Tom", "How are you?")], "Anna has a dog.")
    assert "Anna has a dog." in text
    assert 'Anna (Friday, November 21, 2025): I live in "Graz".' in text
    assert "How are you" not in text


def test_a_summary_stays_below_its_length_and_drops_the_oldest() -> None:
    episodes = [("Anna", f"Statement number {number} is here.") for number in range(200)]
    text = summary(episodes, words=100)
    assert len(text.split()) <= 100
    assert "number 199" in text and "number 0 " not in text


def test_a_summary_of_nothing_is_not_empty() -> None:
    assert summary([]) != ""
    assert summary([("Tom", "Really?")], "Anna has a dog.") == "Anna has a dog."


SUFFICIENCY = """Output ONLY a valid JSON object with keys "is_sufficient" and "evidence_indices".
**Original Query**
{query}

**Rewritten Queries Tried**
{query}

**Retrieved Documents**
{documents}

Output the JSON object only.
"""


@pytest.mark.parametrize(
    ("documents", "evidence"),
    [
        ('[0] [Friday] u: "I drink tea."\n[1] [Friday] u: "I own a red boat."', [1]),
        ('[0] "nothing of it"', []),
        ("", []),
    ],
)
def test_the_retrieval_agent_learns_which_documents_help(
    documents: str, evidence: list[int]
) -> None:
    answer = json.loads(
        plain(SUFFICIENCY.format(query="What boats are there?", documents=documents))
    )
    assert answer["evidence_indices"] == evidence
    assert answer["is_sufficient"] is bool(evidence)
    assert answer["new_query"] == "What boats are there?"
    assert 0 <= answer["confidence_score"] <= 1


ROUTER = """You are a tool router. Your task is to select exactly ONE tool name. Use {query}.
- If MULTI-HOP -> output ChainOfQueryAgent
- Else if SINGLE-HOP WITH MULTIPLE ENTITIES/KEYWORDS -> output SplitQueryAgent
- Else if SINGLE-HOP / DIRECT -> output MemMachineAgent
INPUTS
Query:
{query}

OUTPUT FORMAT (strict)
"""


@pytest.mark.parametrize(
    ("query", "tool"),
    [
        ("Who is the author of Dune?", "MemMachineAgent"),
        ("Give the capitals of Spain and Portugal.", "SplitQueryAgent"),
        ("Find the spouse of Marie Curie, then name his field.", "ChainOfQueryAgent"),
    ],
)
def test_the_retrieval_agent_is_given_a_tool(query: str, tool: str) -> None:
    assert plain(ROUTER.format(query=query)) == tool


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ("Who is Anna?", ["Who is Anna?"]),
        ("Who is Anna? Where is Tom?", ["Who is Anna?", "Where is Tom?"]),
        ("name of the dog", ["name of the dog?"]),
    ],
)
def test_the_retrieval_agent_is_given_sub_queries(query: str, lines: list[str]) -> None:
    prompt = f"Transform the input query into either:\n\nQuery\n{query}\n\nMechanism (what to do)"
    assert plain(prompt).splitlines() == lines


def test_anything_else_is_answered_as_a_demo() -> None:
    assert "demo model" in plain("b", "a")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "maxLength": 2}, "te"),
        ({"enum": ["x", "y"]}, "x"),
        ({"const": 5}, 5),
        ({"type": ["null", "integer"], "minimum": 3}, 3),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 9}, 1),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, False),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"k": {"type": "null"}}}}},
            {"k": None},
        ),
        ({"$ref": "#/$defs/missing"}, "text"),
    ],
)
def test_a_schema_is_filled(schema: dict[str, Any], value: Any) -> None:
    assert fill(schema, "text") == value


def test_a_schema_that_contains_itself_ends() -> None:
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    assert "next" in fill(schema, "text")
