# Sourced with the Python of the virtual environment as its argument. uv does not read pip's configuration: a package
# index that is configured for pip is handed on.
# shellcheck shell=bash
index=${PIP_INDEX_URL:-}
if [ -z "$index" ]; then
    # 1: nothing is configured, as on most machines, and pip complains about it. Whatever else is wrong stops here.
    index=$("$1" -m pip config get global.index-url 2>/dev/null) || [ $? -eq 1 ]
fi
if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then
    export UV_DEFAULT_INDEX=$index
fi
