#!/usr/bin/env python3
# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do to a Neo4j server what MemMachine does: the classes this loads go into the archive."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import random
import socket
import sys
import time
import uuid

from neo4j import AsyncDriver, AsyncGraphDatabase
from neo4j.exceptions import AuthError

PASSWORD = "rehearsal"
ADDRESS = ("127.0.0.1", 7687)
DIMENSIONS = 384
PATIENCE = 120
ROUNDS = 3
EPISODE, DERIVATIVE, RELATION = "SANITIZED_Episode_r", "SANITIZED_Derivative_r", "SANITIZED_from_r"


def auth_ini(password: str) -> str:
    """Return Neo4j's own form of a first password."""
    salt = random.randbytes(32)
    digest = hashlib.sha256(salt + password.encode()).digest()
    for _ in range(1023):
        digest = hashlib.sha256(digest).digest()
    return f"neo4j:SHA-256,{digest.hex()},{salt.hex()},1024:\n"


def wait_for_bolt() -> None:
    """Wait until the server accepts connections."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(ADDRESS, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"no answer on port {ADDRESS[1]} after {PATIENCE} s")


async def create_indexes(driver: AsyncDriver) -> None:
    """Create the indexes that MemMachine creates for a new project."""
    await driver.execute_query("SHOW INDEXES YIELD name RETURN name")
    await driver.execute_query("CALL db.awaitIndexes()")
    for label in (EPISODE, DERIVATIVE):
        for columns in (["uid"], ["timestamp"], ["timestamp", "uid"]):
            name = f"node_index_for_{label}_on_{'_and_'.join(columns)}"
            on = ", ".join(f"e.{column}" for column in columns)
            await driver.execute_query(
                f"CREATE RANGE INDEX {name}\nIF NOT EXISTS\nFOR (e:{label})\nON ({on})"
            )
            await driver.execute_query("CALL db.awaitIndex($index_name)", index_name=name)
    await driver.execute_query(
        f"CREATE RANGE INDEX edge_{RELATION} IF NOT EXISTS FOR ()-[e:{RELATION}]-() ON (e.uid)"
    )
    await driver.execute_query(
        f"CREATE VECTOR INDEX vector_{DERIVATIVE}\nIF NOT EXISTS\nFOR (e:{DERIVATIVE})\n"
        "ON e.embedding\nOPTIONS {\n    indexConfig: {\n        `vector.dimensions`:\n"
        "            $dimensions,\n        `vector.similarity_function`:\n"
        "            $similarity_function\n    }\n}",
        dimensions=DIMENSIONS,
        similarity_function="cosine",
    )
    await driver.execute_query("CALL db.awaitIndex($index_name)", index_name=f"vector_{DERIVATIVE}")


async def add(driver: AsyncDriver, text: str) -> tuple[str, str]:
    """Store an episode with one derivative, as an add does."""
    now = datetime.datetime.now(datetime.timezone.utc)
    episode, derivative = str(uuid.uuid4()), str(uuid.uuid4())
    for label in (EPISODE, DERIVATIVE):
        await driver.execute_query(f"MATCH (n:{label})\nRETURN count(n) AS node_count")
    common = {"timestamp": now, "content": text, "number": 1, "share": 0.5, "seen": True}
    vector = [random.gauss(0, 1) for _ in range(DIMENSIONS)]
    rows = {
        EPISODE: (episode, common),
        DERIVATIVE: (derivative, dict(common, embedding=vector, metric="cosine")),
    }
    await asyncio.gather(
        *(
            driver.execute_query(
                f"UNWIND $nodes AS node\nCREATE (n:{label} {{uid: node.uid}})\n"
                "SET n += node.properties",
                nodes=[{"uid": uid, "properties": properties}],
            )
            for label, (uid, properties) in rows.items()
        )
    )
    await driver.execute_query(
        f"MATCH ()-[r:{RELATION}]->()\nRETURN count(r) AS relationship_count"
    )
    await driver.execute_query(
        "UNWIND $edges AS edge\n"
        f"MATCH    (source:{DERIVATIVE} {{uid: edge.source_uid}}),"
        f" (target:{EPISODE} {{uid: edge.target_uid}})\n"
        f"CREATE (source)    -[r:{RELATION} {{uid: edge.uid}}]->    (target)\n"
        "SET r += edge.properties",
        edges=[
            {
                "uid": str(uuid.uuid4()),
                "source_uid": derivative,
                "target_uid": episode,
                "properties": {},
            }
        ],
    )
    return episode, derivative


async def search(driver: AsyncDriver, derivative: str) -> None:
    """Find episodes by similarity, by relation and by time, as a search does."""
    vector = [random.gauss(0, 1) for _ in range(DIMENSIONS)]
    now = datetime.datetime.now(datetime.timezone.utc)
    conditions = (
        "TRUE",
        "(n.content = $filter.a) OR (n.number IN $filter.b)",
        "NOT (n.seen IS NULL)",
    )
    values = {"a": "x", "b": [1, 2]}
    for condition in conditions:
        await driver.execute_query(
            f"MATCH (n:{DERIVATIVE})\nWHERE n.embedding IS NOT NULL\nAND {condition}\n"
            "WITH n,    vector.similarity.cosine(        n.embedding, $query_embedding    )"
            " AS similarity\nRETURN n\nORDER BY similarity DESC\nLIMIT $limit",
            query_embedding=vector,
            limit=10,
            filter=values,
        )
        await driver.execute_query(
            "CALL db.index.vector.queryNodes(\n    $vector_index_name, $query_limit,"
            f" $query_embedding\n)\nYIELD node AS n, score AS similarity\nWHERE {condition}\n"
            "RETURN n\nORDER BY similarity DESC\nLIMIT $limit",
            vector_index_name=f"vector_{DERIVATIVE}",
            query_limit=10,
            query_embedding=vector,
            limit=10,
            filter=values,
        )
        await driver.execute_query(
            f"MATCH\n    (m:{DERIVATIVE} {{uid: $node_uid}})    -    [r:{RELATION}]    ->"
            f"    (n:{EPISODE})WHERE TRUE\nAND {condition}\nRETURN DISTINCT n\nLIMIT $limit",
            node_uid=derivative,
            limit=10,
            filter=values,
        )
        for order, sign in (("ASC", ">"), ("DESC", "<")):
            same = "n.timestamp.epochSeconds = $starting_at[0].epochSeconds"
            await driver.execute_query(
                f"MATCH (n:{EPISODE})\nWHERE ((n.timestamp {sign} $starting_at[0] AND "
                f"(n.timestamp.epochSeconds {sign} $starting_at[0].epochSeconds OR ({same} AND "
                f"n.timestamp.nanosecond {sign} $starting_at[0].nanosecond))) OR "
                f"((n.timestamp = $starting_at[0] OR ({same})) AND n.uid {sign} "
                f"$starting_at[1]))\nAND {condition}\nRETURN n\n"
                f"ORDER BY n.timestamp {order}, n.uid {order}\nLIMIT $limit",
                starting_at=[now, derivative],
                limit=10,
                filter=values,
            )
        await driver.execute_query(
            f"MATCH (n:{EPISODE})\nWHERE {condition}\nRETURN n\nLIMIT $limit",
            limit=10,
            filter=values,
        )
    await driver.execute_query(
        f"UNWIND $node_uids AS node_uid\nMATCH (n:{DERIVATIVE} {{uid: node_uid}})\nRETURN n",
        node_uids=[derivative],
    )


async def delete(driver: AsyncDriver, label: str, uid: str) -> None:
    """Delete a node, as a delete does."""
    await driver.execute_query(
        f"UNWIND $node_uids AS node_uid\nMATCH (n:{label} {{uid: node_uid}})\nDETACH DELETE n",
        node_uids=[uid],
    )


async def rehearse() -> None:
    """Check who may log in, then do rounds of adds, searches and deletes."""
    uri = f"bolt://{ADDRESS[0]}:{ADDRESS[1]}"
    async with AsyncGraphDatabase.driver(uri, auth=("neo4j", "neo4j")) as driver:
        try:
            await driver.verify_connectivity()
        except AuthError:
            pass
        else:
            sys.exit("the default password is accepted")
    async with AsyncGraphDatabase.driver(
        uri, auth=("neo4j", PASSWORD), notifications_min_severity="OFF"
    ) as driver:
        await driver.verify_connectivity()
        first = await add(driver, "before there are indexes")
        await search_without_index(driver)
        await create_indexes(driver)
        for number in range(ROUNDS):
            episode, derivative = await add(driver, f"episode {number}")
            await search(driver, derivative)
            await delete(driver, EPISODE, episode)
            await delete(driver, DERIVATIVE, derivative)
        await delete(driver, EPISODE, first[0])
        await driver.execute_query("MATCH (n) DETACH DELETE n")


async def search_without_index(driver: AsyncDriver) -> None:
    """Search by similarity while no vector index exists."""
    await driver.execute_query(
        f"MATCH (n:{DERIVATIVE})\nWHERE n.embedding IS NOT NULL\nAND TRUE\n"
        "WITH n,    vector.similarity.cosine(        n.embedding, $query_embedding    )"
        " AS similarity\nRETURN n\nORDER BY similarity DESC\nLIMIT $limit",
        query_embedding=[0.5] * DIMENSIONS,
        limit=10,
    )


def main() -> None:
    """Do the part that the first argument names."""
    part = sys.argv[1]
    if part == "auth-ini":
        sys.stdout.write(auth_ini(PASSWORD))
        return
    wait_for_bolt()
    if part == "rehearse":
        asyncio.run(rehearse())


if __name__ == "__main__":
    main()
