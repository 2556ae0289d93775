# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trying Amazon Bedrock: what is asked, and what a refusal means for the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.memcloud.memmachine.plugins.module_utils._errors import VariableError

# Runs inside the server's image, with the libraries that the server itself asks Bedrock with.
SCRIPT = """
import json, logging
logging.disable()
given = json.load(open("/run/memcloud/request.json"))
step = "embedder"
def told(**answer):
    text = json.dumps({"step": step, **answer})
    for name in ("secret_access_key", "session_token"):
        text = text.replace(given[name] or chr(0), "***")
    print(text)
    raise SystemExit(0)
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from langchain_aws import BedrockEmbeddings
config = Config(connect_timeout=15, read_timeout=25, retries={"total_max_attempts": 1})
access = {"region_name": given["region"], "aws_access_key_id": given["access_key_id"],
          "aws_secret_access_key": given["secret_access_key"],
          "aws_session_token": given["session_token"] or None}
try:
    embedder = BedrockEmbeddings(model_id=given["embedder_model"], config=config, **access)
    size = len(embedder.embed_documents(["a"])[0])
    step = "language"
    boto3.client("bedrock-runtime", config=config, **access).converse(
        modelId=given["language_model"], inferenceConfig={"maxTokens": 8},
        messages=[{"role": "user", "content": [{"text": "a"}]}])
except ClientError as error:
    told(status=error.response["ResponseMetadata"]["HTTPStatusCode"], text=str(error))
except BotoCoreError as error:
    told(status=0, text=str(error))
except Exception as error:
    told(status=400, text=repr(error))
told(status=200, size=size)
"""


def judge(tenant: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    """What refusals mean.

    :param request: the tenant's model, as asked for.
    :raises VariableError: naming the tenant's variable at fault.
    """
    status, text = answer.get("status"), str(answer.get("text", ""))[:400].rstrip(".")
    where = f"Amazon Bedrock in {request['region']}"
    asked = request["language_model" if answer.get("step") == "language" else "embedder_model"]
    if status == 200:
        return
    if status in (401, 403):
        raise VariableError(
            tenant,
            "platform_model_access_key_id",
            f"{where} refuses {asked}: {text}. Give keys that are valid there and may invoke it",
        )
    if status == 0:
        raise VariableError(
            tenant,
            "platform_model_region",
            f"{where} cannot be reached from a tenant's network: {text}",
        )
    step = "language_model" if answer.get("step") == "language" else "embedder_model"
    raise VariableError(tenant, f"platform_{step}", f"{where} answers for {asked}: {text}")
