# The HTTP API by itself, in front of Tritons that run elsewhere: no torch, no tritonserver.
#
#   docker build --file docker/shim.Dockerfile --tag aeolus-shim .
#   docker run --publish 127.0.0.1:8000:8000 --env AEOLUS_ALLOW_ANONYMOUS=true \
#       --env AEOLUS_TRITON_ADDRESSES=gpu-1:8001,gpu-2:8001 aeolus-shim
#
# REGISTRY is a prefix that ends in a slash; DIGEST pins the base, as in DIGEST=@sha256:...
ARG REGISTRY=
ARG BASE=debian:bookworm-slim
ARG DIGEST=

FROM ${REGISTRY}${BASE}${DIGEST} AS python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

# What the shim needs: a layer that a change of its code leaves alone.
FROM python AS dependencies
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt pyproject.toml docker/requirements.py ./
COPY client/pyproject.toml client/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/aeolus \
    && python3 requirements.py 'client/pyproject.toml[cli]' 'pyproject.toml[server,chat,format]' \
        > requirements.txt \
    && python3 -m pip --python /opt/aeolus install \
        --constraint constraints.txt --requirement requirements.txt

FROM dependencies AS code
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/aeolus install --no-deps --prefix /code ./client .

FROM python
RUN useradd --uid 10001 --gid 0 --no-create-home --home-dir /tmp aeolus
COPY --from=dependencies /opt/aeolus /opt/aeolus
COPY docker/healthcheck.py /opt/aeolus/
COPY --from=code /code /opt/aeolus
ENV PATH=/opt/aeolus/bin:$PATH \
    AEOLUS_HOST=0.0.0.0 \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="aeolus-shim" \
      org.opencontainers.image.description="HTTP API in front of Triton" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python3", "-I", "-S", "/opt/aeolus/healthcheck.py"]
ENTRYPOINT ["aeolus"]
CMD ["shim"]
