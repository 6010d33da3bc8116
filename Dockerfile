# Two images from one file: `server` (api, merger, jobs) and `agent` (gprofiler with py-spy and perf).
FROM python:3.13-slim-trixie AS build
COPY --from=ghcr.io/astral-sh/uv:0.13.9 /uv /usr/local/bin/uv
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PROJECT_ENVIRONMENT=/opt/studio
WORKDIR /src
# Dependencies first: they change less often than the code, and their layer is kept.
COPY pyproject.toml uv.lock ./
ARG EXTRA=server
RUN uv sync --frozen --no-install-project --extra ${EXTRA}
COPY README.md LICENSE ./
COPY protocol protocol
COPY formats formats
COPY broker broker
COPY profiles profiles
COPY api api
COPY workers workers
COPY agent agent
COPY gprofiler gprofiler
COPY cli cli
COPY hatch_build.py .
RUN uv sync --frozen --no-editable --extra ${EXTRA}

FROM python:3.13-slim-trixie AS base
ENV PATH=/opt/studio/bin:$PATH PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1
COPY --from=build /opt/studio /opt/studio

FROM base AS server
# A named volume that is mounted here for the first time takes this owner.
RUN useradd --system --uid 10001 --home-dir /nonexistent studio \
 && install -d -m 0700 -o studio /var/lib/performance-studio
USER 10001
ENV PCS_STATE_DIR=/var/lib/performance-studio
CMD ["python", "-m", "api", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS agent
# Reads other users' processes: runs as root, in the host's pid namespace.
RUN apt-get update \
 && apt-get install --no-install-recommends --yes linux-perf \
 && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["gprofiler"]
CMD ["--help"]
