# Copyright: (c) 2026, memcloud contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model provider of a tenant: what was given, completed for its provider."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from ansible_collections.memcloud.memmachine.plugins.module_utils._variables import (
    PLATFORM,
    Reader,
    url_of,
)

PROVIDERS = ("auto", "demo", "openai", "openai_compatible", "bedrock")
# No other provider has a model of this name.
DEMO_EMBEDDER = "demo-embedding"
_USUAL_MODELS = {
    "demo": (DEMO_EMBEDDER, 384, "demo-chat"),
    "openai": ("text-embedding-3-small", 1536, "gpt-4o-mini"),
    "bedrock": ("amazon.titan-embed-text-v2:0", 1024, ""),
    "openai_compatible": ("", 0, ""),
}
# Other dimensions than a known model can give are found before anything is deployed.
_KNOWN_DIMENSIONS = {
    DEMO_EMBEDDER: (8, 4096),
    "text-embedding-3-small": (1, 1536),
    "text-embedding-3-large": (1, 3072),
    "text-embedding-ada-002": (1536, 1536),
}
SECRET_FIELDS = ("api_key", "access_key_id", "secret_access_key", "session_token")


@dataclass(frozen=True)
class Model:
    """The model provider; `provider` is never "auto" in a Model that was resolved."""

    provider: str
    base_url: str
    api_key: str = field(repr=False)
    # Set, and nothing in it: mostly a variable that the environment lacks.
    empty_key: bool
    region: str
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    embedder_model: str
    embedder_dimensions: int
    language_model: str


def model_settings(reader: Reader, prefix: str) -> Model:
    """The settings of a prefix as given: nothing is completed."""

    def text(suffix: str) -> str:
        return reader.text("%s_%s" % (prefix, suffix))

    provider = "auto"
    if reader.get(prefix + "_model_provider") not in (None, ""):
        provider = reader.choice(prefix + "_model_provider", PROVIDERS)
    dimensions = 0
    if reader.get(prefix + "_embedder_dimensions") is not None:
        least = 0 if prefix == PLATFORM else 1
        dimensions = reader.integer(prefix + "_embedder_dimensions", least, 65536)
    for name in SECRET_FIELDS:
        if any(map(str.isspace, text("model_" + name))):
            raise reader.bad("%s_model_%s" % (prefix, name), "must not contain white space")
    return Model(
        provider=provider,
        base_url=url_of(reader, prefix + "_model_base_url"),
        api_key=text("model_api_key"),
        empty_key=reader.get(prefix + "_model_api_key") is not None and not text("model_api_key"),
        region=text("model_region"),
        access_key_id=text("model_access_key_id"),
        secret_access_key=text("model_secret_access_key"),
        session_token=text("model_session_token"),
        embedder_model=text("embedder_model"),
        embedder_dimensions=dimensions,
        language_model=text("language_model"),
    )


def laid_over(shared: Model, own: Model) -> Model:
    given = {
        field_.name: getattr(own, field_.name)
        for field_ in dataclasses.fields(Model)
        if getattr(own, field_.name) and field_.name != "provider"
    }
    if "embedder_model" in given and "embedder_dimensions" not in given:
        given["embedder_dimensions"] = 0
    if own.api_key:
        given["empty_key"] = False
    if (own.api_key or own.empty_key) and shared.provider == "demo":
        given["provider"] = "auto"
    return dataclasses.replace(shared, **given)


def resolve_model(settings: Model, demo_url: str) -> tuple[Model, tuple[str, str] | None]:
    """The settings completed for their provider, and what is still missing."""
    provider = settings.provider
    if provider == "auto":
        if settings.base_url:
            provider = "openai_compatible"
        else:
            provider = "openai" if settings.api_key else "demo"
    embedder, dimensions, language_model = _USUAL_MODELS[provider]
    if settings.embedder_model not in ("", embedder):
        dimensions = 0
    model = dataclasses.replace(
        settings,
        provider=provider,
        embedder_model=settings.embedder_model or embedder,
        embedder_dimensions=settings.embedder_dimensions or dimensions,
        language_model=settings.language_model or language_model,
    )
    if provider == "demo":
        model = dataclasses.replace(model, base_url=demo_url, api_key="demo")
    if provider == "openai" and not model.base_url:
        model = dataclasses.replace(model, base_url="https://api.openai.com/v1")
    return model, _model_problem(settings, model)


def _model_problem(settings: Model, model: Model) -> tuple[str, str] | None:
    provider = model.provider
    if settings.provider == "auto" and settings.empty_key and not settings.base_url:
        return "model_api_key", "is set and empty: is its environment variable there?"
    if provider == "demo" and settings.base_url:
        return "model_base_url", "is set, but the demo provider has an address of its own"
    if provider == "openai" and not model.api_key:
        return "model_api_key", "is missing: OpenAI asks for a key"
    if provider == "openai_compatible" and not model.base_url:
        return "model_base_url", "is missing: name the provider's address, ending in /v1 mostly"
    if provider == "bedrock" and not model.region:
        return "model_region", "is missing: Bedrock needs a region, as eu-central-1"
    if provider == "bedrock" and not (model.access_key_id and model.secret_access_key):
        return "model_access_key_id", "is missing: Bedrock needs it and model_secret_access_key"
    if not model.embedder_model:
        return "embedder_model", "is missing: name the provider's embedding model"
    if not model.embedder_dimensions:
        return "embedder_dimensions", (
            "is missing: say how many dimensions the vectors of %s have" % model.embedder_model
        )
    if not model.language_model:
        return "language_model", "is missing: name the provider's chat model"
    least, most = _KNOWN_DIMENSIONS.get(model.embedder_model, (1, 65536))
    if not least <= model.embedder_dimensions <= most:
        return "embedder_dimensions", "is %d, but %s gives %d" % (
            model.embedder_dimensions,
            model.embedder_model,
            most,
        )
    return None
