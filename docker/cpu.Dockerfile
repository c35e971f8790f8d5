# The whole service on a machine without a GPU: tritonserver from PyPI, the reference engine and
# the demo checkpoint.
#
#   docker build --file docker/cpu.Dockerfile --tag aeolus-cpu .
#   docker run --publish 127.0.0.1:8000:8000 --env AEOLUS_ALLOW_ANONYMOUS=true aeolus-cpu
#
# REGISTRY is a prefix that ends in a slash; DIGEST pins the base, as in DIGEST=@sha256:...
# PIP_EXTRA_INDEX_URL: PyTorch's index of CPU wheels; without it torch brings 4 GB of CUDA.
ARG REGISTRY=
ARG BASE=debian:bookworm-slim
ARG DIGEST=

FROM ${REGISTRY}${BASE}${DIGEST} AS python
# The stub of Triton's Python backend is linked against libpython.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libpython3.11 python3 \
    && rm -rf /var/lib/apt/lists/*

# What Aeolus needs: a layer that a change of its code leaves alone.
FROM python AS dependencies
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt pyproject.toml docker/requirements.py ./
COPY client/pyproject.toml client/
ARG PIP_EXTRA_INDEX_URL=
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/aeolus \
    && python3 requirements.py 'client/pyproject.toml[cli]' \
        'pyproject.toml[server,models,build,embedded,chat,format]' > requirements.txt \
    && python3 -m pip --python /opt/aeolus install \
        --constraint constraints.txt --requirement requirements.txt \
    && python3 -m pip --python /opt/aeolus install \
        --constraint constraints.txt --no-deps xgrammar

FROM dependencies AS code
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/aeolus install --no-deps --prefix /code ./client .

FROM python
# Any other user will do as well: what is written goes to these directories and /tmp.
RUN useradd --uid 10001 --gid 0 --no-create-home --home-dir /tmp aeolus \
    && install --directory --owner=10001 --group=0 --mode=0775 /models \
    && install --directory --mode=1777 /run/aeolus
COPY --from=dependencies /opt/aeolus /opt/aeolus
COPY docker/healthcheck.py /opt/aeolus/
COPY --from=code /code /opt/aeolus
ENV PATH=/opt/aeolus/bin:$PATH \
    AEOLUS_RUN_DIRECTORY=/run/aeolus \
    HF_HOME=/models/.huggingface \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="aeolus-cpu" \
      org.opencontainers.image.description="LLM serving on Triton without a GPU" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python3", "-I", "-S", "/opt/aeolus/healthcheck.py"]
ENTRYPOINT ["aeolus"]
CMD ["serve", "--host", "0.0.0.0"]
